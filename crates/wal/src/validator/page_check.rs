//! Checks of page headers: that the page belongs where it stands, and that it continues what the page before began.

use super::{Overwrite, Phase, Validator, WalError, WalErrorKind};
use crate::Lsn;
use crate::page::{LONG_HEADER, LongHeader, PAGE_SIZE, PageError, PageFlags, PageHeader, SHORT_HEADER};

impl Validator {
    /// Takes bytes of the header of the page at or before `position`; checks it once it is complete.
    pub(super) fn take_page_header(&mut self, bytes: &[u8]) -> Result<usize, WalError> {
        let mut taken = 0;
        for complete_at in [SHORT_HEADER, LONG_HEADER] {
            let wanted = complete_at.saturating_sub(self.page_header_len);
            let (Some(bytes), Some(room)) =
                (bytes.get(taken..), self.page_header.get_mut(self.page_header_len..complete_at))
            else {
                continue;
            };
            let count = wanted.min(bytes.len());
            for (to, from) in room.iter_mut().zip(bytes) {
                *to = *from;
            }
            self.page_header_len += count;
            self.position += count as u64;
            taken += count;
            if count < wanted {
                return Ok(taken);
            }
            let page = self.position - complete_at as u64;
            match PageHeader::decode(self.page_header.get(..complete_at).unwrap_or_default()) {
                Ok(header) => {
                    self.check_page(page, &header)?;
                    self.page_header_len = 0;
                    self.in_page = true;
                    return Ok(taken);
                }
                // A long header, of which the short part is fine.
                Err(PageError::Short(_)) => {}
                Err(error) => return Err(self.error_at(page, error)),
            }
        }
        Ok(taken)
    }

    fn check_page(&mut self, page: u64, header: &PageHeader) -> Result<(), WalError> {
        self.check_origin(header).map_err(|reason| self.error_at(page, reason))?;
        self.check_place(page, header).map_err(|reason| self.error_at(page, reason))?;
        self.check_continuation(page, header)?;
        self.version = Some(header.version);
        self.page_timeline = Some(header.timeline);
        if let Some(long) = header.long {
            self.system_id = Some(long.system_id);
        }
        self.fresh = false;
        Ok(())
    }

    /// Whether the page was written by the right server.
    fn check_origin(&self, header: &PageHeader) -> Result<(), WalErrorKind> {
        if let Some(expected) = self.version.filter(|&expected| expected != header.version) {
            return Err(WalErrorKind::Version { found: header.version, expected });
        }
        let Some(LongHeader { system_id, segment_size, block_size }) = header.long else { return Ok(()) };
        if let Some(expected) = self.system_id.filter(|&expected| expected != system_id) {
            return Err(WalErrorKind::SystemId { found: system_id, expected });
        }
        let expected = self.expect.segment_size.bytes();
        if segment_size != expected {
            return Err(WalErrorKind::SegmentSize { found: segment_size, expected });
        }
        if block_size as usize != PAGE_SIZE {
            return Err(WalErrorKind::BlockSize(block_size));
        }
        Ok(())
    }

    /// Whether the page belongs at this position of this timeline. The page that holds a switch point was begun before
    /// it and keeps the old timeline, so a page's timeline is the one that wrote its first byte.
    fn check_place(&self, page: u64, header: &PageHeader) -> Result<(), WalErrorKind> {
        let page = Lsn::new(page);
        if header.long.is_none() && self.expect.segment_size.offset_of(page) == 0 {
            return Err(WalErrorKind::MissingLongHeader);
        }
        if header.page_addr != page {
            return Err(WalErrorKind::PageAddress(header.page_addr));
        }
        let timelines = &self.expect.timelines;
        let (found, expected) = (header.timeline, timelines.timeline_at(page));
        if found == expected {
            Ok(())
        } else if timelines.contains(found) {
            Err(WalErrorKind::Timeline { found, expected })
        } else {
            Err(WalErrorKind::ForeignTimeline(found))
        }
    }

    /// Whether the page continues what the page before began. What does not fit is blamed on the unfinished record.
    fn check_continuation(&mut self, page: u64, header: &PageHeader) -> Result<(), WalError> {
        let continued = header.flags.contains(PageFlags::FIRST_IS_CONTRECORD);
        let overwritten = header.flags.contains(PageFlags::FIRST_IS_OVERWRITE_CONTRECORD);
        let (blame, left, aborted) = match self.phase {
            Phase::Fragment => (self.fragments.start(), self.fragments.left(), self.fragments.aborted()),
            Phase::Skip(left) => (page, left, Overwrite::Unknown),
            _ => return self.check_page_between_records(page, header),
        };
        if overwritten && !continued {
            self.phase = Phase::Record;
            self.overwrite = aborted;
            return Ok(());
        }
        let reason = if overwritten {
            WalErrorKind::UnexpectedContinuation
        } else if !continued {
            WalErrorKind::MissingContinuation(Lsn::new(page))
        } else if header.rem_len != left {
            WalErrorKind::ContinuationLength { page: Lsn::new(page), found: header.rem_len, expected: left }
        } else {
            return Ok(());
        };
        let blame = if overwritten { page } else { blame };
        Err(self.error_at(blame, reason))
    }

    /// A page that begins with a record, or where the validator begins.
    fn check_page_between_records(&mut self, page: u64, header: &PageHeader) -> Result<(), WalError> {
        let continued = header.flags.contains(PageFlags::FIRST_IS_CONTRECORD);
        let overwritten = header.flags.contains(PageFlags::FIRST_IS_OVERWRITE_CONTRECORD);
        let reason = match (continued, overwritten) {
            (false, false) if header.rem_len == 0 => return Ok(()),
            (true, false) if self.fresh && header.rem_len != 0 => {
                self.phase = Phase::Skip(header.rem_len);
                return Ok(());
            }
            (false, true) if self.fresh && header.rem_len == 0 => {
                self.overwrite = Overwrite::Unknown;
                return Ok(());
            }
            (true, _) => WalErrorKind::UnexpectedContinuation,
            (false, true) => WalErrorKind::UnexpectedOverwrite,
            (false, false) => {
                WalErrorKind::ContinuationLength { page: Lsn::new(page), found: header.rem_len, expected: 0 }
            }
        };
        Err(self.error_at(page, reason))
    }
}
