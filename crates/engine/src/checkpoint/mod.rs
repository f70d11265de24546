//! Checkpoints: bounding what recovery has to replay.
//!
//! A checkpoint takes the redo position between two runs, writes back every page that is dirty then, syncs the files, and
//! only then appends its record, flushes the log and names the record in the control file: recovery may start at the redo
//! position. What lies before it is no longer needed and its segments are recycled. Writing is spread over a part
//! (`checkpoint_completion_target`) of the time until the next checkpoint is due.
//!
//! A standby makes restartpoints instead: the same, but at the redo position of a checkpoint that it has replayed, and
//! without a record of its own.
//!
//! [`Checkpointer`] is the thread that does it; [`CheckpointPages`] is what it needs of the engine.

mod checkpointer;
mod distance;
mod options;
mod pace;
mod perform;
mod report;
mod request;
#[cfg(test)]
mod tests;

use wal::Lsn;
use wal::payload::CheckPoint;

use crate::engine::TimelinePosition;
use crate::{EngineError, LogExtent, PageId};

pub use checkpointer::Checkpointer;
pub use options::CheckpointOptions;
pub use request::Cause;

pub use crate::relation::SyncReport;

/// Where a checkpoint begins.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Begun {
    /// A leader's checkpoint.
    Checkpoint {
        /// The redo position, as [`Appender::set_redo`](crate::log::Appender::set_redo) returned it.
        redo: Lsn,
        /// The pages that were dirty then, in the order of their files.
        pages: Vec<PageId>,
        /// The next transaction's number, with its epoch in the high half.
        next_xid: u64,
        /// The next tree's number.
        next_oid: u32,
    },
    /// A standby's restartpoint.
    Restartpoint {
        /// The start of the last checkpoint record replayed.
        record: Lsn,
        /// What it says.
        checkpoint: CheckPoint,
        /// Up to where replay was when it had replayed that record: not before its end.
        reached: TimelinePosition,
        /// The pages that are dirty now.
        pages: Vec<PageId>,
    },
    /// A standby that has replayed no checkpoint record since its last restartpoint.
    Nothing,
}

/// The pages of an engine, as a checkpoint needs them.
pub trait CheckpointPages: Send + Sync {
    /// Takes the redo position and the list of dirty pages in one step: no run is under way, and the pages of all runs
    /// before are published. On a leader the appender is held for that.
    fn begin(&self) -> Begun;

    /// Writes the page to its file if it is dirty, the log first.
    fn write_back(&self, page: PageId) -> Result<(), EngineError>;

    /// Makes everything written to files durable.
    fn sync(&self) -> SyncReport;

    /// How many pages the pool may have, for the report.
    fn capacity(&self) -> usize;

    /// Calls `remove` with the oldest position that somebody besides recovery still needs, as [`LogKeeper::keep`] does.
    ///
    /// [`LogKeeper::keep`]: crate::LogKeeper::keep
    fn keep(&self, log: LogExtent, remove: &mut dyn FnMut(Option<Lsn>));
}
