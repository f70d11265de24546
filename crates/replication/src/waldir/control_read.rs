//! Reading a control file that its server may be writing.
//!
//! The server overwrites it in place. Whoever reads at that moment may find the beginning of the new content and the end of
//! the old one, which the checksum tells, and does not tell from damage. There is nothing to wait for: another process, of
//! another program perhaps, writes, holds no lock meanwhile and says nobody when it is through. So a file whose
//! checksum is wrong is read again a few times, after much longer than a write of one sector takes, and is damaged if it is
//! still wrong then. PostgreSQL's tools do the same. Source: `get_controlfile` in `common/controldata_utils.c`.

use std::io;
use std::path::Path;
use std::thread;
use std::time::Duration;

use disk::{Disk, read_file};

use super::{ControlFile, ControlFileError};

/// Longer than any version's.
const MAX_LEN: usize = 64 << 10;
const ATTEMPTS: u32 = 6;
const BETWEEN_ATTEMPTS: Duration = Duration::from_millis(10);

/// What is found: `None` if there is no file.
type Found = Option<Result<ControlFile, ControlFileError>>;

impl ControlFile {
    /// Reads the file at `path`; `None` if there is none. May take a few hundredths of a second if it is being written, or is
    /// damaged.
    ///
    /// # Errors
    /// The system's. What is wrong with the content is in the result.
    pub fn read(disk: &dyn Disk, path: &Path) -> io::Result<Option<Result<Self, ControlFileError>>> {
        until_whole(|| read_once(disk, path), || thread::sleep(BETWEEN_ATTEMPTS))
    }
}

fn read_once(disk: &dyn Disk, path: &Path) -> io::Result<Found> {
    match read_file(disk, path, MAX_LEN) {
        Ok(bytes) => Ok(Some(ControlFile::parse(&bytes))),
        Err(error) => match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => Ok(None),
            io::ErrorKind::InvalidData => Ok(Some(Err(ControlFileError::Long))),
            _ => Err(error),
        },
    }
}

/// Reads until the checksum is right, or has been wrong often enough, and pauses in between.
fn until_whole(mut read: impl FnMut() -> io::Result<Found>, mut pause: impl FnMut()) -> io::Result<Found> {
    let mut attempts = 1;
    loop {
        match read()? {
            Some(Err(ControlFileError::Checksum { .. })) if attempts < ATTEMPTS => {
                attempts += 1;
                pause();
            }
            found => return Ok(found),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use wal::Lsn;

    use super::*;
    use crate::waldir::control::sample;

    #[test]
    fn a_file_that_is_being_written_is_read_again_and_one_that_stays_wrong_is_damaged() {
        let whole = sample(1300, Lsn::new(0x100_0028), 1 << 20);
        let mut torn = whole.clone();
        torn[40] ^= 1;
        for written_after in [0, 1, ATTEMPTS - 1, ATTEMPTS, u32::MAX] {
            let (reads, pauses) = (Cell::new(0), Cell::new(0));
            let read = || {
                let bytes = if reads.replace(reads.get() + 1) < written_after { &torn } else { &whole };
                Ok(Some(ControlFile::parse(bytes)))
            };
            let found = until_whole(read, || pauses.set(pauses.get() + 1)).unwrap().unwrap();
            let is_damaged = matches!(found, Err(ControlFileError::Checksum { .. }));
            assert_eq!(is_damaged, written_after >= ATTEMPTS, "{written_after}: {found:?}");
            assert_eq!(
                (reads.get(), pauses.get()),
                if is_damaged { (ATTEMPTS, ATTEMPTS - 1) } else { (written_after + 1, written_after) }
            );
        }
    }
}
