//! A leader killed at random moments: everything acknowledged is there, nothing half-done, nothing extra but what was in
//! flight.

use std::path::Path;
use std::time::Duration;

use walship_tests::{Random, Shutdown, TempRoot, Walwriter};

/// How often the leader is killed; `WALSHIP_KILLS` changes it.
fn kills() -> u64 {
    std::env::var("WALSHIP_KILLS").ok().and_then(|text| text.parse().ok()).unwrap_or(8)
}

/// The transactions that pgbench logged as done, over all its threads.
fn acknowledged(directory: &Path, prefix: &str) -> u64 {
    let mut lines = 0;
    for entry in std::fs::read_dir(directory).unwrap().flatten() {
        if entry.file_name().to_string_lossy().starts_with(prefix) {
            lines += std::fs::read_to_string(entry.path()).unwrap().lines().count() as u64;
        }
    }
    lines
}

#[test]
fn whatever_was_acknowledged_survives_kills_at_random_moments() {
    const CLIENTS: u64 = 16;
    let root = TempRoot::new("kills");
    let mut random = Random::new();
    let settings = [("shared_buffers", "4MB"), ("max_wal_size", "32MB"), ("checkpoint_timeout", "30s")];
    let mut server = Walwriter::start_new(&root, "leader", &settings);
    server.pgbench(["-i", "-s", "1", "-q"]);
    let logs = root.dir("acknowledged");
    let mut known = 0;
    for kill in 0..kills() {
        let prefix = format!("kill{kill}");
        let log = format!("--log-prefix={}", logs.join(&prefix).display());
        let clients = CLIENTS.to_string();
        let load = server.pgbench_tool(["-n", "-c", &clients, "-j", "2", "-T", "60", "-l", &log]).spawn();
        random.moment(Duration::from_secs(2));
        server.kill9();
        load.wait();
        server.start();
        let acknowledged = acknowledged(&logs, &prefix);
        let found: u64 = server.sql("select count(*) from pgbench_history").parse().unwrap();
        assert!(
            (known + acknowledged..=known + acknowledged + CLIENTS).contains(&found),
            "kill {kill}: {found} transactions, but {known} were there and {acknowledged} were acknowledged since"
        );
        known = found;
        let sums = server.balances();
        assert!(sums.iter().all(|sum| *sum == sums[0]), "kill {kill}: the balances differ: {sums:?}");
        if kill % 4 == 3 {
            server.stop(Shutdown::Fast).success();
            server.assert_sound();
            server.start();
        }
    }
    assert!(known > 0, "nothing was ever acknowledged");
}
