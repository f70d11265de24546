//! Checks of records: header, link to the one before, checksum, and how the parts fit together.
//!
//! Two ways through: [`Validator::take_records`] checks whole records in place and stops at anything that is not a plain
//! good one; [`Validator::take_fragment`] takes a record as its bytes come, and alone finds fault and names it.

use super::{Overwrite, Padded, Phase, Validator, WalError, WalErrorKind, first_nonzero};
use crate::Lsn;
use crate::bytes::Fields;
use crate::crc::{Crc, Portable, ShortCrc};
use crate::payload::XlogRecord;
use crate::record::{
    CHECKSUMMED_HEADER, MAX_RECORD, MAX_SUB_HEADERS, RECORD_HEADER, RecordHeader, ResourceManager,
    check_structure, record_crc_by,
};

/// The head of an OVERWRITE_CONTRECORD record that says which one was given up: its header, a short sub-header and the
/// LSN.
const OVERWRITE_HEAD: usize = RECORD_HEADER + 2 + 8;
/// The head of a record that says how its parts fit together.
const HEAD: usize = RECORD_HEADER + MAX_SUB_HEADERS;

/// A record of which some bytes have come.
#[derive(Clone, Debug)]
pub(super) struct Fragments {
    start: u64,
    /// `xl_tot_len`, once its 4 bytes have come.
    total: Option<u32>,
    /// How many bytes of the record have come; at least 1, and fewer than `total` while there are more to come.
    got: u32,
    /// Of the bytes after the header.
    crc: Crc,
    /// The record's first bytes, as many as have come and are kept.
    head: [u8; HEAD],
}

impl Default for Fragments {
    fn default() -> Self {
        Self { start: 0, total: None, got: 0, crc: Crc::default(), head: [0; HEAD] }
    }
}

impl Fragments {
    fn begin(&mut self, start: u64) {
        (self.start, self.total, self.got, self.crc) = (start, None, 0, Crc::default());
    }

    pub(super) fn start(&self) -> u64 {
        self.start
    }

    pub(super) fn aborted(&self) -> Overwrite {
        Overwrite::Aborted(Lsn::new(self.start))
    }

    /// How many bytes of the record are to come.
    pub(super) fn left(&self) -> u32 {
        self.total.unwrap_or(0).saturating_sub(self.got)
    }

    /// What is kept of the record.
    fn head(&self) -> &[u8] {
        self.head.get(..self.got as usize).unwrap_or(&self.head)
    }

    /// Takes up to `wanted` bytes off `bytes`; returns how many there were.
    fn take(&mut self, bytes: &[u8], wanted: usize) -> usize {
        let bytes = bytes.get(..wanted).unwrap_or(bytes);
        if let Some(kept) = self.head.get_mut(self.got as usize..) {
            let count = kept.len().min(bytes.len());
            if let (Some(to), Some(from)) = (kept.get_mut(..count), bytes.get(..count)) {
                to.copy_from_slice(from);
            }
        }
        self.got += bytes.len() as u32;
        bytes.len()
    }
}

impl Validator {
    /// Checks records that lie whole in `page`, which begins at a record and ends with its page or with what was fed.
    /// Goes on fragment by fragment where that does not work out. Returns how many bytes were taken.
    pub(super) fn take_records(&mut self, page: &[u8]) -> Result<usize, WalError> {
        let whole = self.take_whole_records(page);
        self.advance(whole);
        match page.get(whole..) {
            None | Some([]) => Ok(whole),
            Some(rest) => {
                self.fragments.begin(self.position);
                self.phase = Phase::Fragment;
                Ok(whole + self.take_fragment(rest)?)
            }
        }
    }

    /// Checks good, ordinary, whole records with their padding; stops at the first that is not.
    fn take_whole_records(&mut self, page: &[u8]) -> usize {
        #[cfg(target_arch = "x86_64")]
        if let Some(sse42) = crate::crc::Sse42::detect() {
            // SAFETY: the processor has SSE 4.2.
            return unsafe { self.take_whole_records_sse42(page, sse42) };
        }
        self.take_whole_records_by(page, Portable)
    }

    /// The loop compiled for a processor whose CRC instruction can then be inlined.
    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "sse4.2")]
    fn take_whole_records_sse42(&mut self, page: &[u8], sse42: crate::crc::Sse42) -> usize {
        self.take_whole_records_by(page, sse42)
    }

    #[inline(always)]
    fn take_whole_records_by(&mut self, page: &[u8], way: impl ShortCrc) -> usize {
        let (Some(mut prev), Overwrite::None) = (self.last_record, self.overwrite) else { return 0 };
        let mut at = 0;
        let mut records = 0;
        while let Some((record, compressed)) = page.get(at..).and_then(|rest| plain_record(rest, prev, way)) {
            prev = self.position + at as u64;
            at += record;
            records += 1;
            self.compressed += u64::from(compressed);
        }
        if records > 0 {
            self.last_record = Some(prev);
            self.record_end = self.position + at as u64;
            self.records += records;
        }
        at
    }

    /// Takes bytes of the record under way, which begin on the same page as they end.
    pub(super) fn take_fragment(&mut self, bytes: &[u8]) -> Result<usize, WalError> {
        let mut taken = 0;
        if (self.fragments.got as usize) < RECORD_HEADER {
            taken = self.fragments.take(bytes, RECORD_HEADER - self.fragments.got as usize);
            self.check_header().map_err(|reason| self.error_at(self.fragments.start, reason))?;
        }
        if self.fragments.got as usize >= RECORD_HEADER {
            let body = bytes.get(taken..).unwrap_or_default();
            let count = self.fragments.take(body, self.fragments.left() as usize);
            self.fragments.crc = self.fragments.crc.append(body.get(..count).unwrap_or(body));
            taken += count;
            if self.fragments.left() == 0 {
                self.check_record().map_err(|reason| self.error_at(self.fragments.start, reason))?;
                self.advance(taken);
                self.end_padded(Padded::Record);
                return Ok(taken);
            }
        }
        self.advance(taken);
        Ok(taken)
    }

    /// Checks as much of the record's header as has come.
    fn check_header(&mut self) -> Result<(), WalErrorKind> {
        let head = self.fragments.head();
        let Some(total) = Fields::new(head).u32() else { return Ok(()) };
        if (total as usize) < RECORD_HEADER {
            return Err(WalErrorKind::RecordTooShort(total));
        }
        if total > MAX_RECORD {
            return Err(WalErrorKind::RecordTooLong(total));
        }
        if let Some(header) = RecordHeader::decode(head) {
            if !header.resource_manager.is_valid() {
                return Err(WalErrorKind::ResourceManager(header.resource_manager.as_u8()));
            }
            match self.last_record.map(Lsn::new) {
                Some(expected) if header.prev != expected => {
                    return Err(WalErrorKind::PrevLink { found: header.prev, expected });
                }
                None if header.prev.as_u64() >= self.fragments.start => {
                    return Err(WalErrorKind::PrevLinkAhead(header.prev));
                }
                _ => {}
            }
        }
        self.fragments.total = Some(total);
        Ok(())
    }

    /// Checks what can only be known of a record that is complete.
    fn check_record(&mut self) -> Result<(), WalErrorKind> {
        let head = self.fragments.head();
        let (Some(header), Some(covered)) = (RecordHeader::decode(head), head.get(..CHECKSUMMED_HEADER))
        else {
            return Err(WalErrorKind::RecordTooShort(self.fragments.got));
        };
        let computed = self.fragments.crc.append(covered).value();
        if header.crc != computed {
            return Err(WalErrorKind::Checksum { found: header.crc, computed });
        }
        let compressed = check_structure(head, self.fragments.got as usize)?;
        self.check_overwrite(&header, head)?;
        self.overwrite = Overwrite::None;
        self.compressed += u64::from(compressed);
        Ok(())
    }

    /// Whether the record says what it has to about one that was given up (`VerifyOverwriteContrecord`).
    fn check_overwrite(&self, header: &RecordHeader, head: &[u8]) -> Result<(), WalErrorKind> {
        if !is_xlog(header, XlogRecord::OVERWRITE_CONTRECORD) {
            return match self.overwrite {
                Overwrite::None => Ok(()),
                Overwrite::Unknown | Overwrite::Aborted(_) => Err(WalErrorKind::MissingOverwrite),
            };
        }
        let named = head.get(OVERWRITE_HEAD - 8..OVERWRITE_HEAD).and_then(|bytes| Fields::new(bytes).u64());
        let named = named.map_or(Lsn::INVALID, Lsn::new);
        match self.overwrite {
            Overwrite::Unknown => Ok(()),
            Overwrite::Aborted(aborted) if aborted == named => Ok(()),
            Overwrite::Aborted(aborted) => Err(WalErrorKind::WrongOverwrite { named, aborted }),
            Overwrite::None => Err(WalErrorKind::WrongOverwrite { named, aborted: Lsn::INVALID }),
        }
    }

    /// Goes on to the padding after what just ended, or past it if there is none.
    fn end_padded(&mut self, ended: Padded) {
        if self.position.is_multiple_of(8) {
            self.complete(ended);
        } else {
            self.phase = Phase::Padding(ended);
        }
    }

    pub(super) fn take_padding(&mut self, bytes: &[u8], after: Padded) -> Result<usize, WalError> {
        let wanted = (self.position.next_multiple_of(8) - self.position) as usize;
        let padding = bytes.get(..wanted).unwrap_or(bytes);
        if let Some(at) = first_nonzero(padding) {
            return Err(self.error_at(self.position + at as u64, WalErrorKind::Padding));
        }
        self.advance(padding.len());
        self.end_padded(after);
        Ok(padding.len())
    }

    fn complete(&mut self, ended: Padded) {
        self.phase = Phase::Record;
        if ended == Padded::Skipped {
            return;
        }
        self.last_record = Some(self.fragments.start);
        self.record_end = self.position;
        self.records += 1;
        let switch = RecordHeader::decode(self.fragments.head()).is_some_and(|header| header.is_switch());
        // One that ends exactly with its segment leaves nothing to fill.
        if switch && !self.at_segment_boundary() {
            self.phase = Phase::Switched;
        }
    }

    pub(super) fn take_skipped(&mut self, bytes: &[u8], left: u32) -> Result<usize, WalError> {
        let count = bytes.len().min(left as usize);
        self.advance(count);
        match left - count as u32 {
            0 => self.end_padded(Padded::Skipped),
            left => self.phase = Phase::Skip(left),
        }
        Ok(count)
    }

    pub(super) fn take_zeros_to_segment_end(&mut self, bytes: &[u8]) -> Result<usize, WalError> {
        let size = u64::from(self.expect.segment_size.bytes());
        let wanted = (size - self.position % size) as usize;
        let zeros = bytes.get(..wanted).unwrap_or(bytes);
        if let Some(at) = first_nonzero(zeros) {
            let switch = self.last_record().unwrap_or_default();
            return Err(self.error_at(self.position + at as u64, WalErrorKind::DataAfterSwitch(switch)));
        }
        self.position += zeros.len() as u64;
        if self.at_segment_boundary() {
            self.phase = Phase::Record;
            self.in_page = false;
            self.record_end = self.position;
        }
        Ok(zeros.len())
    }

    fn at_segment_boundary(&self) -> bool {
        self.position.is_multiple_of(u64::from(self.expect.segment_size.bytes()))
    }
}

/// The length, padding included, of the record that `bytes` begin with, if it is whole, good, follows the one at `prev`
/// and means nothing to the validator; and whether it has a compressed image.
#[inline(always)]
fn plain_record(bytes: &[u8], prev: u64, way: impl ShortCrc) -> Option<(usize, bool)> {
    let header = RecordHeader::decode(bytes)?;
    let total = header.total_length as usize;
    let padded = bytes.get(..total.next_multiple_of(8))?;
    let record = padded.get(..total)?;
    let special = is_xlog(&header, XlogRecord::SWITCH) || is_xlog(&header, XlogRecord::OVERWRITE_CONTRECORD);
    let good = total >= RECORD_HEADER
        && !special
        && header.resource_manager.is_valid()
        && header.prev.as_u64() == prev
        && padding_is_zero(padded, padded.len() - total)
        && header.crc == record_crc_by(way, record);
    if !good {
        return None;
    }
    let compressed = check_structure(record.get(..HEAD).unwrap_or(record), total).ok()?;
    Some((padded.len(), compressed))
}

/// Whether the last `padding` bytes, at most 7, are zero.
#[inline(always)]
fn padding_is_zero(padded: &[u8], padding: usize) -> bool {
    let last = padded.last_chunk().map_or(0, |word| u64::from_le_bytes(*word));
    // In two steps, because shifting by all 64 bits, where there is no padding, is not defined.
    last >> 8 >> (56 - 8 * padding) == 0
}

fn is_xlog(header: &RecordHeader, opcode: u8) -> bool {
    header.resource_manager == ResourceManager::XLOG && header.opcode() == opcode
}
