//! Commits that take long or much memory, and who waits for them.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::task::Wake;
use std::time::Duration;

use super::*;

/// Tells how often it was woken.
struct Bell(mpsc::Sender<()>, AtomicUsize);

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.1.fetch_add(1, Ordering::SeqCst);
        let _ = self.0.send(());
    }
}

/// A waker, and what waits until it is woken.
fn bell() -> (Waker, mpsc::Receiver<()>) {
    let (rings, rung) = mpsc::channel();
    (Waker::from(Arc::new(Bell(rings, AtomicUsize::new(0)))), rung)
}

fn await_bell(rung: &mpsc::Receiver<()>) {
    rung.recv_timeout(Duration::from_secs(60)).expect("nobody woke it");
}

fn write(engine: &Arc<Engine>, rows: impl Iterator<Item = (u32, usize)>) -> Transaction {
    let mut transaction = engine.begin(Isolation::ReadCommitted, false);
    for (number, length) in rows {
        lock(&mut transaction, &number.to_be_bytes());
        transaction.put(CATALOG, &number.to_be_bytes(), &vec![number as u8; length]).unwrap();
    }
    transaction
}

#[test]
fn a_commit_that_would_change_too_many_pages_fails_and_leaves_no_trace() {
    let options = EngineOptions { max_transaction_size: 64 << 10, ..EngineOptions::default() };
    let engine = open(&SimDisk::new(), Path::new("/data"), options);
    // Three rows to a page.
    for number in 0..60 {
        write(&engine, [(number, 2000)].into_iter()).commit().unwrap();
    }
    flush(&engine);
    let (rows, log) = (rows_now(&engine, CATALOG), engine.log().inserted());
    // Little in itself, but on as many pages as there are, each of which is held twice.
    let refused = write(&engine, (0..60).map(|number| (number, 10))).commit();
    assert!(matches!(refused, Err(EngineError::CommitTooLarge { limit: 0x20000 })), "{refused:?}");
    assert_eq!((engine.log().inserted(), rows_now(&engine, CATALOG)), (log, rows));
    // Its locks are gone with it, and the next one has all the room there is.
    let commit = write(&engine, (0..9).map(|number| (number, 1999))).commit().unwrap();
    engine.log().flush(commit.lsn).unwrap();
    assert_eq!(rows_now(&engine, CATALOG)[&0_u32.to_be_bytes()[..]].len(), 1999);
}

#[test]
fn writers_wait_for_a_large_commit_and_are_woken_when_it_is_durable() {
    let engine = open(&SimDisk::new(), Path::new("/data"), EngineOptions::default());
    let transaction = write(&engine, (0..40).map(|number| (number, 50_000)));
    assert!(transaction.is_large() && transaction.has_written());
    let (own, finished) = bell();
    let (go, gone) = mpsc::channel::<()>();
    let mut pending = engine
        .commit_aside(own, move || {
            gone.recv().unwrap();
            transaction.commit()
        })
        .unwrap();
    let (other, admitted) = bell();
    assert!(!engine.admits_writes(&other) && !engine.admits_writes(&other));
    assert!(pending.poll().is_none());
    // Who reads does not ask.
    assert!(rows_now(&engine, CATALOG).is_empty());
    go.send(()).unwrap();
    await_bell(&finished);
    let commit = pending.poll().unwrap().unwrap();
    assert!(engine.log().flushed() >= commit.lsn);
    assert_eq!(rows_now(&engine, CATALOG).len(), 40);
    await_bell(&admitted);
    assert!(engine.admits_writes(&other));
    assert!(admitted.try_recv().is_err(), "asking twice is no reason to be woken twice");
}

#[test]
fn shutting_down_waits_for_a_large_commit_that_nobody_waits_for_any_more() {
    let disk = lifecycle::init();
    let engine = lifecycle::start(&disk);
    let transaction = write(&engine, (0..40).map(|number| (number, 50_000)));
    let (go, gone) = mpsc::channel::<()>();
    let commit = move || {
        gone.recv().unwrap();
        transaction.commit()
    };
    drop(engine.commit_aside(Waker::noop().clone(), commit).unwrap());
    let (ends, ended) = mpsc::channel();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            engine.shutdown().unwrap();
            ends.send(()).unwrap();
        });
        assert!(ended.recv_timeout(Duration::from_millis(50)).is_err(), "it did not wait");
        go.send(()).unwrap();
    });
    drop(engine);
    assert_eq!(lifecycle::state(&disk), crate::control::ClusterState::ShutDown);
    assert_eq!(rows_now(&lifecycle::start(&disk), CATALOG).len(), 40);
}

/// How many versions of a page there may be in the test below: little more than there are pages in the tree. One of each is
/// needed by the current snapshot, and another of those that were changed before the first mark.
const VERSIONS: usize = 16;

#[test]
fn commits_wait_while_those_not_confirmed_take_all_the_memory_for_versions() {
    let options = EngineOptions { version_memory: VERSIONS << 13, ..EngineOptions::default() };
    let engine = open(&SimDisk::new(), Path::new("/data"), options);
    for number in 0..60 {
        let commit = write(&engine, [(number, 2000)].into_iter()).commit().unwrap();
        engine.log().flush(commit.lsn).unwrap();
    }
    // A standby that acknowledges nothing for a while.
    let confirmed = Arc::new(std::sync::atomic::AtomicU64::new(engine.confirmed().as_u64()));
    let (rule, confirms) = (Arc::clone(&confirmed), Arc::downgrade(&engine));
    engine.set_durability(move |flushed| {
        if let Some(engine) = confirms.upgrade() {
            engine.confirm(flushed.min(Lsn::new(rule.load(Ordering::SeqCst))));
        }
    });
    let before = rows_now(&engine, CATALOG);
    let (waker, woken) = bell();
    let mut commits = 0;
    while engine.admits_writes(&waker) {
        let length = 1999 - commits as usize / 60 % 2;
        let commit = write(&engine, [(commits % 60, length)].into_iter()).commit().unwrap();
        engine.log().flush(commit.lsn).unwrap();
        commits += 1;
        assert!(commits < 10_000, "memory without bound");
    }
    // Each of them has changed one page.
    assert_eq!(engine.pool().stats().versions, VERSIONS + 1);
    // Readers go on at the last confirmed commit, and cancelling one would free nothing.
    let reader = engine.begin(Isolation::RepeatableRead, true);
    assert_eq!(rows(&reader, CATALOG), before);
    assert!(woken.try_recv().is_err());

    confirmed.store(u64::MAX, Ordering::SeqCst);
    engine.confirm(engine.log().flushed());
    await_bell(&woken);
    assert!(engine.admits_writes(&waker));
    assert!(engine.pool().stats().versions <= VERSIONS);
    assert_ne!(rows_now(&engine, CATALOG), before);
    drop(reader);
}
