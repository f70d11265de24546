//! The fields of a page's header (`PageHeaderData` in PostgreSQL's bufpage.h).

use wal::Lsn;

use super::{HEADER_SIZE, PAGE_SIZE, Page};

/// `pd_lsn`: the high half first, each half little-endian.
const LSN: usize = 0;
const CHECKSUM: usize = 8;
const FLAGS: usize = 10;
const LOWER: usize = 12;
const UPPER: usize = 14;
const SPECIAL: usize = 16;
const SIZE_AND_VERSION: usize = 18;

/// `pd_pagesize_version` of a page of 8192 bytes in layout version 4.
pub(super) const SIZE_AND_VERSION_VALUE: u16 = 0x2004;

impl Page {
    /// Makes this an empty standard page (`PageInit`): header, a hole, and `special_size` zero bytes at the end,
    /// rounded up to a multiple of 8. Everything else, the LSN too, becomes zero.
    pub fn init(&mut self, special_size: u16) {
        let special =
            PAGE_SIZE.saturating_sub(usize::from(special_size).next_multiple_of(8)).max(HEADER_SIZE) as u16;
        self.bytes_mut().fill(0);
        self.set_lower(HEADER_SIZE as u16);
        self.set_upper(special);
        self.set_u16::<SPECIAL>(special);
        self.set_u16::<SIZE_AND_VERSION>(SIZE_AND_VERSION_VALUE);
        assert!(self.is_sound() && !self.is_new(), "an empty page has a header that makes sense");
    }

    /// Whether nobody has initialised this page (`PageIsNew`).
    pub fn is_new(&self) -> bool {
        self.upper() == 0
    }

    /// The end of the run that changed this page last; 0/0 on a new page.
    pub fn lsn(&self) -> Lsn {
        let [a, b, c, d, e, f, g, h] = self.at::<LSN, 8>();
        let high = u32::from_le_bytes([a, b, c, d]);
        let low = u32::from_le_bytes([e, f, g, h]);
        Lsn::new(u64::from(high) << 32 | u64::from(low))
    }

    /// Says that the run ending at `lsn` was the last to change this page.
    pub fn set_lsn(&mut self, lsn: Lsn) {
        let lsn = lsn.as_u64();
        let [a, b, c, d] = ((lsn >> 32) as u32).to_le_bytes();
        let [e, f, g, h] = (lsn as u32).to_le_bytes();
        self.put::<LSN, 8>([a, b, c, d, e, f, g, h]);
    }

    /// `pd_checksum` as it stands: right only on a copy that came from disk or goes there.
    pub fn stored_checksum(&self) -> u16 {
        self.u16::<CHECKSUM>()
    }

    /// Sets `pd_checksum` to what this page's bytes at block `block` of its relation need.
    pub fn set_checksum(&mut self, block: u32) {
        let checksum = self.checksum(block);
        self.set_u16::<CHECKSUM>(checksum);
    }

    /// `pd_flags`: 1 has free line pointers, 2 page full, 4 all visible.
    pub fn flags(&self) -> u16 {
        self.u16::<FLAGS>()
    }

    /// Sets `pd_flags`.
    pub fn set_flags(&mut self, flags: u16) {
        self.set_u16::<FLAGS>(flags);
    }

    /// `pd_lower`: where the hole begins.
    #[inline]
    pub fn lower(&self) -> u16 {
        self.u16::<LOWER>()
    }

    /// Sets `pd_lower`.
    #[inline]
    pub fn set_lower(&mut self, lower: u16) {
        self.set_u16::<LOWER>(lower);
    }

    /// `pd_upper`: where the hole ends; 0 on a new page.
    #[inline]
    pub fn upper(&self) -> u16 {
        self.u16::<UPPER>()
    }

    /// Sets `pd_upper`.
    #[inline]
    pub fn set_upper(&mut self, upper: u16) {
        self.set_u16::<UPPER>(upper);
    }

    /// `pd_special`: where the special space begins; 8192 if there is none.
    #[inline]
    pub fn special(&self) -> u16 {
        self.u16::<SPECIAL>()
    }

    /// Sets `pd_special`.
    pub fn set_special(&mut self, special: u16) {
        self.set_u16::<SPECIAL>(special);
    }

    /// `pd_pagesize_version`.
    pub(super) fn size_and_version(&self) -> u16 {
        self.u16::<SIZE_AND_VERSION>()
    }

    #[inline]
    fn u16<const AT: usize>(&self) -> u16 {
        u16::from_le_bytes(self.at::<AT, 2>())
    }

    #[inline]
    fn set_u16<const AT: usize>(&mut self, value: u16) {
        self.put::<AT, 2>(value.to_le_bytes());
    }

    #[inline]
    fn at<const AT: usize, const N: usize>(&self) -> [u8; N] {
        let mut field = [0; N];
        field.copy_from_slice(&self.bytes()[AT..AT + N]);
        field
    }

    #[inline]
    fn put<const AT: usize, const N: usize>(&mut self, field: [u8; N]) {
        self.bytes_mut()[AT..AT + N].copy_from_slice(&field);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_initialised_page_has_postgresqls_header() {
        let mut page = Page::zeroed();
        page.bytes_mut().fill(0xAA);
        page.init(16);
        page.set_lsn(Lsn::new(0x0000_0001_0203_0408));
        let header = [
            1, 0, 0, 0, 0x08, 0x04, 0x03, 0x02, 0, 0, 0, 0, 24, 0, 0xF0, 0x1F, 0xF0, 0x1F, 4, 0x20, 0, 0, 0,
            0,
        ];
        assert_eq!(page.bytes()[..24], header);
        assert!(page.bytes()[24..].iter().all(|&byte| byte == 0));
        assert_eq!(page.lsn(), Lsn::new(0x0000_0001_0203_0408));
        assert!(!page.is_new());
        assert!(Page::zeroed().is_new());
    }

    #[test]
    fn the_special_space_is_aligned_and_stays_on_the_page() {
        let mut page = Page::zeroed();
        page.init(0);
        assert_eq!((page.upper(), page.special()), (8192, 8192));
        page.init(13);
        assert_eq!(page.special(), 8176);
        page.init(u16::MAX);
        assert_eq!((page.lower(), page.upper(), page.special()), (24, 24, 24));
    }
}
