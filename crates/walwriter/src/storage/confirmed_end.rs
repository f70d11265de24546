//! What an orderly shutdown tells the next start: that every commit in the log was confirmed.
//!
//! `walship.confirmed` holds the LSN where the log ended then. It is there between a shutdown and the next start only,
//! and base backups leave it out, so it never speaks of another history than the directory's.

use std::io;
use std::path::Path;

use disk::{Disk, OpenMode, durable_remove, durable_write};
use wal::Lsn;

const FILE: &str = "walship.confirmed";

/// The end of the log up to which everything is known to be confirmed, 0/0 if nothing is. It is known once only: whatever
/// is appended from now on may make it untrue.
pub(super) fn take(disk: &dyn Disk, directory: &Path) -> io::Result<Lsn> {
    let path = directory.join(FILE);
    let file = match disk.open(&path, OpenMode::Read) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Lsn::INVALID),
        Err(error) => return Err(error),
    };
    let mut text = [0; 32];
    let length = file.read_at(&mut text, 0)?;
    durable_remove(disk, &path)?;
    let text = std::str::from_utf8(text.get(..length).unwrap_or_default()).unwrap_or_default();
    // What cannot be read tells nothing, which is safe.
    Ok(text.trim_end().parse().unwrap_or(Lsn::INVALID))
}

/// Every commit in the log, which ends at `end`, is confirmed, and nobody appends any more.
pub(super) fn leave(disk: &dyn Disk, directory: &Path, end: Lsn) -> io::Result<()> {
    durable_write(disk, &directory.join(FILE), format!("{end}\n").as_bytes())
}

#[cfg(test)]
mod tests {
    use disk::SimDisk;

    use super::*;

    #[test]
    fn the_end_is_told_once() {
        let (disk, directory) = (SimDisk::new(), Path::new("/data"));
        disk.create_dir_all(directory).unwrap();
        assert_eq!(take(&disk, directory).unwrap(), Lsn::INVALID);
        leave(&disk, directory, Lsn::new(0x1_0000_0028)).unwrap();
        assert_eq!(take(&disk, directory).unwrap(), Lsn::new(0x1_0000_0028));
        assert_eq!(take(&disk, directory).unwrap(), Lsn::INVALID);
        durable_write(&disk, &directory.join(FILE), &[0xff; 100]).unwrap();
        assert_eq!(take(&disk, directory).unwrap(), Lsn::INVALID);
    }
}
