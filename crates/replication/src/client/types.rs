//! What the commands of a replication connection give back.

use bytes::Bytes;
use wal::{Lsn, SystemId, TimelineId};

use crate::message::Column;

/// A server's version, ordered as numbers are.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ServerVersion(u32);

impl ServerVersion {
    /// `major.minor`, or for majors before 10 `major.minor` of which `minor` is `x * 100 + y`.
    pub const fn new(major: u32, minor: u32) -> Self {
        Self(major.saturating_mul(10_000).saturating_add(minor))
    }

    /// Reads the `server_version` parameter as libpq does: numbers up to the first thing that is none, so that
    /// `15.3 (walship 0.1)`, `15devel` and `15` are fine. `None` if it does not start with a number.
    pub fn parse(text: &str) -> Option<Self> {
        let mut numbers = Vec::new();
        let mut rest = text;
        while numbers.len() < 3 {
            let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
            let Ok(number) = rest.get(..digits)?.parse::<u32>() else { break };
            numbers.push(number);
            match rest.get(digits..)?.strip_prefix('.') {
                Some(tail) => rest = tail,
                None => break,
            }
        }
        match numbers[..] {
            [major, minor, ..] if major >= 10 => Some(Self::new(major, minor)),
            [major, minor, patch] => Some(Self::new(major, minor.saturating_mul(100).saturating_add(patch))),
            [major, minor] => Some(Self::new(major, minor.saturating_mul(100))),
            [major] => Some(Self::new(major, 0)),
            _ => None,
        }
    }

    /// The major version: 15 for 15.3.
    pub const fn major(self) -> u32 {
        self.0 / 10_000
    }

    /// As `server_version_num` counts: 150003 for 15.3.
    pub const fn number(self) -> u32 {
        self.0
    }
}

impl std::fmt::Display for ServerVersion {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (self.major(), self.0 % 10_000) {
            (major @ 10.., minor) => write!(f, "{major}.{minor}"),
            (major, minor) => write!(f, "{major}.{}.{}", minor / 100, minor % 100),
        }
    }
}

/// The rows of one result.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ResultSet {
    /// The columns; empty for a command without rows.
    pub columns: Vec<Column>,
    /// The rows, each as wide as `columns`; `None` is NULL.
    pub rows: Vec<Vec<Option<Bytes>>>,
    /// The tag of the CommandComplete, such as `SELECT`; empty if the server sent none.
    pub tag: String,
}

impl ResultSet {
    /// The text at `row`, `column`; `None` if it is NULL, absent, or not UTF-8.
    pub fn text(&self, row: usize, column: usize) -> Option<&str> {
        std::str::from_utf8(self.rows.get(row)?.get(column)?.as_ref()?).ok()
    }
}

/// The answer to IDENTIFY_SYSTEM.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct IdentifySystem {
    /// Which cluster this is.
    pub system_id: SystemId,
    /// The timeline it is on.
    pub timeline: TimelineId,
    /// A primary's flush position; the end of what a standby has.
    pub flush: Lsn,
    /// The database connected to; `None` on a physical replication connection.
    pub dbname: Option<String>,
}

/// The answer to READ_REPLICATION_SLOT, for a slot that exists.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SlotInfo {
    /// The oldest WAL that the slot keeps; `None` if it reserves nothing yet.
    pub restart_lsn: Option<Lsn>,
    /// The timeline of that position.
    pub timeline: Option<TimelineId>,
}

/// How to create a physical slot.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct SlotOptions {
    /// Dropped when the connection ends, or at its first error.
    pub temporary: bool,
    /// Keep WAL from now on rather than from the first use.
    pub reserve_wal: bool,
}

/// Where the history goes on after a timeline that ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NextTimeline {
    /// The timeline that forked off.
    pub timeline: TimelineId,
    /// Where it did.
    pub start: Lsn,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_read_as_libpq_reads_them() {
        for (text, number) in [
            ("15.3", 150_003),
            ("15.20 (Debian 15.20-0+deb12u1)", 150_020),
            ("15", 150_000),
            ("18devel", 180_000),
            ("9.6.24", 90_624),
            ("9.4beta1", 90_400),
        ] {
            assert_eq!(ServerVersion::parse(text).map(ServerVersion::number), Some(number), "{text}");
        }
        assert_eq!(ServerVersion::parse("walship"), None);
        assert_eq!(ServerVersion::parse("15.3").unwrap().to_string(), "15.3");
        assert_eq!(ServerVersion::parse("15.3").unwrap().major(), 15);
    }
}
