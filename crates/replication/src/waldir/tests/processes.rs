//! The status file, followers' table, slots and lock between processes, one of which is killed.
//!
//! The other process is this test program once more, running [`other_process`] alone.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::waldir::{
    Follower, FollowerEntry, FollowersReader, Published, SlotError, SlotInfo, SlotName, Slots, Status,
    StatusReader, StatusWriter, StatusWriterError, WalDir,
};
use disk::{DirLock, DirLockError, OsDisk};
use wal::Lsn;

const DIR_VARIABLE: &str = "WALSHIP_TEST_DIR";

/// Holds everything there is to hold in the directory, and advances its positions by one for each line of input.
#[test]
#[ignore = "run by the other tests here, as a process of its own"]
fn other_process() {
    let path = std::env::var_os(DIR_VARIABLE).expect("only run by other tests");
    let dir = WalDir::on_os(&path);
    let _lock = DirLock::acquire(&OsDisk::new(), dir.path()).unwrap();
    let status = StatusWriter::create(&dir, Status::new()).unwrap();
    let follower = FollowerEntry::register(&dir, Follower::new("other", "[local]", "")).unwrap();
    let _slot = Slots::new(dir.clone()).create(&SlotName::new("s").unwrap(), SlotInfo::default()).unwrap();
    println!("\nready");
    for (line, count) in std::io::stdin().lines().zip(1..) {
        line.unwrap();
        status.update(|status| (status.write, status.flush) = (Lsn::new(count), Lsn::new(count)));
        follower.update(|follower| follower.flush = Lsn::new(count));
    }
}

struct Other(Child);

impl Other {
    fn start(dir: &std::path::Path) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "waldir::tests::processes::other_process", "--ignored", "--nocapture"])
            .env(DIR_VARIABLE, dir)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        assert!(output.lines().any(|line| line.unwrap() == "ready"), "the other process ended early");
        Self(child)
    }

    fn advance(&mut self) {
        self.0.stdin.as_mut().unwrap().write_all(b"\n").unwrap();
    }

    fn kill(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

impl Drop for Other {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_change_wakes_the_other_process_and_death_takes_everything_back() {
    let temp = tempfile::tempdir().unwrap();
    let mut other = Other::start(temp.path());
    let dir = WalDir::on_os(temp.path());
    let reader = StatusReader::open(&dir).unwrap().unwrap();
    let followers = FollowersReader::open(&dir).unwrap().unwrap();
    assert_eq!(reader.read().live().unwrap().writer_pid, other.0.id());

    let patience = Duration::from_secs(60);
    for count in 1..=3 {
        let (seen, followers_seen) = (reader.changes(), followers.changes());
        let begun = Instant::now();
        other.advance();
        reader.wait(seen, patience);
        assert_eq!(reader.read().live().unwrap().flush, Lsn::new(count));
        followers.wait(followers_seen, patience);
        assert_eq!(followers.list().unwrap()[0].flush, Lsn::new(count));
        assert!(begun.elapsed() < patience, "woken, not timed out");
    }

    let name = SlotName::new("s").unwrap();
    let slots = Slots::new(dir.clone());
    assert!(matches!(slots.acquire(&name), Err(SlotError::Active(_))));
    let held_by_other = Some(other.0.id());
    assert!(
        matches!(DirLock::acquire(&OsDisk::new(), dir.path()), Err(DirLockError::Held { pid, .. }) if pid == held_by_other)
    );
    let refused = StatusWriter::create(&dir, Status::new());
    assert!(matches!(refused, Err(StatusWriterError::Held { pid, .. }) if pid == other.0.id()));

    other.kill();
    assert!(matches!(reader.read(), Published::Stale(status) if status.flush == Lsn::new(3)));
    assert!(followers.list().unwrap().is_empty());
    slots.acquire(&name).unwrap();
    DirLock::acquire(&OsDisk::new(), dir.path()).unwrap();
    let _writer = StatusWriter::create(&dir, Status::new()).unwrap();
    assert_eq!(reader.read().live().unwrap().flush, Lsn::INVALID, "nothing is taken over from the dead");
}
