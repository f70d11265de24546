//! Whether a page that was read is one that was written (`PageIsVerifiedExtended` in PostgreSQL's bufpage.c).

use super::header::SIZE_AND_VERSION_VALUE;
use super::{HEADER_SIZE, PAGE_SIZE, Page};
use crate::{EngineError, PageId};

const VALID_FLAGS: u16 = 0x0007;

impl Page {
    /// Checks a page that was read as `id`. An all-zero page is fine: its file was extended, and the page itself never
    /// written. Every other page needs its checksum and a header that makes sense, else it is [`EngineError::Damaged`].
    pub fn verify(&self, id: PageId) -> Result<(), EngineError> {
        match self.damage(id.block.as_u32()) {
            None => Ok(()),
            Some(reason) => Err(EngineError::Damaged { page: id, reason }),
        }
    }

    /// Whether the header of a page in memory makes sense: `lower <= upper <= special`, all within the page; or the page is
    /// new.
    pub(crate) fn is_sound(&self) -> bool {
        let (lower, upper, special) = (self.lower(), self.upper(), self.special());
        self.is_new()
            || (usize::from(lower) >= HEADER_SIZE
                && lower <= upper
                && upper <= special
                && usize::from(special) <= PAGE_SIZE)
    }

    fn damage(&self, block: u32) -> Option<String> {
        if self.is_new() {
            let zero = self.bytes().iter().all(|&byte| byte == 0);
            return (!zero).then(|| "its header says that it is new, but it is not all zeros".to_owned());
        }
        let (stored, computed) = (self.stored_checksum(), self.checksum(block));
        if stored != computed {
            return Some(format!("its checksum is {stored:04X}, but its bytes give {computed:04X}"));
        }
        let (lower, upper, special) = (self.lower(), self.upper(), self.special());
        let sane = self.size_and_version() == SIZE_AND_VERSION_VALUE
            && self.flags() & !VALID_FLAGS == 0
            && usize::from(lower) >= HEADER_SIZE
            && lower <= upper
            && upper <= special
            && usize::from(special) <= PAGE_SIZE
            && special.is_multiple_of(8);
        (!sane).then(|| {
            format!(
                "its header makes no sense: flags {:#06x}, lower {lower}, upper {upper}, special {special}, size and \
                 version {:#06x}",
                self.flags(),
                self.size_and_version()
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::TreeId;

    const ID: PageId = PageId::new(TreeId::CATALOG, 7);

    fn written() -> Box<Page> {
        let mut page = Page::zeroed();
        page.init(16);
        page.bytes_mut()[8000] = 1;
        page.set_checksum(7);
        page
    }

    #[test]
    fn what_was_written_is_accepted() {
        written().verify(ID).unwrap();
        Page::zeroed().verify(ID).unwrap();
    }

    #[test]
    fn every_flipped_bit_is_found() {
        for bit in (0..PAGE_SIZE * 8).step_by(61).chain(0..HEADER_SIZE * 8) {
            let mut page = written();
            page.bytes_mut()[bit / 8] ^= 1 << (bit % 8);
            page.verify(ID).expect_err("damaged");
        }
    }

    #[test]
    fn a_page_written_to_the_wrong_place_is_found() {
        let error = written().verify(PageId::new(TreeId::CATALOG, 8)).unwrap_err().to_string();
        assert!(error.starts_with("block 8 of base/5/1259 is damaged: its checksum is "), "{error}");
    }

    #[test]
    fn a_header_that_makes_no_sense_is_found_behind_a_good_checksum() {
        for break_it in [
            |page: &mut Page| page.set_lower(8),
            |page: &mut Page| page.set_lower(page.upper() + 1),
            |page: &mut Page| page.set_special(8180),
            |page: &mut Page| page.set_special(8200),
            |page: &mut Page| page.set_flags(8),
            |page: &mut Page| page.bytes_mut()[18] = 3,
        ] {
            let mut page = written();
            break_it(&mut page);
            page.set_checksum(7);
            let error = page.verify(ID).unwrap_err().to_string();
            assert!(error.contains("makes no sense"), "{error}");
        }
    }

    #[test]
    fn a_zero_page_with_something_on_it_is_damaged() {
        let mut page = Page::zeroed();
        page.bytes_mut()[5000] = 1;
        page.verify(ID).expect_err("not all zeros");
    }
}
