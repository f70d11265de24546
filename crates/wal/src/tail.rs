//! Whether an unfinished segment simply ends where it stops being valid, or is damaged there.
//!
//! A server cannot tell the end of its log from damage: its segments are recycled, and hold anything. An unfinished
//! segment of an archive tells more: its file is made of zeros and filled from the front. So its WAL ends where it stops
//! being valid if nothing follows, or nothing but the beginning of one record. That beginning must be one: a record
//! whose bytes are all there was complete, and has been damaged since.
//!
//! A damaged length hides how much of a record is there. So every other length is tried, too: one with which the checksum
//! is right, and after which the log ends or goes on with a record that follows, shows that the record was complete. And
//! where only zeros seem to be missing, which a record may well end with, each single bit is tried.

use crate::bytes::Fields;
use crate::crc::Crc;
use crate::page::{PAGE_SIZE, first_record_position};
use crate::record::{CHECKSUMMED_HEADER, RECORD_HEADER};
use crate::{Lsn, SegmentSize, WalError, WalErrorKind};

/// The longest beginning of a record for which other lengths are tried: of a longer one that takes too long.
const LONGEST: usize = 64 << 20;
/// The most zeros that a record is taken to end with, if they are not known to be written.
const ZEROS: usize = PAGE_SIZE;
/// The longest record in which single bits are tried.
const LONGEST_BY_BIT: usize = 1 << 20;
/// How much of a record's header has to be there to tell whose record it is: all but the padding and the checksum, which
/// may be zero.
const TELLING_HEADER: usize = 18;

/// The end of an unfinished segment, and what the validator made of it.
#[derive(Clone, Copy, Debug)]
pub struct Tail<'a> {
    /// The log, as far as the files have it.
    pub log: &'a [u8],
    /// Where it starts: a page boundary, at or before `record`.
    pub start: Lsn,
    /// The size of its segments.
    pub segment_size: SegmentSize,
    /// The record that has not come whole, or is none ([`Validator::record_under_way`](crate::Validator)).
    pub record: Option<Lsn>,
    /// What stopped validation, unless the bytes just ended.
    pub stopped_by: Option<&'a WalError>,
}

impl Tail<'_> {
    /// Whether nothing was lost here that had been complete: no record, and no page.
    pub fn is_clean(&self) -> bool {
        let written = self.written();
        let Some(start) = self.record.filter(|&record| record < written) else {
            return self.stopped_by.is_none_or(|error| error.lsn >= written);
        };
        let record = self.record(start, written);
        match self.stopped_by {
            // A page that is not there yet, or nothing: then it is the record before that has not come whole.
            None => {}
            Some(error) if error.lsn >= written => {}
            Some(error) if error.lsn != start => return false,
            Some(error) => match &error.reason {
                WalErrorKind::Checksum { .. } => {}
                reason => return is_torn_header(&record, reason),
            },
        }
        !was_complete(&record, start)
    }

    /// After the last byte that is not zero.
    fn written(&self) -> Lsn {
        let length = self.log.iter().rposition(|&byte| byte != 0).map_or(0, |last| last + 1);
        self.start.saturating_add(length as u64)
    }

    /// What is there of the record that begins at `start`, up to `written`, without page headers.
    fn record(&self, start: Lsn, written: Lsn) -> Vec<u8> {
        let mut record = Vec::new();
        let mut at = start;
        while at < written && record.len() < LONGEST {
            let page_end = at.saturating_add(PAGE_SIZE as u64 - at.as_u64() % PAGE_SIZE as u64).min(written);
            let bytes = usize::try_from(at.bytes_since(self.start))
                .ok()
                .and_then(|from| self.log.get(from..from + page_end.bytes_since(at) as usize));
            let Some(bytes) = bytes else { break };
            record.extend_from_slice(bytes);
            at = first_record_position(page_end, self.segment_size);
        }
        record
    }
}

/// Whether a record, of which these bytes and perhaps zeros are there, was a whole one.
fn was_complete(record: &[u8], start: Lsn) -> bool {
    let mut fields = Fields::new(record);
    let (Some(claimed), Some(_)) = (fields.u32(), fields.array::<{ RECORD_HEADER - 4 }>()) else {
        return false;
    };
    let claimed = claimed as usize;
    if (RECORD_HEADER..=record.len()).contains(&claimed) {
        return true;
    }
    has_other_length(record, start)
        || (claimed <= record.len() + ZEROS && claimed <= LONGEST_BY_BIT && is_one_bit_off(record, claimed))
}

/// Whether a record's header is only the beginning of one, of which a field made no sense because the rest is missing.
fn is_torn_header(record: &[u8], reason: &WalErrorKind) -> bool {
    match reason {
        WalErrorKind::RecordTooShort(_) => record.len() < 4,
        WalErrorKind::PrevLink { expected, .. } => {
            let there = record.get(8..record.len().min(16)).unwrap_or_default();
            record.len() < TELLING_HEADER && expected.as_u64().to_le_bytes().starts_with(there)
        }
        _ => false,
    }
}

/// Whether the checksum is right with another length than the one claimed, and what follows then is the end of the log or
/// a record that follows the one at `start`.
fn has_other_length(record: &[u8], start: Lsn) -> bool {
    let (Some(header), Some(stored)) = (record.first_chunk::<CHECKSUMMED_HEADER>(), stored_crc(record))
    else {
        return false;
    };
    let claimed = Fields::new(header).u32().unwrap_or(0) as usize;
    let mut header = *header;
    let mut sum = Crc::default();
    let zeros = [0; ZEROS];
    let body = record.get(RECORD_HEADER..).unwrap_or_default();
    for (index, byte) in [0].iter().chain(body).chain(&zeros).enumerate() {
        if index > 0 {
            sum = sum.append(std::slice::from_ref(byte));
        }
        let length = RECORD_HEADER + index;
        header[..4].copy_from_slice(&(length as u32).to_le_bytes());
        if length != claimed && sum.append(&header).value() == stored && goes_on(record, length, start) {
            return true;
        }
    }
    false
}

/// Whether after a record of `length` bytes at `start` nothing comes, or a record that names it.
fn goes_on(record: &[u8], length: usize, start: Lsn) -> bool {
    let next = record.get(length.next_multiple_of(8)..).unwrap_or_default();
    let prev = next.get(8..16).and_then(|bytes| Fields::new(bytes).u64());
    next.is_empty() || prev.is_some_and(|prev| Lsn::new(prev) == start)
}

fn stored_crc(record: &[u8]) -> Option<u32> {
    Fields::new(record.get(CHECKSUMMED_HEADER..RECORD_HEADER)?).u32()
}

/// Whether one flipped bit makes the checksum of a record of `length` bytes, which ends in zeros, right.
///
/// A checksum is linear: a flipped bit changes it by what that bit alone would give, followed by as many zero bytes as
/// bytes follow it. So the bits are gone through from the last byte to the first, one more zero byte at a time.
fn is_one_bit_off(record: &[u8], length: usize) -> bool {
    let Some(stored) = stored_crc(record) else { return false };
    let mut whole = record.to_vec();
    whole.resize(length, 0);
    let difference = stored ^ crate::record::record_crc(&whole);
    // With none it would be whole but for zeros that have not come.
    if difference.count_ones() <= 1 {
        return difference != 0;
    }
    // The order of the sum: the body first, then the header up to the checksum.
    let bytes = length - RECORD_HEADER + CHECKSUMMED_HEADER;
    let mut changes: [u32; 8] = std::array::from_fn(|bit| after_zero_byte(1 << bit));
    for _ in 0..bytes {
        if changes.contains(&difference) {
            return true;
        }
        changes = changes.map(after_zero_byte);
    }
    false
}

/// What a change of a CRC-32C has become after one more byte of zeros.
fn after_zero_byte(change: u32) -> u32 {
    const POLYNOMIAL: u32 = 0x82F6_3B78;
    (0..8).fold(change, |change, _| (change >> 1) ^ if change & 1 == 1 { POLYNOMIAL } else { 0 })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{Record, ResourceManager, Xid};
    use crate::writer::{LogIdentity, LogWriter, Placed};
    use crate::{Expectations, SystemId, TimelineHistory, TimelineId, Validator, WalVersion};

    const START: Lsn = Lsn::new(1 << 20);

    fn size() -> SegmentSize {
        SegmentSize::new(1 << 20).unwrap()
    }

    /// A log with records of these lengths, and zeros after them, and where they lie.
    fn segment(lengths: &[usize]) -> (Vec<u8>, Vec<Placed>) {
        let identity =
            LogIdentity { system_id: SystemId::new(3), segment_size: size(), version: WalVersion::V15 };
        let mut writer = LogWriter::new(identity, TimelineId::FIRST, START, Lsn::new(0x40));
        let place = |&length: &usize| {
            let mut data: Vec<u8> = (0..length).map(|n| (n * 31 + length) as u8).collect();
            // Records end in zeros more often than not.
            data.iter_mut().rev().take(5).for_each(|byte| *byte = 0);
            writer.append(&Record::new(ResourceManager::XLOG, 0x20, Xid::new(900), &data)).unwrap()
        };
        let placed = lengths.iter().map(place).collect();
        let mut log = writer.drain();
        log.resize(log.len() + 3 * PAGE_SIZE, 0);
        (log, placed)
    }

    fn is_clean(log: &[u8]) -> bool {
        let mut validator = Validator::new(START, Expectations::new(size(), TimelineHistory::root()));
        let stopped_by = validator.feed(log).err();
        let record = validator.record_under_way();
        Tail { log, start: START, segment_size: size(), record, stopped_by: stopped_by.as_ref() }.is_clean()
    }

    #[test]
    fn wherever_the_log_was_cut_off_it_ends_cleanly() {
        let (log, placed) = segment(&[100, 60, 9000, 47]);
        assert!(is_clean(&log));
        let end = placed.last().unwrap().end.bytes_since(START) as usize;
        let page_header = |cut: usize| cut > PAGE_SIZE && (1..24).contains(&(cut % PAGE_SIZE));
        for cut in (40..end).filter(|&cut| !page_header(cut) && (cut < 400 || cut % 29 == 0)) {
            let mut cut_off = log.clone();
            cut_off[cut..].fill(0);
            assert!(is_clean(&cut_off), "cut at {cut}");
            assert!(is_clean(&cut_off[..cut]), "ends at {cut}");
        }
    }

    #[test]
    fn one_flipped_bit_in_any_record_is_damage_the_last_one_too() {
        for lengths in [&[100, 60, 47][..], &[100, 9000]] {
            let (mut log, placed) = segment(lengths);
            let from = placed[1].start.bytes_since(START) as usize;
            let end = placed.last().unwrap().end.bytes_since(START) as usize;
            // Of the long record some bytes, all of its header.
            let every: usize = if end > 2000 { 487 } else { 1 };
            let step = |at: &usize| *at < from + 40 || at.is_multiple_of(every);
            for at in (from..end).filter(step) {
                for bit in 0..8 {
                    log[at] ^= 1 << bit;
                    let unimportant = at % PAGE_SIZE == 2 && bit == 2;
                    assert!(unimportant || !is_clean(&log), "bit {bit} at {at} of {from} to {end}");
                    log[at] ^= 1 << bit;
                }
            }
        }
    }

    #[test]
    fn zeros_in_the_middle_and_bytes_behind_the_end_are_damage() {
        let (log, placed) = segment(&[100; 200]);
        let mut holed = log.clone();
        holed[8192..16384].fill(0);
        assert!(!is_clean(&holed));
        let end = placed.last().unwrap().end.bytes_since(START) as usize;
        let mut littered = log;
        littered[end + 5000] = 1;
        assert!(!is_clean(&littered));
    }
}
