//! Disks that are full: who is refused, what stays, and who goes on.

use super::*;
use crate::transaction::Isolation;

const OPTIONS: fn() -> EngineOptions = || EngineOptions { wal_compression: None, ..EngineOptions::default() };

/// Commits one row; what it is made of does not compress.
fn insert(engine: &Arc<Engine>, number: u32, length: usize) -> Result<Commit, EngineError> {
    let mut transaction = engine.begin(Isolation::ReadCommitted, false);
    let key = number.to_be_bytes();
    lock(&mut transaction, &key);
    let mut random = Random::new(number.into());
    let value: Vec<u8> = (0..length).map(|_| random.below(256) as u8).collect();
    transaction.put(CATALOG, &key, &value).unwrap();
    transaction.commit()
}

/// Fills the disk, of which `left` bytes are left; how many rows there are then.
fn fill(engine: &Arc<Engine>, disk: &SimDisk, left: u64, length: usize) -> u32 {
    disk.limit_space(Some(left));
    for number in 0..100_000 {
        match insert(engine, number, length) {
            Ok(_) => {}
            Err(error) => {
                assert!(error.is_disk_full(), "{error}");
                return number;
            }
        }
    }
    panic!("{left} bytes are never full");
}

/// Flushes, and sees to it that segments are made ahead, so that the log has space of its own.
fn await_segments(engine: &Engine) {
    flush(engine);
    engine.log().make_all_ahead().unwrap();
}

fn write_all(engine: &Engine) {
    flush(engine);
    for page in engine.pool().begin_checkpoint() {
        engine.pool().write_back(page).unwrap();
    }
}

#[test]
fn a_commit_whose_pages_do_not_fit_fails_alone_and_nothing_of_it_is_logged() {
    let disk = SimDisk::new();
    let engine = open(&disk, Path::new("/data"), OPTIONS());
    await_segments(&engine);
    let rows_that_fit = fill(&engine, &disk, 300 << 10, 1500);
    assert!(rows_that_fit > 50, "only {rows_that_fit} fit");
    let log = engine.log().inserted();
    for number in 0..20 {
        assert!(insert(&engine, rows_that_fit + number, 7000).unwrap_err().is_disk_full());
    }
    assert_eq!(engine.log().inserted(), log, "what was refused is in the log");
    // Whatever was committed can be written, and readers have it all.
    write_all(&engine);
    assert_eq!(rows_now(&engine, CATALOG).len(), rows_that_fit as usize);
    // What needs no space goes on.
    let mut deletes = engine.begin(Isolation::ReadCommitted, false);
    lock(&mut deletes, &0_u32.to_be_bytes());
    deletes.delete(CATALOG, &0_u32.to_be_bytes()).unwrap();
    deletes.commit().unwrap();
    disk.limit_space(None);
    insert(&engine, rows_that_fit, 7000).unwrap();
    flush(&engine);
    assert_eq!(rows_now(&engine, CATALOG).len(), rows_that_fit as usize);
    drop(engine);
    let again = open(&disk, Path::new("/data"), OPTIONS());
    assert_eq!(rows_now(&again, CATALOG).len(), rows_that_fit as usize);
}

#[test]
fn a_commit_that_the_log_has_no_space_for_fails_alone_and_leaves_no_trace() {
    let disk = SimDisk::new();
    let engine = open(&disk, Path::new("/data"), OPTIONS());
    // Rows to change, in files that need not grow.
    for number in 0..200 {
        insert(&engine, number, 1000).unwrap();
    }
    await_segments(&engine);
    disk.limit_space(Some(0));
    let mut changed = 0;
    let refused = loop {
        match insert(&engine, changed % 200, 800 + changed as usize / 10) {
            Ok(_) => changed += 1,
            Err(error) => break error,
        }
    };
    assert!(refused.is_disk_full() && refused.to_string().contains("pg_wal"), "{}", refused.chain());
    assert!(changed > 500, "only {changed} commits in two segments");
    flush(&engine);
    let before = rows_now(&engine, CATALOG);
    for _ in 0..50 {
        assert!(insert(&engine, 7, 900).unwrap_err().is_disk_full());
    }
    flush(&engine);
    assert!(rows_now(&engine, CATALOG) == before, "what was refused is seen");
    // Dropping a tree frees space, and has some set aside.
    let mut drops = engine.begin(Isolation::ReadCommitted, false);
    drops.drop_tree(TreeId::new(30_000)).unwrap();
    drops.commit().unwrap();
    disk.limit_space(None);
    insert(&engine, 7, 900).unwrap();
    flush(&engine);
    let after = rows_now(&engine, CATALOG);
    drop(engine);
    let again = open(&disk, Path::new("/data"), OPTIONS());
    assert!(rows_now(&again, CATALOG) == after, "runs without their COMMIT left something");
}

#[test]
fn a_full_disk_takes_a_new_empty_tree_in_place_of_an_old_one() {
    let disk = SimDisk::new();
    let engine = open(&disk, Path::new("/data"), OPTIONS());
    engine.pool().files().keep_reserve();
    let mut creates = engine.begin(Isolation::ReadCommitted, false);
    let old = creates.create_tree().unwrap();
    creates.commit().unwrap();
    await_segments(&engine);
    fill(&engine, &disk, 100 << 10, 1500);
    disk.limit_space(Some(0));
    let mut creates = engine.begin(Isolation::ReadCommitted, false);
    creates.create_tree().unwrap();
    assert!(creates.commit().unwrap_err().is_disk_full());
    let mut truncates = engine.begin(Isolation::ReadCommitted, false);
    truncates.create_tree().unwrap();
    truncates.drop_tree(old).unwrap();
    truncates.commit().unwrap();
    write_all(&engine);
}

#[test]
fn pages_that_cannot_be_written_do_not_take_more_memory_than_there_is() {
    let disk = SimDisk::new();
    let options = EngineOptions { shared_buffers: 1 << 20, ..OPTIONS() };
    let engine = open(&disk, Path::new("/data"), options);
    for number in 0..300 {
        insert(&engine, number, 1500).unwrap();
    }
    write_all(&engine);
    disk.fail_writes_below(Path::new("/data/base/5"), true).unwrap();
    let mut committed = 0;
    let refused = loop {
        match insert(&engine, committed * 7 % 300, 1200 + committed as usize / 10) {
            Ok(_) => committed += 1,
            Err(error) => break error.chain(),
        }
        flush(&engine);
        // Somebody reads, and makes room for that.
        if committed % 20 == 0 {
            assert_eq!(rows_now(&engine, CATALOG).len(), 300);
        }
        assert!(committed < 10_000, "nobody is refused");
    };
    let stats = engine.pool().stats();
    assert!(stats.dirty <= stats.capacity && stats.pages <= 2 * stats.capacity, "{stats:?}: {refused}");
    disk.fail_writes_below(Path::new("/data/base/5"), false).unwrap();
    insert(&engine, 1, 1300).unwrap();
    write_all(&engine);
    assert_eq!(engine.pool().stats().dirty, 0);
}

/// An engine whose log takes no more commits, on a disk with no space.
fn full_log(disk: &SimDisk) -> Arc<Engine> {
    let engine = open(disk, Path::new("/data"), OPTIONS());
    for number in 0..100 {
        insert(&engine, number, 1000).unwrap();
    }
    await_segments(&engine);
    disk.limit_space(Some(0));
    let refused =
        (0..10_000).find_map(|number| insert(&engine, number % 100, 800 + number as usize / 100).err());
    assert!(refused.unwrap().is_disk_full());
    engine
}

#[test]
fn a_full_log_takes_neither_switches_nor_restore_points_and_keeps_what_a_checkpoint_needs() {
    let disk = SimDisk::new();
    let engine = full_log(&disk);
    let refused = (0..10_000).find_map(|_| engine.create_restore_point("point").err());
    assert!(refused.unwrap().is_disk_full());
    let before = engine.log().inserted();
    assert!(engine.switch_segment().unwrap_err().is_disk_full());
    assert!(engine.append_nothing_after(before).is_ok(), "there is room for a small record");
    assert!(engine.log().inserted().bytes_since(before) < 100, "something was appended");
    flush(&engine);
    let rows = rows_now(&engine, CATALOG);
    disk.limit_space(None);
    let end = engine.switch_segment().unwrap();
    assert!(end > before && engine.log().inserted().as_u64().is_multiple_of(SEGMENT));
    insert(&engine, 1, 900).unwrap();
    flush(&engine);
    drop(engine);
    let again = open(&disk, Path::new("/data"), OPTIONS());
    assert_eq!(rows_now(&again, CATALOG).len(), rows.len());
}

#[test]
fn a_switch_is_refused_where_only_the_segment_after_it_is_missing() {
    let disk = SimDisk::new();
    let engine = open(&disk, Path::new("/data"), OPTIONS());
    insert(&engine, 1, 100).unwrap();
    await_segments(&engine);
    disk.limit_space(Some(0));
    // Those that are there are used up, and the last one is not left.
    let one_more = |length: &usize| engine.switch_segment().and_then(|_| insert(&engine, 2, *length)).is_ok();
    let switched = (100..110).take_while(one_more);
    assert_eq!(switched.count(), 2);
    insert(&engine, 3, 100).unwrap();
    flush(&engine);
}

#[test]
fn a_trees_number_that_the_log_has_no_space_for_is_not_given_out_later() {
    let disk = SimDisk::new();
    let engine = open(&disk, Path::new("/data"), OPTIONS());
    await_segments(&engine);
    // The next number is one that has to be logged.
    let first = engine.new_tree().unwrap();
    engine.writer().numbers = Numbers::new(1000, first.as_u32() + 1);
    disk.limit_space(Some(0));
    while engine.switch_segment().and_then(|_| engine.create_restore_point("point")).is_ok() {}
    // All but what checkpoints need.
    for length in [4000, 8] {
        let mut encoded = Vec::new();
        record::encode(&mut encoded, ResourceManager::LOGICAL_MESSAGE, 0, Xid::INVALID, &vec![0; length]);
        while engine.log().appender().try_append(&mut encoded, Room::Freeing).is_ok() {}
    }
    assert!(engine.new_tree().unwrap_err().is_disk_full());
    assert!(engine.new_tree().unwrap_err().is_disk_full(), "it was given out without being logged");
    disk.limit_space(None);
    let given = engine.new_tree().unwrap();
    flush(&engine);
    drop(engine);
    let again = open(&disk, Path::new("/data"), OPTIONS());
    assert!(again.new_tree().unwrap() > given, "a crash gives the number out again");
}
