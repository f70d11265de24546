//! The control file of a data directory that is in use.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use disk::{Disk, DiskFile, OpenMode, read_file};
use runtime::sync::Mutex;

use super::ControlFile;
use super::file::FILE_LEN;
use crate::EngineError;
use crate::engine::TimelinePosition;
use crate::fatal::fatal;

/// Reads the control file once, and replaces it from then on.
///
/// The file is overwritten in place and synced, as PostgreSQL does: what is used of it lies in one sector, which a power cut
/// leaves old or new.
#[derive(Debug)]
pub struct ControlStore {
    path: PathBuf,
    file: Box<dyn DiskFile>,
    current: Mutex<ControlFile>,
}

/// Where a data directory's control file is.
pub fn path_in(data_dir: &Path) -> PathBuf {
    data_dir.join("global").join("pg_control")
}

impl ControlStore {
    /// Reads the control file of the directory `data_dir`.
    pub fn open(disk: &Arc<dyn Disk>, data_dir: &Path) -> Result<Self, EngineError> {
        let path = path_in(data_dir);
        let bytes = read_file(&**disk, &path, FILE_LEN);
        let bytes = bytes.map_err(|source| EngineError::file("read", &path, source))?;
        let current = ControlFile::decode(&bytes)
            .map_err(|error| EngineError::Directory(format!("file \"{}\": {error}", path.display())))?;
        let file = disk.open(&path, OpenMode::ReadWrite);
        let file = file.map_err(|source| EngineError::file("open", &path, source))?;
        Ok(Self { path, file, current: Mutex::new(current) })
    }

    /// What the file says now.
    pub fn get(&self) -> ControlFile {
        *self.current.lock()
    }

    /// Pages may be as new as `progress` from now on: raises the minimum recovery point, which never goes back.
    pub(crate) fn admit(&self, progress: TimelinePosition) {
        self.update(|control| {
            if progress.lsn > control.min_recovery_point {
                control.min_recovery_point = progress.lsn;
                control.min_recovery_timeline = progress.timeline;
            }
        });
    }

    /// Changes the file; durable when this returns. That it cannot be is the end of the process.
    pub fn update(&self, change: impl FnOnce(&mut ControlFile)) {
        let mut current = self.current.lock();
        let mut next = *current;
        change(&mut next);
        assert_eq!(next.system_id, current.system_id, "a directory stays one cluster's");
        assert_eq!(next.segment_size, current.segment_size, "a cluster's segments keep their size");
        next.time = unix_seconds();
        let path = self.path.display();
        if let Err(error) = self.file.write_all_at(&next.encode(), 0) {
            fatal(format_args!("could not write to file \"{path}\": {error}"));
        }
        if let Err(error) = self.file.sync_all() {
            fatal(format_args!("could not fsync file \"{path}\": {error}"));
        }
        *current = next;
    }
}

/// Now, as the control file tells the time.
pub(crate) fn unix_seconds() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::ClusterState;
    use crate::control::file::tests::sample;
    use disk::{CrashChoices, SimDisk, durable_write};

    #[test]
    fn a_power_cut_leaves_the_old_content_or_the_new_one() {
        let sim = SimDisk::new();
        sim.create_dir(Path::new("/global")).unwrap();
        sim.sync_dir(Path::new("/")).unwrap();
        durable_write(&sim, Path::new("/global/pg_control"), &sample().encode()).unwrap();
        let settled = sim.operations();
        let disk: Arc<dyn Disk> = Arc::new(sim.clone());
        let store = ControlStore::open(&disk, Path::new("/")).unwrap();
        store.update(|control| control.state = ClusterState::InProduction);
        assert_eq!(store.get().state, ClusterState::InProduction);
        let mut seen = Vec::new();
        for after in settled..=sim.operations() {
            for crashed in sim.crash_states(after, CrashChoices::default()) {
                let disk: Arc<dyn Disk> = Arc::new(crashed);
                let state = ControlStore::open(&disk, Path::new("/")).unwrap().get().state;
                assert!(after < sim.operations() || state == ClusterState::InProduction);
                seen.push(state);
            }
        }
        assert!(seen.contains(&ClusterState::ShutDown));
    }
}
