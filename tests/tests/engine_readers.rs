//! Readers that hold REPEATABLE READ snapshots on leader and standby while clients write: every snapshot adds up however
//! long it is held, and no session goes back in time.

use std::thread;

use wal::Lsn;
use walship_tests::wire::Wire;
use walship_tests::{Process, Random, TempRoot, Tool, Walwriter};

/// For how long clients write, in seconds; `WALSHIP_SECONDS` changes it.
fn seconds() -> String {
    std::env::var("WALSHIP_SECONDS").unwrap_or_else(|_| "10".to_owned())
}

/// The same changes summed in several ways; the accounts in two halves as well, by ranges of the key.
const SUMS: [&str; 6] = [
    "select sum(abalance) from pgbench_accounts",
    "select sum(tbalance) from pgbench_tellers",
    "select sum(bbalance) from pgbench_branches",
    "select coalesce(sum(delta), 0) from pgbench_history",
    "select sum(abalance) from pgbench_accounts where aid <= 100000",
    "select sum(abalance) from pgbench_accounts where aid > 100000",
];

/// One reader's session: takes a snapshot, reads all sums in it in a random order with pauses, and looks at the present
/// in between. Returns how many snapshots it took.
fn read(port: u16, position: &str, stop: &dyn Fn() -> bool) -> u64 {
    let mut random = Random::new();
    let mut session = Wire::connect(port);
    let (mut snapshots, mut transactions, mut lsn) = (0, 0, Lsn::INVALID);
    while !stop() || snapshots < 2 {
        session.value("begin isolation level repeatable read");
        let first = number(&mut session, "select count(*) from pgbench_history");
        assert!(first >= transactions, "a session went back from {transactions} transactions to {first}");
        let mut sums = [0; SUMS.len()];
        let start = random.below(SUMS.len() as u64) as usize;
        for at in (0..SUMS.len()).map(|at| (at + start) % SUMS.len()) {
            sums[at] = number(&mut session, SUMS[at]);
            random.moment(std::time::Duration::from_millis(40));
        }
        let [accounts, tellers, branches, history, low, high] = sums;
        assert_eq!([tellers, branches, history, low + high], [accounts; 4], "the balances differ");
        assert_eq!(number(&mut session, "select count(*) from pgbench_history"), first);
        session.value("commit");
        transactions = number(&mut session, "select count(*) from pgbench_history");
        assert!(transactions >= first, "a session went back from {first} transactions to {transactions}");
        let now: Lsn = session.value(&format!("select {position}()")).parse().unwrap();
        assert!(now >= lsn, "a session went back from {lsn} to {now}");
        lsn = now;
        snapshots += 1;
    }
    snapshots
}

fn number(session: &mut Wire, sql: &str) -> i64 {
    session.value(sql).parse().unwrap()
}

/// Lets readers loose on both while pgbench writes, and says how many snapshots they took.
fn soak(leader: &Walwriter, standby: &Walwriter, load: Process) -> u64 {
    let load = runtime::sync::Mutex::new(load);
    let stop = || !load.lock().is_running();
    let servers = [(leader, "pg_current_wal_lsn"), (standby, "pg_last_wal_replay_lsn")];
    let snapshots = thread::scope(|scope| {
        let readers: Vec<_> = servers
            .iter()
            .flat_map(|server| [server; 2])
            .map(|(server, position)| {
                let (port, stop) = (server.port(), &stop);
                scope.spawn(move || read(port, position, stop))
            })
            .collect();
        readers.into_iter().map(|reader| reader.join().expect("a reader failed")).sum()
    });
    load.into_inner().wait().success();
    snapshots
}

#[test]
fn every_snapshot_adds_up_on_leader_and_standby_and_both_end_with_the_same_pages() {
    let root = TempRoot::new("readers");
    // Pages are evicted, checkpoints follow one another, WAL is compressed.
    let settings = [
        ("shared_buffers", "4MB"),
        ("max_wal_size", "4MB"),
        ("min_wal_size", "2MB"),
        ("wal_compression", "zstd"),
        ("version_memory", "64MB"),
    ];
    let mut leader = Walwriter::start_new(&root, "leader", &settings);
    leader.pgbench(["-i", "-s", "10", "-q"]);
    let directory = root.dir("standby");
    let tool = Tool::ours(&root, "basebackup").args(["-d", &leader.conninfo(), "-c", "fast"]);
    tool.args(["-R", "-C", "-S", "standby", "-D"]).arg(&directory).succeed();
    let mut standby = Walwriter::in_directory(&root, "standby", &directory);
    standby.start();
    let load = leader.pgbench_tool(["-n", "-M", "prepared", "-c", "16", "-j", "2", "-T", &seconds()]).spawn();
    let snapshots = soak(&leader, &standby, load);
    println!("{snapshots} snapshots");
    assert!(leader.log().contains("checkpoint starting: wal"), "no checkpoint fell into the load");
    standby.wait_for_replay(leader.flush_lsn());
    assert_eq!(standby.balances(), leader.balances());
    standby.assert_ends_as(&mut leader);
}
