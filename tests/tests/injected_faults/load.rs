//! Clients that write, and what they were told.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use walship_tests::strace::files_below;
use walship_tests::{Process, Random, TempRoot, Walwriter, wait_for};

/// Rows that each client inserts, one transaction each.
const ROWS: u32 = 120;
/// How long it all may take, with strace looking on.
const DEADLINE: std::time::Duration = std::time::Duration::from_secs(120);

/// A leader with small segments and buffers, and an empty table `t`; not running.
#[track_caller]
pub(crate) fn new_leader(root: &TempRoot) -> Walwriter {
    let mut leader = Walwriter::init(root, "leader", &["--wal-segsize", "1"]);
    for (name, value) in [("shared_buffers", "2MB"), ("max_wal_size", "4MB"), ("min_wal_size", "2MB")] {
        leader.configure(name, value);
    }
    leader.start();
    leader.sql("create table t (id int primary key, v text)");
    leader.stop(walship_tests::Shutdown::Fast).success();
    leader
}

/// The files of a data directory, those to come included.
pub(crate) fn paths(data: &Path) -> Vec<PathBuf> {
    let mut paths = files_below(data);
    let wal = data.join("pg_wal");
    paths.extend((1..24).map(|number| wal.join(format!("0000000100000000{number:08X}"))));
    paths.extend((16384..16400).map(|tree| data.join("base/5").join(tree.to_string())));
    paths.push(wal);
    paths.push(data.join("base/5"));
    paths.extend(["postmaster.pid", "postmaster.pid.tmp"].map(|name| data.join(name)));
    paths.sort();
    paths.dedup();
    paths
}

/// Two clients under way.
pub(crate) fn start(server: &Walwriter) -> Vec<Process> {
    let client = |number: u32| {
        let mut random = Random::new();
        let mut script = String::new();
        for row in 0..ROWS {
            let text: String = (0..120).map(|_| format!("{:016x}", random.below(u64::MAX))).collect();
            script += &format!("insert into t values ({}, '{text}') returning id;\n", number * 1000 + row);
            if row == ROWS / 3 {
                script += "checkpoint;\n";
            }
            if row == ROWS / 2 {
                let table = format!("u{number}");
                script += &format!("create table {table} (id int primary key, v text);\n");
                script += &format!("insert into {table} select id + 1, v from t;\n");
                script += &format!("truncate {table};\ndrop table {table};\ncheckpoint;\n");
            }
        }
        server.psql(["-XAtq", "-f", "-"]).stdin(script).named(format!("client{number}")).spawn()
    };
    (0..2).map(client).collect()
}

/// Waits until all clients are through, or `gone` says that nobody will answer them any more; ends them then.
#[track_caller]
pub(crate) fn wait(clients: &mut [Process], mut gone: impl FnMut() -> bool) {
    wait_for("the clients to be through", DEADLINE, || {
        (gone() || clients.iter_mut().all(|client| !client.is_running())).then_some(())
    });
}

/// The ids that were acknowledged, and what the clients said of errors.
pub(crate) fn results(clients: Vec<Process>) -> (BTreeSet<u32>, String) {
    let (mut acknowledged, mut said) = (BTreeSet::new(), String::new());
    for mut client in clients {
        if client.is_running() {
            let finished = client.kill9();
            read(&finished.stdout, &mut acknowledged);
            said += &finished.stderr;
        } else {
            let finished = client.wait();
            read(&finished.stdout, &mut acknowledged);
            said += &finished.stderr;
        }
    }
    (acknowledged, said)
}

fn read(stdout: &str, acknowledged: &mut BTreeSet<u32>) {
    // The last line can be one that was cut off.
    let whole = stdout.rsplit_once('\n').map_or("", |(lines, _)| lines);
    acknowledged.extend(whole.lines().filter_map(|line| line.parse::<u32>().ok()));
}

/// Everything acknowledged is there.
#[track_caller]
pub(crate) fn assert_there(server: &Walwriter, acknowledged: &BTreeSet<u32>) {
    let there: BTreeSet<u32> =
        server.sql("select id from t").lines().filter_map(|line| line.parse().ok()).collect();
    let missing: Vec<u32> = acknowledged.difference(&there).copied().collect();
    assert!(missing.is_empty(), "acknowledged and not there: {missing:?}");
}
