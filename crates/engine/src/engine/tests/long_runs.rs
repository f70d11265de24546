//! Transactions whose records are more than replay keeps in memory: they are read from the log a second time.

use disk::{CrashChoices, OpenMode};

use super::replay::{copy, files, write_all};
use super::*;
use crate::replay::MOST_IN_MEMORY;

/// A small pool: a run of thousands of pages goes through it many times over.
fn options() -> EngineOptions {
    EngineOptions { shared_buffers: 64 << 13, ..EngineOptions::default() }
}

/// Commits rows, and then a transaction that changes, deletes and adds to them, larger than the bound. Returns where its run
/// begins and ends, and the rows before it.
fn write_long_run(engine: &Arc<Engine>) -> (Lsn, Lsn, Rows) {
    let value = |number: u32, length: usize| -> Vec<u8> {
        let mut random = Random::new(u64::from(number) + 1);
        (0..length).map(|_| random.below(256) as u8).collect()
    };
    let mut first = engine.begin(Isolation::ReadCommitted, false);
    for number in 0..300_u32 {
        first.put(CATALOG, &number.to_be_bytes(), &value(number, 500)).unwrap();
    }
    let commit = first.commit().unwrap();
    engine.log().flush(commit.lsn).unwrap();
    let before = rows_now(engine, CATALOG);
    let mut long = engine.begin(Isolation::ReadCommitted, false);
    for number in 0..300_u32 {
        match number % 3 {
            0 => long.put(CATALOG, &number.to_be_bytes(), &value(number + 1000, 499)).unwrap(),
            1 => long.delete(CATALOG, &number.to_be_bytes()).unwrap(),
            _ => {}
        }
    }
    for number in 1000..1009_u32 {
        long.put(CATALOG, &number.to_be_bytes(), &value(number, 4 << 20)).unwrap();
    }
    let start = engine.log().inserted();
    let end = long.commit().unwrap().lsn;
    engine.log().flush(end).unwrap();
    assert!(
        end.as_u64() - start.as_u64() > MOST_IN_MEMORY as u64 + (4 << 20),
        "not long enough to test anything"
    );
    (start, end, before)
}

/// Fills the log from `from` on with zeros, as if nothing had been written there.
fn cut_log(disk: &SimDisk, from: Lsn) {
    let dir = Path::new("/data/pg_wal");
    let mut segment = segment_size().segment_of(from);
    let mut offset = segment_size().offset_of(from);
    while let Ok(file) =
        disk.open(&dir.join(segment.file_name(TimelineId::FIRST, segment_size())), OpenMode::ReadWrite)
    {
        file.write_all_at(&vec![0; SEGMENT as usize - offset as usize], u64::from(offset)).unwrap();
        (segment, offset) = (segment.next(), 0);
    }
}

/// Replays the log on `disk` and gives the pool.
fn replay(disk: &SimDisk, dir: &Path) -> (Arc<BufferPool>, Lsn) {
    let pool = pool(disk, dir, Arc::new(AllDurable), &options());
    let recovered = recover(&pool, source(disk, dir), &first_checkpoint(), Lsn::INVALID).unwrap();
    (pool, recovered.end)
}

#[test]
fn a_run_longer_than_memory_is_replayed_whole_or_not_at_all_whatever_of_it_was_written_before() {
    let (leader, dir) = (SimDisk::new(), Path::new("/data"));
    let engine = open(&leader, dir, options());
    let (start, end, before) = write_long_run(&engine);
    let after = rows_now(&engine, CATALOG);
    write_all(engine.pool());
    drop(engine);
    let pages = files(&leader, dir);

    // The machine stopped before the commit record was durable.
    let cut = SimDisk::new();
    copy(&leader, &cut, &dir.join("pg_wal"));
    cut.create_dir_all(&dir.join("base/5")).unwrap();
    cut_log(&cut, Lsn::new((start.as_u64() + end.as_u64()) / 2));
    let engine = open(&cut, dir, options());
    assert!(engine.log().inserted() > start);
    assert!(rows_now(&engine, CATALOG) == before);
    put(&engine, &[("goes", "on")]);
    flush(&engine);
    drop(engine);
    assert_eq!(rows_now(&open(&cut, dir, options()), CATALOG).len(), before.len() + 1);

    // It stopped after that: pages are written while the run is replayed, since there is little room for them.
    let whole = SimDisk::new();
    copy(&leader, &whole, &dir.join("pg_wal"));
    whole.create_dir_all(&dir.join("base/5")).unwrap();
    for dir in [dir.to_owned(), dir.join("base"), "/".into()] {
        whole.sync_dir(&dir).unwrap();
    }
    let begun = whole.operations();
    let (pool, replayed) = replay(&whole, dir);
    assert_eq!(replayed, end);
    let stats = pool.stats();
    assert!(stats.evicted > 2_000 && stats.pages < 256, "{stats:?}");
    let replayed = whole.operations();
    write_all(&pool);
    drop(pool);
    assert!(files(&whole, dir) == pages);

    // And it stopped in the middle of that, with any of those pages on the disk.
    let choices = CrashChoices { exhaustive_up_to: 1, samples: 4, seed: 3 };
    for moment in [begun + (replayed - begun) / 3, replayed] {
        let states = whole.count_crash_states(moment, choices);
        for crashed in whole.crash_states(moment, choices).skip(states - 2) {
            copy(&leader, &crashed, &dir.join("pg_wal"));
            let (pool, replayed) = replay(&crashed, dir);
            assert_eq!(replayed, end);
            write_all(&pool);
            assert!(files(&crashed, dir) == pages);
        }
    }
    assert!(rows_now(&open(&whole, dir, options()), CATALOG) == after);
}

#[test]
fn a_standby_shows_a_run_longer_than_memory_once_it_is_whole() {
    let leader_disk = lifecycle::init();
    let leader = lifecycle::start(&leader_disk);
    let disk = lifecycle::duplicate(&leader_disk);
    let standby = lifecycle::follow(&disk);
    let (start, end, before) = write_long_run(&leader);
    lifecycle::ship(&leader_disk, &disk);
    let half = Lsn::new((start.as_u64() + end.as_u64()) / 2);
    assert_eq!(standby.replay_to(half).unwrap(), start);
    let engine = Arc::clone(standby.engine());
    assert!(rows_now(&engine, CATALOG) == before);
    let reader = engine.begin(Isolation::RepeatableRead, true);
    assert_eq!(rows(&reader, CATALOG).len(), before.len());

    // A standby that is restarted in the middle reads the run's beginning again.
    drop((reader, engine, standby));
    let standby = lifecycle::follow(&disk);
    assert_eq!(standby.replayed(), end, "what is in its log is there");
    assert!(rows_now(standby.engine(), CATALOG) == rows_now(&leader, CATALOG));
    let stats = standby.engine().pool().stats();
    // Older versions are needed by nobody; what is left is what the pool may have.
    assert!(stats.evicted > 2_000 && stats.pages < 256, "{stats:?}");
}

#[test]
fn a_standbys_readers_keep_their_snapshot_while_a_run_longer_than_memory_is_replayed() {
    let leader_disk = lifecycle::init();
    let leader = lifecycle::start(&leader_disk);
    let disk = lifecycle::duplicate(&leader_disk);
    let standby = lifecycle::follow(&disk);
    let (start, end, before) = write_long_run(&leader);
    lifecycle::ship(&leader_disk, &disk);
    standby.replay_to(start).unwrap();
    let reader = standby.engine().begin(Isolation::RepeatableRead, true);
    assert!(rows(&reader, CATALOG) == before);
    assert_eq!(standby.replay_to(end).unwrap(), end);
    assert!(rows(&reader, CATALOG) == before);
    assert!(rows_now(standby.engine(), CATALOG) == rows_now(&leader, CATALOG));
}

#[test]
fn a_standby_whose_disk_is_full_in_the_middle_of_a_run_longer_than_memory_has_all_of_it_in_the_end() {
    let leader_disk = lifecycle::init();
    let leader = lifecycle::start(&leader_disk);
    let disk = lifecycle::duplicate(&leader_disk);
    let standby = lifecycle::follow(&disk);
    let (start, end, before) = write_long_run(&leader);
    lifecycle::ship(&leader_disk, &disk);
    standby.replay_to(start).unwrap();
    let mut stops = 0;
    loop {
        // Enough for one of the pieces of 16 MiB that it is published in, and for some more, as is claimed; not for two.
        disk.limit_space(Some(24 << 20));
        match standby.replay_to(end) {
            Ok(replayed) => break assert_eq!(replayed, end),
            Err(EngineError::Stopped(_)) => stops += 1,
            Err(error) => panic!("{}", error.chain()),
        }
        assert!(stops < 10, "it never goes on");
        assert!(standby.replayed() == start && rows_now(standby.engine(), CATALOG) == before);
    }
    assert!(stops > 0, "there was space for everything");
    assert!(rows_now(standby.engine(), CATALOG) == rows_now(&leader, CATALOG));
}
