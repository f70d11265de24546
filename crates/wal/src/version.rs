//! The PostgreSQL major version that wrote a log, as its page magic tells it.

use std::fmt;

/// A PostgreSQL major version whose WAL this crate reads and writes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum WalVersion {
    /// PostgreSQL 15.
    V15,
    /// PostgreSQL 16.
    V16,
    /// PostgreSQL 17.
    V17,
    /// PostgreSQL 18.
    V18,
}

impl WalVersion {
    /// Every version, oldest first.
    pub const ALL: [Self; 4] = [Self::V15, Self::V16, Self::V17, Self::V18];

    /// The `XLOG_PAGE_MAGIC` of this version (`access/xlog_internal.h`).
    pub const fn magic(self) -> u16 {
        match self {
            Self::V15 => 0xD110,
            Self::V16 => 0xD113,
            Self::V17 => 0xD116,
            Self::V18 => 0xD118,
        }
    }

    /// The version that stamps its pages with `magic`.
    pub const fn from_magic(magic: u16) -> Option<Self> {
        match magic {
            0xD110 => Some(Self::V15),
            0xD113 => Some(Self::V16),
            0xD116 => Some(Self::V17),
            0xD118 => Some(Self::V18),
            _ => None,
        }
    }

    /// The major version number.
    pub const fn major(self) -> u32 {
        match self {
            Self::V15 => 15,
            Self::V16 => 16,
            Self::V17 => 17,
            Self::V18 => 18,
        }
    }

    /// The version of the server with this major version number.
    pub const fn from_major(major: u32) -> Option<Self> {
        match major {
            15 => Some(Self::V15),
            16 => Some(Self::V16),
            17 => Some(Self::V17),
            18 => Some(Self::V18),
            _ => None,
        }
    }
}

impl fmt::Display for WalVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PostgreSQL {}", self.major())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn magic_and_major_lead_back_to_the_version() {
        for version in WalVersion::ALL {
            assert_eq!(WalVersion::from_magic(version.magic()), Some(version));
            assert_eq!(WalVersion::from_major(version.major()), Some(version));
        }
        assert_eq!(WalVersion::from_magic(0xD10D), None);
        assert_eq!(WalVersion::from_major(14), None);
    }
}
