//! What a data directory must be before anything in it is touched.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use anyhow::{Context as _, bail};

/// The version in `PG_VERSION`.
const VERSION: &str = "15";

/// Refuses what is no data directory of this version, or open to others (`checkDataDir`).
///
/// # Errors
/// One line that says what is wrong.
pub fn check_data_directory(directory: &Path) -> anyhow::Result<()> {
    let shown = directory.display();
    let metadata =
        fs::metadata(directory).with_context(|| format!("could not access directory \"{shown}\""))?;
    if !metadata.is_dir() {
        bail!("\"{shown}\" is not a directory");
    }
    if metadata.permissions().mode() & 0o027 != 0 {
        bail!(
            "data directory \"{shown}\" has invalid permissions; they should be u=rwx (0700) or u=rwx,g=rx (0750)"
        );
    }
    let version = match fs::read_to_string(directory.join("PG_VERSION")) {
        Ok(version) => version,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            bail!("\"{shown}\" is not a data directory: file \"PG_VERSION\" is missing");
        }
        Err(error) => {
            return Err(error).with_context(|| format!("could not read file \"{shown}/PG_VERSION\""));
        }
    };
    if version.trim() != VERSION {
        let found = version.trim();
        bail!("data directory \"{shown}\" has version {found:?}, which is not the {VERSION} of this server");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_data_directory_of_this_version_is_refused_in_one_line() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path();
        let refusal = || check_data_directory(path).unwrap_err().to_string();
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
        assert!(refusal().contains("invalid permissions"));
        fs::set_permissions(path, fs::Permissions::from_mode(0o750)).unwrap();
        assert!(refusal().contains("PG_VERSION"));
        fs::write(path.join("PG_VERSION"), "14\n").unwrap();
        assert!(refusal().contains("version \"14\""));
        fs::write(path.join("PG_VERSION"), "15\n").unwrap();
        check_data_directory(path).unwrap();
        assert!(check_data_directory(&path.join("none")).is_err());
    }
}
