//! The segment file that is being written.

use std::path::PathBuf;
use std::sync::Arc;

use disk::DiskFile;
use wal::{Lsn, SegmentNo};

use super::SegmentFiles;
use crate::fatal::fatal;

/// Writes bytes at positions, moving from segment to segment. A segment is synced before the next is written to, so only
/// the current one can have bytes that are not durable.
#[derive(Debug)]
pub(super) struct Output {
    segments: Arc<SegmentFiles>,
    current: Option<Current>,
    /// The buffer that is not being appended to.
    spare: Vec<u8>,
    /// A write is under way; or has failed where that does not end the process (in simulations): nothing is known any more.
    writing: bool,
}

#[derive(Debug)]
struct Current {
    segment: SegmentNo,
    path: PathBuf,
    file: Box<dyn DiskFile>,
    /// Whether something was written since the last sync.
    unsynced: bool,
}

impl Output {
    pub(super) fn new(segments: Arc<SegmentFiles>) -> Self {
        Self { segments, current: None, spare: Vec::new(), writing: false }
    }

    /// Ends whatever asks once a write has failed.
    pub(super) fn take_spare(&mut self) -> Vec<u8> {
        if self.writing {
            fatal("the WAL could not be written before");
        }
        std::mem::take(&mut self.spare)
    }

    /// Keeps the buffer for the next time, unless one huge record has made it much larger than `limit`.
    pub(super) fn give_spare(&mut self, mut buffer: Vec<u8>, limit: usize) {
        buffer.clear();
        if buffer.capacity() > limit.saturating_mul(2) {
            buffer = Vec::new();
        }
        self.spare = buffer;
    }

    /// Writes `bytes` at `at`. Whatever fails is the end of the process.
    pub(super) fn write(&mut self, mut at: Lsn, mut bytes: &[u8]) {
        let size = self.segments.size();
        self.writing = true;
        while !bytes.is_empty() {
            let offset = size.offset_of(at);
            let room = (size.bytes() - offset) as usize;
            let (now, later) = bytes.split_at(bytes.len().min(room));
            assert!(offset as usize + now.len() <= size.bytes() as usize, "a write stays in its segment");
            let current = self.segment(size.segment_of(at));
            if let Err(error) = current.file.write_all_at(now, offset.into()) {
                fatal(format_args!(
                    "could not write to file \"{}\" at offset {offset}: {error}",
                    current.path.display()
                ));
            }
            current.unsynced = true;
            at = at.saturating_add(now.len() as u64);
            bytes = later;
        }
        self.writing = false;
    }

    /// Makes everything written durable (`fdatasync`). A sync that fails is the end of the process: what it should have
    /// covered may be lost, whatever a later one says.
    pub(super) fn sync(&mut self) {
        let Some(current) = self.current.as_mut().filter(|current| current.unsynced) else { return };
        if let Err(error) = current.file.sync_data() {
            fatal(format_args!("could not fsync file \"{}\": {error}", current.path.display()));
        }
        current.unsynced = false;
    }

    /// Another timeline's files are written from now on.
    pub(super) fn close(&mut self) {
        self.sync();
        let synced = self.current.as_ref().is_none_or(|current| !current.unsynced);
        assert!(synced, "a segment is durable before the next one is written to");
        self.current = None;
    }

    fn segment(&mut self, segment: SegmentNo) -> &mut Current {
        if let Some(current) = self.current.as_ref().filter(|current| current.segment != segment) {
            let (from, to) = (current.segment.as_u64(), segment.as_u64());
            assert_eq!(from + 1, to, "segments are written one after the other");
            self.close();
        }
        let segments = &self.segments;
        self.current.get_or_insert_with(|| match segments.begin(segment) {
            Ok((path, file)) => Current { segment, path, file, unsynced: false },
            Err(error) => fatal(error.chain()),
        })
    }
}
