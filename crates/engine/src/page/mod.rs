//! Pages: PostgreSQL's page header and data checksum.

/// Bytes in a page.
pub const PAGE_SIZE: usize = 8192;

/// A page's bytes, aligned so that they may go to disk directly.
#[derive(Clone)]
#[repr(C, align(4096))]
pub struct Page([u8; PAGE_SIZE]);
