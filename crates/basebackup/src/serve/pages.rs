//! Reading a relation file that is written to at the same time.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;

use engine::page::{PAGE_SIZE, Page};
use wal::Lsn;

/// How often a page whose checksum is wrong is read again before it is believed: whoever is writing it is done by then.
const ATTEMPTS: u32 = 8;

/// Verifies `pages`, read from `offset` of `file` on, whose first is block `first` of its tree; reads torn ones again.
/// Returns the blocks that are damaged.
///
/// As in PostgreSQL, a page changed since `start` is not looked at: the WAL brings it back whole.
pub(super) fn verify(
    file: &File,
    offset: u64,
    pages: &mut [u8],
    first: u32,
    start: Lsn,
) -> io::Result<Vec<u32>> {
    let mut damaged = Vec::new();
    let mut page = Page::zeroed();
    for (index, bytes) in pages.chunks_exact_mut(PAGE_SIZE).enumerate() {
        let block = first.wrapping_add(index as u32);
        let at = offset + (index * PAGE_SIZE) as u64;
        let mut attempt = 0;
        loop {
            page.bytes_mut().copy_from_slice(bytes);
            if is_sound(&page, block, start) {
                break;
            }
            attempt += 1;
            if attempt == ATTEMPTS {
                damaged.push(block);
                break;
            }
            std::thread::yield_now();
            file.read_exact_at(bytes, at)?;
        }
    }
    Ok(damaged)
}

fn is_sound(page: &Page, block: u32, start: Lsn) -> bool {
    page.is_new() || page.lsn() >= start || page.stored_checksum() == page.checksum(block)
}
