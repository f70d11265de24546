//! A whole server in this process, with the signals that operators send.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::task::Waker;
use std::thread;
use std::time::{Duration, Instant};

use runtime::sync::Mutex;
use rustix::process::{Signal, getpid, kill_process};
use wal::Lsn;

use super::*;
use crate::config::Config;
use crate::session::double::{Double, DoubleSession, Shared};
use crate::session::{self, Awaited, Database, SessionError};

/// The double, and what its process asked of it.
struct TestNode {
    database: Shared,
    promoted: Arc<dyn Fn() + Send + Sync>,
    reloaded: Mutex<Option<i64>>,
    shut_down: Arc<AtomicUsize>,
}

impl Database for TestNode {
    type Session = DoubleSession;

    fn open_session(&self, opening: session::Opening) -> Result<DoubleSession, SessionError> {
        self.database.open_session(opening)
    }

    fn flush(&self, lsn: Lsn) {
        self.database.flush(lsn);
    }

    fn reached(&self, awaited: Awaited) -> Lsn {
        self.database.reached(awaited)
    }

    fn watch_reached(&self, waker: Waker) {
        self.database.watch_reached(waker);
    }

    fn in_recovery(&self) -> bool {
        self.database.in_recovery()
    }
}

impl Node for TestNode {
    fn promote(&self) -> anyhow::Result<()> {
        self.database.0.standby.store(false, SeqCst);
        (self.promoted)();
        Ok(())
    }

    fn reload(&self, config: &Config) {
        *self.reloaded.lock() = Some(config.integer("max_slot_wal_keep_size"));
    }

    fn shutdown(&self) -> anyhow::Result<()> {
        self.shut_down.fetch_add(1, SeqCst);
        Ok(())
    }
}

fn data_directory(configuration: &str) -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    let disk: Arc<dyn disk::Disk> = Arc::new(disk::OsDisk::new());
    engine::layout::create(&disk, path, &engine::InitOptions::default()).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o700)).unwrap();
    let sockets = path.display();
    fs::write(
        path.join("postgresql.conf"),
        format!("port = 0\nunix_socket_directories = '{sockets}'\n{configuration}"),
    )
    .unwrap();
    directory
}

fn options(directory: &Path) -> ServeOptions {
    ServeOptions { directory: directory.to_owned(), overrides: Vec::new() }
}

fn eventually(mut is_so: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(30);
    while !is_so() {
        assert!(Instant::now() < end, "did not happen");
        thread::sleep(Duration::from_millis(1));
    }
}

fn send(signal: Signal) {
    kill_process(getpid(), signal).unwrap();
}

/// One test, because signals reach the whole process.
#[test]
fn a_server_says_where_it_is_hears_signals_and_stops_in_order() {
    let directory = data_directory("max_slot_wal_keep_size = 1MB\n");
    let path = directory.path().to_owned();
    let shut_down = Arc::new(AtomicUsize::new(0));
    let node = Arc::new(Mutex::new(None::<Arc<TestNode>>));
    let serving = thread::spawn({
        let (path, shut_down, node) = (path.clone(), shut_down.clone(), node.clone());
        move || {
            serve(
                &options(&path),
                |_, _| Ok(None),
                move |opening| {
                    let database = Shared(Arc::new(Double::default()));
                    database.0.standby.store(true, SeqCst);
                    let opened = Arc::new(TestNode {
                        database,
                        promoted: opening.promoted,
                        reloaded: Mutex::new(None),
                        shut_down,
                    });
                    *node.lock() = Some(opened.clone());
                    Ok(opened)
                },
            )
        }
    });
    let told = || PidFile::read(&path).unwrap().unwrap_or_default();
    eventually(|| told().status == "standby");
    let port = told().port.unwrap();
    assert!(path.join(format!(".s.PGSQL.{port}")).exists());
    assert_eq!(told().socket_directory, path.display().to_string());
    std::net::TcpStream::connect(("127.0.0.1", port)).unwrap();

    let second = serve::<TestNode>(&options(&path), |_, _| Ok(None), |_| unreachable!());
    assert!(second.unwrap_err().to_string().contains("is in use by process"));

    let node = node.lock().clone().unwrap();
    fs::write(path.join("postgresql.auto.conf"), "max_slot_wal_keep_size = 5MB\n").unwrap();
    send(Signal::HUP);
    eventually(|| *node.reloaded.lock() == Some(5));
    fs::write(path.join("postgresql.auto.conf"), "max_slot_wal_keep_size = much\n").unwrap();
    send(Signal::HUP);

    send(Signal::USR1);
    fs::write(path.join(PROMOTE_FILE), "").unwrap();
    send(Signal::USR1);
    eventually(|| told().status == "ready");
    assert!(!path.join(PROMOTE_FILE).exists() && *node.reloaded.lock() == Some(5));

    send(Signal::TERM);
    assert_eq!(serving.join().unwrap().unwrap(), Stopped::Cleanly);
    assert_eq!(shut_down.load(SeqCst), 1);
    assert_eq!(PidFile::read(&path).unwrap(), None);
    assert!(!path.join(format!(".s.PGSQL.{port}")).exists());

    let failed = serve::<TestNode>(&options(&path), |_, _| Ok(None), |_| anyhow::bail!("no"));
    assert!(failed.unwrap_err().to_string().contains("\"much\""));
    fs::remove_file(path.join("postgresql.auto.conf")).unwrap();
    let failed =
        serve::<TestNode>(&options(&path), |_, _| Ok(None), |_| anyhow::bail!("it cannot be opened"));
    assert_eq!(failed.unwrap_err().to_string(), "it cannot be opened");
    assert_eq!(PidFile::read(&path).unwrap(), None);
}
