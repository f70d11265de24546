//! Reading a timeline's WAL by position.

use std::sync::Arc;

use disk::DiskFile;
use wal::{Lsn, SegmentNo, SegmentSize, TimelineHistory, TimelineId};

use super::segment::OpenSegment;
use super::{WalDir, WalDirError};

/// Reads WAL of a timeline and its ancestors from whichever file has it.
///
/// For a segment on a timeline that is its complete file, or else its `.partial` one, plain or compressed. For the
/// last segment of an ancestor that may be missing (a promoted server goes on in a copy under the new timeline's
/// name): then the file of the nearest descendant that has one, whose content is the same up to where the ancestor was
/// left (`WalSndSegmentOpen`). Past that point nothing is read of an ancestor.
///
/// Reads what files hold: how far that is WAL is for the caller to know ([`Status::flush`](super::Status),
/// [`find_end_of_wal`](super::find_end_of_wal)).
#[derive(Debug)]
pub struct SegmentReader {
    dir: WalDir,
    size: SegmentSize,
    history: TimelineHistory,
    /// Whether files may become other segments' while they are open ([`WalDir::is_servers`]).
    recycled: bool,
    /// The segment read last: of which timeline, which one, and its file.
    open: Option<(TimelineId, SegmentNo, OpenSegment)>,
}

/// A stretch of WAL that stands as it is in a file: what `sendfile` needs.
#[derive(Clone, Debug)]
pub struct PlainRun {
    /// The file.
    pub file: Arc<dyn DiskFile>,
    /// Where in the file the position asked for is, in bytes.
    pub offset: u64,
    /// How far the segment goes from there (or an ancestor's WAL, if it ends in this segment), in bytes. The file
    /// may be shorter.
    pub len: u64,
}

impl SegmentReader {
    /// A reader for the timelines of `history`.
    pub fn new(dir: WalDir, size: SegmentSize, history: TimelineHistory) -> Self {
        // If it cannot be told, the careful way is right.
        let recycled = dir.is_servers().unwrap_or(true);
        Self { dir, size, history, recycled, open: None }
    }

    /// The size of the directory's segments.
    pub fn segment_size(&self) -> SegmentSize {
        self.size
    }

    /// Goes on with a newer timeline's history. What was the newest timeline may have become an ancestor.
    pub fn set_history(&mut self, history: TimelineHistory) {
        if history != self.history {
            self.history = history;
            self.open = None;
        }
    }

    /// Opens files anew from now on: one may have been replaced by another of its name.
    pub fn reopen(&mut self) {
        self.open = None;
    }

    /// The timelines that can be read.
    pub fn history(&self) -> &TimelineHistory {
        &self.history
    }

    /// Reads WAL of `timeline` from `lsn` on into `buf`, at most up to the segment's end, and says how many bytes. 0
    /// means that a partial file does not have them yet, or that the timeline was left at or before `lsn`.
    pub fn read_at(&mut self, timeline: TimelineId, lsn: Lsn, buf: &mut [u8]) -> Result<usize, WalDirError> {
        let size = self.size;
        let room = self.extent(timeline, lsn).min(buf.len() as u64) as usize;
        if room == 0 {
            return Ok(0);
        }
        let offset = size.offset_of(lsn);
        let buf = buf.split_at_mut(room).0;
        let count = self.segment(timeline, lsn)?.read_at(buf, offset)?;
        if count > 0 && self.is_still_named()? {
            return Ok(count);
        }
        // The file read last may have been replaced or recycled since, or have grown inside its compression.
        self.open = None;
        let open = self.segment(timeline, lsn)?;
        let count = open.read_at(buf, offset)?;
        if count == 0 && !open.partial {
            return Err(WalDirError::ShortSegment { path: open.path.clone(), end: lsn });
        }
        if self.is_still_named()? {
            return Ok(count);
        }
        Err(self.missing(timeline, self.size.segment_of(lsn)))
    }

    /// Fills `buf` from `lsn` on, over segments if need be; [`WalDirError::ShortSegment`] if the files hold less.
    pub fn read_exact_at(
        &mut self,
        timeline: TimelineId,
        lsn: Lsn,
        buf: &mut [u8],
    ) -> Result<(), WalDirError> {
        let mut filled = 0;
        while filled < buf.len() {
            let at = lsn.saturating_add(filled as u64);
            match self.read_at(timeline, at, buf.split_at_mut(filled).1)? {
                0 => {
                    let name = self.size.segment_of(at).file_name(timeline, self.size);
                    return Err(WalDirError::ShortSegment { path: self.dir.path().join(name), end: at });
                }
                count => filled += count,
            }
        }
        Ok(())
    }

    /// The file in which WAL of `timeline` from `lsn` on stands as it is. `None` if it is compressed or on a simulated
    /// disk, if the timeline was left at or before `lsn`, and in a PostgreSQL server's own `pg_wal`: there a file can
    /// become another segment while it is being sent.
    pub fn plain_run(&mut self, timeline: TimelineId, lsn: Lsn) -> Result<Option<PlainRun>, WalDirError> {
        let len = self.extent(timeline, lsn);
        if len == 0 || self.recycled {
            return Ok(None);
        }
        let offset = u64::from(self.size.offset_of(lsn));
        let whole = u64::from(self.size.bytes());
        assert!(
            offset + len <= whole,
            "what is sent of a file, {len} bytes from {offset} on, is of one segment"
        );
        let file = self.segment(timeline, lsn)?.plain_file();
        Ok(file.filter(|file| file.as_fd().is_some()).map(|file| PlainRun {
            file: file.clone(),
            offset,
            len,
        }))
    }

    /// Whether what has just been read was still the segment: a file is renamed before it is overwritten, so the name
    /// is looked at after reading (`CheckXLogRemoved`). Nobody else's files are recycled.
    fn is_still_named(&self) -> Result<bool, WalDirError> {
        match &self.open {
            Some((_, _, open)) if self.recycled => {
                self.dir.disk().exists(&open.path).map_err(WalDirError::io(&open.path))
            }
            _ => Ok(true),
        }
    }

    fn missing(&self, timeline: TimelineId, segment: SegmentNo) -> WalDirError {
        WalDirError::MissingSegment { name: segment.file_name(timeline, self.size) }
    }

    /// How many bytes from `lsn` on are in its segment and of `timeline`.
    fn extent(&self, timeline: TimelineId, lsn: Lsn) -> u64 {
        let segment_end = self.size.end_of(self.size.segment_of(lsn));
        let end = self.history.switch_point_of(timeline).unwrap_or(Lsn::MAX).min(segment_end);
        end.bytes_since(lsn)
    }

    fn segment(&mut self, timeline: TimelineId, lsn: Lsn) -> Result<&OpenSegment, WalDirError> {
        let segment = self.size.segment_of(lsn);
        let (_, _, open) = match self.open.take() {
            Some(last) if (last.0, last.1) == (timeline, segment) => self.open.insert(last),
            _ => {
                let found = self.find(timeline, segment)?;
                self.open.insert((timeline, segment, found))
            }
        };
        Ok(open)
    }

    fn find(&self, timeline: TimelineId, segment: SegmentNo) -> Result<OpenSegment, WalDirError> {
        if let Some(open) = OpenSegment::open(&self.dir, timeline, segment, self.size)? {
            return Ok(open);
        }
        let is_left_here = |switch: Lsn| self.size.segment_of(switch) == segment;
        if self.history.switch_point_of(timeline).is_some_and(is_left_here) {
            let ancestors = self.history.entries().iter().map(|entry| entry.timeline);
            for descendant in ancestors.chain([self.history.timeline()]).filter(|&other| other > timeline) {
                if let Some(open) = OpenSegment::open(&self.dir, descendant, segment, self.size)? {
                    return Ok(open);
                }
                // Its own child's copy has the bytes only if it was itself left in this segment.
                if !self.history.switch_point_of(descendant).is_some_and(is_left_here) {
                    break;
                }
            }
        }
        Err(self.missing(timeline, segment))
    }
}
