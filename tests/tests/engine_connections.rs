//! Standbys whose connection is cut and whose leader is killed, at any moment: nothing is lost, doubled or reordered.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use walship_tests::proxy::{Message, Proxy, Verdict};
use walship_tests::{Process, Random, Shutdown, TempRoot, Tool, Walwriter};

/// How often connections are cut; `WALSHIP_CUTS` changes it.
fn cuts() -> u64 {
    std::env::var("WALSHIP_CUTS").ok().and_then(|text| text.parse().ok()).unwrap_or(15)
}

fn leader(root: &TempRoot) -> Walwriter {
    let settings = [("shared_buffers", "4MB"), ("max_wal_size", "16MB"), ("wal_compression", "lz4")];
    let server = Walwriter::start_new(root, "leader", &settings);
    server.pgbench(["-i", "-s", "1", "-q"]);
    server
}

fn load(leader: &Walwriter) -> Process {
    leader.pgbench_tool(["-n", "-c", "8", "-j", "2", "-T", "600"]).spawn()
}

/// A base backup as a standby's directory; it follows with `conninfo` and comes back soon.
fn standby(root: &TempRoot, name: &str, from: &str, conninfo: &str) -> Walwriter {
    let directory = root.dir(name);
    let tool = Tool::ours(root, "basebackup").args(["-d", from, "-c", "fast", "-C", "-S", name, "-D"]);
    tool.arg(&directory).succeed();
    let standby = Walwriter::in_directory(root, name, &directory);
    standby.follow(conninfo);
    standby.configure("primary_slot_name", name);
    standby.configure("wal_retrieve_retry_interval", "20ms");
    standby
}

fn transactions(server: &Walwriter) -> u64 {
    server.sql("select count(*) from pgbench_history").parse().unwrap()
}

/// Lets messages through, but cuts the connection within one of them now and then.
fn cutting(
    mut random: Random,
    armed: &Arc<AtomicBool>,
    cut: &Arc<AtomicU64>,
) -> impl FnMut(&Message) -> Verdict + Send + use<> {
    let (armed, cut) = (Arc::clone(armed), Arc::clone(cut));
    move |message| {
        if !armed.load(Ordering::SeqCst) || message.as_wal().is_none() || random.below(8) > 0 {
            return Verdict::Pass;
        }
        cut.fetch_add(1, Ordering::SeqCst);
        let mut bytes = message.encode();
        bytes.truncate(random.below(bytes.len() as u64 + 1) as usize);
        Verdict::ReplaceAndCut(bytes)
    }
}

#[test]
fn connections_cut_within_messages_and_standbys_killed_end_with_the_leaders_pages() {
    let root = TempRoot::new("cuts");
    let mut leader = leader(&root);
    let (armed, cut) = (Arc::new(AtomicBool::new(true)), Arc::new(AtomicU64::new(0)));
    let proxy = Proxy::start(leader.port(), cutting(Random::new(), &armed, &cut));
    let mut standby = standby(&root, "standby", &leader.conninfo(), &proxy.conninfo());
    standby.start();
    let load = load(&leader);
    let mut random = Random::new();
    let mut seen = 0;
    while cut.load(Ordering::SeqCst) < cuts() {
        standby.assert_balanced();
        let now = transactions(&standby);
        assert!(now >= seen, "went back from {seen} transactions to {now}");
        seen = now;
        if random.below(4) == 0 {
            standby.kill9();
            standby.start();
            // What was shown before is still there.
            assert!(transactions(&standby) >= seen);
        }
    }
    load.kill9();
    armed.store(false, Ordering::SeqCst);
    standby.wait_for_replay(leader.flush_lsn());
    assert_eq!(standby.balances(), leader.balances());
    assert_eq!(transactions(&standby), transactions(&leader));
    standby.assert_ends_as(&mut leader);
}

#[test]
fn followers_of_a_killed_and_restarted_leader_go_on() {
    let root = TempRoot::new("restarts");
    let mut leader = leader(&root);
    let mut first = standby(&root, "first", &leader.conninfo(), &leader.conninfo());
    first.start();
    let mut second = standby(&root, "second", &leader.conninfo(), &first.conninfo());
    // The slot is at the leader.
    second.configure("primary_slot_name", "");
    second.start();
    let mut random = Random::new();
    for _ in 0..4 {
        let load = load(&leader);
        random.moment(Duration::from_secs(1));
        match random.below(3) {
            0 => drop(leader.stop(Shutdown::Immediate)),
            1 => drop(leader.stop(Shutdown::Fast).success()),
            _ => leader.kill9(),
        }
        load.wait();
        first.assert_balanced();
        leader.start();
        // Whatever they had received is still the leader's.
        first.wait_for_replay(leader.flush_lsn());
        second.wait_for_replay(leader.flush_lsn());
        assert_eq!(first.balances(), leader.balances());
        assert_eq!(second.balances(), leader.balances());
    }
    leader.stop(Shutdown::Fast).success();
    first.wait_for_all_received();
    first.stop(Shutdown::Fast).success();
    second.wait_for_all_received();
    second.stop(Shutdown::Fast).success();
    first.assert_same_pages(&leader);
    second.assert_same_pages(&leader);
}
