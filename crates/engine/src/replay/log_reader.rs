//! Reading records from a WAL directory, piece by piece, up to where the log is valid.
//!
//! A [`Walk`] reads, validates and gives them; it is begun anew at the last record that was given wherever the log ends for
//! now, because what comes after that may be other bytes the next time.

use replication::waldir::{SegmentReader, WalDir, WalDirError};
use wal::page::PAGE_SIZE;
use wal::reader::LogRecord;
use wal::{
    Expectations, Lsn, SegmentSize, Stop, SystemId, TimelineHistory, Validator, ValidatorState, WalError,
    WalVersion, Walk,
};

use crate::EngineError;

/// What a log is expected to be.
#[derive(Clone, Debug)]
pub(crate) struct LogSource {
    pub(crate) dir: WalDir,
    pub(crate) segment_size: SegmentSize,
    pub(crate) system_id: SystemId,
    /// The timeline that is read, with its ancestors.
    pub(crate) history: TimelineHistory,
}

impl LogSource {
    /// What the validator is to demand.
    pub(crate) fn expectations(&self) -> Expectations {
        Expectations {
            system_id: Some(self.system_id),
            version: Some(WalVersion::V15),
            ..Expectations::new(self.segment_size, self.history.clone())
        }
    }

    /// A validator at `position`, which is where the record that starts at `prev` ends. If none is known, one at the start of
    /// the page, which passes over what began before.
    fn validator(&self, position: Lsn, prev: Option<Lsn>) -> Validator {
        let page = Lsn::new(position.as_u64() / PAGE_SIZE as u64 * PAGE_SIZE as u64);
        let state = prev.map(|prev| ValidatorState {
            record_end: position,
            last_record: Some(prev),
            records: 0,
            system_id: Some(self.system_id),
            version: Some(WalVersion::V15),
            segment_size: self.segment_size,
            switched: false,
        });
        let resumed = state.and_then(|state| Validator::resume(state, self.expectations()).ok());
        resumed.unwrap_or_else(|| Validator::new(page, self.expectations()))
    }
}

/// Gives the records of a log from a position on. Each is checked: its checksum, its place, and that it follows the one
/// before.
#[derive(Debug)]
pub(crate) struct LogReader {
    source: LogSource,
    segments: SegmentReader,
    /// Stands at `position` or further on: all that was read after the last record given is in it.
    walk: Walk,
    /// Where the next record is, or where the page header before it is. Moved past each record given.
    position: Lsn,
    /// The start of the last record given; `None` before the first.
    prev: Option<Lsn>,
}

/// How reading a piece ended.
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
        let walk = Walk::for_records(source.validator(position, None));
        Self { source, segments, walk, position, prev: None }
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
        self.forget_what_follows();
    }

    /// Goes on with a newer timeline's history.
    pub(crate) fn set_history(&mut self, history: TimelineHistory) {
        self.segments.set_history(history.clone());
        self.source.history = history;
        self.forget_what_follows();
    }

    /// What follows the last record given is read again, and may be something else then.
    fn forget_what_follows(&mut self) {
        self.walk.restart(self.source.validator(self.position, self.prev));
    }

    /// Gives `each` the records that end at or before `limit`, as many as one piece holds.
    pub(crate) fn read(
        &mut self,
        limit: Lsn,
        mut each: impl FnMut(&LogRecord<'_>) -> Result<(), EngineError>,
    ) -> Result<Progress, EngineError> {
        let outcome = loop {
            let at_limit = self.walk.validator().position() >= limit;
            let outcome = if at_limit { Err(Stop::Ended) } else { self.step(limit) };
            let given = self.give(&mut each).inspect_err(|_| self.forget_what_follows())?;
            match outcome {
                _ if given => return Ok(Progress::More),
                // A long record, of which there is more.
                Ok(()) => {}
                Err(stop) => break stop,
            }
        };
        if self.walk.validator().position() < limit {
            // A file from an archive may take the place of the one that ended here.
            self.segments.reopen();
        }
        self.forget_what_follows();
        match outcome {
            Stop::Ended => Ok(Progress::End(None)),
            Stop::Invalid(error) => Ok(Progress::End(Some(error))),
            Stop::Unreadable(error) => Err(error),
        }
    }

    /// Reads and validates a piece.
    fn step(&mut self, limit: Lsn) -> Result<(), Stop<EngineError>> {
        let (segments, history) = (&mut self.segments, &self.source.history);
        let mut bytes =
            |at: Lsn, buffer: &mut [u8]| match segments.read_at(history.timeline_at(at), at, buffer) {
                Err(WalDirError::MissingSegment { .. } | WalDirError::ShortSegment { .. }) => Ok(0),
                other => other.map_err(|error| EngineError::Directory(describe(&error))),
            };
        self.walk.step(&mut bytes, limit)
    }

    /// Gives the records that have come whole. Whether there were any.
    fn give(
        &mut self,
        each: &mut impl FnMut(&LogRecord<'_>) -> Result<(), EngineError>,
    ) -> Result<bool, EngineError> {
        let before = self.prev;
        let mut records = self.walk.records();
        while let Some(record) = records.next() {
            // Of the page on which reading began, those before.
            if record.start < self.position {
                continue;
            }
            each(&record)?;
            (self.position, self.prev) = (records.position(), Some(record.start));
        }
        let passed = records.position();
        self.walk.pass(passed);
        Ok(self.prev != before)
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

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::Arc;

    use disk::{Disk, OpenMode, SimDisk, fill_zeros};
    use wal::record::{Record, ResourceManager, Xid};
    use wal::writer::{LogIdentity, LogWriter};
    use wal::{SegmentNo, TimelineId};

    use super::*;

    const SYSTEM: SystemId = SystemId::new(7);
    const FIRST: SegmentNo = SegmentNo::new(1);
    const DIR: &str = "/pg_wal";

    fn size() -> SegmentSize {
        SegmentSize::new(1 << 20).unwrap()
    }

    /// A log of records with so much data each, and where each of them ends.
    fn log(data: &[usize]) -> (Vec<u8>, Vec<Lsn>) {
        let identity = LogIdentity { system_id: SYSTEM, segment_size: size(), version: WalVersion::V15 };
        let mut writer = LogWriter::new(identity, TimelineId::FIRST, size().start_of(FIRST), Lsn::INVALID);
        let mut append = |length: &usize| {
            let data = vec![7; *length];
            writer.append(&Record::new(ResourceManager::XLOG, 0x20, Xid::INVALID, &data)).unwrap();
            writer.position()
        };
        let ends = data.iter().map(&mut append).collect();
        (writer.drain(), ends)
    }

    #[test]
    fn what_an_older_use_of_the_file_left_behind_the_end_is_not_read_though_it_begins_there() {
        // Two records take as much as one: what follows them has the right place and checksum, and another link back.
        let (old, old_ends) = log(&[100, 100, 100, 100]);
        let (new, ends) = log(&[100, 230]);
        assert_eq!(ends[1], old_ends[2]);
        let mut bytes = new;
        bytes.extend_from_slice(&old[bytes.len()..]);
        let disk: Arc<dyn Disk> = Arc::new(SimDisk::new());
        disk.create_dir_all(Path::new(DIR)).unwrap();
        let path = Path::new(DIR).join(FIRST.file_name(TimelineId::FIRST, size()));
        let file = disk.open(&path, OpenMode::CreateNew).unwrap();
        fill_zeros(&*file, 0, size().bytes().into()).unwrap();
        file.write_all_at(&bytes, 0).unwrap();

        let source = LogSource {
            dir: WalDir::new(DIR, disk),
            segment_size: size(),
            system_id: SYSTEM,
            history: TimelineHistory::root(),
        };
        for limits in [&[Lsn::MAX][..], &[ends[1], Lsn::MAX], &[ends[0], ends[1], Lsn::MAX]] {
            let mut reader = LogReader::new(source.clone(), size().start_of(FIRST));
            let mut found = 0;
            for &limit in limits {
                let mut count = |_: &LogRecord<'_>| {
                    found += 1;
                    Ok(())
                };
                while let Progress::More = reader.read(limit, &mut count).unwrap() {}
            }
            assert_eq!((found, reader.position()), (2, ends[1]), "read up to {limits:?}");
        }
    }
}
