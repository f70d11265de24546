//! The leader dies while its only standby is down: from the witness's archive the standby gets everything that was
//! acknowledged, and becomes the leader.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use walship_tests::receiver::walreceiver;
use walship_tests::{Options, Postgres, Process, Random, Shutdown, TempRoot, Version, Walsender, wait_until};

const CLIENTS: u64 = 4;

/// A leader whose commits count once the witness has them, and a standby that streams from it.
fn leader_with_witness(root: &TempRoot, archive: &Path) -> (Postgres, Postgres, Process) {
    let options = Options::default().wal_segment_mib(1).setting("max_wal_size", "1GB");
    let leader = Postgres::start_new(root, "leader", Version::V15, options);
    leader.sql(
        "create table ledger (id bigint primary key); select pg_create_physical_replication_slot('w', true)",
    );
    let conninfo = format!("{} application_name=w", leader.conninfo());
    let witness = walreceiver(root, &conninfo, archive).args(["--synchronous", "-S", "w"]).spawn();
    let mut standby = leader.clone_with_pg_basebackup("standby");
    standby.follow(&leader.conninfo());
    standby.start();
    leader.configure("synchronous_standby_names", "ANY 1 (w)");
    leader.reload();
    wait_until("the witness to be synchronous", || {
        leader.sql("select sync_state from pg_stat_replication where application_name = 'w'") == "quorum"
    });
    (leader, standby, witness)
}

/// Clients that insert one row after the other and write down each that was acknowledged.
fn start_clients(leader: &Postgres) -> Vec<Process> {
    let client = |client: u64| {
        let ids = client * 1_000_000..client * 1_000_000 + 20_000;
        let script: String =
            ids.map(|id| format!("insert into ledger values ({id});\n\\echo {id}\n")).collect();
        let psql = leader.psql(["-XAtq", "-v", "ON_ERROR_STOP=1", "-f", "-"]).stdin(script);
        psql.named(format!("client-{client}")).spawn()
    };
    (0..CLIENTS).map(client).collect()
}

/// What the clients, which all lose their server, had acknowledged.
fn acknowledged(clients: Vec<Process>) -> BTreeSet<u64> {
    let mut acknowledged = BTreeSet::new();
    for client in clients {
        let finished = client.wait();
        assert_ne!(finished.code, Some(0), "the leader outlived a client");
        let whole = finished.stdout.rsplit_once('\n').map_or("", |(lines, _)| lines).to_owned();
        acknowledged.extend(whole.lines().map(|id| id.parse::<u64>().unwrap()));
    }
    acknowledged
}

/// Everything acknowledged is on the promoted standby, which takes writes.
fn assert_nothing_lost(standby: &Postgres, acknowledged: &BTreeSet<u64>) {
    let rows: BTreeSet<u64> =
        standby.sql("select id from ledger").lines().map(|id| id.parse().unwrap()).collect();
    let lost: Vec<_> = acknowledged.difference(&rows).collect();
    assert!(lost.is_empty(), "{} of {} acknowledged are lost: {lost:?}", lost.len(), acknowledged.len());
    standby.sql("insert into ledger values (-1)");
    assert_eq!(standby.sql("select timeline_id from pg_control_checkpoint()"), "2");
}

/// Stops the standby, lets clients write, kills the leader in the middle of it; gives what was acknowledged.
fn write_and_kill(leader: &mut Postgres, standby: &mut Postgres) -> BTreeSet<u64> {
    standby.stop(Shutdown::Fast);
    let clients = start_clients(leader);
    wait_until("a good many acknowledgements", || {
        clients.iter().map(|client| client.stdout().lines().count()).sum::<usize>() > 500
    });
    Random::new().moment(Duration::from_millis(500));
    leader.kill9();
    let acknowledged = acknowledged(clients);
    assert!(acknowledged.len() > 500);
    acknowledged
}

#[test]
fn a_standby_that_was_down_when_the_leader_died_catches_up_from_the_witness_and_loses_nothing() {
    let root = TempRoot::new("failover");
    let archive = root.dir("archive");
    let (mut leader, mut standby, witness) = leader_with_witness(&root, &archive);
    let acknowledged = write_and_kill(&mut leader, &mut standby);

    let sender = Walsender::start_new(&root, &archive);
    standby.configure("primary_conninfo", &sender.conninfo());
    standby.configure("synchronous_standby_names", "");
    standby.start();
    standby.wait_for_replay(sender.identify().2);
    standby.promote();
    standby.sql("checkpoint");
    assert_nothing_lost(&standby, &acknowledged);
    witness.interrupt().success();
}

#[test]
fn nothing_is_lost_when_the_witness_dies_with_the_leader_and_only_its_directory_is_left() {
    let root = TempRoot::new("failover");
    let archive = root.dir("archive");
    let (mut leader, mut standby, witness) = leader_with_witness(&root, &archive);
    let acknowledged = write_and_kill(&mut leader, &mut standby);
    witness.kill9();

    let sender = Walsender::start_new(&root, &archive);
    standby.configure("primary_conninfo", &sender.conninfo());
    standby.configure("synchronous_standby_names", "");
    standby.start();
    standby.wait_for_replay(sender.identify().2);
    standby.promote();
    standby.sql("checkpoint");
    assert_nothing_lost(&standby, &acknowledged);
}
