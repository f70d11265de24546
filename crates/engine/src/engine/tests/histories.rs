//! Standbys and newer timelines: nothing is followed that has discarded what the pages may show.

use disk::CrashChoices;

use super::lifecycle::{DIR, duplicate, follow, init, ship, start, state};
use super::replay::write_all;
use super::*;
use crate::checkpoint::Cause;
use crate::control::{ClusterState, ControlFile, ControlStore};
use crate::effort::cases;
use crate::{InitOptions, Standby};

/// Opened anew, as after a crash of its process.
fn try_follow(disk: &SimDisk) -> Result<Arc<Standby>, EngineError> {
    let options =
        EngineOptions { shared_buffers: 64 << 13, publish_status: false, ..EngineOptions::default() };
    Standby::open(Arc::new(disk.clone()), Path::new(DIR), options)
}

fn keys(engine: &Arc<Engine>) -> Vec<String> {
    rows_now(engine, CATALOG).into_keys().map(|key| String::from_utf8(key).unwrap()).collect()
}

fn control(disk: &SimDisk) -> ControlFile {
    let shared: Arc<dyn Disk> = Arc::new(disk.clone());
    ControlStore::open(&shared, Path::new(DIR)).unwrap().get()
}

/// Gives `to` the histories that `from` knows, and none of its log.
fn tell(from: &SimDisk, to: &SimDisk) {
    let dir = Path::new(DIR).join("pg_wal");
    for entry in from.read_dir(&dir).unwrap() {
        let path = dir.join(&entry.name);
        if entry.name.ends_with(".history") {
            disk::durable_write(to, &path, &disk::read_file(from, &path, 1 << 16).unwrap()).unwrap();
        }
    }
}

#[track_caller]
fn assert_diverged<T>(outcome: Result<T, EngineError>, beyond: Lsn, newer: u32) {
    let Err(error) = outcome else { panic!("followed") };
    let text = error.to_string();
    let EngineError::Diverged { progress, newer: found, left, in_memory } = error else { panic!("{text}") };
    assert!(!in_memory, "{text}");
    assert!(progress.lsn >= beyond, "{text}");
    assert_eq!(found, TimelineId::new(newer));
    assert!(left.is_some_and(|left| left < progress.lsn), "{text}");
    assert!(text.contains("base backup") && text.contains(&format!("{:08X}.history", newer)), "{text}");
}

/// Only what is in memory is past the fork, up to `beyond`: a restart does without it.
#[track_caller]
fn assert_diverged_in_memory<T>(outcome: Result<T, EngineError>, beyond: Lsn) {
    let Err(error) = outcome else { panic!("followed") };
    let text = error.to_string();
    let EngineError::Diverged { progress, in_memory: true, left: Some(left), .. } = error else {
        panic!("{text}")
    };
    assert!(progress.lsn >= beyond && left < beyond, "{text}");
    assert!(text.contains("start this server again") && !text.contains("base backup"), "{text}");
}

/// A leader with row `a`, and what two standbys hold that have that.
fn leader_and_two() -> (SimDisk, Arc<Engine>, SimDisk, SimDisk) {
    let disk = init();
    let leader = start(&disk);
    put(&leader, &[("a", "1")]);
    leader.checkpoint(Cause::Immediate).unwrap();
    flush(&leader);
    let (one, two) = (duplicate(&disk), duplicate(&disk));
    (disk, leader, one, two)
}

/// Promotes the standby that `disk` is, which writes row `new` then.
fn promote(disk: &SimDisk) -> Arc<Engine> {
    let promoted = follow(disk).promote("test").unwrap();
    put(&promoted, &[("new", "1")]);
    flush(&promoted);
    promoted
}

#[test]
fn a_standby_past_the_fork_is_refused_while_it_runs_and_at_every_start() {
    for restartpoint in [false, true] {
        let (disk, leader, behind, ahead) = leader_and_two();
        let standby = follow(&ahead);
        let late = put(&leader, &[("late", "1")]);
        flush(&leader);
        ship(&disk, &ahead);
        standby.replay_to(late.lsn).unwrap();
        if restartpoint {
            standby.engine().checkpoint(Cause::Immediate).unwrap();
        }
        // As an eviction does.
        write_all(standby.engine().pool());
        let crashed = duplicate(&ahead);
        let _promoted = promote(&behind);
        tell(&behind, &ahead);
        assert_diverged(standby.follow_newest_timeline(), late.lsn, 2);
        assert_diverged(standby.follow_newest_timeline(), late.lsn, 2);
        standby.shutdown().unwrap();
        drop(standby);
        for _ in 0..2 {
            assert_diverged(try_follow(&ahead), late.lsn, 2);
        }
        // One that crashed before it heard of the fork.
        tell(&behind, &crashed);
        assert_diverged(try_follow(&crashed), late.lsn, 2);
        // Whoever decides for it takes the other's history away.
        crashed.remove_file(&Path::new(DIR).join("pg_wal/00000002.history")).unwrap();
        assert_eq!(keys(try_follow(&crashed).unwrap().engine()), ["a", "late"]);
    }
}

#[test]
fn what_was_received_past_the_fork_is_never_replayed_after_a_restart() {
    let (disk, leader, behind, ahead) = leader_and_two();
    drop(follow(&ahead));
    put(&leader, &[("late", "1")]);
    flush(&leader);
    ship(&disk, &ahead);
    let promoted = promote(&behind);
    tell(&behind, &ahead);
    let standby = try_follow(&ahead).unwrap();
    assert_eq!(keys(standby.engine()), ["a"]);
    ship(&behind, &ahead);
    standby.replay_to(promoted.log().flushed()).unwrap();
    assert_eq!(keys(standby.engine()), ["a", "new"]);
}

#[test]
fn pages_that_were_replayed_and_not_written_do_not_keep_a_restarted_standby_from_following() {
    let (disk, leader, behind, ahead) = leader_and_two();
    let standby = follow(&ahead);
    let late = put(&leader, &[("late", "1")]);
    flush(&leader);
    ship(&disk, &ahead);
    standby.replay_to(late.lsn).unwrap();
    let crashed = duplicate(&ahead);
    let _promoted = promote(&behind);
    tell(&behind, &ahead);
    // The one that runs cannot go back, and says that a restart can.
    assert_diverged_in_memory(standby.follow_newest_timeline(), late.lsn);
    tell(&behind, &crashed);
    assert_eq!(keys(try_follow(&crashed).unwrap().engine()), ["a"]);
    // Once a page is in its file it is the other thing.
    write_all(standby.engine().pool());
    assert_diverged(standby.follow_newest_timeline(), late.lsn, 2);
}

#[test]
fn the_beginning_of_a_transaction_past_the_fork_is_forgotten() {
    let (disk, leader, behind, ahead) = leader_and_two();
    let standby = follow(&ahead);
    let late = put(&leader, &[("late", "1")]);
    flush(&leader);
    ship(&disk, &ahead);
    // Everything of it but its COMMIT record, which is 40 bytes long.
    standby.replay_to(Lsn::new(late.lsn.as_u64() - 8)).unwrap();
    assert!(standby.read_to() > standby.replayed(), "the run has begun");
    let promoted = promote(&behind);
    ship(&behind, &ahead);
    assert_eq!(standby.follow_newest_timeline().unwrap(), TimelineId::new(2));
    standby.replay_to(promoted.log().flushed()).unwrap();
    assert_eq!(keys(standby.engine()), ["a", "new"]);
}

#[test]
fn a_transaction_past_the_fork_that_a_full_disk_has_stopped_half_way_is_not_forgotten() {
    let (disk, leader, behind, ahead) = leader_and_two();
    let standby = follow(&ahead);
    // More pages than replay gathers before it publishes: it stops before the transaction's end.
    let mut transaction = leader.begin(Isolation::ReadCommitted, false);
    for number in 1..6_u8 {
        transaction.put(CATALOG, &[number], &vec![number; 4 << 20]).unwrap();
    }
    let late = transaction.commit().unwrap();
    flush(&leader);
    ship(&disk, &ahead);
    ahead.limit_space(Some(0));
    assert!(matches!(standby.replay_to(late.lsn), Err(EngineError::Stopped(_))));
    assert!(standby.replayed() < late.lsn);
    ahead.limit_space(None);
    let promoted = promote(&behind);
    tell(&behind, &ahead);
    assert_diverged_in_memory(standby.follow_newest_timeline(), late.lsn);
    // Nothing of it was written, and a restart forgets it.
    drop(standby);
    let standby = try_follow(&ahead).unwrap();
    assert_eq!(keys(standby.engine()), ["a"]);
    ship(&behind, &ahead);
    standby.replay_to(promoted.log().flushed()).unwrap();
    assert_eq!(keys(standby.engine()), ["a", "new"]);
}

#[test]
fn a_leaders_progress_is_the_end_of_its_log_however_it_ended() {
    for orderly in [false, true] {
        let (disk, leader, behind, _) = leader_and_two();
        let late = put(&leader, &[("late", "1")]);
        flush(&leader);
        let old = if orderly {
            leader.shutdown().unwrap();
            disk.clone()
        } else {
            duplicate(&disk)
        };
        drop(leader);
        let _promoted = promote(&behind);
        tell(&behind, &old);
        for _ in 0..2 {
            assert_diverged(try_follow(&old), late.lsn, 2);
        }
        assert!(matches!(state(&old), ClusterState::ShutDown | ClusterState::InProduction));
    }
}

#[test]
fn a_leader_all_of_whose_log_is_in_the_new_history_becomes_a_standby() {
    for orderly in [false, true] {
        let (disk, leader, _, next) = leader_and_two();
        put(&leader, &[("b", "1")]);
        flush(&leader);
        if orderly {
            leader.shutdown().unwrap();
        }
        let old = duplicate(&disk);
        drop(leader);
        ship(&old, &next);
        let promoted = promote(&next);
        tell(&next, &old);
        let standby = try_follow(&old).unwrap();
        assert_eq!(state(&old), ClusterState::ArchiveRecovery);
        assert!(control(&old).min_recovery_point.is_valid());
        ship(&next, &old);
        standby.replay_to(promoted.log().flushed()).unwrap();
        assert_eq!(keys(standby.engine()), ["a", "b", "new"]);
    }
}

#[test]
fn two_promotions_that_took_the_same_number_are_two_histories() {
    let (disk, leader, one, two) = leader_and_two();
    let late = put(&leader, &[("late", "1")]);
    flush(&leader);
    ship(&disk, &two);
    let (_first, second) = (promote(&one), promote(&two));
    // A third follows the first, and is promoted.
    let third = duplicate(&one);
    let _third = promote(&third);
    second.shutdown().unwrap();
    drop(second);
    let path = Path::new(DIR).join("pg_wal/00000003.history");
    disk::durable_write(&two, &path, &disk::read_file(&third, &path, 1 << 16).unwrap()).unwrap();
    assert_diverged(try_follow(&two), late.lsn, 3);
}

/// Nothing in `dir` is lost by a crash.
fn sync_all(disk: &SimDisk, dir: &Path) {
    for entry in disk.read_dir(dir).unwrap() {
        let path = dir.join(&entry.name);
        match entry.is_dir {
            true => sync_all(disk, &path),
            false => disk.open(&path, disk::OpenMode::ReadWrite).unwrap().sync_all().unwrap(),
        }
    }
    disk.sync_dir(dir).unwrap();
}

/// The newest `pd_lsn` of all pages in the files, as far as a torn one has any.
fn newest_page(disk: &SimDisk) -> Lsn {
    let dir = Path::new(DIR).join("base/5");
    let mut newest = Lsn::INVALID;
    for entry in disk.read_dir(&dir).unwrap() {
        for page in disk::read_file(disk, &dir.join(&entry.name), 1 << 30).unwrap().chunks(8192) {
            let word = |at: usize| {
                page.get(at..at + 4).map_or(0, |word| u32::from_le_bytes(word.try_into().unwrap()))
            };
            newest = newest.max(Lsn::new(u64::from(word(0)) << 32 | u64::from(word(4))));
        }
    }
    newest
}

#[test]
fn in_no_crash_state_of_a_standby_is_a_file_newer_than_its_control_file_admits() {
    for seed in 1..=u64::from(cases(2)) {
        let disk = SimDisk::new();
        let shared: Arc<dyn Disk> = Arc::new(disk.clone());
        let first = InitOptions { segment_size: segment_size(), ..InitOptions::default() };
        Engine::init(&shared, Path::new(DIR), &first).unwrap();
        let leader = start(&disk);
        let standby_disk = duplicate(&disk);
        sync_all(&standby_disk, Path::new("/"));
        // A small pool, so that pages reach their files while replay goes on.
        let options =
            EngineOptions { shared_buffers: 8 << 13, publish_status: false, ..EngineOptions::default() };
        let standby = Standby::open(Arc::new(standby_disk.clone()), Path::new(DIR), options).unwrap();
        let begins = standby_disk.operations();
        let mut random = Random::new(seed);
        for round in 0..24 {
            let mut transaction = leader.begin(Isolation::ReadCommitted, false);
            let tree = transaction.create_tree().unwrap();
            for _ in 0..1 + random.below(12) {
                transaction.put(CATALOG, &random.key(), &random.value()).unwrap();
                transaction.put(tree, &random.key(), &random.value()).unwrap();
            }
            transaction.commit().unwrap();
            if round % 3 == 2 {
                let mut transaction = leader.begin(Isolation::ReadCommitted, false);
                transaction.drop_tree(tree).unwrap();
                transaction.commit().unwrap();
            }
            if round % 4 == 3 {
                leader.checkpoint(Cause::Immediate).unwrap();
            }
            flush(&leader);
            ship(&disk, &standby_disk);
            standby.replay_to(leader.log().flushed()).unwrap();
            if round % 5 == 4 {
                standby.engine().checkpoint(Cause::Immediate).unwrap();
            }
        }
        standby.shutdown().unwrap();
        let written = standby.engine().pool().stats().written;
        assert!(written > 30, "{written} pages were written: too few to prove anything");
        let mut ahead_of_restartpoint = 0;
        for _ in 0..cases(40) {
            let moment = begins + random.below(standby_disk.operations() - begins + 1);
            let choices = CrashChoices { exhaustive_up_to: 4, samples: 2, seed };
            for crashed in standby_disk.crash_states(moment, choices).take(8) {
                let control = control(&crashed);
                let (newest, admitted) = (newest_page(&crashed), control.min_recovery_point);
                assert!(newest <= admitted, "seed {seed}, after {moment}: {newest} is beyond {admitted}");
                ahead_of_restartpoint += u32::from(newest > control.checkpoint);
            }
        }
        assert!(ahead_of_restartpoint > 0, "no page was newer than the restartpoint: nothing is proven");
    }
}

#[test]
fn the_file_of_a_dropped_tree_is_removed_once_the_control_file_admits_the_drop() {
    let disk = init();
    let leader = start(&disk);
    let standby_disk = duplicate(&disk);
    let standby = follow(&standby_disk);
    let mut transaction = leader.begin(Isolation::ReadCommitted, false);
    let tree = transaction.create_tree().unwrap();
    transaction.put(tree, b"k", b"v").unwrap();
    transaction.commit().unwrap();
    let replay = || {
        flush(&leader);
        ship(&disk, &standby_disk);
        standby.replay_to(leader.log().flushed()).unwrap();
    };
    replay();
    write_all(standby.engine().pool());
    let is_there = || standby_disk.exists(&Path::new(DIR).join(format!("base/5/{}", tree.as_u32()))).unwrap();
    assert!(is_there());
    let mut transaction = leader.begin(Isolation::ReadCommitted, false);
    transaction.drop_tree(tree).unwrap();
    let dropped = transaction.commit().unwrap().lsn;
    assert!(control(&standby_disk).min_recovery_point < dropped);
    replay();
    assert!(!is_there());
    assert!(control(&standby_disk).min_recovery_point >= dropped);
}

#[test]
fn a_promotion_that_ended_before_it_wrote_its_history_was_not_begun_and_can_be_repeated() {
    let (_, _leader, one, _) = leader_and_two();
    // What it had put in place: the new timeline's first segment.
    let dir = Path::new(DIR).join("pg_wal");
    for entry in one.read_dir(&dir).unwrap() {
        if let Some(segment) = entry.name.strip_prefix("00000001") {
            let bytes = disk::read_file(&one, &dir.join(&entry.name), 64 << 20).unwrap();
            disk::durable_write(&one, &dir.join(format!("00000002{segment}")), &bytes).unwrap();
        }
    }
    let standby = try_follow(&one).unwrap();
    assert_eq!((standby.timeline(), keys(standby.engine())), (TimelineId::FIRST, vec!["a".to_owned()]));
    drop(standby);
    let leader = promote(&one);
    put(&leader, &[("b", "2")]);
    flush(&leader);
    drop(leader);
    let leader = start(&one);
    assert_eq!(keys(&leader), ["a", "b", "new"]);
    assert!(one.exists(&dir.join("00000002.history")).unwrap());
}
