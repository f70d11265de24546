//! The one way to read a log from files and believe it: a walk forward, in pieces, through the [`Validator`].
//!
//! Where the bytes come from is the caller's ([`LogBytes`]): a directory's segments, a backup's, a server's `pg_wal`. What
//! they are worth is decided here alone. A walk never looks back and holds one buffer; it stops at the first byte that is
//! not WAL, and can be gone on with from wherever it got to. Bytes that are pushed instead (a leader's stream, a backup's
//! archive) are fed to the validator as they come, and replay, which wants the records too, reads them by
//! [`Records`](crate::reader::Records); all of them are judged by the same validator.

use crate::{Lsn, Validator, WalError};

/// Small enough to stay in a core's cache between being read and being validated.
const PIECE: usize = 256 << 10;

/// Bytes of a log, by position.
pub trait LogBytes {
    /// Why they could not be read.
    type Error;

    /// Reads from `lsn` on into `buf`, and says how many bytes; 0 where there are no more.
    fn read_at(&mut self, lsn: Lsn, buf: &mut [u8]) -> Result<usize, Self::Error>;
}

impl<E, F: FnMut(Lsn, &mut [u8]) -> Result<usize, E>> LogBytes for F {
    type Error = E;

    fn read_at(&mut self, lsn: Lsn, buf: &mut [u8]) -> Result<usize, E> {
        self(lsn, buf)
    }
}

/// Why a walk does not get any further.
#[derive(Debug)]
pub enum Stop<E> {
    /// What comes is not WAL.
    Invalid(WalError),
    /// Nothing comes: the bytes end at [`Validator::position`].
    Ended,
    /// It could not be read.
    Unreadable(E),
}

/// A walk over a log.
#[derive(Debug)]
pub struct Walk {
    validator: Validator,
    buffer: Vec<u8>,
    /// Bytes read, for whoever shows progress.
    read: u64,
}

impl Walk {
    /// Walks on from where `validator` stands.
    pub fn new(validator: Validator) -> Self {
        Self { validator, buffer: Vec::new(), read: 0 }
    }

    /// What is known of the log so far.
    pub fn validator(&self) -> &Validator {
        &self.validator
    }

    /// What is known of the log so far, for those who go on by themselves.
    pub fn into_validator(self) -> Validator {
        self.validator
    }

    /// How many bytes were read.
    pub fn read(&self) -> u64 {
        self.read
    }

    /// Walks up to `limit`, in steps that end there at the latest.
    ///
    /// # Errors
    /// Whatever stops it before `limit`. After [`Stop::Invalid`] every further walk stops the same way.
    pub fn advance<S: LogBytes>(&mut self, source: &mut S, limit: Lsn) -> Result<(), Stop<S::Error>> {
        while self.validator.position() < limit {
            self.step(source, limit)?;
        }
        Ok(())
    }

    /// One step towards `limit`: as much as is read at once.
    ///
    /// # Errors
    /// As [`Walk::advance`].
    pub fn step<S: LogBytes>(&mut self, source: &mut S, limit: Lsn) -> Result<(), Stop<S::Error>> {
        let at = self.validator.position();
        let wanted = usize::try_from(limit.bytes_since(at)).unwrap_or(PIECE).min(PIECE);
        if self.buffer.len() < wanted {
            self.buffer.resize(wanted, 0);
        }
        let (buffer, _) = self.buffer.split_at_mut(wanted);
        let count = source.read_at(at, buffer).map_err(Stop::Unreadable)?;
        let Some(bytes) = buffer.get(..count).filter(|bytes| !bytes.is_empty()) else {
            return Err(Stop::Ended);
        };
        self.read += count as u64;
        self.validator.feed(bytes).map_err(Stop::Invalid)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{Record, ResourceManager, Xid};
    use crate::writer::{LogIdentity, LogWriter};
    use crate::{Expectations, SegmentSize, SystemId, TimelineHistory, TimelineId, WalVersion};

    const START: Lsn = Lsn::new(1 << 20);

    fn log() -> Vec<u8> {
        let segment_size = SegmentSize::new(1 << 20).unwrap();
        let identity = LogIdentity { system_id: SystemId::new(3), segment_size, version: WalVersion::V15 };
        let mut writer = LogWriter::new(identity, TimelineId::FIRST, START, Lsn::INVALID);
        for _ in 0..300 {
            writer.append(&Record::new(ResourceManager::XLOG, 0x20, Xid::INVALID, &[7; 3000])).unwrap();
        }
        writer.drain()
    }

    fn walk() -> Walk {
        let size = SegmentSize::new(1 << 20).unwrap();
        Walk::new(Validator::new(START, Expectations::new(size, TimelineHistory::root())))
    }

    fn from(log: &[u8]) -> impl FnMut(Lsn, &mut [u8]) -> Result<usize, &'static str> + '_ {
        |lsn, buf| {
            let rest = log.get(lsn.bytes_since(START) as usize..).ok_or("before the log")?;
            let count = rest.len().min(buf.len());
            buf[..count].copy_from_slice(&rest[..count]);
            Ok(count)
        }
    }

    #[test]
    fn goes_to_the_limit_and_on_from_there() {
        let log = log();
        let (mut walk, mut source) = (walk(), from(&log));
        let middle = START.saturating_add(500_001);
        walk.advance(&mut source, middle).unwrap();
        assert_eq!(walk.validator().position(), middle);
        let end = START.saturating_add(log.len() as u64);
        walk.advance(&mut source, end).unwrap();
        assert_eq!((walk.validator().record_end(), walk.read()), (end, log.len() as u64));
        assert!(matches!(walk.advance(&mut source, Lsn::MAX), Err(Stop::Ended)));
    }

    #[test]
    fn stops_at_what_is_no_wal_and_at_what_cannot_be_read() {
        let mut log = log();
        log[600_000] ^= 1;
        let mut walk = walk();
        let stopped = walk.advance(&mut from(&log), Lsn::MAX);
        assert!(matches!(stopped, Err(Stop::Invalid(_))), "{stopped:?}");
        assert!(walk.validator().record_end() <= START.saturating_add(600_000));
        let unreadable = walk.advance(&mut |_, _: &mut [u8]| Err("broken"), Lsn::MAX);
        assert!(matches!(unreadable, Err(Stop::Unreadable("broken"))));
    }
}
