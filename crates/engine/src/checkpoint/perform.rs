//! One checkpoint or restartpoint, from its redo position to the recycling of segments.
//! Source: `CreateCheckPoint` and `CreateRestartPoint` in `access/transam/xlog.c`.

use std::sync::Arc;
use std::time::{Duration, Instant};

use wal::payload::{CheckPoint, XlogRecord};
use wal::record::Xid;
use wal::{Lsn, TimelineId};

use super::distance::Distance;
use super::pace::Pace;
use super::report::Report;
use super::{Begun, Cause, CheckpointOptions, CheckpointPages};
use crate::control::{ClusterState, ControlStore, unix_seconds};
use crate::engine::TimelinePosition;
use crate::log::{Log, Recycled, Retention, Room, record};
use crate::{EngineError, LogExtent, PageId, TreeId};

/// How often a shutdown checkpoint begins anew because something was appended meanwhile.
const ATTEMPTS: u32 = 100;

/// Makes checkpoints, one after the other.
pub(super) struct Performer {
    pub(super) log: Arc<Log>,
    pub(super) control: Arc<ControlStore>,
    pub(super) pages: Arc<dyn CheckpointPages>,
    pub(super) options: CheckpointOptions,
    pub(super) distance: Distance,
    /// The redo position of the last checkpoint.
    pub(super) redo: Lsn,
    /// Where the log ended after the last checkpoint's record; beyond it there is something to make one for.
    pub(super) quiet_since: Lsn,
}

/// Where a checkpoint's record is, and what it says.
struct Recorded {
    start: Lsn,
    end: Lsn,
    checkpoint: CheckPoint,
}

/// What writing back and syncing took.
struct Written {
    pages: usize,
    write: Duration,
    sync: super::SyncReport,
}

impl Performer {
    /// Whether nothing was appended since the last checkpoint.
    pub(super) fn is_quiet(&self) -> bool {
        self.log.inserted() <= self.quiet_since
    }

    /// Makes a checkpoint for `cause`. `rest` is called when it is ahead of its schedule.
    pub(super) fn perform(&mut self, cause: Cause, rest: &dyn Fn()) -> Result<(), EngineError> {
        if cause == Cause::Shutdown && self.control.get().state == ClusterState::InProduction {
            self.control.update(|control| control.state = ClusterState::ShuttingDown);
        }
        for _ in 0..ATTEMPTS {
            let began = Instant::now();
            match self.pages.begin() {
                Begun::Nothing => {
                    if cause == Cause::Shutdown {
                        self.control.update(|control| control.state = ClusterState::ShutDownInRecovery);
                    }
                    if cause == Cause::LogFull {
                        // What kept segments, a slot, may be gone. A restart may begin before the last restartpoint as long as
                        // the label of a base backup says so.
                        self.recycle_before(self.redo.min(self.log.redo()));
                    }
                    return Ok(());
                }
                Begun::Restartpoint { record, checkpoint, reached, pages } => {
                    self.announce("restartpoint", cause);
                    let written = self.write_all(&pages, cause, began, rest)?;
                    self.record_restartpoint(cause, record, checkpoint, reached);
                    self.finish("restartpoint", checkpoint.redo, written, began);
                    return Ok(());
                }
                Begun::Checkpoint { redo, pages, next_xid, next_oid } => {
                    self.log.make_segments_ahead();
                    self.announce("checkpoint", cause);
                    let written = self.write_all(&pages, cause, began, rest)?;
                    let checkpoint = self.checkpoint(redo, next_xid, next_oid, cause);
                    if let Some(recorded) = self.append(checkpoint, cause)? {
                        self.log.flush(recorded.end)?;
                        let flushed = self.log.flushed();
                        assert!(
                            recorded.end <= flushed,
                            "recovery starts only from a record that is durable"
                        );
                        self.record_checkpoint(cause, &recorded);
                        self.finish("checkpoint", redo, written, began);
                        return Ok(());
                    }
                }
            }
        }
        Err(EngineError::Directory("the WAL still grows while the engine is shutting down".to_owned()))
    }

    fn announce(&self, kind: &str, cause: Cause) {
        if self.options.log {
            tracing::info!("{kind} starting: {cause}");
        }
    }

    fn write_all(
        &self,
        pages: &[PageId],
        cause: Cause,
        began: Instant,
        rest: &dyn Fn(),
    ) -> Result<Written, EngineError> {
        let pace = Pace::new(self.options, self.log.segment_size(), self.log.inserted(), pages.len());
        for (written, &page) in pages.iter().enumerate() {
            self.pages.write_back(page)?;
            if !cause.is_immediate() && pace.is_ahead(written + 1, began.elapsed(), self.log.inserted()) {
                rest();
            }
        }
        let write = began.elapsed();
        Ok(Written { pages: pages.len(), write, sync: self.pages.sync() })
    }

    fn checkpoint(&self, redo: Lsn, next_xid: u64, next_oid: u32, cause: Cause) -> CheckPoint {
        let timeline = self.log.timeline();
        // There are no uncommitted changes on pages, so no transaction is ever "active" for whoever replays.
        let oldest_active_xid = if cause.is_alone() { Xid::INVALID } else { Xid::new(next_xid as u32) };
        CheckPoint {
            redo,
            timeline,
            previous_timeline: timeline,
            full_page_writes: self.options.full_page_writes,
            wal_level: 0,
            next_xid,
            next_oid,
            next_multi: 1,
            next_multi_offset: 0,
            oldest_xid: self.control.get().checkpoint_copy.oldest_xid,
            oldest_xid_database: TreeId::DATABASE,
            oldest_multi: 1,
            oldest_multi_database: TreeId::DATABASE,
            time: unix_seconds(),
            oldest_commit_timestamp_xid: Xid::INVALID,
            newest_commit_timestamp_xid: Xid::INVALID,
            oldest_active_xid,
        }
    }

    /// Appends the record. `None` if it should be its own redo position and something else is there.
    fn append(&self, checkpoint: CheckPoint, cause: Cause) -> Result<Option<Recorded>, EngineError> {
        let said = if cause.is_alone() {
            XlogRecord::CheckpointShutdown(checkpoint)
        } else {
            XlogRecord::CheckpointOnline(checkpoint)
        };
        let mut encoded = Vec::new();
        record::encode_xlog(&mut encoded, &said);
        let mut appender = self.log.appender();
        if cause.is_alone() && appender.next_record() != checkpoint.redo {
            return Ok(None);
        }
        let placed = appender.try_append(&mut encoded, Room::Checkpoint)?;
        let (redo, start) = (checkpoint.redo, placed.start);
        assert!(redo <= start, "recovery starts at {redo}, before the checkpoint's record, {start}");
        assert!(!cause.is_alone() || redo == start, "a shutdown's checkpoint is its own redo position");
        assert!(placed.end <= self.log.inserted(), "a checkpoint's record is in the log");
        Ok(Some(Recorded { start: placed.start, end: placed.end, checkpoint }))
    }

    /// The record is durable: recovery may start from it.
    fn record_checkpoint(&mut self, cause: Cause, recorded: &Recorded) {
        assert!(self.quiet_since < recorded.end, "checkpoints follow each other in the log");
        self.quiet_since = recorded.end;
        self.control.update(|control| {
            let (before, redo) = (control.checkpoint_copy.redo, recorded.checkpoint.redo);
            assert!(before <= redo, "recovery's start never goes back: from {before} to {redo}");
            assert!(redo <= recorded.start, "recovery starts before the checkpoint's record");
            control.checkpoint = recorded.start;
            control.checkpoint_copy = recorded.checkpoint;
            control.min_recovery_point = Lsn::INVALID;
            control.min_recovery_timeline = TimelineId::new(0);
            if cause == Cause::Shutdown {
                control.state = ClusterState::ShutDown;
            }
        });
    }

    fn record_restartpoint(
        &mut self,
        cause: Cause,
        record: Lsn,
        checkpoint: CheckPoint,
        reached: TimelinePosition,
    ) {
        self.control.update(|control| {
            control.checkpoint = record;
            control.checkpoint_copy = checkpoint;
            // What the pages in the files show is admitted before they are written. A history that lacks the checkpoint
            // itself is not to be followed either.
            if reached.lsn > control.min_recovery_point {
                control.min_recovery_point = reached.lsn;
                control.min_recovery_timeline = reached.timeline;
            }
            if cause == Cause::Shutdown {
                control.state = ClusterState::ShutDownInRecovery;
            }
        });
        // Before anything older is removed: from here on slots keep what they reserve.
        if checkpoint.redo > self.log.redo() {
            self.log.set_initial_redo(checkpoint.redo);
        }
    }

    /// What follows a checkpoint that stands, and cannot make it fail.
    fn finish(&mut self, kind: &'static str, redo: Lsn, written: Written, began: Instant) {
        self.distance.observe(redo.bytes_since(self.redo));
        self.redo = redo;
        let recycled = self.recycle();
        if self.options.log {
            let report = Report {
                kind,
                pages: written.pages,
                capacity: self.pages.capacity(),
                recycled,
                write: written.write,
                sync: written.sync,
                total: began.elapsed(),
                distance: self.distance,
            };
            tracing::info!("{report}");
        }
    }

    /// Has the segments serve again that nobody needs any more since the last checkpoint.
    pub(super) fn recycle(&self) -> Recycled {
        self.recycle_before(self.redo)
    }

    /// The same, where recovery would start at `redo`.
    fn recycle_before(&self, redo: Lsn) -> Recycled {
        let mut recycled = Recycled::default();
        let log = LogExtent { segment_size: self.log.segment_size(), end: self.log.flushed() };
        self.pages.keep(
            log,
            &mut |oldest_needed| match self.log.recycle(self.retention(redo, oldest_needed)) {
                Ok(outcome) => recycled = outcome,
                Err(error) => tracing::error!("could not recycle WAL segments: {}", error.chain()),
            },
        );
        recycled
    }

    fn retention(&self, redo: Lsn, oldest_needed: Option<Lsn>) -> Retention {
        let options = &self.options;
        let kept = Lsn::new(self.log.inserted().as_u64().saturating_sub(options.wal_keep_size));
        let keep_from = redo.min(kept).min(oldest_needed.unwrap_or(Lsn::MAX));
        let recycle_through = Retention::recycle_through(
            self.log.segment_size(),
            redo,
            self.distance.estimate,
            options.completion_target,
            options.min_wal_size,
            options.max_wal_size,
        );
        assert!(keep_from <= redo, "all that recovery reads is kept: from {redo}, not from {keep_from}");
        Retention { keep_from, recycle_through }
    }
}
