//! What the embedder's followers need is kept on every path on which segments are removed.

use super::lifecycle::{DIR, duplicate, init, ship};
use super::*;
use crate::checkpoint::Cause;
use crate::{KnownDurable, LogExtent, LogKeeper, Standby};

/// Followers that need everything from a position on.
#[derive(Debug)]
struct Needs(Lsn);

impl LogKeeper for Needs {
    fn keep(&self, _: LogExtent, remove: &mut dyn FnMut(Option<Lsn>)) {
        remove(Some(self.0));
    }

    fn known_durable(&self, _: TimelineId) -> Result<Option<KnownDurable>, EngineError> {
        Ok(None)
    }
}

/// Nobody can tell what followers need.
#[derive(Debug)]
struct Unknown;

impl LogKeeper for Unknown {
    fn keep(&self, _: LogExtent, _: &mut dyn FnMut(Option<Lsn>)) {}

    fn known_durable(&self, _: TimelineId) -> Result<Option<KnownDurable>, EngineError> {
        Ok(None)
    }
}

fn options(keeper: Option<Arc<dyn LogKeeper>>, wal_keep_size: u64) -> EngineOptions {
    let small = EngineOptions { shared_buffers: 64 << 13, publish_status: false, ..EngineOptions::default() };
    EngineOptions { keeper, wal_keep_size, min_wal_size: 0, ..small }
}

fn needs(lsn: u64) -> Option<Arc<dyn LogKeeper>> {
    Some(Arc::new(Needs(Lsn::new(lsn))))
}

fn fill_segments(engine: &Arc<Engine>, count: usize) {
    for number in 0..count {
        put(engine, &[(&number.to_string(), "x")]);
        engine.log().switch_segment().unwrap();
        flush(engine);
    }
}

/// The lowest segment of any timeline.
fn first_segment(disk: &SimDisk) -> u64 {
    let dir = WalDir::new(Path::new(DIR).join("pg_wal"), Arc::new(disk.clone()));
    let listing = dir.list(segment_size()).unwrap();
    listing.segments.iter().map(|file| file.segment.as_u64()).min().unwrap()
}

/// A directory whose log has been in the segments 1 to 8, and whose last checkpoint is in the last of them.
fn crashed_leader() -> SimDisk {
    let disk = init();
    let engine = Engine::open(Arc::new(disk.clone()), Path::new(DIR), options(needs(SEGMENT), 0)).unwrap();
    fill_segments(&engine, 7);
    engine.checkpoint(Cause::Immediate).unwrap();
    assert_eq!(first_segment(&disk), 1);
    duplicate(&disk)
}

#[test]
fn crash_recovery_keeps_what_followers_need() {
    for (keeper, wal_keep_size, expected) in [
        (needs(3 * SEGMENT + 100), 0, 3),
        (needs(7 * SEGMENT), 4 * SEGMENT, 4),
        (None, 3 * SEGMENT, 5),
        (Some(Arc::new(Unknown) as _), 0, 1),
        (None, 0, 8),
    ] {
        let disk = crashed_leader();
        let what = format!("{keeper:?} {wal_keep_size}");
        let options = options(keeper, wal_keep_size);
        let engine = Engine::open(Arc::new(disk.clone()), Path::new(DIR), options).unwrap();
        assert_eq!(first_segment(&disk), expected, "{what}");
        drop(engine);
    }
}

#[test]
fn restartpoints_and_a_promotion_keep_what_followers_need() {
    let leader_disk = init();
    let open = |disk: &SimDisk| Arc::new(disk.clone());
    let leader = Engine::open(open(&leader_disk), Path::new(DIR), options(needs(SEGMENT), 0)).unwrap();
    put(&leader, &[("a", "1")]);
    flush(&leader);
    let disk = duplicate(&leader_disk);
    fill_segments(&leader, 7);
    leader.checkpoint(Cause::Immediate).unwrap();
    flush(&leader);
    ship(&leader_disk, &disk);
    let standby = Standby::open(open(&disk), Path::new(DIR), options(needs(2 * SEGMENT), 0)).unwrap();
    standby.replay_to(leader.log().flushed()).unwrap();
    standby.engine().checkpoint(Cause::Immediate).unwrap();
    assert_eq!(first_segment(&disk), 2, "by a restartpoint");
    assert!(standby.engine().log().redo() > Lsn::new(7 * SEGMENT), "slots are reserved from there on");
    standby.shutdown().unwrap();
    drop(standby);
    let standby = Standby::open(open(&disk), Path::new(DIR), options(needs(4 * SEGMENT), 0)).unwrap();
    let engine = standby.promote("test").unwrap();
    engine.checkpoint(Cause::Immediate).unwrap();
    assert_eq!(first_segment(&disk), 4, "after a promotion");
    let crashed = duplicate(&disk);
    let engine = Engine::open(open(&crashed), Path::new(DIR), options(needs(5 * SEGMENT), 0)).unwrap();
    assert_eq!(first_segment(&crashed), 5, "after a crash of what was promoted");
    drop(engine);
}
