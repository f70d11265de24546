//! `scripts/provision-standby`: it knows what its leader is before it takes anything, and leaves nothing behind there.

use std::path::{Path, PathBuf};

use rustix::process::Signal;
use walship_tests::proxy::{Proxy, Verdict};
use walship_tests::{Finished, Options, Postgres, Process, TempRoot, Tool, Version, Walwriter, wait_until};

fn provision(root: &TempRoot, leader: &str, directory: &Path) -> Tool {
    // The script finds the programs side by side.
    let programs = ["walreceiver", "basebackup", "walwriter"].map(|name| Tool::ours(root, name));
    let bin: PathBuf = programs[0].program().parent().unwrap().to_owned();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scripts/provision-standby");
    let copy = root.file("provision-standby", std::fs::read(script).unwrap());
    let tool = Tool::new(root, "provision-standby", "/bin/bash").arg(copy).env("WALSHIP_BIN", bin);
    let tool = tool.args(["-d", leader, "-t", "30", "-p", "0"]).arg("-k").arg(root.join("socket"));
    tool.arg("-D").arg(directory)
}

fn slots(leader: &Walwriter) -> String {
    leader.sql("select slot_name from pg_replication_slots")
}

#[test]
fn a_postgresql_leader_is_refused_before_anything_is_taken_from_it() {
    let root = TempRoot::new("provision-foreign");
    let leader = Postgres::start_new(&root, "leader", Version::V15, Options::default());
    let directory = root.join("standby");
    let refused = provision(&root, &leader.conninfo(), &directory).run();
    assert_eq!(refused.code, Some(1), "{refused}");
    assert!(refused.stderr.contains("the leader is PostgreSQL 15"), "{refused}");
    assert_eq!(leader.sql("select count(*) from pg_replication_slots"), "0");
    assert!(!directory.exists());
    // Nor is PostgreSQL's directory taken for a standby's, whoever the leader is.
    let ours = Walwriter::start_new(&root, "ours", &[]);
    let stopped = Postgres::init(&root, "stopped", Version::V15, Options::default());
    for more in [&[][..], &["--rebuild"]] {
        let refused = provision(&root, &ours.conninfo(), stopped.data()).args(more).run();
        assert!(refused.code == Some(1) && refused.stderr.contains("of PostgreSQL 15"), "{refused}");
        assert!(stopped.data().join("base/1").exists());
    }
    assert_eq!(slots(&ours), "");
}

#[test]
fn whoever_gives_up_or_is_interrupted_takes_the_slot_and_the_server_away_and_can_be_repeated() {
    let root = TempRoot::new("provision-gives-up");
    let leader = Walwriter::start_new(&root, "leader", &[]);
    let directory = root.join("standby");
    // A server that does not start.
    let failed = provision(&root, &leader.conninfo(), &directory).args(["-c", "no_such_setting=1"]).run();
    assert_eq!(failed.code, Some(1), "{failed}");
    assert_eq!(slots(&leader), "", "{failed}");
    // One that never streams, and a signal while that is waited for.
    let nobody = "primary_conninfo=host=127.0.0.1 port=1 user=postgres";
    let lonely = root.join("lonely");
    let mut waiting = provision(&root, &leader.conninfo(), &lonely).args(["-c", nobody]).spawn();
    wait_until("the standby to start", || {
        assert!(waiting.is_running(), "{}", waiting.stderr());
        lonely.join("postmaster.pid").exists()
    });
    assert_eq!(slots(&leader), "lonely");
    let ended = waiting.terminate();
    assert_eq!(ended.code, Some(143), "{ended}");
    assert_eq!(slots(&leader), "", "{ended}");
    assert!(!lonely.join("postmaster.pid").exists());
    // A slot that is somebody else's stays.
    leader.sql("select pg_create_physical_replication_slot('other')");
    let other = root.join("other");
    let wrong = ["-S", "other", "-c", "no_such_setting=1"];
    let failed = provision(&root, &leader.conninfo(), &other).args(wrong).run();
    assert_eq!((failed.code, slots(&leader).as_str()), (Some(1), "other"), "{failed}");
    // Repeated, it is finished.
    provision(&root, &leader.conninfo(), &directory).run().success();
    assert_eq!(slots(&leader), "other\nstandby");
    let status = Tool::ours(&root, "walwriter").args(["status", "--json", "-D"]).arg(&directory).succeed();
    assert!(status.contains("\"role\": \"standby\"") && status.contains("\"connected\": true"), "{status}");
    let pid = std::fs::read_to_string(directory.join("postmaster.pid")).unwrap();
    let pid: i32 = pid.lines().next().unwrap().parse().unwrap();
    let pid = rustix::process::Pid::from_raw(pid).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    wait_until("the standby to end", || !directory.join("postmaster.pid").exists());
}

#[test]
fn a_signal_during_the_base_backup_leaves_neither_slot_nor_files_behind() {
    let root = TempRoot::new("provision-interrupted");
    let leader = Walwriter::start_new(&root, "leader", &[]);
    leader.script(
        "create table t (a int primary key, b text);
        insert into t select g, repeat('x', 200) from generate_series(1, 20000) g; checkpoint;",
    );
    // So slow that a backup takes longer than anybody waits.
    let proxy = Proxy::start(leader.port(), |message| {
        if message.kind == b'd' && message.as_wal().is_none() {
            std::thread::sleep(std::time::Duration::from_millis(100));
        }
        Verdict::Pass
    });
    let names = || {
        let entries = std::fs::read_dir(root.path()).unwrap().map(|entry| entry.unwrap().file_name());
        let names = entries.map(|name| name.into_string().unwrap());
        names.filter(|name| name.starts_with("standby")).collect::<Vec<_>>()
    };
    for (signal, code) in [(Signal::TERM, 143), (Signal::INT, 130), (Signal::HUP, 143)] {
        let run = provision(&root, &proxy.conninfo(), &root.join("standby")).spawn();
        let ended = interrupt_the_backup(run, &root, signal);
        assert_eq!(ended.code, Some(code), "{ended}");
        assert_eq!(slots(&leader), "", "{ended}");
        assert_eq!(names(), ["standby.provision-lock"], "{ended}");
    }
    // What is somebody else's is taken only when it is named, and stays.
    leader.sql("select pg_create_physical_replication_slot('standby')");
    let refused = provision(&root, &proxy.conninfo(), &root.join("standby")).run();
    assert!(refused.code == Some(1) && refused.stderr.contains("-S standby takes that one"), "{refused}");
    let run = provision(&root, &proxy.conninfo(), &root.join("standby")).args(["-S", "standby"]).spawn();
    let ended = interrupt_the_backup(run, &root, Signal::TERM);
    assert_eq!((ended.code, slots(&leader).as_str()), (Some(143), "standby"), "{ended}");
    assert_eq!(names(), ["standby.provision-lock"], "{ended}");
}

/// Sends a signal once the first file of the base backup has come.
fn interrupt_the_backup(mut run: Process, root: &TempRoot, signal: Signal) -> Finished {
    let early = root.join("standby.unfinished/backup_label");
    wait_until("the first file of the backup", || {
        assert!(run.is_running(), "{}", run.stderr());
        early.exists()
    });
    run.signal(signal);
    run.wait()
}
