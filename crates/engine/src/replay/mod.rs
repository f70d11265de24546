//! Replay: the log's runs applied to the pages, after a crash and on a standby alike.
//!
//! The records of a run are gathered until its COMMIT comes, then applied together; a run that is followed by another
//! transaction's record, or by none, was never committed and leaves no trace. Runs are applied in batches, each page copied
//! once a batch, and published with the `pd_lsn` that the leader gave them: the end of the last run that changed them. So
//! a page is the same bytes here as there, and a page that is newer already is left alone. One thread reads the log and
//! gathers the runs; the pages are split among as many as there are processors.
//!
//! Memory is bounded: by the batch, and by the run in memory. A longer run is read from the log again once it has
//! committed, and published in pieces, which nobody reads before it is complete.

mod batch;
mod changes;
mod lanes;
mod log_reader;
mod recovery;
mod transaction_end;
mod unfinished;

use std::sync::Arc;

use tracing::debug;
use wal::payload::{CheckPoint, EndOfRecovery, RecordTime, XlogRecord};
use wal::reader::LogRecord;
use wal::record::{Record, RecordHeader, ResourceManager, Xid};
use wal::{Lsn, TimelineId, WalVersion};

use crate::buffer::BufferPool;
use crate::engine::{NEXT_OID, Numbers};
use crate::{EngineError, TreeId};

use lanes::Lanes;
pub(crate) use log_reader::{LogReader, LogSource, Progress, describe};
pub(crate) use recovery::{Recovered, recover};
use transaction_end::TransactionFields;
#[cfg(test)]
pub(crate) use unfinished::MEMORY as MOST_IN_MEMORY;
use unfinished::UnfinishedRun;

const COMMIT: u8 = 0x00;
const ABORT: u8 = 0x20;
const OPCODE: u8 = 0x70;
/// Opcode of a record with images for hint bits' sake.
const FPI_FOR_HINT: u8 = 0xA0;

/// What replay has met that others act upon, since it was last asked.
#[derive(Clone, PartialEq, Debug, Default)]
pub(crate) struct Met {
    /// The end of the last whole run, or of a record that belongs to none. Everything up to it is published.
    pub(crate) end: Lsn,
    /// Where the record that ends there starts.
    pub(crate) last: Lsn,
    /// When the last transaction committed, by the leader's clock.
    pub(crate) committed_at: Option<RecordTime>,
    /// The last checkpoint record, with its start.
    pub(crate) checkpoint: Option<(Lsn, CheckPoint)>,
    /// Trees dropped, each with the end of the run that did it.
    pub(crate) dropped: Vec<(Lsn, TreeId)>,
    /// The redo positions of base backups that were ended.
    pub(crate) backup_ends: Vec<Lsn>,
}

/// Applies records in the order of the log.
///
/// `done.end` is never ahead of what has been given to [`Replayer::apply`]; what is published never ahead of it.
pub(crate) struct Replayer {
    /// To read runs again that were too long to keep.
    source: LogSource,
    numbers: Numbers,
    timeline: TimelineId,
    run: UnfinishedRun,
    /// The end of the last run that was begun to be applied.
    begun: Lsn,
    lanes: Lanes,
    met: Met,
    runs: u64,
}

impl Replayer {
    /// Replay of the log from `source` onto the pages of `pool`, beginning with the numbers and on the timeline of a
    /// checkpoint.
    pub(crate) fn new(pool: Arc<BufferPool>, source: LogSource, checkpoint: &CheckPoint) -> Self {
        Self {
            source,
            numbers: Numbers::new(checkpoint.next_xid, checkpoint.next_oid),
            timeline: checkpoint.timeline,
            run: UnfinishedRun::default(),
            begun: Lsn::INVALID,
            lanes: Lanes::new(pool),
            met: Met::default(),
            runs: 0,
        }
    }

    /// The numbers to go on with.
    pub(crate) fn numbers(&self) -> Numbers {
        self.numbers
    }

    /// The end of the last whole run, or of a record that belongs to none.
    pub(crate) fn end(&self) -> Lsn {
        self.met.end
    }

    /// The end of what is on the pages, or is about to be. Beyond [`Replayer::end`] where replay has stopped in a run, some of
    /// which was applied.
    pub(crate) fn applied(&self) -> Lsn {
        self.met.end.max(self.begun)
    }

    /// The start of the record that ends at [`Replayer::end`].
    pub(crate) fn last(&self) -> Lsn {
        self.met.last
    }

    /// The timeline of what was replayed last.
    pub(crate) fn timeline(&self) -> TimelineId {
        self.timeline
    }

    /// How many runs were applied.
    pub(crate) fn runs(&self) -> u64 {
        self.runs
    }

    /// Replay goes on after [`Replayer::end`] in `source`, which has newer timelines than before: whatever of an unfinished
    /// run came after that was discarded. Nothing of such a run was applied.
    pub(crate) fn set_source(&mut self, source: LogSource, rewound: bool) {
        self.source = source;
        if rewound {
            let (begun, end) = (self.begun, self.met.end);
            assert!(begun <= end, "nothing is discarded that was applied: up to {begun}, past {end}");
            self.run.clear();
        }
    }

    /// A page that a record was to change, that does not exist, and whose tree was not dropped since. All that was applied
    /// is published.
    pub(crate) fn missing_page(&self) -> Option<EngineError> {
        let (page, lsn) = self.lanes.missing()?;
        Some(EngineError::Replay { lsn, reason: format!("it changes {page}, which does not exist") })
    }

    /// The trees dropped since this or [`Replayer::publish`] was last called. All that was applied is published.
    fn take_dropped(&mut self) -> Result<Vec<(Lsn, TreeId)>, EngineError> {
        if !self.met.dropped.is_empty() {
            self.lanes.publish()?;
        }
        Ok(std::mem::take(&mut self.met.dropped))
    }

    /// Publishes all that was applied, and tells what was met since the last time.
    pub(crate) fn publish(&mut self) -> Result<Met, EngineError> {
        self.lanes.publish()?;
        let Met { end, last, .. } = self.met;
        Ok(std::mem::replace(&mut self.met, Met { end, last, ..Met::default() }))
    }

    /// Takes the next record.
    pub(crate) fn apply(&mut self, record: &LogRecord<'_>) -> Result<(), EngineError> {
        let malformed = |reason: String| EngineError::Replay { lsn: record.start, reason };
        let header = RecordHeader::decode(&record.bytes);
        let is_switch = header.is_some_and(|header| header.is_switch());
        let RecordHeader { xid, resource_manager, .. } =
            header.ok_or_else(|| malformed("it is cut short".into()))?;
        self.numbers.saw_xid(xid);
        if self.run.xid().is_some_and(|run| run != xid) {
            debug!("transaction {:?} was never committed", self.run.xid());
            self.run.clear();
        }
        let parsed = || {
            let parsed = Record::decode_unchecked(&record.bytes, WalVersion::V15);
            parsed.map_err(|error| malformed(error.to_string()))
        };
        match resource_manager {
            ResourceManager::GENERIC => self.run.add(xid, record.start, record.end, &record.bytes),
            ResourceManager::TRANSACTION => self.end_transaction(&parsed()?, record.end)?,
            ResourceManager::XLOG => self.apply_xlog(&parsed()?, record)?,
            // What they say is for others than this engine.
            ResourceManager::LOGICAL_MESSAGE | ResourceManager::STANDBY => {}
            other => {
                return Err(malformed(format!("it is one of {other}, which this engine does not write")));
            }
        }
        if self.run.xid().is_none() {
            // Nothing follows a SWITCH in its segment: a timeline that begins there begins with the next one.
            let size = self.source.segment_size;
            let end = if is_switch { size.end_of(size.segment_ending_at(record.end)) } else { record.end };
            assert!(
                self.met.end < end,
                "records are applied in the order of the log: {end} after {}",
                self.met.end
            );
            (self.met.last, self.met.end) = (record.start, end);
        }
        Ok(())
    }

    fn end_transaction(&mut self, record: &Record<'_>, end: Lsn) -> Result<(), EngineError> {
        let opcode = record.header.info & OPCODE;
        if opcode != COMMIT && opcode != ABORT {
            let reason = format!("it ends a transaction in a way that this engine does not: {opcode:02X}");
            return Err(EngineError::Replay { lsn: end, reason });
        }
        let fields = TransactionFields::parse(record);
        let fields =
            fields.ok_or_else(|| EngineError::Replay { lsn: end, reason: "it is malformed".into() })?;
        if opcode == COMMIT {
            self.apply_run(end)?;
            self.met.committed_at = Some(fields.time);
            self.runs += 1;
        }
        self.run.clear();
        if !fields.dropped.is_empty() {
            self.lanes.settle()?;
        }
        for tree in fields.dropped {
            self.lanes.forget_tree(tree);
            self.met.dropped.push((end, tree));
        }
        Ok(())
    }

    /// Applies the gathered run, which ends at `end`. It stays gathered: after [`EngineError::Stopped`] its COMMIT record comes
    /// again, and all of the run has to be applied then, whatever of it was published before.
    fn apply_run(&mut self, end: Lsn) -> Result<(), EngineError> {
        assert!(self.met.end < end, "runs are applied in the order of the log: {end} after {}", self.met.end);
        self.begun = end;
        let run = std::mem::take(&mut self.run);
        let outcome = self.apply_records(&run, end);
        self.run = run;
        outcome?;
        if self.lanes.is_full() {
            self.lanes.publish()?;
        }
        Ok(())
    }

    fn apply_records(&mut self, run: &UnfinishedRun, end: Lsn) -> Result<(), EngineError> {
        let Some(records) = run.records() else { return self.apply_from_log(run.start(), end) };
        for (record_end, bytes) in records {
            self.apply_blocks(bytes, record_end, end)?;
        }
        Ok(())
    }

    fn apply_blocks(&mut self, record: &[u8], record_end: Lsn, run_end: Lsn) -> Result<(), EngineError> {
        let record = Record::decode_unchecked(record, WalVersion::V15)
            .map_err(|error| EngineError::Replay { lsn: record_end, reason: error.to_string() })?;
        for block in &record.blocks {
            self.lanes.add(block, record_end, run_end)?;
        }
        Ok(())
    }

    /// Applies the run whose records are in the log from `start` to `end`, in pieces. Each page is in one record of its run,
    /// so that one that has the run's LSN from an earlier piece, or from before a crash, is done with.
    fn apply_from_log(&mut self, start: Lsn, end: Lsn) -> Result<(), EngineError> {
        let mut reader = LogReader::new(self.source.clone(), start);
        while reader.position() < end {
            let progress = reader.read(end, |record| {
                if record.end < end {
                    self.apply_blocks(&record.bytes, record.end, end)?;
                }
                if self.lanes.is_full() {
                    self.lanes.publish()?;
                }
                Ok(())
            })?;
            if matches!(progress, Progress::End(_)) && reader.position() < end {
                let reason = "what came before it in its transaction can no longer be read".to_owned();
                return Err(EngineError::Replay { lsn: end, reason });
            }
        }
        Ok(())
    }

    fn apply_xlog(&mut self, record: &Record<'_>, place: &LogRecord<'_>) -> Result<(), EngineError> {
        let malformed = |reason: String| EngineError::Replay { lsn: place.start, reason };
        let Some(decoded) = XlogRecord::decode(record, WalVersion::V15) else { return Ok(()) };
        match decoded.map_err(|error| malformed(error.to_string()))? {
            XlogRecord::CheckpointShutdown(checkpoint) | XlogRecord::CheckpointOnline(checkpoint)
                if checkpoint.redo > place.start =>
            {
                return Err(malformed(format!(
                    "it is a checkpoint whose redo position, {}, is past it",
                    checkpoint.redo
                )));
            }
            XlogRecord::CheckpointShutdown(checkpoint) | XlogRecord::CheckpointOnline(checkpoint) => {
                self.numbers.saw_xid(Xid::new((checkpoint.next_xid as u32).wrapping_sub(1)));
                self.numbers.saw_tree_limit(checkpoint.next_oid);
                self.timeline = checkpoint.timeline;
                self.met.checkpoint = Some((place.start, checkpoint));
            }
            XlogRecord::EndOfRecovery(EndOfRecovery { timeline, previous_timeline, .. }) => {
                if previous_timeline != self.timeline && timeline != self.timeline {
                    let reason = format!(
                        "timeline {timeline} begins after {previous_timeline}, but replay is on {}",
                        self.timeline
                    );
                    return Err(malformed(reason));
                }
                self.timeline = timeline;
            }
            XlogRecord::BackupEnd(redo) => self.met.backup_ends.push(redo),
            XlogRecord::Other(NEXT_OID) => {
                let limit = record.main_data.first_chunk().copied().map(u32::from_le_bytes);
                let limit = limit.ok_or_else(|| malformed("it is malformed".to_owned()))?;
                self.numbers.saw_tree_limit(limit);
            }
            XlogRecord::Other(XlogRecord::FPI | FPI_FOR_HINT) => {
                for block in &record.blocks {
                    self.lanes.add(block, place.end, place.end)?;
                }
            }
            XlogRecord::Switch | XlogRecord::OverwriteContrecord { .. } | XlogRecord::Other(_) => {}
        }
        Ok(())
    }
}
