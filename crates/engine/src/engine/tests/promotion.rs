//! What whoever waits for a promotion may rely on.

use std::fmt;
use std::io;
use std::sync::OnceLock;
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

use disk::{DirEntry, DiskFile, Metadata, OpenMode};

use super::lifecycle::{DIR, duplicate, init, start};
use super::*;
use crate::Standby;
use crate::control::{ClusterState, ControlFile};

/// Is told what is about to be written to the control file.
type Hook = Arc<dyn Fn(ControlFile) + Send + Sync>;

/// A disk that is watched.
#[derive(Clone)]
struct Watched {
    disk: SimDisk,
    hook: Hook,
}

/// A file on it.
struct WatchedFile {
    file: Box<dyn DiskFile>,
    hook: Option<Hook>,
}

impl fmt::Debug for Watched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.disk, f)
    }
}

impl fmt::Debug for WatchedFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.file, f)
    }
}

impl Disk for Watched {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Box<dyn DiskFile>> {
        let file = self.disk.open(path, mode)?;
        let hook = path.ends_with("global/pg_control").then(|| Arc::clone(&self.hook));
        Ok(Box::new(WatchedFile { file, hook }))
    }

    fn read_dir(&self, path: &Path) -> io::Result<Vec<DirEntry>> {
        self.disk.read_dir(path)
    }

    fn metadata(&self, path: &Path) -> io::Result<Metadata> {
        self.disk.metadata(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.disk.rename(from, to)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.disk.remove_file(path)
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        self.disk.remove_dir(path)
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        self.disk.create_dir(path)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.disk.sync_dir(path)
    }
}

impl DiskFile for WatchedFile {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        self.file.read_at(buf, offset)
    }

    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        if let Some(hook) = &self.hook {
            hook(ControlFile::decode(bytes).unwrap());
        }
        self.file.write_all_at(bytes, offset)
    }

    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }

    fn allocate(&self, offset: u64, len: u64) -> io::Result<()> {
        self.file.allocate(offset, len)
    }

    fn claim(&self, offset: u64, len: u64) -> io::Result<()> {
        self.file.claim(offset, len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    fn sync_all(&self) -> io::Result<()> {
        self.file.sync_all()
    }
}

#[test]
fn a_control_file_that_says_in_production_means_that_writes_are_taken_and_none_is_logged_before() {
    let leader_disk = init();
    let leader = start(&leader_disk);
    put(&leader, &[("a", "1")]);
    flush(&leader);
    let disk = duplicate(&leader_disk);
    let standby = Arc::new(OnceLock::<Arc<Standby>>::new());
    let (commits, committed) = channel();
    let committed = Mutex::new(committed);
    let found = Arc::new(Mutex::new(Vec::new()));
    let hook: Hook = {
        let (standby, found) = (Arc::clone(&standby), Arc::clone(&found));
        Arc::new(move |control| {
            let Some(standby) = standby.get().filter(|_| control.state == ClusterState::InProduction) else {
                return;
            };
            let (engine, commits) = (Arc::clone(standby.engine()), commits.clone());
            let is_read_only = engine.is_read_only();
            if !is_read_only {
                thread::spawn(move || commits.send(put(&engine, &[("first", "1")])));
            }
            let too_early = committed.lock().recv_timeout(Duration::from_millis(300)).is_ok();
            found.lock().push((is_read_only, too_early));
        })
    };
    let options =
        EngineOptions { shared_buffers: 64 << 13, publish_status: false, ..EngineOptions::default() };
    let watched = Watched { disk: disk.clone(), hook };
    let opened = Standby::open(Arc::new(watched), Path::new(DIR), options).unwrap();
    standby.set(Arc::clone(&opened)).unwrap();
    let engine = opened.promote("test").unwrap();
    assert_eq!(*found.lock(), [(false, false)], "whether it was read-only then, and logged anything");
    // Who came then is through once it is known.
    let deadline = std::time::Instant::now() + Duration::from_secs(60);
    while !rows_now(&engine, CATALOG).contains_key("first".as_bytes()) {
        assert!(std::time::Instant::now() < deadline, "the first write never came through");
        flush(&engine);
        thread::yield_now();
    }
}
