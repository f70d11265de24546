//! Data directories from their creation to their promotion.

use super::replay::copy;
use super::*;
use crate::checkpoint::Cause;
use crate::control::{ClusterState, ControlStore};
use crate::{InitOptions, Standby};

pub(super) const DIR: &str = "/data";

fn options() -> EngineOptions {
    EngineOptions { shared_buffers: 64 << 13, publish_status: false, ..EngineOptions::default() }
}

pub(super) fn init() -> SimDisk {
    let disk = SimDisk::new();
    let shared: Arc<dyn Disk> = Arc::new(disk.clone());
    let init = InitOptions { segment_size: segment_size(), ..InitOptions::default() };
    Engine::init(&shared, Path::new(DIR), &init).unwrap();
    disk
}

pub(super) fn start(disk: &SimDisk) -> Arc<Engine> {
    Engine::open(Arc::new(disk.clone()), Path::new(DIR), options()).unwrap()
}

pub(super) fn follow(disk: &SimDisk) -> Arc<Standby> {
    Standby::open(Arc::new(disk.clone()), Path::new(DIR), options()).unwrap()
}

pub(super) fn state(disk: &SimDisk) -> ClusterState {
    let shared: Arc<dyn Disk> = Arc::new(disk.clone());
    ControlStore::open(&shared, Path::new(DIR)).unwrap().get().state
}

fn keys(engine: &Arc<Engine>) -> Vec<String> {
    rows_now(engine, CATALOG).into_keys().map(|key| String::from_utf8(key).unwrap()).collect()
}

/// A copy of the whole directory as a crash of the process would leave it: the engine is not told.
pub(super) fn duplicate(disk: &SimDisk) -> SimDisk {
    let other = SimDisk::new();
    copy(disk, &other, Path::new(DIR));
    other
}

/// Gives `to` what `from` has in its log, as a receiver does.
pub(super) fn ship(from: &SimDisk, to: &SimDisk) {
    copy(from, to, &Path::new(DIR).join("pg_wal"));
}

#[test]
fn a_directory_is_created_opened_and_shut_down_in_order() {
    let disk = init();
    assert_eq!(state(&disk), ClusterState::ShutDown);
    let engine = start(&disk);
    assert_eq!(state(&disk), ClusterState::InProduction);
    assert!(keys(&engine).is_empty());
    let xid = put(&engine, &[("a", "1")]).xid;
    engine.shutdown().unwrap();
    drop(engine);
    assert_eq!(state(&disk), ClusterState::ShutDown);
    let engine = start(&disk);
    assert_eq!(keys(&engine), ["a"], "a shutdown flushes what nobody waited for");
    assert!(put(&engine, &[("b", "1")]).xid > xid);
}

#[test]
fn an_engine_that_is_dropped_lets_go_of_its_log() {
    let disk = init();
    let engine = start(&disk);
    let log = Arc::downgrade(engine.log());
    put(&engine, &[("a", "1")]);
    flush(&engine);
    drop(engine);
    assert!(log.upgrade().is_none());
}

#[test]
fn recovery_begins_at_the_last_checkpoint_and_removes_what_never_was() {
    let disk = init();
    let engine = start(&disk);
    put(&engine, &[("a", "1")]);
    engine.checkpoint(Cause::Immediate).unwrap();
    let mut unfinished = engine.begin(Isolation::ReadCommitted, false);
    let orphan = unfinished.create_tree().unwrap();
    let mut load = unfinished.bulk_load(orphan).unwrap();
    load.add(b"k", b"v").unwrap();
    load.finish().unwrap();
    put(&engine, &[("b", "1")]);
    flush(&engine);
    engine.checkpoint(Cause::Immediate).unwrap();
    assert!(engine.pool().files().trees().unwrap().contains(&orphan));
    let mut kept = engine.begin(Isolation::ReadCommitted, false);
    let tree = kept.create_tree().unwrap();
    kept.put(tree, b"k", b"v").unwrap();
    kept.commit().unwrap();
    put(&engine, &[("c", "1")]);
    flush(&engine);
    let crashed = duplicate(&disk);
    let engine = start(&crashed);
    assert_eq!(keys(&engine), ["a", "b", "c"]);
    assert_eq!(rows_now(&engine, tree).len(), 1);
    assert!(!engine.pool().files().trees().unwrap().contains(&orphan));
    assert_eq!(state(&crashed), ClusterState::InProduction);
    unfinished.rollback();
}

#[test]
fn a_standby_reads_what_it_has_replayed_restarts_where_it_was_and_takes_over() {
    let leader_disk = init();
    let leader = start(&leader_disk);
    put(&leader, &[("a", "1")]);
    flush(&leader);
    let disk = duplicate(&leader_disk);
    let standby = follow(&disk);
    assert!(standby.is_consistent());
    let engine = Arc::clone(standby.engine());
    assert_eq!(keys(&engine), ["a"]);
    assert_eq!(state(&disk), ClusterState::ArchiveRecovery);

    let before = engine.begin(Isolation::RepeatableRead, true);
    assert_eq!(rows(&before, CATALOG).len(), 1);
    put(&leader, &[("b", "2")]);
    leader.checkpoint(Cause::Immediate).unwrap();
    let commit = put(&leader, &[("c", "3")]);
    flush(&leader);
    ship(&leader_disk, &disk);
    let replayed = standby.replay_to(commit.lsn).unwrap();
    assert_eq!((replayed, engine.confirmed()), (commit.lsn, commit.lsn));
    assert_eq!(keys(&engine), ["a", "b", "c"]);
    assert_eq!(rows(&before, CATALOG).len(), 1, "a snapshot stays as it is");
    assert!(standby.last_commit().is_some());
    drop(before);
    let mut refused = engine.begin(Isolation::ReadCommitted, false);
    assert!(matches!(refused.put(CATALOG, b"x", b"y"), Err(EngineError::ReadOnly)));
    drop(refused);

    // A restart, in order, goes on from the leader's checkpoint.
    standby.shutdown().unwrap();
    drop((standby, engine));
    assert_eq!(state(&disk), ClusterState::ShutDownInRecovery);
    let standby = follow(&disk);
    assert_eq!(keys(standby.engine()), ["a", "b", "c"]);

    let promoted = standby.promote("no recovery target specified").unwrap();
    assert!(!promoted.is_read_only());
    assert_eq!(promoted.log().timeline(), TimelineId::new(2));
    let mut transaction = promoted.begin(Isolation::ReadCommitted, false);
    let tree = transaction.create_tree().unwrap();
    transaction.put(tree, b"k", b"v").unwrap();
    transaction.put(CATALOG, b"d", b"4").unwrap();
    let commit = transaction.commit().unwrap();
    promoted.log().flush(commit.lsn).unwrap();
    assert_eq!(keys(&promoted), ["a", "b", "c", "d"]);

    // A crash before the first checkpoint of the new timeline, and one after it.
    let crashed = duplicate(&disk);
    assert_eq!(keys(&start(&crashed)), ["a", "b", "c", "d"]);
    promoted.checkpoint(Cause::Immediate).unwrap();
    let crashed = duplicate(&disk);
    let recovered = start(&crashed);
    assert_eq!(keys(&recovered), ["a", "b", "c", "d"]);
    assert_eq!(rows_now(&recovered, tree).len(), 1);
}

#[test]
fn a_standby_follows_its_leader_to_a_new_timeline() {
    let leader_disk = init();
    let leader = start(&leader_disk);
    let first = put(&leader, &[("a", "1")]);
    flush(&leader);
    let (second_disk, third_disk) = (duplicate(&leader_disk), duplicate(&leader_disk));
    let third = follow(&third_disk);
    assert_eq!(third.replayed(), first.lsn);
    let second = follow(&second_disk).promote("test").unwrap();
    let commit = put(&second, &[("b", "2")]);
    flush(&second);
    ship(&second_disk, &third_disk);
    assert_eq!(third.follow_newest_timeline().unwrap(), TimelineId::new(2));
    assert_eq!(third.replay_to(commit.lsn).unwrap(), commit.lsn);
    assert_eq!(keys(third.engine()), ["a", "b"]);
    assert_eq!(third.timeline(), TimelineId::new(2));
}

#[test]
fn what_was_recovered_is_not_confirmed_before_the_embedder_says_so() {
    let disk = init();
    let engine = start(&disk);
    let commit = put(&engine, &[("a", "1")]);
    flush(&engine);
    let crashed = duplicate(&disk);
    let open = |disk: &SimDisk, known_confirmed| {
        let options = EngineOptions { known_confirmed, ..options() };
        Engine::open(Arc::new(disk.clone()), Path::new(DIR), options).unwrap()
    };
    let engine = open(&crashed, Lsn::INVALID);
    let recovered = engine.unconfirmed_recovery().unwrap();
    assert!(recovered >= commit.lsn);
    let told = Arc::new(Mutex::new(Vec::new()));
    let tell = Arc::clone(&told);
    engine.watch_confirmed(move |lsn| tell.lock().push(lsn));
    put(&engine, &[("b", "1")]);
    flush(&engine);
    assert_eq!(engine.confirmed(), Lsn::INVALID, "a flush does not know who else must have it");
    assert_eq!(keys(&engine), ["a"]);
    engine.confirm(Lsn::new(recovered.as_u64() - 1));
    assert_eq!((engine.confirmed(), told.lock().len()), (Lsn::INVALID, 0));
    engine.confirm(recovered);
    assert_eq!((engine.confirmed(), engine.unconfirmed_recovery()), (recovered, None));
    assert_eq!(*told.lock(), [recovered], "who waits is woken, though no snapshot has moved");
    engine.confirm(engine.applied());
    assert_eq!(keys(&engine), ["a", "b"]);
    let end = engine.log().flushed();
    engine.shutdown().unwrap();
    let end = engine.log().flushed().max(end);
    drop(engine);
    let engine = open(&crashed, end);
    assert_eq!((engine.confirmed(), engine.unconfirmed_recovery()), (engine.applied(), None));
}
