//! Reading records from a WAL directory, in chunks, up to where the log is valid.

use replication::waldir::{SegmentReader, WalDir, WalDirError};
use wal::page::PAGE_SIZE;
use wal::reader::{LogRecord, Records};
use wal::record::RecordHeader;
use wal::{Expectations, Lsn, SegmentSize, SystemId, TimelineHistory, WalError, WalVersion};

use crate::EngineError;

/// How much is read at once. A record that is longer makes the buffer grow, but only as far as the log really goes.
const CHUNK: usize = 1 << 20;

/// What a log is expected to be.
#[derive(Clone, Debug)]
pub(crate) struct LogSource {
    pub(crate) dir: WalDir,
    pub(crate) segment_size: SegmentSize,
    pub(crate) system_id: SystemId,
    /// The timeline that is read, with its ancestors.
    pub(crate) history: TimelineHistory,
}

/// Gives the records of a log from a position on. Each is checked: its checksum, its place, and that it follows the one
/// before.
#[derive(Debug)]
pub(crate) struct LogReader {
    source: LogSource,
    segments: SegmentReader,
    /// The log from `start` on, as far as it was read.
    buffer: Vec<u8>,
    /// Where the next record is, or where the page header before it is. Moved past each record given.
    position: Lsn,
    /// The start of the last record given; `None` before the first.
    prev: Option<Lsn>,
}

/// How reading a chunk ended.
#[derive(Debug)]
pub(crate) enum Progress {
    /// There may be more.
    More,
    /// The log is not valid any further, or not there, or the limit is reached. Why, if it is not valid.
    End(Option<WalError>),
}

impl LogReader {
    /// Reads from `position` on: the start of a record, or of the page header before it.
    pub(crate) fn new(source: LogSource, position: Lsn) -> Self {
        let segments = SegmentReader::new(source.dir.clone(), source.segment_size, source.history.clone());
        Self { source, segments, buffer: Vec::new(), position, prev: None }
    }

    /// Where the next record is looked for: the end of the last one given.
    pub(crate) fn position(&self) -> Lsn {
        self.position
    }

    /// The start of the last record given.
    pub(crate) fn prev(&self) -> Option<Lsn> {
        self.prev
    }

    /// What is read.
    pub(crate) fn source(&self) -> &LogSource {
        &self.source
    }

    /// Goes back to `position`, the end of the record that starts at `prev`.
    pub(crate) fn rewind(&mut self, position: Lsn, prev: Option<Lsn>) {
        self.segments.reopen();
        (self.position, self.prev) = (position, prev);
    }

    /// Goes on with a newer timeline's history.
    pub(crate) fn set_history(&mut self, history: TimelineHistory) {
        self.segments.set_history(history.clone());
        self.source.history = history;
    }

    /// Gives `each` the records that end at or before `limit`, as many as one chunk holds.
    pub(crate) fn read(
        &mut self,
        limit: Lsn,
        mut each: impl FnMut(&LogRecord<'_>) -> Result<(), EngineError>,
    ) -> Result<Progress, EngineError> {
        let mut length = CHUNK;
        loop {
            let start = Lsn::new(self.position.as_u64() / PAGE_SIZE as u64 * PAGE_SIZE as u64);
            let wanted = usize::try_from(limit.bytes_since(start)).unwrap_or(usize::MAX).min(length);
            let complete = self.fill(start, wanted)?;
            let buffer = std::mem::take(&mut self.buffer);
            let outcome = self.give(&buffer, start, &mut each);
            self.buffer = buffer;
            let (given, stopped_by) = outcome?;
            let at_limit = complete && wanted < length;
            match (given, complete && !at_limit) {
                (true, _) => return Ok(Progress::More),
                // The chunk is full of log and holds no whole record: a long one.
                (false, true) if stopped_by.is_none() => length *= 2,
                (false, _) => {
                    if !complete || stopped_by.is_some() {
                        // A file from an archive may take the place of the one that ended here.
                        self.segments.reopen();
                    }
                    return Ok(Progress::End(stopped_by));
                }
            }
        }
    }

    /// Reads `length` bytes from `start` on, or as many as there are. Whether all were.
    fn fill(&mut self, start: Lsn, length: usize) -> Result<bool, EngineError> {
        self.buffer.resize(length, 0);
        let mut filled = 0;
        while filled < length {
            let at = start.saturating_add(filled as u64);
            let timeline = self.source.history.timeline_at(at);
            let rest = self.buffer.split_at_mut(filled).1;
            match self.segments.read_at(timeline, at, rest) {
                Ok(0) | Err(WalDirError::MissingSegment { .. } | WalDirError::ShortSegment { .. }) => break,
                Ok(count) => filled += count,
                Err(error) => return Err(EngineError::Directory(describe(&error))),
            }
        }
        self.buffer.truncate(filled);
        Ok(filled == length)
    }

    /// Gives the records that lie whole in `buffer`. Whether there were any, and what stopped it.
    fn give(
        &mut self,
        buffer: &[u8],
        start: Lsn,
        each: &mut impl FnMut(&LogRecord<'_>) -> Result<(), EngineError>,
    ) -> Result<(bool, Option<WalError>), EngineError> {
        let expect = Expectations {
            segment_size: self.source.segment_size,
            system_id: Some(self.source.system_id),
            version: Some(WalVersion::V15),
            timelines: self.source.history.clone(),
        };
        let mut records = Records::new(buffer, start, expect);
        let mut given = false;
        for record in records.by_ref() {
            if record.start < self.position {
                continue;
            }
            let header = RecordHeader::decode(&record.bytes);
            if self.prev.is_some_and(|prev| header.is_none_or(|header| header.prev != prev)) {
                // A leftover of an older use of the file.
                return Ok((given, None));
            }
            each(&record)?;
            given = true;
            self.prev = Some(record.start);
            self.position = record.end;
            if header.is_some_and(|header| header.is_switch()) {
                let size = self.source.segment_size;
                self.position = size.end_of(size.segment_ending_at(record.end));
            }
        }
        Ok((given, records.stopped_by().cloned()))
    }
}

/// An error with its causes, on one line.
pub(crate) fn describe(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
