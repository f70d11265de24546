//! The status file and the followers' table, inside one process.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::waldir::{
    Follower, FollowerEntry, FollowerState, FollowersReader, Published, Status, StatusReader, StatusWriter,
    StatusWriterError, UnixMicros, WalDir, watch_followers, watch_status,
};
use tokio::sync::watch;
use wal::Lsn;

fn temp_dir() -> (tempfile::TempDir, WalDir) {
    let temp = tempfile::tempdir().unwrap();
    let dir = WalDir::on_os(temp.path());
    (temp, dir)
}

/// Waits for a value that must come, and not forever.
async fn until<T>(watch: &mut watch::Receiver<T>, reached: impl FnMut(&T) -> bool) {
    tokio::time::timeout(Duration::from_secs(60), watch.wait_for(reached))
        .await
        .expect("it never came")
        .unwrap();
}

#[test]
fn what_is_published_is_read_and_gone_with_its_writer() {
    let (_temp, dir) = temp_dir();
    assert!(StatusReader::open(&dir).unwrap().is_none());
    let writer = StatusWriter::create(&dir, Status::new()).unwrap();
    let reader = StatusReader::open(&dir).unwrap().unwrap();
    assert_eq!(reader.read(), Published::Live(writer.current()));
    assert_eq!(writer.current().last_byte_at, None, "never, not now");
    writer.update(|status| {
        status.write = Lsn::new(20);
        status.flush = Lsn::new(10);
        status.last_byte_at = Some(UnixMicros::now());
    });
    let last = writer.current();
    assert_eq!(reader.read().live(), Some(&last));
    drop(writer);
    assert_eq!(reader.read(), Published::Stale(last));
    assert_eq!(reader.read().live(), None);
}

#[test]
#[should_panic(expected = "positions out of order")]
fn what_is_published_first_is_in_order_too() {
    let (_temp, dir) = temp_dir();
    let _writer = StatusWriter::create(&dir, Status { flush: Lsn::new(1), ..Status::new() });
}

#[test]
fn there_is_one_writer_at_a_time_and_the_next_one_starts_afresh() {
    let (_temp, dir) = temp_dir();
    let first = StatusWriter::create(&dir, Status::new()).unwrap();
    first.update(|status| status.write = Lsn::new(99));
    let Err(StatusWriterError::Held { pid, .. }) = StatusWriter::create(&dir, Status::new()) else {
        panic!("a second writer")
    };
    assert_eq!(pid, std::process::id());
    let reader = StatusReader::open(&dir).unwrap().unwrap();
    drop(first);
    let _second = StatusWriter::create(&dir, Status::new()).unwrap();
    assert_eq!(reader.read().live().unwrap().write, Lsn::INVALID, "the old mapping sees the new writer");
}

#[test]
#[should_panic(expected = "positions out of order")]
fn a_flush_position_ahead_of_the_write_position_is_a_bug() {
    let (_temp, dir) = temp_dir();
    let writer = StatusWriter::create(&dir, Status::new()).unwrap();
    writer.update(|status| status.flush = Lsn::new(1));
}

#[test]
fn readers_never_see_a_mix() {
    let (_temp, dir) = temp_dir();
    let writer = StatusWriter::create(&dir, Status::new()).unwrap();
    let done = Arc::new(AtomicBool::new(false));
    let readers: Vec<_> = (0..2)
        .map(|_| {
            let (reader, done) = (StatusReader::open(&dir).unwrap().unwrap(), done.clone());
            std::thread::spawn(move || {
                let mut seen = 0;
                while !done.load(Ordering::Relaxed) {
                    let status = *reader.read().live().unwrap();
                    assert_eq!((status.flush, status.server_end), (status.write, status.write));
                    assert!(status.write.as_u64() >= seen, "went back");
                    seen = status.write.as_u64();
                }
                seen
            })
        })
        .collect();
    for number in 1..=20_000 {
        writer.update(|status| {
            (status.write, status.flush, status.server_end) =
                (Lsn::new(number), Lsn::new(number), Lsn::new(number));
        });
    }
    done.store(true, Ordering::Relaxed);
    for reader in readers {
        assert!(reader.join().unwrap() <= 20_000);
    }
}

#[test]
fn files_that_are_not_ours_are_no_status() {
    let (temp, dir) = temp_dir();
    for content in [&b"x"[..], &[0xFF; 4096], &[0; 4096]] {
        std::fs::write(temp.path().join("walship.status"), content).unwrap();
        let read = StatusReader::open(&dir).unwrap().map(|reader| reader.read());
        assert_eq!(read.unwrap_or_default(), Published::Absent);
    }
    // And a writer makes one of them.
    let writer = StatusWriter::create(&dir, Status::new()).unwrap();
    assert_eq!(StatusReader::open(&dir).unwrap().unwrap().read(), Published::Live(writer.current()));
}

#[tokio::test]
async fn a_watch_follows_appearance_change_death_and_a_new_file() {
    let (temp, dir) = temp_dir();
    let mut watch = watch_status(&dir).unwrap();
    assert_eq!(*watch.borrow_and_update(), Published::Absent);
    for round in 1..=2 {
        let writer = StatusWriter::create(&dir, Status::new()).unwrap();
        until(&mut watch, |status| status.live().is_some()).await;
        writer.update(|status| status.write = Lsn::new(round));
        watch
            .wait_for(|status| status.live().is_some_and(|live| live.write == Lsn::new(round)))
            .await
            .unwrap();
        drop(writer);
        until(&mut watch, |status| matches!(status, Published::Stale(_))).await;
        std::fs::remove_file(temp.path().join("walship.status")).unwrap();
        until(&mut watch, |status| *status == Published::Absent).await;
    }
}

#[test]
fn followers_come_move_and_go() {
    let (_temp, dir) = temp_dir();
    assert!(FollowersReader::open(&dir).unwrap().is_none());
    let first = FollowerEntry::register(&dir, Follower::new("a", "[::1]:1", "slot_a")).unwrap();
    let second = FollowerEntry::register(&dir, Follower::new("b", "[local]", "")).unwrap();
    let reader = FollowersReader::open(&dir).unwrap().unwrap();
    assert_eq!(reader.list().unwrap().len(), 2);
    second.update(|follower| {
        follower.state = FollowerState::Streaming;
        follower.flush = Lsn::new(5);
    });
    let listed = reader.list().unwrap();
    assert_eq!((listed[1].application_name.as_str(), listed[1].flush), ("b", Lsn::new(5)));
    assert_eq!(listed[0].slot, "slot_a");
    let seen = reader.changes();
    drop(first);
    assert_ne!(reader.changes(), seen, "leaving is a change");
    assert_eq!(reader.list().unwrap().len(), 1);
    let third = FollowerEntry::register(&dir, Follower::new("c", "x", "")).unwrap();
    assert_eq!(reader.list().unwrap()[0].application_name, "c", "the free entry is used again");
    drop(third);
}

#[test]
fn the_table_says_when_it_is_full() {
    let (_temp, dir) = temp_dir();
    let entries: Vec<_> =
        (0..128).map(|_| FollowerEntry::register(&dir, Follower::new("f", "", "")).unwrap()).collect();
    assert!(FollowerEntry::register(&dir, Follower::new("f", "", "")).is_err());
    assert_eq!(FollowersReader::open(&dir).unwrap().unwrap().list().unwrap().len(), entries.len());
}

#[tokio::test]
async fn followers_can_be_watched() {
    let (_temp, dir) = temp_dir();
    let mut watch = watch_followers(&dir).unwrap();
    let entry = FollowerEntry::register(&dir, Follower::new("a", "", "")).unwrap();
    until(&mut watch, |list| list.len() == 1).await;
    entry.update(|follower| follower.flush = Lsn::new(7));
    until(&mut watch, |list| list.iter().any(|follower| follower.flush == Lsn::new(7))).await;
    drop(entry);
    until(&mut watch, Vec::is_empty).await;
}

#[test]
fn waiting_ends_at_the_timeout_if_nothing_changes() {
    let (_temp, dir) = temp_dir();
    let _writer = StatusWriter::create(&dir, Status::new()).unwrap();
    let reader = StatusReader::open(&dir).unwrap().unwrap();
    reader.wait(reader.changes(), Duration::from_millis(20));
}
