//! Archives as a server sends them: POSIX ustar, as PostgreSQL's `port/tar.c` and `backup/basebackup.c` write it.
//!
//! The reader is strict and does no I/O: bytes go in as they come off the wire, cut anywhere, and members come out.
//! Names are checked here, once, for everybody who creates files from them. A header is 512 bytes and nothing else is
//! ever buffered, so nothing that a server claims allocates memory.

mod header;
mod number;
mod reader;

pub use header::{BLOCK_SIZE, Header, HeaderError, MemberKind, Owner};
pub use reader::{Event, Reader, TarError};

/// How many zero bytes bring a member of `size` bytes to the next block.
pub const fn padding(size: u64) -> usize {
    (size.wrapping_neg() % BLOCK_SIZE as u64) as usize
}

/// What ends an archive: two blocks of zeros.
pub const TRAILER: [u8; 2 * BLOCK_SIZE] = [0; 2 * BLOCK_SIZE];
