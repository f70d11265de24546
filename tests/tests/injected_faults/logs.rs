//! Those who have the log alone: a witness, and a sender of what it has.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use walship_tests::receiver::walreceiver;
use walship_tests::strace::{Call, Fault, files_below};
use walship_tests::{Process, TempRoot, Tool, Walwriter, archive, wait_for, wait_until};

use crate::{Outcome, assert_said, assert_small, load, traced};

fn witness_of(leader: &Walwriter, directory: &Path) -> Tool {
    let conninfo = format!("{} application_name=w", leader.conninfo());
    walreceiver(leader.root(), &conninfo, directory).args(["--synchronous", "-n"])
}

/// Ends the process if it has not ended already.
fn end(mut process: Process) -> (bool, walship_tests::Finished) {
    let ended = !process.is_running();
    (ended, if ended { process.wait() } else { process.interrupt() })
}

/// `walreceiver` that its leader waits for.
pub(crate) fn witness(root: &TempRoot, call: Call, fault: Option<Fault>) -> Outcome {
    let mut leader = load::new_leader(root);
    leader.start();
    let (backup, directory) = (root.dir("backup"), root.dir("archive"));
    let tool = Tool::ours(root, "basebackup").args(["-d", &leader.conninfo(), "-c", "fast", "-D"]);
    tool.arg(&backup).succeed();
    let paths = if call.needs_paths() { archive_paths(&directory) } else { Vec::new() };
    let traced = traced(root, call, fault, paths);
    leader.configure("synchronous_standby_names", "w");
    leader.sql("select pg_reload_conf()");
    let mut witness = witness_of(&leader, &directory).traced(&traced).spawn();
    wait_until("the witness to be asked", || {
        !witness.is_running() || leader.sql("select sync_state from pg_stat_replication") == "sync"
    });
    let mut clients = load::start(&leader);
    load::wait(&mut clients, || !witness.is_running());
    assert_small(&witness);
    let (acknowledged, _) = load::results(clients);
    // Before its leader is gone, with which it ends too.
    let (ended, finished) = end(witness);
    leader.kill9();
    let struck = assert_said(&traced, &finished.stderr);
    assert_restores(root, &backup, &directory, &acknowledged);
    Outcome { counts: traced.counts(), struck, ended }
}

fn archive_paths(directory: &Path) -> Vec<PathBuf> {
    let segment = |number| directory.join(format!("0000000100000000{number:08X}"));
    let segments = (1..24).flat_map(|number| [segment(number), segment(number).with_extension("partial")]);
    segments.chain([directory.to_owned(), directory.join("walship.status")]).collect()
}

/// What the archive has, on top of the backup, holds everything acknowledged.
fn assert_restores(root: &TempRoot, backup: &Path, directory: &Path, acknowledged: &BTreeSet<u32>) {
    let wal = backup.join("pg_wal");
    for name in archive::wal_files(directory) {
        // What was never given any space has nothing, and must not take the place of what the backup has.
        if std::fs::metadata(directory.join(&name)).unwrap().len() == 0 {
            continue;
        }
        let target = wal.join(name.trim_end_matches(".partial"));
        root.file(target, std::fs::read(directory.join(&name)).unwrap());
    }
    let mut restored = Walwriter::in_directory(root, "restored", backup);
    restored.start();
    load::assert_there(&restored, acknowledged);
}

/// `walsender` over an archive, whose end a follower wants.
pub(crate) fn sender(root: &TempRoot, call: Call, fault: Option<Fault>) -> Outcome {
    let mut leader = load::new_leader(root);
    leader.start();
    let (directory, follower) = (root.dir("archive"), root.dir("follower"));
    let witness = witness_of(&leader, &directory).spawn();
    wait_until("the witness to be there", || !archive::wal_files(&directory).is_empty());
    let mut clients = load::start(&leader);
    load::wait(&mut clients, || false);
    load::results(clients);
    // There is a finished segment, and something behind it.
    leader.sql("select pg_switch_wal()");
    leader.sql("insert into t values (-1, 'last')");
    let end_of_wal = leader.flush_lsn();
    wait_until("all of it to be archived", || {
        leader.sql(&format!("select flush_lsn >= '{end_of_wal}' from pg_stat_replication")) == "t"
    });
    end(witness).1.success();
    leader.kill9();
    let first = archive::segments(&directory).into_iter().next().unwrap();
    root.file(follower.join(&first), std::fs::read(directory.join(&first)).unwrap());
    let paths = if call.needs_paths() { files_below(&directory) } else { Vec::new() };
    let traced = traced(root, call, fault, paths);
    // It ends with the first byte past that.
    let wanted = wal::Lsn::new(end_of_wal.as_u64() - 8).to_string();
    let port_file = root.join("port");
    let tool = Tool::ours(root, "walsender").arg("-D").arg(&directory).args(["-p", "0", "--port-file"]);
    let mut sender = tool.arg(&port_file).traced(&traced).spawn();
    let port = wait_for("walsender to listen or to end", walship_tests::DEADLINE, || {
        let port = std::fs::read_to_string(&port_file).ok().and_then(|text| text.trim().parse::<u16>().ok());
        (port.is_some() || !sender.is_running()).then_some(port)
    });
    let mut said = String::new();
    let mut has_all = false;
    if let Some(port) = port {
        let conninfo = format!("host=127.0.0.1 port={port} user=postgres");
        let receiver = walreceiver(root, &conninfo, &follower).args(["-n", "-E", &wanted]);
        let finished = receiver.run();
        has_all = finished.code == Some(0);
        said += &finished.stderr;
    }
    assert_small(&sender);
    let (ended, finished) = end(sender);
    said += &finished.stderr;
    let struck = assert_said(&traced, &said);
    assert!(has_all || struck, "nothing failed, and the follower has not got everything: {said}");
    for name in archive::segments(&follower) {
        let (theirs, ours) = (std::fs::read(follower.join(&name)), std::fs::read(directory.join(&name)));
        // The last one may be finished there and not here.
        assert!(ours.is_err() || ours.unwrap() == theirs.unwrap(), "{name} differs");
    }
    Outcome { counts: traced.counts(), struck, ended }
}
