//! Log sequence numbers: byte positions in the write-ahead log.

use std::fmt;
use std::str::FromStr;

/// A byte position in the WAL of one system, counted from the beginning of time (`XLogRecPtr`).
///
/// Printed as PostgreSQL 15 to 18 print it: two upper-case hexadecimal halves without zero padding, `0/1A00028`.
/// Position 0 is never used for a record and means "none" ([`Lsn::INVALID`]).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Lsn(u64);

impl Lsn {
    /// PostgreSQL's `InvalidXLogRecPtr`, 0/0.
    pub const INVALID: Self = Self(0);
    /// The largest position.
    pub const MAX: Self = Self(u64::MAX);

    /// The position `bytes` bytes into the log.
    pub const fn new(bytes: u64) -> Self {
        Self(bytes)
    }

    /// This position as a number of bytes.
    pub const fn as_u64(self) -> u64 {
        self.0
    }

    /// Whether this is a position at all, that is, not 0/0.
    pub const fn is_valid(self) -> bool {
        self.0 != 0
    }

    /// The position `bytes` later, or `None` past the end of the number space.
    pub const fn checked_add(self, bytes: u64) -> Option<Self> {
        match self.0.checked_add(bytes) {
            Some(sum) => Some(Self(sum)),
            None => None,
        }
    }

    /// The position `bytes` later, staying at [`Lsn::MAX`] on overflow.
    pub const fn saturating_add(self, bytes: u64) -> Self {
        Self(self.0.saturating_add(bytes))
    }

    /// How many bytes lie from `earlier` up to here; 0 if `earlier` is in fact later.
    pub const fn bytes_since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }

    /// The next multiple of 8 at or after this position, where a record may start (`MAXALIGN`).
    pub const fn align8(self) -> Self {
        Self(self.0.saturating_add(7) & !7)
    }
}

impl fmt::Display for Lsn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:X}/{:X}", self.0 >> 32, self.0 & 0xFFFF_FFFF)
    }
}

impl fmt::Debug for Lsn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A text that is not an LSN.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid LSN \"{0}\": expected two hexadecimal numbers such as 0/1A00028")]
pub struct ParseLsnError(String);

impl FromStr for Lsn {
    type Err = ParseLsnError;

    /// Accepts what `pg_lsn_in` accepts: one to eight hexadecimal digits on either side of the slash.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let half = |digits: &str| {
            let well_formed =
                (1..=8).contains(&digits.len()) && digits.bytes().all(|digit| digit.is_ascii_hexdigit());
            if well_formed { u64::from_str_radix(digits, 16).ok() } else { None }
        };
        text.split_once('/')
            .and_then(|(high, low)| Some(Self(half(high)? << 32 | half(low)?)))
            .ok_or_else(|| ParseLsnError(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prints_and_parses_as_postgresql_does() {
        let lsn = Lsn::new(0x1_0000_0028);
        assert_eq!(lsn.to_string(), "1/28");
        assert_eq!("1/28".parse(), Ok(lsn));
        assert_eq!("00000001/00000028".parse(), Ok(lsn));
        assert_eq!("ffffffff/FFFFFFFF".parse(), Ok(Lsn::MAX));
    }

    #[test]
    fn refuses_what_is_not_an_lsn() {
        for text in ["", "/", "1", "1/", "/1", "1/2/3", "g/1", "+1/1", "123456789/0", "0/ 1"] {
            assert!(text.parse::<Lsn>().is_err(), "{text:?}");
        }
    }
}
