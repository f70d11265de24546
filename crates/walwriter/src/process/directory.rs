//! What a data directory must be before anything in it is touched.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use anyhow::{Context as _, bail};
use disk::OsDisk;
use replication::waldir::require_walwriters;

/// The version in `PG_VERSION`.
const VERSION: &str = "15";

/// Refuses what is no data directory of walwriter's, or open to others (`checkDataDir`). Writes nothing.
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
    require_walwriters(&OsDisk::new(), directory)?;
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
    use std::sync::Arc;

    use disk::Disk;

    use super::*;

    #[test]
    fn what_is_no_data_directory_of_this_version_is_refused_in_one_line() {
        let root = tempfile::tempdir().unwrap();
        let path = &root.path().join("data");
        let refusal = || check_data_directory(path).unwrap_err().to_string();
        assert!(refusal().contains("could not access directory"));
        fs::create_dir(path).unwrap();
        assert!(refusal().contains("is empty; make a data directory with \"walwriter init\""));
        let disk: Arc<dyn Disk> = Arc::new(OsDisk::new());
        engine::layout::create(&disk, path, &engine::InitOptions::default()).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
        assert!(refusal().contains("invalid permissions"));
        fs::set_permissions(path, fs::Permissions::from_mode(0o750)).unwrap();
        check_data_directory(path).unwrap();
        fs::write(path.join("PG_VERSION"), "14\n").unwrap();
        assert!(refusal().contains("version \"14\""));
        fs::remove_file(path.join("PG_VERSION")).unwrap();
        assert!(refusal().contains("PG_VERSION"));
    }
}
