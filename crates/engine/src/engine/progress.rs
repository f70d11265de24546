//! How far a directory has come, and whether a history has all of that.
//!
//! A standby's progress is its minimum recovery point, which is never behind a page in its files, and what it has replayed;
//! a leader's is the end of its log. Where a newer timeline left that behind, what the pages show was discarded, and no
//! replay of the newer timeline undoes it. So progress is compared with every history before that is followed.

use wal::{Lsn, TimelineHistory, TimelineId};

use crate::EngineError;

/// Everything of a timeline up to a position may be on the pages.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TimelinePosition {
    /// The timeline of the byte before `lsn`.
    pub timeline: TimelineId,
    /// The end of what may be on the pages.
    pub lsn: Lsn,
}

impl TimelinePosition {
    /// That everything that may be here is in `newer`. `ours` is the history of this progress's timeline as it is known
    /// here: timelines of two histories that have the same number need not be the same.
    ///
    /// # Errors
    /// [`EngineError::Diverged`].
    pub(crate) fn check(&self, ours: &TimelineHistory, newer: &TimelineHistory) -> Result<(), EngineError> {
        if !self.lsn.is_valid() {
            return Ok(());
        }
        // The position at which the two part ways: the first at which they do not name the same timeline.
        let left = ours.parts_from(newer);
        if left.is_none_or(|left| self.lsn <= left) {
            return Ok(());
        }
        Err(EngineError::Diverged { progress: *self, newer: newer.timeline(), left, in_memory: false })
    }
}
