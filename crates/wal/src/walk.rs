//! The one way to read a log and believe it: a walk forward, in pieces, through the [`Validator`].
//!
//! Where the bytes come from is the caller's: a directory's segments, a backup's, a server's `pg_wal` ([`LogBytes`]), or an
//! archive that is being unpacked and pushes them ([`Walk::take`]). A leader's stream, which has neither gaps nor an end, is fed
//! to the validator as it comes. What they are worth is decided there alone. A walk never looks back and holds
//! one buffer; it stops at the first byte that is not WAL, and can be gone on with from wherever it got to.
//!
//! A walk for records ([`Walk::for_records`]) serves replay: it keeps what was read until the records in it have been given,
//! and gives them where they lie. So a record is read once, validated once, and copied only if it spans pages; the beginning
//! of one that has not come whole is moved to the buffer's front, once a piece.
//!
//! A walk that unpacks ([`Walk::unpacking`]) is one, too, and looks into compressed page images; PostgreSQL's reader leaves that
//! to replay. It asks the validator whether there are any, so that a log without pays nothing.
//!
//! Invariant: the buffer holds the log from `start` up to where the validator stands, unless that has failed.

use crate::reader::Records;
use crate::record::{BLOCK_SIZE, check_images};
use crate::{Lsn, Validator, WalError};

/// Small enough to stay in a core's cache between being read and being validated.
const PIECE: usize = 256 << 10;
/// The longest record that is kept for its images, in bytes: more than 33 of them and what else the blocks may have take. What is
/// longer is some other data.
const LONGEST_WITH_IMAGES: u64 = 8 << 20;
/// For those who want the records, which are looked at once more: fewer seams, at which what is left is moved.
const PIECE_OF_RECORDS: usize = 1 << 20;

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
    /// The first `held` bytes of the buffer are log, from `start` on.
    held: usize,
    start: Lsn,
    /// In a walk for records: those that begin before have been given. May be ahead of the validator, after a SWITCH.
    given: Option<Lsn>,
    /// Bytes read, for whoever shows progress.
    read: u64,
    unpacking: Option<Unpacking>,
}

/// Whether compressed page images are pages is looked at, too.
#[derive(Debug)]
struct Unpacking {
    page: Box<[u8; BLOCK_SIZE]>,
    /// How many of [`Validator::compressed`] were looked at.
    seen: u64,
    /// The first that was none.
    refused: Option<WalError>,
    /// Of a record that is too long to be kept nothing from here on is; the records that come with its end are not looked into.
    lost: Option<Lsn>,
}

impl Unpacking {
    fn look_into(&mut self, records: Records<'_>) {
        for record in records {
            match check_images(&record.bytes, &mut self.page) {
                Ok(compressed) => self.seen += u64::from(compressed),
                Err(reason) => {
                    self.refused = Some(WalError { lsn: record.start, reason: reason.into() });
                    return;
                }
            }
        }
    }
}

impl Walk {
    /// Walks on from where `validator` stands.
    pub fn new(validator: Validator) -> Self {
        let start = validator.position();
        Self { validator, buffer: Vec::new(), held: 0, start, given: None, read: 0, unpacking: None }
    }

    /// Like [`Walk::new`], keeping what is read for [`Walk::records`]. `validator` stands where a record may be expected: at a
    /// page boundary or where a record ended.
    pub fn for_records(validator: Validator) -> Self {
        let given = Some(validator.position());
        Self { given, ..Self::new(validator) }
    }

    /// Like [`Walk::new`], looking into compressed page images, too: one that does not decompress to a page without its hole
    /// is as good as damaged, because replay ends there.
    pub fn unpacking(validator: Validator) -> Self {
        let seen = validator.compressed();
        let unpacking = Unpacking { page: Box::new([0; BLOCK_SIZE]), seen, refused: None, lost: None };
        Self { unpacking: Some(unpacking), ..Self::for_records(validator) }
    }

    /// Walks on from where `validator` stands instead; the buffer stays.
    pub fn restart(&mut self, validator: Validator) {
        let start = validator.position();
        (self.held, self.start) = (0, start);
        self.given = self.given.map(|_| start);
        if let Some(unpacking) = &mut self.unpacking {
            (unpacking.seen, unpacking.refused, unpacking.lost) = (validator.compressed(), None, None);
        }
        self.validator = validator;
    }

    /// What is known of the log so far.
    pub fn validator(&self) -> &Validator {
        &self.validator
    }

    /// What is known of the log so far, for those who go on by themselves.
    pub fn into_validator(self) -> Validator {
        self.validator
    }

    /// The end of the last record that is good, its compressed images included if those are [looked into](Walk::unpacking);
    /// [`Validator::record_end`] otherwise.
    pub fn record_end(&self) -> Lsn {
        let refused = self.unpacking.as_ref().and_then(|unpacking| unpacking.refused.as_ref());
        refused.map_or(self.validator.record_end(), |error| error.lsn)
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
        self.let_go(at);
        let records_are_wanted = self.given.is_some() && self.unpacking.is_none();
        let piece = if records_are_wanted { PIECE_OF_RECORDS } else { PIECE };
        let wanted = usize::try_from(limit.bytes_since(at)).unwrap_or(piece).min(piece);
        let end = self.held + wanted;
        if self.buffer.len() < end {
            self.buffer.resize(end, 0);
        }
        let room = self.buffer.get_mut(self.held..end).unwrap_or_default();
        let count = source.read_at(at, room).map_err(Stop::Unreadable)?;
        let Some(bytes) = room.get(..count).filter(|bytes| !bytes.is_empty()) else {
            return Err(Stop::Ended);
        };
        self.held += count;
        self.read += count as u64;
        let fed = self.validator.feed(bytes);
        self.unpack().and(fed).map_err(Stop::Invalid)
    }

    /// Looks into the compressed images of the records that have come whole, if that is wanted.
    fn unpack(&mut self) -> Result<(), WalError> {
        let Some(mut unpacking) = self.unpacking.take() else { return Ok(()) };
        let (end, met) = (self.validator.record_end(), self.validator.compressed());
        let lost = unpacking.lost;
        // One whose padding has not come is met already and not given yet.
        if lost.is_some_and(|lost| lost < end) {
            unpacking.seen = met;
        } else if lost.is_none() && unpacking.refused.is_none() && unpacking.seen < met {
            unpacking.look_into(self.records());
        }
        self.pass(self.next_record());
        let position = self.validator.position();
        let is_longest = self.given.is_some_and(|given| position.bytes_since(given) > LONGEST_WITH_IMAGES);
        unpacking.lost = lost.filter(|&lost| end <= lost).or(is_longest.then_some(position));
        if unpacking.lost.is_some() {
            self.pass(position);
        }
        let refused = unpacking.refused.clone();
        self.unpacking = Some(unpacking);
        refused.map_or(Ok(()), Err)
    }

    /// Where the next record is, or where the page header before it is.
    fn next_record(&self) -> Lsn {
        let (size, state) = (self.validator.segment_size(), self.validator.checkpoint());
        let segment_end = size.end_of(size.segment_of(state.record_end));
        if state.switched { segment_end } else { state.record_end }
    }

    /// Takes bytes that came by themselves and lie at `at`: those that come next, up to `limit`. Those that were taken
    /// before are passed over; so is everything where what comes next is not among them. They are not kept.
    ///
    /// # Errors
    /// They are not WAL, and every further walk stops the same way.
    pub fn take(&mut self, at: Lsn, bytes: &[u8], limit: Lsn) -> Result<(), WalError> {
        assert!(self.given.is_none(), "what is taken is not kept for its records");
        let position = self.validator.position();
        let known = usize::try_from(position.bytes_since(at)).unwrap_or(usize::MAX);
        let Some(next) = bytes.get(known..).filter(|_| at <= position) else { return Ok(()) };
        let wanted = usize::try_from(limit.bytes_since(position)).unwrap_or(usize::MAX);
        let next = next.get(..wanted).unwrap_or(next);
        self.read += next.len() as u64;
        let outcome = self.validator.feed(next);
        self.let_go(self.validator.position());
        outcome
    }

    /// The valid records that have come whole and are not [passed](Walk::pass) yet, where they lie in the buffer. None if
    /// this is not a walk for records.
    pub fn records(&self) -> Records<'_> {
        let (size, end) = (self.validator.segment_size(), self.validator.record_end());
        let start = self.given.unwrap_or(end).max(self.start);
        let from = usize::try_from(start.bytes_since(self.start)).unwrap_or(usize::MAX);
        let log = self.buffer.get(from..self.held).unwrap_or_default();
        Records::validated(log, start, size, end)
    }

    /// The records that begin before `position` ([`Records::position`]) are not asked for again.
    pub fn pass(&mut self, position: Lsn) {
        self.given = self.given.map(|given| given.max(position));
    }

    /// Drops what nobody asks for any more of the log up to `at`, where the validator stands.
    fn let_go(&mut self, at: Lsn) {
        // After a failure the validator stands before the end of what was read.
        let held = usize::try_from(at.bytes_since(self.start)).unwrap_or(usize::MAX);
        self.held = self.held.min(held);
        let from = self.given.unwrap_or(at).min(at);
        let gone = usize::try_from(from.bytes_since(self.start)).unwrap_or(usize::MAX).min(self.held);
        if gone > 0 {
            self.buffer.copy_within(gone..self.held, 0);
            self.held -= gone;
        }
        self.start = from.max(self.start);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{
        BlockImage, BlockNumber, BlockRef, Fork, ImageCompression, Record, RelFileLocator, ResourceManager,
        Xid,
    };
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

    /// Every record of `walk` from where it stands, by its start, read as far as it goes.
    fn all_records(mut walk: Walk, log: &[u8], most: usize) -> Vec<(Lsn, Vec<u8>)> {
        let mut all = from(log);
        let mut source = |lsn: Lsn, buf: &mut [u8]| {
            let count = buf.len().min(most);
            all(lsn, &mut buf[..count])
        };
        let mut found = Vec::new();
        loop {
            let outcome = walk.step(&mut source, Lsn::MAX);
            let mut records = walk.records();
            found.extend(records.by_ref().map(|record| (record.start, record.bytes.into_owned())));
            let position = records.position();
            walk.pass(position);
            if outcome.is_err() {
                return found;
            }
        }
    }

    /// Records of many lengths, and a SWITCH among them.
    fn mixed_log() -> Vec<u8> {
        let segment_size = SegmentSize::new(1 << 20).unwrap();
        let identity = LogIdentity { system_id: SystemId::new(3), segment_size, version: WalVersion::V15 };
        let mut writer = LogWriter::new(identity, TimelineId::FIRST, START, Lsn::INVALID);
        for length in [0, 100, 3000, 9000, 40_000, 17, 8_100, 2_500_000, 5, 0, 70_000] {
            writer.append(&Record::new(ResourceManager::XLOG, 0x20, Xid::INVALID, &vec![7; length])).unwrap();
        }
        writer.switch_segment().unwrap();
        for length in [50, 20_000] {
            writer.append(&Record::new(ResourceManager::XLOG, 0x20, Xid::INVALID, &vec![9; length])).unwrap();
        }
        writer.drain()
    }

    #[test]
    fn records_come_once_each_however_the_log_is_cut_and_are_those_of_the_whole() {
        let log = mixed_log();
        let expect = || Expectations::new(SegmentSize::new(1 << 20).unwrap(), TimelineHistory::root());
        let whole: Vec<_> = crate::reader::Records::new(&log, START, expect())
            .map(|record| (record.start, record.bytes.into_owned()))
            .collect();
        assert_eq!(whole.len(), 14);
        for most in [1 << 20, 300_001, 8192, 977] {
            assert_eq!(all_records(Walk::for_records(Validator::new(START, expect())), &log, most), whole);
        }
    }

    #[test]
    fn records_before_what_is_no_wal_are_given_and_then_it_stops() {
        let mut log = mixed_log();
        log[60_000] ^= 1;
        let expect = Expectations::new(SegmentSize::new(1 << 20).unwrap(), TimelineHistory::root());
        let found = all_records(Walk::for_records(Validator::new(START, expect)), &log, 10_000);
        assert_eq!(found.len(), 6);
    }

    #[test]
    fn what_is_pushed_is_taken_once_and_no_further_than_the_limit() {
        let log = log();
        let mut walk = walk();
        let limit = START.saturating_add(400_000);
        let at = |offset: usize| START.saturating_add(offset as u64);
        walk.take(at(0), &log[..100_000], limit).unwrap();
        walk.take(at(0), &log[..50_000], limit).unwrap();
        walk.take(at(150_000), &log[150_000..], limit).unwrap();
        assert_eq!(walk.validator().position(), at(100_000), "after a gap nothing is taken");
        walk.take(at(50_000), &log[50_000..], limit).unwrap();
        walk.take(at(50_000), &log[50_000..], limit).unwrap();
        assert_eq!((walk.validator().position(), walk.read()), (limit, 400_000));
        walk.advance(&mut from(&log), Lsn::MAX).unwrap_err();
        assert_eq!(walk.validator().position(), at(log.len()));
    }

    /// A log with images of each method, some of them in records that span pages; with one that is none, and where.
    fn images(broken: Option<ImageCompression>) -> (Vec<u8>, Lsn) {
        let segment_size = SegmentSize::new(1 << 20).unwrap();
        let identity = LogIdentity { system_id: SystemId::new(3), segment_size, version: WalVersion::V15 };
        images_from(LogWriter::new(identity, TimelineId::FIRST, START, Lsn::INVALID), broken)
    }

    fn images_from(mut writer: LogWriter, broken: Option<ImageCompression>) -> (Vec<u8>, Lsn) {
        let page: [u8; BLOCK_SIZE] = std::array::from_fn(|at| (at / 16) as u8);
        let mut append = |image: BlockImage<'_>, data: &[u8]| {
            let mut record = Record::new(ResourceManager::XLOG, 0xB0, Xid::INVALID, data);
            record.blocks.push(BlockRef {
                id: 0,
                relation: RelFileLocator { tablespace: 1663, database: 5, relation: 16384 },
                fork: Fork::MAIN,
                block: BlockNumber::new(7),
                will_init: false,
                image: Some(image),
                data: &[],
            });
            writer.append(&record).unwrap().start
        };
        let images = [ImageCompression::Pglz, ImageCompression::Lz4, ImageCompression::Zstd]
            .map(|method| BlockImage::of_page(&page, 100..4000).unwrap().compressed(method));
        assert!(images.iter().all(|image| image.compression.is_some()));
        let mut at = Lsn::INVALID;
        for number in 0..600 {
            for image in &images {
                append(image.clone(), &[3; 400]);
                if number == 500 && broken == image.compression {
                    let stored = &image.stored[..image.stored.len() - 3];
                    at = append(BlockImage { stored: stored.into(), ..*image }, &[]);
                }
            }
        }
        (writer.drain(), at)
    }

    #[test]
    fn an_image_that_is_none_is_damage_to_a_walk_that_unpacks_and_to_no_other() {
        let expect = || Expectations::new(SegmentSize::new(1 << 20).unwrap(), TimelineHistory::root());
        let validator = || Validator::new(START, expect());
        let (sound, _) = images(None);
        let mut walk = Walk::unpacking(validator());
        let mut all = from(&sound);
        let mut little = |lsn: Lsn, buf: &mut [u8]| {
            let count = buf.len().min(1001);
            all(lsn, &mut buf[..count])
        };
        assert!(matches!(walk.advance(&mut little, Lsn::MAX), Err(Stop::Ended)));
        assert_eq!((walk.validator().compressed(), walk.record_end()), (1800, walk.validator().record_end()));
        for method in [ImageCompression::Pglz, ImageCompression::Lz4, ImageCompression::Zstd] {
            let (log, at) = images(Some(method));
            let mut walk = Walk::unpacking(validator());
            for _ in 0..2 {
                let stopped = walk.advance(&mut from(&log), Lsn::MAX);
                let Err(Stop::Invalid(error)) = stopped else { panic!("{method:?}: {stopped:?}") };
                assert_eq!(error.lsn, at, "{method:?}: {error}");
                assert_eq!(walk.record_end(), at);
            }
            let mut walk = Walk::new(validator());
            assert!(matches!(walk.advance(&mut from(&log), Lsn::MAX), Err(Stop::Ended)));
        }
    }

    #[test]
    fn a_walk_that_unpacks_keeps_no_record_that_is_longer_than_images_make_it() {
        let segment_size = SegmentSize::new(1 << 20).unwrap();
        let identity = LogIdentity { system_id: SystemId::new(3), segment_size, version: WalVersion::V15 };
        let mut writer = LogWriter::new(identity, TimelineId::FIRST, START, Lsn::INVALID);
        writer.append(&Record::new(ResourceManager::XLOG, 0x20, Xid::INVALID, &vec![7; 20 << 20])).unwrap();
        writer.append(&Record::new(ResourceManager::XLOG, 0x20, Xid::INVALID, &[7; 100])).unwrap();
        let mut log = writer.drain();
        // After it, images are looked into as before.
        let (images, at) = images_from(writer, Some(ImageCompression::Lz4));
        log.extend(images);
        let expect = Expectations::new(segment_size, TimelineHistory::root());
        let mut walk = Walk::unpacking(Validator::new(START, expect));
        let stopped = walk.advance(&mut from(&log), Lsn::MAX);
        assert!(matches!(&stopped, Err(Stop::Invalid(error)) if error.lsn == at), "{stopped:?}, not at {at}");
        assert!(walk.buffer.len() < 10 << 20, "{} bytes are kept", walk.buffer.len());
    }
}
