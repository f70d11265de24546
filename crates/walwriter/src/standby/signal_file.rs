//! The file by which a directory says that it is a standby's.

use std::io;
use std::path::Path;

use disk::{Disk, OsDisk, durable_remove};

use crate::process::STANDBY_SIGNAL;

/// Whether `data_directory` is a standby's.
///
/// # Errors
/// The directory cannot be read.
pub fn is_standby(data_directory: &Path) -> io::Result<bool> {
    OsDisk::new().exists(&data_directory.join(STANDBY_SIGNAL))
}

/// The directory is a standby's no more.
pub(super) fn remove_standby_signal(data_directory: &Path) -> io::Result<()> {
    match durable_remove(&OsDisk::new(), &data_directory.join(STANDBY_SIGNAL)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
