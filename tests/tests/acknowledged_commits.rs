//! Nothing that a client saw committed is missing from the archive of the synchronous witness, whenever the leader dies.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use walship_tests::{Options, Postgres, Process, Random, TempRoot, Tool, Version, archive, wait_until};

const CLIENTS: u64 = 4;
const ROUNDS: u64 = 20;

/// A leader that acknowledges a commit only once receiver `w` has it.
fn leader(root: &TempRoot, version: Version) -> Postgres {
    let options =
        Options::default().setting("synchronous_standby_names", "ANY 1 (w)").setting("max_wal_size", "4GB");
    let leader = Postgres::start_new(root, "leader", version, options);
    leader.sql(
        "set synchronous_commit = local;
         create table acknowledged (id bigint primary key);
         select pg_create_physical_replication_slot('w', true)",
    );
    leader
}

fn receiver(leader: &Postgres, archive: &Path) -> Process {
    let conninfo = format!("{} application_name=w", leader.conninfo());
    let tool = Tool::ours(leader.root(), "walreceiver").arg("-D").arg(archive);
    tool.args(["--synchronous", "-S", "w", "-d", &conninfo]).spawn()
}

/// Clients that insert one row after the other and write down which were acknowledged, by id and transaction.
fn start_clients(leader: &Postgres, round: u64) -> Vec<Process> {
    let client = |client: u64| {
        let first = first_id(round, client);
        let statements = (first..first + 20_000).map(|id| {
            format!("insert into acknowledged values ({id}) returning pg_current_xact_id() as xid \\gset\n\\echo {id} :xid\n")
        });
        let script =
            leader.root().file(format!("client-{round}-{client}.sql"), statements.collect::<String>());
        leader
            .psql(["-XAtq", "-v", "ON_ERROR_STOP=1", "-f"])
            .arg(script)
            .named(format!("client-{round}-{client}"))
            .spawn()
    };
    (0..CLIENTS).map(client).collect()
}

fn first_id(round: u64, client: u64) -> u64 {
    (round * CLIENTS + client) * 1_000_000
}

/// What the clients, which all lose their server, had acknowledged: transaction and id.
fn acknowledged(clients: Vec<Process>) -> BTreeMap<u64, u64> {
    let mut acknowledged = BTreeMap::new();
    for client in clients {
        let finished = client.wait();
        assert_ne!(finished.code, Some(0), "the leader outlived a client");
        // The last line can be one that was cut off; what was not written in full was not seen by anybody.
        let whole = finished.stdout.rsplit_once('\n').map_or("", |(lines, _)| lines);
        acknowledged.extend(whole.lines().map(|line| {
            let (id, transaction) = line.split_once(' ').unwrap();
            (transaction.parse::<u64>().unwrap(), id.parse::<u64>().unwrap())
        }));
    }
    acknowledged
}

/// The transactions that PostgreSQL's own reader finds committed in the archive.
fn committed_in(root: &TempRoot, version: Version, archive: &Path) -> BTreeSet<u64> {
    let readable = readable_copy(root, archive);
    let segments = archive::segments(&readable);
    let (first, last) = (segments.first().expect("a segment"), segments.last().expect("a segment"));
    // It ends with an error where the WAL ends, as it does on any unfinished segment.
    let dump = Tool::postgres(root, version, "pg_waldump").args(["-r", "Transaction", "-p"]).arg(&readable);
    let dump = dump.args([first, last]);
    let lines = dump.run().stdout;
    std::fs::remove_dir_all(readable).unwrap();
    let transaction = |line: &str| line.split_once(" tx:")?.1.split_once(',')?.0.trim().parse().ok();
    lines.lines().filter(|line| line.contains("desc: COMMIT")).filter_map(transaction).collect()
}

/// A directory of links in which the unfinished segment has a segment's name, which is all that pg_waldump reads.
fn readable_copy(root: &TempRoot, archive: &Path) -> PathBuf {
    let copy = root.dir("readable");
    for name in archive::wal_files(archive) {
        std::os::unix::fs::symlink(archive.join(&name), copy.join(name.trim_end_matches(".partial")))
            .unwrap();
    }
    copy
}

#[test]
fn commits_acknowledged_to_clients_are_in_the_archive_whenever_the_leader_is_killed() {
    let mut random = Random::new();
    let root = TempRoot::new("acknowledged");
    let mut leader = leader(&root, Version::V15);
    let backup = leader.clone_with_pg_basebackup("backup");
    let archive = root.dir("archive");
    let mut witness = Some(receiver(&leader, &archive));
    let mut all = BTreeMap::new();
    for round in 0..ROUNDS {
        wait_until("the witness to be synchronous", || {
            leader.sql("select sync_state from pg_stat_replication where application_name = 'w'") == "quorum"
        });
        let clients = start_clients(&leader, round);
        // A row is visible once its commit is acknowledged.
        let first_id = first_id(round, 0);
        wait_until("a first acknowledgement", || {
            leader.sql(&format!("select exists (select from acknowledged where id >= {first_id})")) == "t"
        });
        random.moment(Duration::from_millis(700));
        leader.kill9();
        // Every other time the witness goes down with it.
        let down = (round % 2 == 1).then(|| witness.take()).flatten();
        if let Some(witness) = down {
            witness.kill9();
        }
        let seen = acknowledged(clients);
        let committed = committed_in(&root, leader.version(), &archive);
        let lost: Vec<_> = seen.iter().filter(|(transaction, _)| !committed.contains(transaction)).collect();
        assert!(lost.is_empty(), "acknowledged, but not in the archive after kill {round}: {lost:?}");
        all.extend(seen);
        leader.start();
        witness = witness.or_else(|| Some(receiver(&leader, &archive)));
    }
    assert!(all.len() > 1_000, "only {} commits were acknowledged in all", all.len());
    leader.kill9();
    drop(witness);
    assert_restored(&root, backup, &archive, &all);
}

/// A server restored from the backup and the archive alone has every row.
fn assert_restored(root: &TempRoot, mut restored: Postgres, archive: &Path, all: &BTreeMap<u64, u64>) {
    let fetch = Tool::ours(root, "walreceiver");
    let command = format!("{} fetch -D {} %f %p", fetch.program().display(), archive.display());
    restored.configure("restore_command", &command);
    restored.configure("synchronous_standby_names", "");
    restored.append("recovery.signal", "");
    restored.start();
    wait_until("the end of recovery", || restored.sql("select pg_is_in_recovery()") == "f");
    let rows = restored.sql("select id from acknowledged");
    let rows: BTreeSet<u64> = rows.lines().map(|id| id.parse().unwrap()).collect();
    let missing: Vec<_> = all.values().filter(|id| !rows.contains(id)).collect();
    assert!(missing.is_empty(), "acknowledged, but not restored: {missing:?}");
}
