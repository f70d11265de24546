//! What a verification has to tell.

use std::fmt;

use serde::Serialize;

/// Something worth telling about an archive. LSNs and file names are as PostgreSQL prints them.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Finding {
    /// There is no WAL at all.
    Empty,
    /// A segment holds bytes that are not valid WAL.
    Damaged {
        /// The file.
        file: String,
        /// Where.
        lsn: String,
        /// Why.
        reason: String,
    },
    /// A segment could not be read, or unpacked, to its end.
    Unreadable {
        /// The file.
        file: String,
        /// Why.
        reason: String,
    },
    /// A file called complete has another length than a segment.
    WrongSize {
        /// The file.
        file: String,
        /// Its length in bytes.
        found: u64,
        /// A segment's.
        expected: u64,
    },
    /// Segments are missing between others of the same history.
    Hole {
        /// The timeline they are missing on.
        timeline: u32,
        /// The first one missing.
        first: String,
        /// The last one missing.
        last: String,
    },
    /// What there is of a segment ends although more is known to have been.
    UnfinishedInside {
        /// The file that has the most of it.
        file: String,
        /// What the whole segment would be called.
        missing: String,
        /// Where that file's WAL ends.
        end: String,
        /// How it is known that there was more.
        evidence: String,
    },
    /// The timeline that is being received is durable further on than its files go: one has been removed.
    Removed {
        /// The file that is missing.
        file: String,
        /// Up to where the receiver says that everything is durable.
        flush: String,
    },
    /// Segments of another cluster than the others.
    Foreign {
        /// The file.
        file: String,
        /// The system identifier in it.
        system: String,
        /// That of most.
        expected: String,
    },
    /// A timeline's history is not here, but a descendant's, which repeats it: `fetch` and `walsender` go by that.
    RepeatedHistory {
        /// Whose.
        timeline: u32,
        /// The file that is missing.
        file: String,
    },
    /// Numbers of timelines of which nothing is known, before one that is: `fetch` and `walsender` make histories for them.
    Skipped {
        /// The first of them.
        first: u32,
        /// The last.
        last: u32,
    },
    /// A file that lies before its timeline begins: no server asks for it.
    Stray {
        /// The file.
        file: String,
        /// Its timeline.
        timeline: u32,
    },
    /// A history says that its timeline began where no record ends.
    BadBegin {
        /// The file with that position.
        file: String,
        /// The timeline.
        timeline: u32,
        /// Where it is said to have begun.
        switch_point: String,
    },
    /// A timeline has segments, but not its history file.
    MissingHistory {
        /// Whose.
        timeline: u32,
        /// The file that is missing.
        file: String,
    },
    /// A history file makes no sense, or contradicts another.
    BadHistory {
        /// Whose.
        timeline: u32,
        /// What is wrong.
        reason: String,
    },
    /// A timeline's copy of the segment in which it left its parent differs from the parent's before that point.
    Divergent {
        /// The timeline.
        timeline: u32,
        /// Its parent.
        parent: u32,
        /// The first byte that differs.
        lsn: String,
        /// The segment.
        file: String,
    },
    /// A timeline goes on with records after the point at which another one left it. Both histories are valid.
    Fork {
        /// The timeline that goes on.
        timeline: u32,
        /// The one that left it.
        child: u32,
        /// Where it did.
        switch_point: String,
        /// Where the older one ends.
        end: String,
    },
    /// The last segment of a timeline is unfinished, and valid up to here.
    Unfinished {
        /// The file.
        file: String,
        /// The end of its last valid record.
        end: String,
    },
}

impl Finding {
    /// Whether something is not proved because of it; the others are notices.
    pub fn is_failure(&self) -> bool {
        !matches!(
            self,
            Self::Fork { .. }
                | Self::Unfinished { .. }
                | Self::RepeatedHistory { .. }
                | Self::Skipped { .. }
                | Self::Stray { .. }
        )
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("no WAL in this directory"),
            Self::Damaged { file, lsn, reason } => {
                write!(f, "damaged: \"{file}\": invalid WAL at {lsn}: {reason}")
            }
            Self::Unreadable { file, reason } => write!(f, "unreadable: \"{file}\": {reason}"),
            Self::WrongSize { file, found, expected } => {
                write!(f, "wrong size: \"{file}\" has {found} bytes, expected {expected}")
            }
            Self::Hole { timeline, first, last } if first == last => {
                write!(f, "hole: segment \"{first}\" of timeline {timeline} is missing")
            }
            Self::Hole { timeline, first, last } => {
                write!(f, "hole: segments \"{first}\" to \"{last}\" of timeline {timeline} are missing")
            }
            Self::UnfinishedInside { file, missing, end, evidence } => {
                write!(
                    f,
                    "hole: \"{file}\" ends at {end} and is all there is of segment \"{missing}\", but {evidence}"
                )
            }
            Self::Removed { file, flush } => {
                write!(
                    f,
                    "hole: \"{file}\" is gone, but its receiver, which is running, calls {flush} durable"
                )
            }
            Self::Foreign { file, system, expected } => {
                write!(f, "foreign: \"{file}\" is of system {system}, the others are of {expected}")
            }
            Self::RepeatedHistory { timeline, file } => write!(
                f,
                "history: \"{file}\" is not there; what timeline {timeline} descends from is told by its descendants'"
            ),
            Self::Skipped { first, last } => {
                write!(
                    f,
                    "skipped: nothing is known of timelines {first} to {last}; fetch makes histories for them"
                )
            }
            Self::Stray { file, timeline } => {
                write!(f, "stray: \"{file}\" lies before timeline {timeline} begins, and nobody asks for it")
            }
            Self::BadBegin { file, timeline, switch_point } => write!(
                f,
                "bad history of timeline {timeline}: no record of \"{file}\" ends at {switch_point}, where it says that the timeline began"
            ),
            Self::MissingHistory { timeline, file } => {
                write!(f, "missing history: \"{file}\", the history of timeline {timeline}, is not there")
            }
            Self::BadHistory { timeline, reason } => {
                write!(f, "bad history of timeline {timeline}: {reason}")
            }
            Self::Divergent { timeline, parent, lsn, file } => write!(
                f,
                "fork: \"{file}\" differs from timeline {parent} at {lsn}, before timeline {timeline} left it"
            ),
            Self::Fork { timeline, child, switch_point, end } => write!(
                f,
                "fork: timeline {child} left timeline {timeline} at {switch_point}, but that goes on to {end}"
            ),
            Self::Unfinished { file, end } => write!(f, "unfinished: \"{file}\" is valid up to {end}"),
        }
    }
}
