//! Standbys made by `basebackup -R`: they start and stream with no further edit.

use std::path::Path;

use walship_tests::base_backup::{Load, assert_consistent, basebackup, pg_basebackup, unpack};
use walship_tests::{Options, Postgres, TempRoot, Version, wait_until};

fn leader(root: &TempRoot, version: Version) -> Postgres {
    let options = Options::default().wal_segment_mib(1).data_checksums().setting("max_wal_size", "1GB");
    Postgres::start_new(root, "leader", version, options)
}

/// Starts a standby from a backup as it is, and insists that it streams through that slot what the leader goes on to write.
#[track_caller]
fn assert_streams(leader: &Postgres, name: &str, directory: &Path, slot: &str, transactions: u64) {
    let mut standby = Postgres::in_directory(leader.root(), name, leader.version(), directory);
    standby.start();
    wait_until("the standby to stream", || {
        standby.sql("select status, slot_name from pg_stat_wal_receiver") == format!("streaming|{slot}")
    });
    leader.sql(&format!("create table for_{slot} as select 'heard' as word"));
    standby.wait_for_replay(leader.flush_lsn());
    assert_eq!(standby.sql(&format!("select word from for_{slot}")), "heard");
    assert_consistent(&standby, transactions);
    let active =
        format!("select slot_type, temporary, active from pg_replication_slots where slot_name = '{slot}'");
    assert_eq!(leader.sql(&active), "physical|f|t");
}

#[test]
fn a_new_slot_and_recovery_configuration_make_a_standby_that_streams() {
    for version in Version::at_hand() {
        let root = TempRoot::new("standby");
        let leader = leader(&root, version);
        let load = Load::start(&leader);
        let directory = root.join("standby");
        let tool = basebackup(&leader, &directory).args(["-R", "-C", "-S", "joins"]);
        let (transactions, finished) = load.during(tool);
        assert_eq!(finished.stderr, "");
        // Between the backup and the standby's start, the slot alone keeps the WAL.
        leader.script("select pg_switch_wal(); checkpoint; select pg_switch_wal(); checkpoint;");
        assert_streams(&leader, "joining", &directory, "joins", transactions);

        // Once more with the slot there already, from archives, over the Unix socket.
        let (archives, again) = (root.join("archives"), root.join("again"));
        let refused = basebackup(&leader, &again).args(["-R", "-C", "-S", "joins"]).run();
        refused.failure("replication slot \"joins\" already exists");
        assert!(!again.exists());
        leader.sql("select pg_create_physical_replication_slot('unpacked', true)");
        let tool = basebackup(&leader, &archives).args(["-d", &leader.socket_conninfo()]);
        let (transactions, _) =
            load.during(tool.args(["-F", "t", "-Z", "server-gzip", "-R", "-S", "unpacked"]));
        let directory = unpack(&root, &archives, "again");
        assert_streams(&leader, "unpacked", &directory, "unpacked", transactions);
        load.stop();
    }
}

/// The settings in `primary_conninfo`, without those that say what libpq does anyway: pg_basebackup names the defaults of
/// the libpq that it was built with, and basebackup the usual password file.
fn primary_conninfo(directory: &Path) -> Vec<String> {
    let file = std::fs::read_to_string(directory.join("postgresql.auto.conf")).unwrap();
    let value = file.lines().rev().find_map(|line| line.strip_prefix("primary_conninfo = '")).unwrap();
    let value = value.strip_suffix('\'').unwrap();
    let mut settings: Vec<_> = value.split(' ').map(str::to_owned).collect();
    let defaults = [
        "gssencmode=",
        "krbsrvname=",
        "ssl_min_protocol_version=",
        "sslcompression=",
        "sslsni=",
        "passfile=",
    ];
    settings.retain(|setting| !defaults.iter().any(|default| setting.starts_with(default)));
    settings.sort();
    settings
}

#[test]
fn the_recovery_configuration_leads_where_pg_basebackups_does() {
    let root = TempRoot::new("settings");
    let leader = leader(&root, Version::V15);
    let (ours, theirs) = (root.join("ours"), root.join("theirs"));
    let conninfo = format!(
        "{} password='it\\'s\\\\secret' application_name=x sslmode=allow connect_timeout=30",
        leader.conninfo()
    );
    let options = ["-R", "-X", "none", "-d", &conninfo];
    basebackup(&leader, &ours).args(options).run().success();
    pg_basebackup(&leader, &theirs).args(options).run().success();
    for directory in [&ours, &theirs] {
        assert_eq!(std::fs::read(directory.join("standby.signal")).unwrap(), b"");
    }
    assert_eq!(primary_conninfo(&ours), primary_conninfo(&theirs));
}
