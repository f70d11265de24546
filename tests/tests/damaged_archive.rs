//! Archives that are damaged on disk: `verify` names the file and the position, `fetch` hands out nothing of it.

use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

use wal::{Lsn, SegmentSize, TimelineId};
use walship_tests::receiver::{Listed, records_in, walreceiver};
use walship_tests::{
    Finished, Options, Postgres, Random, TempRoot, Tool, Version, archive, lsns_in, wait_until,
};

fn segment_size() -> SegmentSize {
    SegmentSize::new(1 << 20).unwrap()
}

/// An archive of one timeline, received by walreceiver and complete: finished segments and an unfinished one.
struct Archive {
    root: TempRoot,
    path: PathBuf,
    /// Segments the records of which are listed.
    finished: Vec<String>,
    records: Vec<Listed>,
    /// The last segment, which is unfinished, and where its WAL ends.
    end: Lsn,
}

fn archive_of_one_timeline() -> Archive {
    let root = TempRoot::new("damaged");
    let options = Options::default().wal_segment_mib(1).setting("checkpoint_timeout", "1h");
    let leader = Postgres::start_new(&root, "leader", Version::V15, options);
    leader.sql("select pg_create_physical_replication_slot('w', true)");
    let path = root.dir("archive");
    leader.script(
        "create table t as select n, md5(n::text) as text from generate_series(1, 15000) n;
         create index on t (text); select pg_switch_wal(); checkpoint;
         update t set n = -n where n % 3 = 0; select pg_switch_wal();
         create table u as select generate_series(1, 3000) as n;",
    );
    let end = leader.flush_lsn();
    let receiver = walreceiver(&root, &leader.conninfo(), &path).args(["-S", "w", "--synchronous"]).spawn();
    wait_until("everything to be received", || {
        leader.sql(&format!("select flush_lsn >= '{end}' from pg_stat_replication")) == "t"
    });
    receiver.interrupt().success();
    let records = records_in(&root, &path, None);
    assert!(records.len() > 1000, "{} records", records.len());
    let finished = archive::segments(&path);
    Archive { root, path, finished, records, end }
}

fn verify(root: &TempRoot, directory: &Path, options: &[&str]) -> Finished {
    Tool::ours(root, "walreceiver").arg("verify").arg("-D").arg(directory).args(options).run()
}

impl Archive {
    /// A copy with nothing remembered, to be damaged.
    fn copy(&self, name: &str) -> PathBuf {
        let copy = self.root.dir(name);
        for file in archive::wal_files(&self.path) {
            self.root.file(copy.join(&file), std::fs::read(self.path.join(&file)).unwrap());
        }
        copy
    }

    /// The file that the byte at `lsn` is in.
    fn file_of(&self, lsn: Lsn) -> String {
        let name = segment_size().segment_of(lsn).file_name(TimelineId::FIRST, segment_size());
        if self.finished.contains(&name) { name } else { format!("{name}.partial") }
    }

    /// The start of the record that the byte at `lsn` belongs to, or that it follows.
    fn record_of(&self, lsn: Lsn) -> Lsn {
        let next = self.records.partition_point(|record| record.start <= lsn);
        next.checked_sub(1).map_or(Lsn::INVALID, |index| self.records[index].start)
    }

    /// The record so many thousandths into the archive.
    fn record_at(&self, thousandth: usize) -> Listed {
        self.records[self.records.len() * thousandth / 1000]
    }

    fn flip(&self, directory: &Path, lsn: Lsn, bits: u8) -> PathBuf {
        let path = directory.join(self.file_of(lsn));
        let mut bytes = std::fs::read(&path).unwrap();
        bytes[segment_size().offset_of(lsn) as usize] ^= bits;
        self.root.file(&path, bytes)
    }
}

/// Insists that verification failed and named the file, and a position in the range beside it.
#[track_caller]
fn assert_named(what: &str, finished: &Finished, file: &str, positions: RangeInclusive<Lsn>) {
    let said = format!("{}{}", finished.stdout, finished.stderr);
    assert_eq!(finished.code, Some(1), "{what}: {finished}");
    let mut lines = said.lines().filter(|line| line.contains(file));
    let named = |line: &str| lsns_in(line).iter().any(|lsn| positions.contains(lsn));
    assert!(
        lines.any(named),
        "{what}: {file} is not named with a position from {} to {}: {said}",
        positions.start(),
        positions.end()
    );
}

/// The bytes of an archive that can be flipped, by what they are.
fn targets(archive: &Archive, random: &mut Random) -> Vec<(String, Lsn, u8)> {
    let mut targets = Vec::new();
    for (index, (field, offset)) in [
        ("length", 0),
        ("length's high byte", 3),
        ("transaction", 4),
        ("previous record", 8),
        ("previous record's high byte", 15),
        ("info", 16),
        ("resource manager", 17),
        ("padding in the header", 18),
        ("CRC", 20),
        ("first byte after the header", 24),
    ]
    .into_iter()
    .enumerate()
    {
        let record = archive.record_at(200 + index * 70);
        targets.push((field.to_owned(), record.start.saturating_add(offset), 1 << random.below(8)));
    }
    // Behind a record whose length is no multiple of eight, on the same page.
    let padded = archive.records[200..]
        .iter()
        .find(|record| record.length % 8 != 0 && record.start.as_u64() % 8192 + record.length < 8192);
    let padded = padded.expect("a record with padding");
    targets.push(("padding".into(), padded.start.saturating_add(padded.length), 1 << random.below(8)));
    let page = Lsn::new(archive.record_at(500).start.as_u64() & !8191);
    let page = if segment_size().offset_of(page) == 0 { page.saturating_add(8192) } else { page };
    let segment = segment_size().start_of(segment_size().segment_of(archive.record_at(700).start));
    for (field, lsn, offset, bits) in [
        ("page magic", page, 0, 0x01),
        // The flag 0x04 says that no backup ran; pages with and without it are as good.
        ("page flags: continued", page, 2, 0x01),
        ("page flags: long header", page, 2, 0x02),
        ("page flags: overwritten", page, 2, 0x08),
        ("page flags: unknown", page, 3, 0x10),
        ("page timeline", page, 4, 0x02),
        ("page address", page, 9, 0x20),
        ("page address's high byte", page, 15, 0x20),
        ("continued length", page, 16, 0x08),
        ("long header flag", segment, 2, 0x02),
        ("system identifier", segment, 24, 0x01),
        ("segment size", segment, 34, 0x10),
        ("page size", segment, 37, 0x20),
    ] {
        targets.push((field.to_owned(), lsn.saturating_add(offset), bits));
    }
    // The zeros behind a segment switch.
    let switch = archive.records.windows(2).find(|two| {
        let next = segment_size().segment_of(two[0].start).next();
        segment_size().segment_of(two[1].start) == next && two[0].length == 24
    });
    let switched = switch.expect("a switch")[0].start;
    targets.push(("zeros after a switch".into(), switched.saturating_add(8192 * 2 + 5), 0x40));
    for _ in 0..8 {
        let record = archive.record_at(100 + random.below(890) as usize);
        // Within the record, as long as it stays on its page.
        let room = record.length.min(8192 - record.start.as_u64() % 8192);
        let lsn = record.start.saturating_add(random.below(room));
        targets.push(("anywhere".into(), lsn, 1 << random.below(8)));
    }
    // In the unfinished segment, with good WAL behind it.
    let unfinished = segment_size().floor(archive.end).saturating_add(8192 + 100);
    assert!(unfinished.saturating_add(16384) < archive.end);
    targets.push(("in the unfinished segment".into(), unfinished, 0x80));
    targets
}

#[test]
fn one_flipped_bit_anywhere_is_found_and_its_segment_not_handed_out() {
    let archive = archive_of_one_timeline();
    verify(&archive.root, &archive.path, &[]).success();
    let mut random = Random::new();
    for (number, (what, lsn, bits)) in targets(&archive, &mut random).into_iter().enumerate() {
        let what = format!("{what} at {lsn}, bits {bits:#04x}");
        println!("{what}");
        let copy = archive.copy(&format!("copy-{number}"));
        archive.flip(&copy, lsn, bits);
        let file = archive.file_of(lsn);
        let finished = verify(&archive.root, &copy, &[]);
        // In the unfinished segment records are not listed: its end is not one to pg_waldump.
        let from =
            archive.record_of(lsn).max(Lsn::new(segment_size().floor(lsn).as_u64().saturating_sub(1 << 20)));
        assert_named(&what, &finished, "", from..=lsn);
        let said = format!("{}{}", finished.stdout, finished.stderr);
        // A record that began in the segment before is named by where it begins.
        let before = archive.file_of(from);
        assert!(
            said.contains(&file) || said.contains(&before),
            "{what}: neither {file} nor {before}: {said}"
        );
        if !file.ends_with(".partial") {
            let target = archive.root.join(format!("target-{number}"));
            let fetch = Tool::ours(&archive.root, "walreceiver").arg("fetch").arg("-D").arg(&copy);
            let refused = fetch.arg(&file).arg(&target).run();
            assert!(refused.code.is_some_and(|code| code > 125), "{what}: {refused}");
            assert!(refused.stderr.contains("damaged"), "{what}: {refused}");
            assert!(!target.exists(), "{what}: a target was left");
        }
        std::fs::remove_dir_all(copy).unwrap();
    }
}

#[test]
fn what_was_proved_once_is_read_again_when_the_file_changes_or_everything_is_asked_for() {
    let archive = archive_of_one_timeline();
    let copy = archive.copy("copy");
    verify(&archive.root, &copy, &[]).success();
    // A file written only just now may change once more without its times telling: it is not remembered at first.
    wait_until("the finished segments to be remembered", || {
        let again = verify(&archive.root, &copy, &["--json"]).success();
        let summary: serde_json::Value = serde_json::from_str(&again.stdout).unwrap();
        summary["remembered"].as_u64().unwrap() >= archive.finished.len() as u64 - 1
    });
    let target = archive.record_at(500).start.saturating_add(20);
    let times = std::fs::metadata(copy.join(archive.file_of(target))).unwrap();
    let flipped = archive.flip(&copy, target, 0x10);
    let record = archive.record_of(target);
    assert_named("changed", &verify(&archive.root, &copy, &[]), &archive.file_of(target), record..=target);
    // Bits that rot leave the times as they were.
    archive.flip(&copy, target, 0x10);
    verify(&archive.root, &copy, &[]).success();
    archive.flip(&copy, target, 0x10);
    let file = std::fs::File::options().write(true).open(flipped).unwrap();
    file.set_modified(times.modified().unwrap()).unwrap();
    let full = verify(&archive.root, &copy, &["--full"]);
    assert_named("rotten", &full, &archive.file_of(target), record..=target);
}

#[test]
fn swapped_truncated_and_missing_segments_are_named() {
    let archive = archive_of_one_timeline();
    let [_, second, third, fourth, ..] = &archive.finished[..] else { panic!("few segments") };
    let start_of = |name: &str| {
        let number = u64::from_str_radix(&name[16..], 16).unwrap();
        Lsn::new(number << 20)
    };
    let end_of = |name: &str| start_of(name).saturating_add((1 << 20) - 1);

    let copy = archive.copy("swapped");
    std::fs::rename(copy.join(second), copy.join("aside")).unwrap();
    std::fs::rename(copy.join(third), copy.join(second)).unwrap();
    std::fs::rename(copy.join("aside"), copy.join(third)).unwrap();
    let finished = verify(&archive.root, &copy, &[]);
    assert_named("swapped", &finished, second, Lsn::INVALID..=end_of(second));
    assert_named("swapped", &finished, third, start_of(third)..=end_of(third));

    let copy = archive.copy("truncated");
    let file = std::fs::File::options().write(true).open(copy.join(third)).unwrap();
    file.set_len(300_000).unwrap();
    let finished = verify(&archive.root, &copy, &[]);
    assert_eq!(finished.code, Some(1), "{finished}");
    assert!(finished.stdout.contains(third.as_str()), "{finished}");
    let fetch = Tool::ours(&archive.root, "walreceiver").arg("fetch").arg("-D").arg(&copy);
    let refused = fetch.args([third, "target"]).run();
    assert!(refused.code.is_some_and(|code| code > 125), "{refused}");

    let copy = archive.copy("emptied");
    archive.root.file(copy.join(third), b"");
    let finished = verify(&archive.root, &copy, &[]);
    assert!(finished.code == Some(1) && finished.stdout.contains(third.as_str()), "{finished}");

    let copy = archive.copy("missing");
    std::fs::remove_file(copy.join(third)).unwrap();
    let finished = verify(&archive.root, &copy, &[]);
    assert!(finished.code == Some(1) && finished.stdout.contains(third.as_str()), "{finished}");
    let fetch = Tool::ours(&archive.root, "walreceiver").arg("fetch").arg("-D").arg(&copy);
    let hole = fetch.args([third, "target"]).run();
    assert!(hole.code == Some(200) && hole.stderr.contains("hole in the archive"), "{hole}");
    assert!(!archive.root.join("target").exists());

    let copy = archive.copy("zeroed");
    archive.root.file(copy.join(fourth), vec![0; 1 << 20]);
    let finished = verify(&archive.root, &copy, &[]);
    assert_named("zeroed", &finished, "", archive.record_of(start_of(fourth))..=start_of(fourth));
}

#[test]
fn a_file_that_is_removed_under_its_receiver_ends_it_and_is_named() {
    let root = TempRoot::new("removed");
    let options = Options::default().wal_segment_mib(1).setting("checkpoint_timeout", "1h");
    let leader = Postgres::start_new(&root, "leader", Version::V15, options);
    leader.sql("create table t as select generate_series(1, 100) as n");
    let path = root.dir("archive");
    let receiver = walreceiver(&root, &leader.conninfo(), &path).args(["-s", "1", "--synchronous"]).spawn();
    let unfinished = |name: &String| name.ends_with(".partial");
    let end = leader.flush_lsn();
    wait_until("the receiver to have everything", || {
        leader.sql(&format!("select flush_lsn >= '{end}' from pg_stat_replication")) == "t"
    });
    let file = archive::wal_files(&path).into_iter().find(unfinished).expect("an unfinished segment");
    std::fs::remove_file(path.join(&file)).unwrap();
    // Nothing new comes: it has to look by itself.
    let line = receiver.wait().failure("");
    assert!(line.contains(&file) && line.contains("removed"), "{line}");
}

#[test]
fn a_finished_segment_that_is_removed_under_its_receiver_is_missed_when_the_next_is_finished() {
    let root = TempRoot::new("missed");
    let options = Options::default().wal_segment_mib(1).setting("checkpoint_timeout", "1h");
    let leader = Postgres::start_new(&root, "leader", Version::V15, options);
    leader.sql("select pg_create_physical_replication_slot('w', true)");
    let path = root.dir("archive");
    let receiver = walreceiver(&root, &leader.conninfo(), &path).args(["-S", "w"]).spawn();
    let finish_one = |before: usize| {
        leader
            .script("create table if not exists t (n int); insert into t values (1); select pg_switch_wal()");
        wait_until("a finished segment", || archive::segments(&path).len() > before);
    };
    finish_one(0);
    finish_one(1);
    assert!(!receiver.stderr().contains("gone"), "{}", receiver.stderr());
    let removed = archive::segments(&path).pop().unwrap();
    std::fs::remove_file(path.join(&removed)).unwrap();
    finish_one(1);
    wait_until("the segment to be missed", || {
        receiver.stderr().lines().any(|line| line.contains(&removed) && line.contains("is gone"))
    });
    receiver.interrupt();
    let finished = verify(&root, &path, &[]);
    assert!(finished.code == Some(1) && finished.stdout.contains(&removed), "{finished}");
}

#[test]
fn what_is_sound_is_handed_out_whole() {
    let archive = archive_of_one_timeline();
    let fetch = |name: &str, target: &str| {
        Tool::ours(&archive.root, "walreceiver")
            .arg("fetch")
            .arg("-D")
            .arg(&archive.path)
            .args([name, target])
            .run()
    };
    for name in &archive.finished {
        fetch(name, "target").success();
        let fetched = std::fs::read(archive.root.join("target")).unwrap();
        assert!(fetched == std::fs::read(archive.path.join(name)).unwrap(), "{name}");
    }
    let unfinished = archive.file_of(archive.end);
    fetch(unfinished.trim_end_matches(".partial"), "target").success();
    let fetched = std::fs::read(archive.root.join("target")).unwrap();
    let original = std::fs::read(archive.path.join(&unfinished)).unwrap();
    let valid = segment_size().offset_of(archive.end) as usize;
    assert_eq!(fetched.len(), 1 << 20);
    assert!(fetched[..valid] == original[..valid]);
    for absent in ["0000000100000000000000FF", "00000009.history", "nonsense"] {
        assert_eq!(fetch(absent, "other").code, Some(1), "{absent}");
        assert!(!archive.root.join("other").exists());
    }
}

#[test]
fn missing_and_contradicting_histories_are_named() {
    let root = TempRoot::new("histories");
    let leader = Postgres::start_new(&root, "leader", Version::V15, Options::default().wal_segment_mib(1));
    let mut standby = leader.clone_with_pg_basebackup("standby");
    standby.follow(&leader.conninfo());
    standby.start();
    standby.sql("select pg_create_physical_replication_slot('w', true)");
    leader.sql("create table t as select generate_series(1, 20000) as n");
    standby.wait_for_replay(leader.flush_lsn());
    let path = root.dir("archive");
    let receiver = walreceiver(&root, &standby.conninfo(), &path).args(["-S", "w"]).spawn();
    standby.promote();
    standby.sql("insert into t select generate_series(1, 40000)");
    standby.sql("select pg_switch_wal()");
    wait_until("segments of both timelines", || {
        archive::segments(&path).iter().filter(|name| name.starts_with("00000002")).count() >= 2
    });
    receiver.interrupt().success();
    verify(&root, &path, &["--full"]).success();

    let copy = |name: &str| {
        let copy = root.dir(name);
        for file in archive::wal_files(&path) {
            root.file(copy.join(&file), std::fs::read(path.join(&file)).unwrap());
        }
        copy
    };
    let missing = copy("missing");
    std::fs::remove_file(missing.join("00000002.history")).unwrap();
    let finished = verify(&root, &missing, &[]);
    assert!(finished.code == Some(1) && finished.stdout.contains("00000002.history"), "{finished}");

    let nonsense = copy("nonsense");
    root.file(nonsense.join("00000002.history"), "7\t0/1000000\tafter its own descendants\n");
    let finished = verify(&root, &nonsense, &[]);
    assert!(finished.code == Some(1) && finished.stdout.contains("history"), "{finished}");

    // Another history of the same number: the segments do not follow from what it says.
    let other = copy("other");
    let history = std::fs::read_to_string(path.join("00000002.history")).unwrap();
    let switch_point: Lsn = lsns_in(&history)[0];
    let earlier = Lsn::new(switch_point.as_u64() - (1 << 20) - 8192);
    root.file(
        other.join("00000002.history"),
        history.replace(&switch_point.to_string(), &earlier.to_string()),
    );
    let finished = verify(&root, &other, &[]);
    assert_eq!(finished.code, Some(1), "{finished}");

    // The old leader's own segment in the place of the shared head: the timelines no longer agree.
    leader.sql("insert into t select generate_series(1, 40000)");
    let diverging = copy("diverging");
    let shared = segment_size().segment_of(switch_point).file_name(TimelineId::new(2), segment_size());
    let mut bytes = std::fs::read(diverging.join(&shared)).unwrap();
    bytes[30] ^= 0x01;
    root.file(diverging.join(&shared), bytes);
    let finished = verify(&root, &diverging, &[]);
    assert!(finished.code == Some(1) && finished.stdout.contains(&shared), "{finished}");

    // Timeline 1 goes on beyond the point at which timeline 2 left it: two histories, both valid, and told.
    let forked = copy("forked");
    let beyond = segment_size().segment_of(switch_point).file_name(TimelineId::FIRST, segment_size());
    leader.sql("select pg_switch_wal()");
    let _ = std::fs::remove_file(forked.join(format!("{beyond}.partial")));
    root.file(forked.join(&beyond), std::fs::read(leader.wal_dir().join(&beyond)).unwrap());
    let finished = verify(&root, &forked, &[]);
    let told = finished.stdout.lines().any(|line| line.contains(&switch_point.to_string()));
    assert!(told && finished.stdout.contains("timeline 1"), "{finished}");
}
