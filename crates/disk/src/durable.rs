//! Steps that leave either the old state or the new one after a power cut, each saying what it syncs and in what
//! order.

use std::io;
use std::path::{Path, PathBuf};

use crate::{Disk, DiskFile, OpenMode};

/// Gives `path` the content `bytes`: after a power cut at any moment the file has its old content (or is missing, if
/// it was) or the new one, and once this returns, the new one.
///
/// Order: write `path.tmp`, sync it, rename it to `path`, sync the directory. One writer at a time for one path; a
/// leftover `.tmp` is overwritten, and where this fails before the rename none is left.
pub fn durable_write(disk: &dyn Disk, path: &Path, bytes: &[u8]) -> io::Result<()> {
    let temporary = with_suffix(path, ".tmp");
    let written = write_anew(disk, &temporary, bytes).and_then(|()| disk.rename(&temporary, path));
    if written.is_err() {
        // Space is what is most likely missing; the error worth telling is the first.
        let _ = disk.remove_file(&temporary);
    }
    written?;
    disk.sync_dir(parent(path))
}

fn write_anew(disk: &dyn Disk, path: &Path, bytes: &[u8]) -> io::Result<()> {
    let file = disk.open(path, OpenMode::Create)?;
    file.set_len(0)?;
    file.write_all_at(bytes, 0)?;
    file.sync_all()
}

/// Renames a file whose content is already synced, and makes the new name durable.
///
/// Order: rename, sync the new name's directory, then the old name's if it is another one.
pub fn durable_rename(disk: &dyn Disk, from: &Path, to: &Path) -> io::Result<()> {
    disk.rename(from, to)?;
    disk.sync_dir(parent(to))?;
    if parent(from) != parent(to) {
        disk.sync_dir(parent(from))?;
    }
    Ok(())
}

/// Removes a file's name, and makes that durable.
pub fn durable_remove(disk: &dyn Disk, path: &Path) -> io::Result<()> {
    disk.remove_file(path)?;
    disk.sync_dir(parent(path))
}

/// Creates a directory and those missing above it, each one's name synced in its parent, outermost first.
pub fn durable_create_dir_all(disk: &dyn Disk, path: &Path) -> io::Result<()> {
    if path.as_os_str().is_empty() || disk.metadata(path).is_ok_and(|found| found.is_dir) {
        return Ok(());
    }
    durable_create_dir_all(disk, parent(path))?;
    disk.create_dir_all(path)?;
    disk.sync_dir(parent(path))
}

/// Writes `len` zero bytes from `offset` on: unlike [`DiskFile::allocate`], the blocks are then initialised, so that
/// a later overwrite and sync changes no file-system metadata.
pub fn fill_zeros(file: &dyn DiskFile, mut offset: u64, mut len: u64) -> io::Result<()> {
    static ZEROS: [u8; 256 << 10] = [0; 256 << 10];
    let at_once = file.zeros_at_once().clamp(1, ZEROS.len()) as u64;
    while len > 0 {
        let count = len.min(at_once);
        file.write_all_at(ZEROS.split_at(count as usize).0, offset)?;
        offset += count;
        len -= count;
    }
    Ok(())
}

fn parent(path: &Path) -> &Path {
    path.parent().unwrap_or(path)
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}
