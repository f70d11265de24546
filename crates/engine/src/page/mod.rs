//! Pages: PostgreSQL's page header and data checksum.
//!
//! A page is 8192 bytes: a header of 24, whatever its owner puts from there up to `pd_lower`, a hole of zeros up to
//! `pd_upper`, more of the owner's bytes up to `pd_special`, and the owner's special space. An all-zero page is a *new*
//! page: valid, and without a checksum. `pd_checksum` is set on the copy that goes to disk and means nothing in memory.

mod checksum;
mod header;
mod memory;
mod shared;
mod verify;

use std::fmt;

pub use shared::SharedPage;

/// Bytes in a page.
pub const PAGE_SIZE: usize = 8192;

/// Bytes in a page's header: `pd_lower` is never less.
pub const HEADER_SIZE: usize = 24;

/// A page's bytes.
#[derive(Clone)]
#[repr(C, align(16))]
pub struct Page([u8; PAGE_SIZE]);

impl Page {
    /// A new page: all zeros.
    pub fn zeroed() -> Box<Self> {
        Box::new(Self([0; PAGE_SIZE]))
    }

    /// Everything, header included.
    pub const fn bytes(&self) -> &[u8; PAGE_SIZE] {
        &self.0
    }

    /// Everything, header included.
    pub const fn bytes_mut(&mut self) -> &mut [u8; PAGE_SIZE] {
        &mut self.0
    }

    /// Makes this page equal to `other`.
    pub fn copy_from(&mut self, other: &Self) {
        self.0.copy_from_slice(&other.0);
    }
}

impl fmt::Debug for Page {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Page")
            .field("lsn", &self.lsn())
            .field("lower", &self.lower())
            .field("upper", &self.upper())
            .field("special", &self.special())
            .finish_non_exhaustive()
    }
}
