//! Why a checkpoint is made.

use std::fmt;

/// What asks for a checkpoint.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Cause {
    /// `checkpoint_timeout` is over.
    Time,
    /// The log has grown.
    Wal,
    /// The disk has no space for more of the log: at full speed, if anything was logged since the last one.
    LogFull,
    /// The CHECKPOINT statement, or a base backup that does not want to wait: at full speed, even if nothing has changed.
    Immediate,
    /// A base backup that has time: spread over time, even if nothing has changed.
    Spread,
    /// Recovery is over: at full speed.
    EndOfRecovery,
    /// The engine stops: at full speed, and nothing is appended afterwards.
    Shutdown,
}

impl Cause {
    /// Whether pages are written without pauses.
    pub(super) fn is_immediate(self) -> bool {
        !matches!(self, Self::Time | Self::Wal | Self::Spread)
    }

    /// Whether a checkpoint is made even if nothing was appended since the last one.
    pub(super) fn is_forced(self) -> bool {
        !matches!(self, Self::Time | Self::LogFull)
    }

    /// Whether nothing is appended between the redo position and the record.
    pub(super) fn is_alone(self) -> bool {
        matches!(self, Self::EndOfRecovery | Self::Shutdown)
    }

    /// The more urgent of two; it serves whoever asked for the other.
    pub(super) fn or(self, other: Self) -> Self {
        if other.urgency() > self.urgency() { other } else { self }
    }

    fn urgency(self) -> u8 {
        match self {
            Self::Time => 0,
            Self::Wal => 1,
            Self::Spread => 2,
            Self::LogFull => 3,
            Self::Immediate => 4,
            Self::EndOfRecovery => 5,
            Self::Shutdown => 6,
        }
    }
}

impl fmt::Display for Cause {
    /// As PostgreSQL's log has it after "checkpoint starting:".
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Time => "time",
            Self::Wal => "wal",
            Self::LogFull => "immediate wal",
            Self::Immediate => "immediate force wait",
            Self::Spread => "force wait",
            Self::EndOfRecovery => "end-of-recovery immediate wait",
            Self::Shutdown => "shutdown immediate",
        })
    }
}
