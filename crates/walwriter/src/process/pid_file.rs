//! `postmaster.pid`: who serves a data directory, and where, for PostgreSQL's tools and scripts (`pidfile.h`). It tells, and
//! it keeps servers out that know nothing of our locks: [`super::claim`] decides about one that is there already.
//!
//! Only the file of this very process is ever replaced or removed, and nobody else may read it.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use runtime::sync::Mutex;

/// The file's name.
pub(super) const NAME: &str = "postmaster.pid";

/// What walwriter writes in the eighth line, and PostgreSQL too; the seventh, for shared memory, is empty in ours alone.
pub(super) const STATES: [&str; 4] = ["starting", "ready", "standby", "stopping"];

/// What the file says.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PidFileContent {
    /// The server's process.
    pub pid: u32,
    /// When it started, in seconds since 1970.
    pub started_at: u64,
    /// Its port; `None` until it listens.
    pub port: Option<u16>,
    /// The directory of its first Unix socket; empty if there is none.
    pub socket_directory: String,
    /// The first address that it listens on; empty if there is none.
    pub listen_address: String,
    /// `starting`, `ready`, `standby` or `stopping`.
    pub status: String,
}

/// The file of this process. Removed when dropped, unless it is somebody else's by then.
#[derive(Debug)]
pub struct PidFile {
    path: PathBuf,
    directory: PathBuf,
    content: PidFileContent,
}

impl PidFile {
    /// Makes the file, durably. There must be none: whose it is that is there is to be found out before.
    ///
    /// # Errors
    /// `AlreadyExists`, and what else the system has to say.
    pub(super) fn create(directory: &Path) -> io::Result<Self> {
        let started_at = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let status = "starting".to_owned();
        let content =
            PidFileContent { pid: std::process::id(), started_at, status, ..PidFileContent::default() };
        let directory = fs::canonicalize(directory)?;
        let path = directory.join(NAME);
        let mut options = OpenOptions::new();
        let mut created = options.write(true).create_new(true).mode(0o600).open(&path)?;
        // From here on it goes again if anything fails.
        let file = Self { path, directory, content };
        created.write_all(file.text().as_bytes())?;
        created.sync_all()?;
        fs::File::open(&file.directory)?.sync_all()?;
        Ok(file)
    }

    /// Changes what the file says.
    ///
    /// # Errors
    /// The system's.
    pub fn update(&mut self, change: impl FnOnce(&mut PidFileContent)) -> io::Result<()> {
        change(&mut self.content);
        self.write()
    }

    fn write(&self) -> io::Result<()> {
        if !self.is_own()? {
            return Err(io::Error::other("it is not this server's any more"));
        }
        // Whoever reads meanwhile finds the old or the new file, never half of one.
        let temporary = self.path.with_extension("pid.tmp");
        match fs::remove_file(&temporary) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut options = OpenOptions::new();
        options
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&temporary)?
            .write_all(self.text().as_bytes())?;
        fs::rename(&temporary, &self.path)
    }

    fn text(&self) -> String {
        let PidFileContent { pid, started_at, port, socket_directory, listen_address, status } =
            &self.content;
        let port = port.map_or_else(String::new, |port| port.to_string());
        let directory = self.directory.display();
        // The seventh line is for shared memory, of which there is none. The status has eight characters, so that
        // PostgreSQL can overwrite it in place.
        format!(
            "{pid}\n{directory}\n{started_at}\n{port}\n{socket_directory}\n{listen_address}\n\n{status:<8}\n"
        )
    }

    /// Whether the file that is there is the one that was made here.
    fn is_own(&self) -> io::Result<bool> {
        let text = fs::read_to_string(&self.path)?;
        // One that a full disk has cut short is, too: nobody else has made it since.
        let pid = text.lines().next().unwrap_or_default();
        Ok(pid.is_empty() || pid == self.content.pid.to_string())
    }

    /// Reads the file of a directory; `None` if there is none, or if it is not one.
    ///
    /// # Errors
    /// The system's, but for a missing file.
    pub fn read(directory: &Path) -> io::Result<Option<PidFileContent>> {
        let text = match fs::read_to_string(directory.join(NAME)) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let lines: Vec<&str> = text.lines().collect();
        let line = |number: usize| lines.get(number).copied().unwrap_or_default().trim();
        let Ok(pid) = line(0).parse() else { return Ok(None) };
        Ok(Some(PidFileContent {
            pid,
            started_at: line(2).parse().unwrap_or_default(),
            port: line(3).parse().ok(),
            socket_directory: line(4).to_owned(),
            listen_address: line(5).to_owned(),
            status: line(7).to_owned(),
        }))
    }
}

impl Drop for PidFile {
    fn drop(&mut self) {
        let removed = match self.is_own() {
            Ok(true) => fs::remove_file(&self.path),
            Ok(false) => Ok(()),
            Err(error) => Err(error),
        };
        match removed {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                tracing::warn!("could not remove postmaster.pid, which the next start replaces: {error}");
            }
            _ => {}
        }
    }
}

/// The file of a server that runs, for all of its threads that have something to tell in it.
#[derive(Debug)]
pub(super) struct SharedPidFile(Mutex<Option<PidFile>>);

impl SharedPidFile {
    pub(super) fn new(file: PidFile) -> Self {
        Self(Mutex::new(Some(file)))
    }

    /// Changes what the file says, as long as it is there.
    pub(super) fn tell(&self, change: impl FnOnce(&mut PidFileContent)) {
        let mut file = self.0.lock();
        if let Some(Err(error)) = file.as_mut().map(|file| file.update(change)) {
            tracing::warn!("could not write postmaster.pid: {error}");
        }
    }

    /// Removes the file for good, whoever may still be about to tell something. To be called with the directory's lock
    /// held: afterwards it could be another server's.
    pub(super) fn take_away(&self) {
        *self.0.lock() = None;
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn only_its_own_server_replaces_or_removes_the_file() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join(NAME);
        let mut file = PidFile::create(directory.path()).unwrap();
        assert!(PidFile::create(directory.path()).is_err());
        fs::write(&path, "1\nsomebody else's\n").unwrap();
        assert!(file.update(|content| content.status = "ready".to_owned()).is_err());
        drop(file);
        assert_eq!(fs::read_to_string(&path).unwrap(), "1\nsomebody else's\n");
    }

    #[test]
    fn the_file_has_postgresqls_lines_and_goes_with_its_server() {
        let directory = tempfile::tempdir().unwrap();
        let mut file = PidFile::create(directory.path()).unwrap();
        file.update(|content| {
            content.port = Some(5433);
            content.socket_directory = "/tmp".to_owned();
            content.listen_address = "localhost".to_owned();
            content.status = "ready".to_owned();
        })
        .unwrap();
        let mode = fs::metadata(directory.path().join(NAME)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let text = fs::read_to_string(directory.path().join(NAME)).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], std::process::id().to_string());
        assert_eq!(lines[3..], ["5433", "/tmp", "localhost", "", "ready   "]);
        let read = PidFile::read(directory.path()).unwrap().unwrap();
        assert_eq!((read.port, read.status.as_str()), (Some(5433), "ready"));
        drop(file);
        assert_eq!(PidFile::read(directory.path()).unwrap(), None);
    }

    #[test]
    fn what_is_told_when_the_file_was_taken_away_does_not_bring_it_back() {
        let directory = tempfile::tempdir().unwrap();
        let file = SharedPidFile::new(PidFile::create(directory.path()).unwrap());
        file.tell(|content| content.status = "ready".to_owned());
        assert_eq!(PidFile::read(directory.path()).unwrap().unwrap().status, "ready");
        file.take_away();
        file.tell(|content| content.status = "ready".to_owned());
        assert_eq!(PidFile::read(directory.path()).unwrap(), None);
    }
}
