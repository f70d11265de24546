//! Runs of `basebackup` that are interrupted, killed, or fail: nothing is left that looks like a backup.

use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use rustix::process::Signal;
use walship_tests::base_backup::{assert_verifies, basebackup, verify};
use walship_tests::proxy::{Proxy, Verdict};
use walship_tests::{Options, Postgres, Process, TempRoot, Tool, Version, wait_until};

fn leader(root: &TempRoot) -> Postgres {
    let options = Options::default().wal_segment_mib(1).data_checksums().setting("max_wal_size", "1GB");
    let leader = Postgres::start_new(root, "leader", Version::V15, options);
    leader.pgbench(["-i", "-q", "-s", "1"]);
    leader
}

/// The formats, and for each a file that is there early in a slow run.
const FORMATS: [(&str, &str); 2] = [("p", "backup_label"), ("t", "base.tar.unfinished")];

/// A run that would take most of a minute, and is under way.
#[track_caller]
fn start_slowly(leader: &Postgres, directory: &Path, (format, early): (&str, &str)) -> Process {
    let process = basebackup(leader, directory).args(["-F", format, "-r", "1M"]).spawn();
    let early = directory.join(early);
    wait_until("the first file", || early.exists());
    process
}

fn is_empty(directory: &Path) -> bool {
    std::fs::read_dir(directory).unwrap().next().is_none()
}

#[track_caller]
fn wait_for_slots_to_go(leader: &Postgres) {
    wait_until("the temporary slot to go", || leader.sql("select count(*) from pg_replication_slots") == "0");
}

#[test]
fn an_interrupted_run_takes_back_all_that_it_wrote() {
    let root = TempRoot::new("interrupted");
    let leader = leader(&root);
    for format in FORMATS {
        for signal in [Signal::INT, Signal::TERM] {
            let (made, found) = (root.join("new/backup"), root.dir("found"));
            for directory in [&made, &found] {
                let mut process = start_slowly(&leader, directory, format);
                process.signal(signal);
                process.wait().one_line_failure("interrupted");
            }
            assert!(!root.join("new").exists());
            assert!(is_empty(&found));
            wait_for_slots_to_go(&leader);
        }
    }
}

#[test]
fn what_a_killed_run_leaves_is_no_backup() {
    let root = TempRoot::new("killed");
    let leader = leader(&root);
    for format in FORMATS {
        let directory = root.join(format!("backup-{}", format.0));
        start_slowly(&leader, &directory, format).kill9();
        for file in ["backup_manifest", "global/pg_control", "base.tar"] {
            assert!(!directory.join(file).exists(), "{file}");
        }
        verify(&root, &directory).run().one_line_failure("backup_manifest");
        let again = basebackup(&leader, &directory).run();
        again.one_line_failure("exists but is not empty");
        assert!(!is_empty(&directory));
        wait_for_slots_to_go(&leader);
    }
    let mut server = Postgres::in_directory(&root, "killed", Version::V15, &root.join("backup-p"));
    server.try_start().unwrap_err();
}

#[test]
fn a_server_that_dies_meanwhile_fails_the_run() {
    let root = TempRoot::new("dying");
    let mut leader = leader(&root);
    for format in FORMATS {
        let directory = root.join("backup");
        let process = start_slowly(&leader, &directory, format);
        leader.kill9();
        let finished = process.wait();
        assert!(!finished.stderr.contains("panicked"), "{finished}");
        finished.one_line_failure("");
        assert!(!directory.exists());
        std::fs::remove_file(leader.data().join("postmaster.pid")).unwrap();
        leader.start();
    }
}

#[test]
fn failed_runs_leave_nothing_unless_asked_to() {
    let root = TempRoot::new("failed");
    let leader = leader(&root);
    let directory = root.join("backup");
    for (options, words) in [
        (&["-S", "none"][..], "replication slot \"none\" does not exist"),
        (&["-C", "-S", "No!"], "replication slot name \"No!\" contains invalid character"),
        (&["-Z", "lz4"], "only tar mode backups can be compressed"),
        (&["-X", "fetch", "-S", "s"], "replication slots can only be used with WAL streaming"),
        (&["-U", "nobody"], "role \"nobody\" does not exist"),
    ] {
        basebackup(&leader, &directory).args(options).run().one_line_failure(words);
        assert!(!directory.exists(), "{options:?}");
    }
    let precious = root.dir("precious");
    root.file(precious.join("file"), "precious");
    basebackup(&leader, &precious).run().one_line_failure("exists but is not empty");
    assert_eq!(std::fs::read(precious.join("file")).unwrap(), b"precious");

    let process = basebackup(&leader, &directory).args(["-n", "-S", "none"]).run();
    assert_eq!(process.code, Some(1), "{process}");
    assert!(process.stderr.contains("not removed at user's request"), "{process}");
    assert!(directory.exists() && !directory.join("backup_manifest").exists());
}

/// Damages a page of a table behind the server's back; gives the table's file.
fn damage_a_page(leader: &Postgres) -> PathBuf {
    leader.script("create table t as select generate_series(1, 10000) as n; checkpoint;");
    let path = leader.data().join(leader.sql("select pg_relation_filepath('t')"));
    let file = std::fs::OpenOptions::new().read(true).write(true).open(&path).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, 3 * 8192 + 5000).unwrap();
    file.write_all_at(&[byte[0] ^ 1], 3 * 8192 + 5000).unwrap();
    path
}

#[test]
fn pages_that_the_server_finds_damaged_fail_the_run_unless_it_need_not_look() {
    let root = TempRoot::new("page");
    let leader = leader(&root);
    let name = damage_a_page(&leader).file_name().unwrap().to_str().unwrap().to_owned();
    let directory = root.join("backup");
    let failed = basebackup(&leader, &directory).run();
    failed.failure("checksum");
    assert!(failed.stderr.contains(&name), "{failed}");
    assert!(!directory.join("backup_manifest").exists());
    let directory = root.join("another");
    basebackup(&leader, &directory).arg("--no-verify-checksums").run().success();
    // The copy is faithful, so its manifest is content with it.
    assert_verifies(&root, Version::V15, &directory, &[]);
}

/// Written to the log alone, again and again, so that no piece of a message is without one whole.
const MARK: &[u8] = b"a mark that is in no file but those of the log;";

/// A proxy that changes a bit of the last [`MARK`] in each piece of WAL that passes, in an archive or streamed.
fn damages_wal(leader: &Postgres) -> Proxy {
    Proxy::start(leader.port(), |message| {
        let found = message.body.windows(MARK.len()).rposition(|window| window == MARK);
        let (b'd', Some(at)) = (message.kind, found) else { return Verdict::Pass };
        let mut bytes = message.encode();
        bytes[5 + at] ^= 1;
        Verdict::Replace(bytes)
    })
}

#[test]
fn wal_that_is_damaged_on_its_way_is_found_before_a_backup_is_called_one() {
    let root = TempRoot::new("damaged-wal");
    let leader = leader(&root);
    let proxy = damages_wal(&leader);
    let emit = format!(
        "select pg_logical_emit_message(true, 'mark', repeat('{}', 3000))",
        str::from_utf8(MARK).unwrap()
    );
    for (format, early) in FORMATS {
        for wal in ["fetch", "stream"] {
            println!("{format} {wal}");
            let directory = root.join(format!("{format}-{wal}"));
            let tool = Tool::ours(&root, "basebackup").args(["-c", "fast", "-d", &proxy.conninfo(), "-D"]);
            let process = tool.arg(&directory).args(["-F", format, "-X", wal, "-r", "8M"]).spawn();
            wait_until("the first file", || directory.join(early).exists());
            leader.sql(&emit);
            let line = process.wait().one_line_failure("invalid WAL at ");
            assert!(!directory.join("backup_manifest").exists() && !directory.join("base.tar").exists());
            if wal == "fetch" {
                // Nothing else is wrong with it, and it took its time: whoever has the WAL elsewhere can use it.
                assert!(line.contains(directory.to_str().unwrap()), "{line}");
                for name in ["backup_manifest", if format == "p" { "global/pg_control" } else { "base.tar" }]
                {
                    let unfinished = directory.join(format!("{name}.unfinished"));
                    std::fs::rename(unfinished, directory.join(name)).unwrap();
                }
                verify(&root, &directory).arg("-n").succeed();
                verify(&root, &directory).run().one_line_failure("invalid WAL at ");
            }
        }
    }
    wait_for_slots_to_go(&leader);
}
