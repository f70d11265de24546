//! A log that has lost its end is told from one that a power cut ended.

use disk::{CrashChoices, OpenMode};

use super::lifecycle::{DIR, duplicate, init, start};
use super::*;
use crate::checkpoint::Cause;
use crate::effort::cases;
use crate::{KnownDurable, LogExtent, LogKeeper};

fn options() -> EngineOptions {
    EngineOptions { shared_buffers: 16 << 13, publish_status: false, ..EngineOptions::default() }
}

fn accepting(lsn: Lsn) -> EngineOptions {
    EngineOptions { accept_loss: Some(lsn), ..options() }
}

fn try_open(disk: &SimDisk, options: EngineOptions) -> Result<Arc<Engine>, EngineError> {
    Engine::open(Arc::new(disk.clone()), Path::new(DIR), options)
}

fn keys(engine: &Arc<Engine>) -> Vec<String> {
    rows_now(engine, CATALOG).into_keys().map(|key| String::from_utf8(key).unwrap()).collect()
}

fn segment_path(segment: u64) -> std::path::PathBuf {
    Path::new(DIR)
        .join("pg_wal")
        .join(wal::SegmentNo::new(segment).file_name(TimelineId::FIRST, segment_size()))
}

/// Changes the byte of the log at `lsn`, on the disk.
fn damage(disk: &SimDisk, lsn: Lsn) {
    let (segment, offset) = (lsn.as_u64() / SEGMENT, lsn.as_u64() % SEGMENT);
    let file = disk.open(&segment_path(segment), OpenMode::ReadWrite).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, offset).unwrap();
    file.write_all_at(&[!byte[0]], offset).unwrap();
    file.sync_all().unwrap();
}

/// A leader with a commit in each of several segments, as it is when it is killed; the ends of the commits.
fn leader_over_segments() -> (SimDisk, Vec<Lsn>) {
    let disk = init();
    let engine = start(&disk);
    let mut ends = Vec::new();
    for key in ["a", "b", "c", "d"] {
        ends.push(put(&engine, &[(key, "1")]).lsn);
        engine.log().switch_segment().unwrap();
        flush(&engine);
    }
    ends.push(put(&engine, &[("e", "1")]).lsn);
    flush(&engine);
    let killed = duplicate(&disk);
    drop(engine);
    (killed, ends)
}

#[test]
fn damage_before_a_later_segment_is_refused_until_somebody_accepts_the_loss() {
    let (disk, ends) = leader_over_segments();
    damage(&disk, Lsn::new(ends[2].as_u64() - 8));
    let Err(EngineError::WalLost { end, durable, witness }) = try_open(&disk, options()) else {
        panic!("not refused");
    };
    assert!(end >= ends[1] && end < ends[2], "{end}");
    assert!(durable >= ends[4], "{durable}");
    assert!(witness.contains(&segment_path(5).display().to_string()), "{witness}");
    // It is refused for as long as that is so, and no other position is accepted.
    assert!(matches!(try_open(&disk, options()), Err(EngineError::WalLost { .. })));
    assert!(matches!(try_open(&disk, accepting(ends[0])), Err(EngineError::NotThatEnd { .. })));
    assert!(matches!(try_open(&disk, accepting(durable)), Err(EngineError::NotThatEnd { .. })));
    // What lies behind the end was not touched: with the byte as it was nothing is lost.
    let whole = duplicate(&disk);
    damage(&whole, Lsn::new(ends[2].as_u64() - 8));
    assert_eq!(keys(&try_open(&whole, options()).unwrap()), ["a", "b", "c", "d", "e"]);

    let engine = try_open(&disk, accepting(end)).unwrap();
    assert_eq!(keys(&engine), ["a", "b"]);
    assert_eq!(engine.log().timeline(), TimelineId::new(2), "what was lost is past a fork");
    put(&engine, &[("after", "1")]);
    flush(&engine);
    for segment in [4, 5] {
        let lost = segment_path(segment).display().to_string() + ".lost";
        assert!(disk.exists(Path::new(&lost)).unwrap(), "{lost}");
    }
    let killed = duplicate(&disk);
    drop(engine);
    assert!(matches!(try_open(&killed, accepting(end)), Err(EngineError::NotThatEnd { .. })));
    assert_eq!(keys(&try_open(&killed, options()).unwrap()), ["a", "after", "b"]);
}

#[test]
fn a_segment_that_is_gone_or_an_older_copy_of_one_is_a_loss() {
    for segment in [2, 3] {
        let (disk, _) = leader_over_segments();
        let file = disk.open(&segment_path(segment), OpenMode::ReadWrite).unwrap();
        // As a file made ahead.
        disk::fill_zeros(&*file, 0, SEGMENT).unwrap();
        file.sync_all().unwrap();
        assert!(matches!(try_open(&disk, options()), Err(EngineError::WalLost { .. })), "zeros in {segment}");
        disk.remove_file(&segment_path(segment)).unwrap();
        let refusal = try_open(&disk, options());
        assert!(matches!(refusal, Err(EngineError::WalLost { .. })), "no {segment}");
    }
}

#[test]
fn a_gap_in_the_last_segment_alone_is_what_a_power_cut_leaves() {
    let disk = init();
    let engine = start(&disk);
    let mut ends = Vec::new();
    for number in 0..9 {
        ends.push(put(&engine, &[(&format!("{number}"), &"x".repeat(6000))]).lsn);
        flush(&engine);
    }
    let killed = duplicate(&disk);
    drop(engine);
    damage(&killed, Lsn::new(ends[3].as_u64() - 8));
    let source = LogSource {
        system_id: crate::control::ControlStore::open(&(Arc::new(killed.clone()) as _), Path::new(DIR))
            .unwrap()
            .get()
            .system_id,
        ..source(&killed, Path::new(DIR))
    };
    let recovered = {
        let pool = pool(&killed, Path::new(DIR), Arc::new(AllDurable), &options());
        let control =
            crate::control::ControlStore::open(&(Arc::new(killed.clone()) as _), Path::new(DIR)).unwrap();
        let control = control.get();
        recover(&pool, source.clone(), &control.checkpoint_copy, control.checkpoint).unwrap()
    };
    let found =
        super::super::lost_wal::FoundEnd { source: &source, end: recovered.end, last: recovered.prev };
    assert!(found.end >= ends[2] && found.end < ends[3]);
    assert_eq!(found.later_segments().unwrap(), None);
    assert_eq!(found.behind_gap().unwrap(), Some(ends[8]));
    let engine = try_open(&killed, options()).unwrap();
    assert_eq!(keys(&engine), ["0", "1", "2"]);
}

#[test]
fn a_record_torn_in_the_segment_that_it_goes_on_in_is_what_a_power_cut_leaves() {
    let disk = init();
    let engine = start(&disk);
    // Up to shortly before the end of a segment, and over it.
    let near = 2 * SEGMENT - 3000;
    let mut number = 0;
    while engine.log().inserted().as_u64() < near {
        let room = near - engine.log().inserted().as_u64();
        put(&engine, &[(&format!("{number:04}"), &"x".repeat((room as usize).clamp(1, 6000)))]);
        number += 1;
    }
    let before = engine.log().inserted();
    assert!(before.as_u64() < 2 * SEGMENT);
    let over = put(&engine, &[("over", &"y".repeat(7000))]).lsn;
    assert!(over.as_u64() > 2 * SEGMENT + 100);
    let after = put(&engine, &[("z", "1")]).lsn;
    flush(&engine);
    let killed = duplicate(&disk);
    drop(engine);
    // In the second segment, just behind its header.
    damage(&killed, Lsn::new(2 * SEGMENT + 60));
    let engine = try_open(&killed, options()).unwrap();
    let found = keys(&engine);
    assert!(!found.contains(&"over".to_owned()) && !found.contains(&"z".to_owned()), "{found:?}");
    assert_eq!(found.len(), number);
    drop(engine);
    // In the first: that was durable before the second was begun.
    let killed = duplicate(&disk);
    damage(&killed, Lsn::new(before.as_u64() - 8));
    let refusal = try_open(&killed, options());
    assert!(
        matches!(&refusal, Err(EngineError::WalLost { durable, .. }) if *durable >= after),
        "{refusal:?}"
    );
}

/// Followers that have had the log up to a position.
#[derive(Debug)]
struct Had(Lsn);

impl LogKeeper for Had {
    fn keep(&self, _: LogExtent, remove: &mut dyn FnMut(Option<Lsn>)) {
        remove(None);
    }

    fn known_durable(&self, _: TimelineId) -> Result<Option<KnownDurable>, EngineError> {
        Ok(Some(KnownDurable { lsn: self.0, witness: "somebody".to_owned() }))
    }
}

#[test]
fn what_a_follower_has_had_is_not_lost_silently() {
    let (disk, ends) = leader_over_segments();
    let had = |lsn| EngineOptions { keeper: Some(Arc::new(Had(lsn))), ..options() };
    let at_end = duplicate(&disk);
    assert_eq!(keys(&try_open(&at_end, had(ends[4].align8())).unwrap()).len(), 5);
    damage(&disk, Lsn::new(ends[4].as_u64() - 8));
    assert_eq!(keys(&try_open(&duplicate(&disk), options()).unwrap()).len(), 4, "nobody knows");
    let refusal = try_open(&disk, had(ends[4])).unwrap_err();
    let EngineError::WalLost { end, durable, .. } = refusal else { panic!("{refusal}") };
    assert!(durable == ends[4] && end < ends[4]);
    let accepted = EngineOptions { accept_loss: Some(end), ..had(ends[4]) };
    assert_eq!(keys(&try_open(&disk, accepted).unwrap()).len(), 4);
}

#[test]
fn a_page_newer_than_the_log_is_named_and_never_handed_out() {
    let disk = init();
    let engine = start(&disk);
    let mut transaction = engine.begin(Isolation::ReadCommitted, false);
    // Not one of those that the engine looks at when it is opened.
    let tree = transaction.create_tree().unwrap();
    transaction.put(tree, b"a", b"1").unwrap();
    transaction.commit().unwrap();
    engine.checkpoint(Cause::Immediate).unwrap();
    let put_into = |engine: &Arc<Engine>, key: &[u8]| {
        let mut transaction = engine.begin(Isolation::ReadCommitted, false);
        transaction.put(tree, key, b"1").unwrap();
        let end = transaction.commit().unwrap().lsn;
        flush(engine);
        end
    };
    let last = put_into(&engine, b"b");
    let dirty = engine.pool().begin_checkpoint();
    let write_back = |engine: &Arc<Engine>| {
        dirty.iter().for_each(|&page| engine.pool().write_back(page).unwrap());
        engine.pool().files().sync_dirty();
    };
    write_back(&engine);
    let killed = duplicate(&disk);
    drop(engine);
    damage(&killed, Lsn::new(last.as_u64() - 8));
    // At first read; not only before the log has gone on past it.
    let engine = try_open(&killed, options()).unwrap();
    put(&engine, &[("the log", "goes on")]);
    flush(&engine);
    assert!(engine.log().flushed() > last && !dirty.is_empty());
    for &page in &dirty {
        assert_beyond(engine.pool().latest(page).map(drop), last);
    }
    drop(engine);
    // During recovery, which changes the page and has no image of it in the log.
    let engine = try_open(&disk, EngineOptions { full_page_writes: false, ..options() }).unwrap();
    put_into(&engine, b"c");
    let later = put_into(&engine, b"d");
    write_back(&engine);
    let killed = duplicate(&disk);
    drop(engine);
    damage(&killed, Lsn::new(later.as_u64() - 8));
    assert_beyond(try_open(&killed, options()).map(drop), later);
    let Err(EngineError::PageBeyondLog { end, .. }) = try_open(&killed, options()) else { panic!() };
    // There is nothing to go on from: the page has what the log has not.
    assert_beyond(try_open(&killed, accepting(end)).map(drop), later);
}

#[track_caller]
fn assert_beyond(outcome: Result<(), EngineError>, page: Lsn) {
    let error = outcome.unwrap_err();
    let EngineError::PageBeyondLog { path, lsn, end, .. } = &error else { panic!("{error}") };
    assert!(*lsn == page && *end < page, "{error}");
    assert!(path.starts_with("/data/base/5"), "{error}");
}

#[test]
fn no_loss_is_accepted_while_a_page_has_what_was_lost() {
    let disk = init();
    let engine = start(&disk);
    let mut ends = Vec::new();
    for key in ["a", "b", "c"] {
        ends.push(put(&engine, &[(key, "1")]).lsn);
        engine.log().switch_segment().unwrap();
        flush(&engine);
    }
    for page in engine.pool().begin_checkpoint() {
        engine.pool().write_back(page).unwrap();
    }
    engine.pool().files().sync_dirty();
    let killed = duplicate(&disk);
    drop(engine);
    damage(&killed, Lsn::new(ends[0].as_u64() - 8));
    // The first commit's image covers the page in recovery or not: either way the page is found.
    let end = match try_open(&killed, options()) {
        Err(EngineError::WalLost { end, .. } | EngineError::PageBeyondLog { end, .. }) => end,
        other => panic!("{other:?}"),
    };
    assert_beyond(try_open(&killed, accepting(end)).map(drop), ends[2]);
    assert!(disk.exists(&segment_path(3)).unwrap(), "nothing was set aside");
}

#[test]
fn every_power_cut_leaves_a_directory_that_starts() {
    for seed in 1..=u64::from(cases(2)) {
        cut_everywhere(seed);
    }
}

/// How many of the disks that a power cut at one moment can leave are looked at.
const STATES: usize = 6;

fn cut_everywhere(seed: u64) {
    let disk = init();
    let first = disk.operations();
    let engine = try_open(&disk, options()).unwrap();
    let mut random = Random::new(seed);
    let mut marks = vec![(disk.operations(), 0)];
    for number in 1..=40 {
        let value = "v".repeat(1 + random.below(90_000));
        let commit =
            put(&engine, &[(&format!("{:02}", random.below(20)), &value), ("last", &number.to_string())]);
        match random.below(4) {
            0 => engine.log().flush(commit.lsn).unwrap(),
            1 if random.below(4) == 0 => engine.checkpoint(Cause::Immediate).unwrap(),
            _ => continue,
        }
        marks.push((disk.operations(), number));
    }
    drop(engine);
    for _ in 0..8 {
        let moment = first + random.below(disk.operations() - first + 1);
        let at_least =
            marks.iter().rev().find(|&&(operations, _)| operations <= moment).map_or(0, |mark| mark.1);
        let choices = CrashChoices { exhaustive_up_to: 4, samples: 2, seed };
        let every = disk.count_crash_states(moment, choices).div_ceil(STATES).max(1);
        let skip = random.below(every);
        for (number, state) in disk.crash_states(moment, choices).enumerate().skip(skip).step_by(every) {
            let what = format!("seed {seed}, after {moment} operations, state {number}");
            let before = state.operations();
            starts(&state, at_least, &what);
            // And again, if recovery itself is cut short.
            let again = before + random.below(state.operations() - before + 1);
            let choices = CrashChoices { exhaustive_up_to: 2, samples: 1, seed };
            for twice in state.crash_states(again, choices).take(2) {
                starts(&twice, at_least, &format!("{what}, and {again} operations later"));
            }
        }
    }
}

fn starts(disk: &SimDisk, at_least: usize, what: &str) {
    let engine = try_open(disk, options()).unwrap_or_else(|error| panic!("{what}: {}", error.chain()));
    let last = rows_now(&engine, CATALOG).remove(b"last".as_slice());
    let last = last.map_or(0, |value| String::from_utf8(value).unwrap().parse().unwrap());
    assert!(last >= at_least, "{what}: {last}, not {at_least}");
}

#[test]
fn a_log_that_ends_before_what_pg_control_admits_of_the_pages_is_refused_and_no_loss_accepted() {
    let disk = init();
    let leader = start(&disk);
    let standby_disk = duplicate(&disk);
    let standby = super::lifecycle::follow(&standby_disk);
    let mut ends = Vec::new();
    for key in ["a", "b", "c"] {
        ends.push(put(&leader, &[(key, "1")]).lsn);
        flush(&leader);
    }
    super::lifecycle::ship(&disk, &standby_disk);
    standby.replay_to(ends[2]).unwrap();
    super::replay::write_all(standby.engine().pool());
    let killed = duplicate(&standby_disk);
    drop(standby);
    // As somebody has it start who takes its standby.signal away.
    let whole = duplicate(&killed);
    assert_eq!(keys(&try_open(&whole, options()).unwrap()), ["a", "b", "c"]);
    damage(&killed, Lsn::new(ends[1].as_u64() - 8));
    let refused = |options| match try_open(&duplicate(&killed), options) {
        Err(
            EngineError::NotConsistent { end, pages, .. }
            | EngineError::PageBeyondLog { end, lsn: pages, .. },
        ) => {
            assert!(end >= ends[0] && end < ends[1] && pages >= ends[2], "{end}, {pages}");
            end
        }
        other => panic!("{other:?}"),
    };
    let end = refused(options());
    refused(accepting(end));
}

#[test]
fn a_log_that_ends_before_the_checkpoint_is_refused_and_no_loss_accepted() {
    let disk = init();
    let engine = start(&disk);
    put(&engine, &[("a", "1")]);
    let before = engine.log().inserted();
    engine.checkpoint(Cause::Immediate).unwrap();
    let killed = duplicate(&disk);
    drop(engine);
    let store = crate::control::ControlStore::open(&(Arc::new(killed.clone()) as _), Path::new(DIR)).unwrap();
    let at = store.get().checkpoint;
    drop(store);
    assert!(at >= before);
    damage(&killed, at.saturating_add(30));
    for options in [options(), accepting(at)] {
        let Err(EngineError::CheckpointLost { checkpoint, end, .. }) = try_open(&killed, options) else {
            panic!("not refused")
        };
        assert!(checkpoint == at && end <= at, "{end}");
    }
}
