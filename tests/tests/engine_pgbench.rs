//! Unmodified pgbench against walwriter: its own scripts in every query mode, and balances that add up in every snapshot.

use walship_tests::{Process, Shutdown, TempRoot, Walwriter};

fn processed(pgbench: &str) -> u64 {
    let line =
        pgbench.lines().find_map(|line| line.strip_prefix("number of transactions actually processed: "));
    let count = line.and_then(|rest| rest.split('/').next()).and_then(|count| count.parse().ok());
    count.unwrap_or_else(|| panic!("pgbench printed no count:\n{pgbench}"))
}

#[test]
fn its_own_scripts_run_in_every_query_mode() {
    let root = TempRoot::new("pgbench");
    let mut server = Walwriter::start_new(&root, "leader", &[]);
    server.pgbench(["-i", "-s", "1"]);
    assert_eq!(server.sql("select count(*) from pgbench_accounts"), "100000");
    let mut transactions = 0;
    for mode in ["simple", "extended", "prepared"] {
        for script in ["tpcb-like", "simple-update", "select-only"] {
            let run = server.pgbench(["-n", "-M", mode, "-b", script, "-c", "4", "-t", "250"]);
            assert_eq!(processed(&run.stdout), 1000, "{run}");
            assert!(run.stdout.contains("number of failed transactions: 0 "), "{run}");
            transactions += if script == "select-only" { 0 } else { 1000 };
        }
    }
    assert_eq!(server.sql("select count(*) from pgbench_history"), transactions.to_string());
    // simple-update leaves tellers and branches alone.
    let sums = server.sql("select sum(tbalance) from pgbench_tellers")
        == server.sql("select sum(bbalance) from pgbench_branches");
    assert!(sums, "tellers and branches differ");
    // With vacuuming and the partition query, as without -n.
    let run = server.pgbench(["-c", "2", "-t", "10"]);
    assert_eq!(processed(&run.stdout), 20, "{run}");
    server.stop(Shutdown::Fast).success();
    server.assert_sound();
}

#[test]
fn every_repeatable_read_snapshot_balances_while_clients_write() {
    let root = TempRoot::new("balances");
    let mut server = Walwriter::start_new(&root, "leader", &[("shared_buffers", "8MB")]);
    server.pgbench(["-i", "-s", "2", "-q"]);
    let mut load: Process = server.pgbench_tool(["-n", "-c", "8", "-j", "2", "-T", "8"]).spawn();
    let mut snapshots = 0;
    while load.is_running() {
        server.assert_balanced();
        snapshots += 1;
    }
    let run = load.wait().success();
    assert!(snapshots > 3, "only {snapshots} snapshots were taken");
    assert_eq!(server.sql("select count(*) from pgbench_history"), processed(&run.stdout).to_string());
    server.assert_balanced();
    server.stop(Shutdown::Fast).success();
    server.assert_sound();
}
