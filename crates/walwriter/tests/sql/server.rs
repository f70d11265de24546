//! A server without a network: an executor over a data directory of its own.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::SystemTime;

use disk::OsDisk;
use engine::{Engine, EngineOptions, InitOptions};
use tempfile::TempDir;
use walwriter::exec::{Executor, Failure, Host};

use crate::client::Client;

/// A server without a network.
pub(crate) struct Server {
    pub(crate) executor: Executor,
    directory: TempDir,
    next_process_id: AtomicU32,
}

struct PlainHost {
    engine: Arc<Engine>,
    temporary_files: PathBuf,
    started: SystemTime,
}

impl Host for PlainHost {
    fn started_at(&self) -> SystemTime {
        self.started
    }

    fn temporary_files(&self) -> Option<PathBuf> {
        Some(self.temporary_files.clone())
    }

    fn checkpoint(&self) -> Result<(), Failure> {
        Ok(self.engine.checkpoint(engine::checkpoint::Cause::Immediate)?)
    }
}

fn open(path: &Path, options: EngineOptions) -> Executor {
    let engine = Engine::open(Arc::new(OsDisk::new()), path, options).unwrap();
    let temporary_files = path.join("base/pgsql_tmp");
    let host = PlainHost { engine: Arc::clone(&engine), temporary_files, started: SystemTime::now() };
    Executor::new(engine, Arc::new(host))
}

impl Server {
    pub(crate) fn start() -> Self {
        Self::start_with(EngineOptions::default())
    }

    pub(crate) fn start_with(options: EngineOptions) -> Self {
        let directory = TempDir::new().unwrap();
        let disk: Arc<dyn disk::Disk> = Arc::new(OsDisk::new());
        Engine::init(&disk, &directory.path().join("data"), &InitOptions::default()).unwrap();
        Self::over(directory, options)
    }

    fn over(directory: TempDir, options: EngineOptions) -> Self {
        let executor = open(&directory.path().join("data"), options);
        Self { executor, directory, next_process_id: AtomicU32::new(7) }
    }

    /// The same directory, opened anew after the process has died.
    pub(crate) fn restart(self) -> Self {
        let Self { executor, directory, .. } = self;
        drop(executor);
        Self::over(directory, EngineOptions::default())
    }

    /// What a crash at this moment would leave behind, opened as another server.
    pub(crate) fn copy_as_if_crashed(&self) -> Self {
        let directory = TempDir::new().unwrap();
        copy_tree(&self.directory.path().join("data"), &directory.path().join("data"));
        Self::over(directory, EngineOptions::default())
    }

    pub(crate) fn next_process_id(&self) -> u32 {
        self.next_process_id.fetch_add(1, Ordering::Relaxed)
    }

    pub(crate) fn connect(&self) -> Client<'_> {
        self.connect_with(&[])
    }

    pub(crate) fn connect_with(&self, settings: &[(&str, &str)]) -> Client<'_> {
        Client::connect(self, settings)
    }
}

fn copy_tree(from: &Path, to: &Path) {
    std::fs::create_dir(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_tree(&entry.path(), &to);
        } else if let Err(error) = std::fs::copy(entry.path(), &to) {
            // The server goes on meanwhile: what it makes under a temporary name, such as the next segment, gets its own.
            assert_eq!(error.kind(), ErrorKind::NotFound, "{}: {error}", entry.path().display());
        }
    }
}
