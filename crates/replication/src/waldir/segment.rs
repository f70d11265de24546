//! One segment, open for reading, however its file is stored.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use disk::{DiskFile, OpenMode};
use wal::{SegmentNo, SegmentSize, TimelineId};

use super::{Compression, SegmentFile, WalDir, WalDirError};

/// A segment's content. Holds at most one segment in memory, and only if the file is compressed.
#[derive(Debug)]
pub(super) struct OpenSegment {
    pub(super) path: PathBuf,
    pub(super) partial: bool,
    size: SegmentSize,
    content: Content,
}

#[derive(Debug)]
enum Content {
    Plain(Arc<dyn DiskFile>),
    Decompressed(Vec<u8>),
}

impl OpenSegment {
    /// Opens the complete file of a segment, or else the partial one; `None` if there is neither.
    pub(super) fn open(
        dir: &WalDir,
        timeline: TimelineId,
        segment: SegmentNo,
        size: SegmentSize,
    ) -> Result<Option<Self>, WalDirError> {
        // Twice: between looking for the complete file and for the partial one, the latter may have become the former.
        for _ in 0..2 {
            for partial in [false, true] {
                for compression in Compression::ALL {
                    let name = SegmentFile::name_of(timeline, segment, size, compression, partial);
                    if let Some(open) = Self::open_file(dir, &name, size, compression, partial)? {
                        return Ok(Some(open));
                    }
                }
            }
        }
        Ok(None)
    }

    fn open_file(
        dir: &WalDir,
        name: &str,
        size: SegmentSize,
        compression: Compression,
        partial: bool,
    ) -> Result<Option<Self>, WalDirError> {
        let path = dir.path().join(name);
        let failed = WalDirError::io(&path);
        let file = match dir.disk().open(&path, OpenMode::Read) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(failed(error)),
        };
        let content = match compression {
            Compression::None => Content::Plain(file.into()),
            _ => Content::Decompressed(compression.read_all(&*file, size, partial).map_err(failed)?),
        };
        Ok(Some(Self { path, partial, size, content }))
    }

    /// Reads from `offset` in the segment on; 0 where the file ends (at the latest where the segment does).
    pub(super) fn read_at(&self, buf: &mut [u8], offset: u32) -> Result<usize, WalDirError> {
        let room = (self.size.bytes().saturating_sub(offset) as usize).min(buf.len());
        let buf = buf.split_at_mut(room).0;
        match &self.content {
            Content::Plain(file) => file.read_at(buf, offset.into()).map_err(WalDirError::io(&self.path)),
            Content::Decompressed(content) => {
                let rest = content.get(offset as usize..).unwrap_or_default();
                let count = rest.len().min(buf.len());
                buf.split_at_mut(count).0.copy_from_slice(rest.split_at(count).0);
                Ok(count)
            }
        }
    }

    /// The file itself, if its bytes are the segment's.
    pub(super) fn plain_file(&self) -> Option<&Arc<dyn DiskFile>> {
        match &self.content {
            Content::Plain(file) => Some(file),
            Content::Decompressed(_) => None,
        }
    }
}
