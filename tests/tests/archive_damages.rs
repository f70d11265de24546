//! An archive over three timelines, damaged in many ways: what `verify` says of it is what a server's restore comes to.
//!
//! `WALSHIP_TEST_EFFORT=25` tries 200 damages.

use std::path::{Path, PathBuf};

use serde_json::Value;
use wal::{Lsn, SegmentSize, TimelineId};
use walship_tests::receiver::walreceiver;
use walship_tests::{
    DEADLINE, Options, Postgres, Random, Shutdown, TempRoot, Tool, Version, archive, lsns_in, wait_for,
    wait_until,
};

/// How many damages are tried.
fn cases() -> u64 {
    let effort = std::env::var("WALSHIP_TEST_EFFORT").ok().and_then(|effort| effort.parse().ok());
    effort.unwrap_or(1) * 8
}

fn size() -> SegmentSize {
    SegmentSize::new(1 << 20).unwrap()
}

/// A base backup without WAL of its own.
struct Backup {
    data: PathBuf,
    timeline: u32,
    redo: Lsn,
    /// At or after the end of the backup, which a restore has to reach.
    end: Lsn,
}

struct Archive {
    root: TempRoot,
    path: PathBuf,
    backups: Vec<Backup>,
}

/// A standby that is to be promoted; what the leader has is in the archive and with the standby when it is stopped.
fn hand_over(archive: &Path, leader: &mut Postgres, name: &str) -> Postgres {
    let mut standby = leader.clone_with_pg_basebackup(name);
    standby.follow(&leader.conninfo());
    standby.start();
    let timeline = leader.sql("select timeline_id from pg_control_checkpoint()").parse().unwrap();
    let receiver = walreceiver(leader.root(), &leader.conninfo(), archive).spawn();
    work(leader);
    let end = leader.flush_lsn();
    standby.wait_for_replay(end);
    wait_for_archive(archive, timeline, end);
    receiver.interrupt().success();
    leader.stop(Shutdown::Immediate);
    standby.promote();
    standby
}

fn work(server: &Postgres) {
    server.script(
        "create table if not exists t (n int, text text);
         insert into t select n, md5(n::text) from generate_series(1, 12000) n; select pg_switch_wal();
         insert into t select n, md5(n::text) from generate_series(1, 7000) n;",
    );
}

/// Waits until the archive's file of that position has something just before it.
fn wait_for_archive(archive: &Path, timeline: u32, end: Lsn) {
    let name = size().segment_ending_at(end).file_name(TimelineId::new(timeline), size());
    let offset = size().offset_of(Lsn::new(end.as_u64() - 8)) as usize;
    wait_until("the archive to have everything", || {
        let unfinished = archive.join(format!("{name}.partial"));
        let content = std::fs::read(archive.join(&name)).or_else(|_| std::fs::read(unfinished));
        content.is_ok_and(|content| content.get(offset..offset + 8).is_some_and(|last| last != [0; 8]))
    });
}

fn backup(root: &TempRoot, server: &Postgres, name: &str) -> Backup {
    let copy = server.clone_with_pg_basebackup(name);
    let data = copy.data().to_owned();
    for file in archive::wal_files(&data.join("pg_wal")) {
        std::fs::remove_file(data.join("pg_wal").join(file)).unwrap();
    }
    let label = std::fs::read_to_string(data.join("backup_label")).unwrap();
    let timeline = label.lines().find_map(|line| line.strip_prefix("START TIMELINE: "));
    let fetch = Tool::ours(root, "walreceiver");
    for (setting, value) in [
        ("restore_command", format!("{} fetch -D ARCHIVE %f %p", fetch.program().display())),
        ("hot_standby", "off".to_owned()),
        ("fsync", "off".to_owned()),
    ] {
        copy.configure(setting, &value);
    }
    root.file(data.join("recovery.signal"), "");
    let (timeline, redo) = (timeline.unwrap().parse().unwrap(), lsns_in(&label)[0]);
    Backup { data, timeline, redo, end: server.flush_lsn() }
}

fn archive_of_three_timelines() -> Archive {
    let root = TempRoot::new("damages");
    let options = Options::default().wal_segment_mib(1).setting("checkpoint_timeout", "1h");
    let options = options.setting("autovacuum", "off").setting("wal_keep_size", "200MB");
    let mut first = Postgres::start_new(&root, "first", Version::V15, options);
    let path = root.dir("archive");
    // From here on everything is in the archive.
    let receiver = walreceiver(&root, &first.conninfo(), &path).spawn();
    wait_until("the receiver to stream", || first.sql("select count(*) from pg_stat_replication") == "1");
    let mut backups = vec![backup(&root, &first, "backup-1")];
    receiver.interrupt().success();
    let mut second = hand_over(&path, &mut first, "second");
    let receiver = walreceiver(&root, &second.conninfo(), &path).spawn();
    work(&second);
    backups.push(backup(&root, &second, "backup-2"));
    receiver.interrupt().success();
    let third = hand_over(&path, &mut second, "third");
    let receiver = walreceiver(&root, &third.conninfo(), &path).spawn();
    work(&third);
    let end = third.flush_lsn();
    wait_for_archive(&path, 3, end);
    receiver.interrupt().success();
    println!("{:?}", archive::wal_files(&path));
    Archive { root, path, backups }
}

/// What a restore comes to.
#[derive(Debug, PartialEq)]
enum Outcome {
    /// It ends here, and the server takes writes.
    Ends(Lsn),
    /// The server does not start.
    Refused,
}

impl Archive {
    /// What `verify` says that a restore of the backup comes to.
    fn verdict(&self, directory: &Path, backup: &Backup) -> (Outcome, Value) {
        let verify =
            Tool::ours(&self.root, "walreceiver").args(["verify", "--json", "-D"]).arg(directory).run();
        let verdict: Value =
            serde_json::from_str(&verify.stdout).unwrap_or_else(|error| panic!("{error}: {verify}"));
        assert_eq!(verify.code, Some(if verdict["proved"] == true { 0 } else { 1 }), "{verify}");
        let lsn = |value: &Value| value.as_str().unwrap().parse::<Lsn>().unwrap();
        // A server tries one history after the other, from its own on.
        let findings = verdict["findings"].as_array().unwrap();
        let unknown = findings.iter().any(|finding| {
            let kind = finding["kind"].as_str().unwrap();
            let newer =
                finding["timeline"].as_u64().is_some_and(|timeline| timeline > backup.timeline.into());
            newer && (kind == "missing_history" || kind == "bad_history")
        });
        let histories = archive::wal_files(directory)
            .into_iter()
            .filter_map(|name| u32::from_str_radix(name.strip_suffix(".history")?, 16).ok());
        let newest = histories.max().unwrap_or(1).max(backup.timeline);
        let timelines = verdict["timelines"].as_array().unwrap();
        let line = timelines.iter().find(|timeline| timeline["timeline"] == newest);
        let stretches = line.and_then(|line| line["stretches"].as_array()).cloned().unwrap_or_default();
        let own = stretches
            .iter()
            .find(|stretch| (lsn(&stretch["from"])..lsn(&stretch["to"])).contains(&backup.redo));
        let outcome = match own {
            Some(own) if !unknown && own["stopped_by"].is_null() => Outcome::Ends(lsn(&own["to"])),
            _ => Outcome::Refused,
        };
        (outcome, verdict)
    }

    /// What a restore of the backup really comes to, and the server's log.
    fn restore(&self, directory: &Path, backup: &Backup, name: &str) -> (Outcome, String) {
        let data = self.root.copy_dir(&backup.data, name);
        let conf = data.join("postgresql.auto.conf");
        let conf = std::fs::read_to_string(conf).unwrap()
            + &std::fs::read_to_string(data.join("postgresql.conf")).unwrap();
        let conf = conf.replace("ARCHIVE", &directory.display().to_string());
        self.root.file(data.join("postgresql.auto.conf"), conf);
        let mut server = Postgres::in_directory(&self.root, name, Version::V15, &data);
        let outcome = loop {
            match server.try_start() {
                // Without hot standby a server calls itself ready when recovery begins.
                Ok(())
                    if !wait_for("the end of recovery", DEADLINE * 4, || {
                        if !server.is_running() {
                            return Some(false);
                        }
                        server.log().contains("archive recovery complete").then_some(true)
                    }) =>
                {
                    break (Outcome::Refused, server.log());
                }
                Ok(()) => {
                    let histories = archive::wal_files(&data.join("pg_wal"));
                    let newest = histories.iter().rfind(|name| name.ends_with(".history")).unwrap();
                    let history = std::fs::read_to_string(data.join("pg_wal").join(newest)).unwrap();
                    let log = server.log();
                    server.stop(Shutdown::Immediate);
                    break (Outcome::Ends(*lsns_in(&history).last().unwrap()), log);
                }
                Err(log) if log.contains("Address already in use") => {
                    server = Postgres::in_directory(&self.root, name, Version::V15, &data);
                }
                Err(log) => {
                    assert!(log.contains("FATAL"), "{log}");
                    break (Outcome::Refused, log);
                }
            }
        };
        drop(server);
        std::fs::remove_dir_all(data).unwrap();
        outcome
    }
}

/// Damages `directory` once; says how.
fn damage(root: &TempRoot, directory: &Path, random: &mut Random) -> String {
    let files = archive::wal_files(directory);
    let (histories, segments): (Vec<_>, Vec<_>) =
        files.into_iter().partition(|name| name.ends_with(".history"));
    let mut pick = |from: &[String]| from[random.below(from.len() as u64) as usize].clone();
    let (name, other) = (pick(&segments), pick(&segments));
    let history = (!histories.is_empty()).then(|| pick(&histories));
    let path = directory.join(&name);
    let mut content = std::fs::read(&path).unwrap();
    if content.len() < 8192 {
        return format!("{name} left as it is");
    }
    let written = content.iter().rposition(|&byte| byte != 0).map_or(1, |at| at + 1) as u64;
    let kind = random.below(16);
    let what = match (kind, history) {
        (0, _) => {
            std::fs::remove_file(&path).unwrap();
            return format!("{name} removed");
        }
        (1, Some(history)) => {
            std::fs::remove_file(directory.join(&history)).unwrap();
            return format!("{history} removed");
        }
        (2, Some(history)) => {
            let mut content = std::fs::read(directory.join(&history)).unwrap();
            let line = content.iter().position(|&byte| byte == b'\t').unwrap();
            let at = line + random.below(10) as usize;
            content[at] ^= 1 << random.below(4);
            root.file(directory.join(&history), &content);
            return format!("{history}: byte {at}: {:?}", String::from_utf8_lossy(&content));
        }
        (3, _) => {
            content.truncate(random.below(content.len() as u64) as usize);
            format!("cut to {}", content.len())
        }
        (4, _) => {
            let page = random.below(written.div_ceil(8192)) as usize * 8192;
            let end = content.len().min(page + 8192);
            content[page.min(end)..end].fill(0);
            format!("page at {page} zeroed")
        }
        (5, _) => {
            let theirs = std::fs::read(directory.join(&other)).unwrap();
            root.file(directory.join(&other), &content);
            content = theirs;
            format!("and {other} swapped")
        }
        (6, _) => {
            // As it was when less had come.
            let from = random.below(written) as usize;
            content[from..].fill(0);
            format!("an older copy, {from} bytes of {written}")
        }
        (7, _) => {
            let renamed = format!("{:08X}{}", 1 + random.below(4), &name[8..]);
            std::fs::rename(&path, directory.join(&renamed)).unwrap();
            return format!("{name} renamed to {renamed}");
        }
        (8, _) => {
            let renamed = match name.strip_suffix(".partial") {
                Some(finished) => finished.to_owned(),
                None => format!("{name}.partial"),
            };
            std::fs::rename(&path, directory.join(&renamed)).unwrap();
            return format!("{name} renamed to {renamed}");
        }
        (9, _) => {
            content[24..32].copy_from_slice(&7_u64.to_le_bytes());
            "of another system".to_owned()
        }
        (10 | 11, _) if !name.contains(".partial") => {
            Tool::new(root, "gzip", "gzip").arg("-1").arg(&path).run().success();
            if kind == 10 {
                return format!("{name} compressed");
            }
            let packed = directory.join(format!("{name}.gz"));
            let bytes = std::fs::read(&packed).unwrap();
            root.file(&packed, &bytes[..bytes.len() - 1 - random.below(bytes.len() as u64 / 2) as usize]);
            return format!("{name} compressed and cut");
        }
        (12, _) => {
            let at = (written - 1 - random.below(written.min(200))) as usize;
            content[at] ^= 1 << random.below(8);
            format!("a bit in byte {at} of {written}")
        }
        _ => {
            let at = random.below(written) as usize;
            content[at] ^= 1 << random.below(8);
            format!("a bit in byte {at}")
        }
    };
    root.file(&path, &content);
    format!("{name}: {what}")
}

#[test]
fn a_restore_comes_to_what_verify_says_whatever_is_damaged() {
    let archive = archive_of_three_timelines();
    for (number, backup) in archive.backups.iter().enumerate() {
        let (said, verdict) = archive.verdict(&archive.path, backup);
        assert!(matches!(said, Outcome::Ends(_)) && verdict["proved"] == true, "{verdict:#}");
        let (came, log) = archive.restore(&archive.path, backup, &format!("sound-{number}"));
        assert_eq!(came, said, "{log}");
    }
    let mut random = Random::new();
    let (mut ended, mut refused, mut wrong) = (0, 0, Vec::new());
    for case in 0..cases() {
        let directory = archive.root.copy_dir(&archive.path, format!("copy-{case}"));
        for file in std::fs::read_dir(&directory).unwrap() {
            let path = file.unwrap().path();
            if path.file_name().unwrap().to_str().unwrap().starts_with("walship.") {
                std::fs::remove_file(&path).or_else(|_| std::fs::remove_dir_all(&path)).unwrap();
            }
        }
        let damages = 1 + random.below(3) / 2;
        let what: Vec<_> = (0..damages).map(|_| damage(&archive.root, &directory, &mut random)).collect();
        let what = what.join(" and ");
        let backup = &archive.backups[random.below(archive.backups.len() as u64) as usize];
        let (said, verdict) = archive.verdict(&directory, backup);
        let (came, log) = archive.restore(&directory, backup, &format!("restored-{case}"));
        println!("{case}: {what}, from {} on timeline {}: {came:?}", backup.redo, backup.timeline);
        // A backup that is not complete is refused wherever WAL ends.
        let incomplete = matches!(said, Outcome::Ends(end) if end < backup.end) && came == Outcome::Refused;
        if came != said && !incomplete {
            wrong.push(format!("{case}: {what}: said {said:?}, came {came:?}\n{verdict:#}\n{log}"));
        }
        match came {
            Outcome::Ends(_) => ended += 1,
            Outcome::Refused => refused += 1,
        }
        std::fs::remove_dir_all(directory).unwrap();
    }
    println!("{ended} ended, {refused} were refused");
    assert!(wrong.is_empty(), "{} of {} verdicts are wrong:\n{}", wrong.len(), cases(), wrong.join("\n\n"));
}
