//! What tells one history of the log from another: timelines and the system identifier.

use std::fmt;

/// The number of a timeline (`TimeLineID`). 1 is the first; a promotion starts the next.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct TimelineId(u32);

impl TimelineId {
    /// The timeline that `initdb` starts.
    pub const FIRST: Self = Self(1);

    /// Timeline `number`. PostgreSQL never uses 0; readers of bytes check for it where it matters.
    pub const fn new(number: u32) -> Self {
        Self(number)
    }

    /// This timeline's number.
    pub const fn as_u32(self) -> u32 {
        self.0
    }

    /// The name of the file that tells this timeline's ancestry, `0000000N.history`.
    pub fn history_file_name(self) -> String {
        format!("{:08X}.history", self.0)
    }
}

impl fmt::Display for TimelineId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// The number that `initdb` gives a cluster and that every copy of it keeps.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct SystemId(u64);

impl SystemId {
    /// The system identifier `number`.
    pub const fn new(number: u64) -> Self {
        Self(number)
    }

    /// This identifier as a number.
    pub const fn as_u64(self) -> u64 {
        self.0
    }
}

impl fmt::Display for SystemId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}
