//! What slots keep of the log of a walwriter: over crashes, promotions and restarts, on leaders and standbys.

use std::path::Path;

use wal::Lsn;
use walship_tests::receiver::walreceiver;
use walship_tests::wire::Wire;
use walship_tests::{TempRoot, Tool, Walsender, Walwriter, wait_until};

/// The names of the segments that are there.
fn segments(server: &Walwriter) -> Vec<String> {
    let entries = std::fs::read_dir(server.wal_dir()).unwrap().flatten();
    let mut names: Vec<_> = entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.retain(|name| name.len() == 24 && name.bytes().all(|byte| byte.is_ascii_hexdigit()));
    names.sort();
    names
}

/// Writes a few segments of one MiB, and makes checkpoints that would remove them.
fn write_segments(server: &Walwriter) {
    for round in 0..6 {
        server.sql(&format!(
            "insert into filler select {round} * 1000 + g, repeat('x', 1900) from generate_series(1, 600) g"
        ));
        server.sql("checkpoint");
    }
}

fn leader(root: &TempRoot, settings: &[(&str, &str)]) -> Walwriter {
    let small = [("max_wal_size", "4MB"), ("min_wal_size", "2MB"), ("wal_compression", "off")];
    let server = Walwriter::start_new(root, "leader", &[small.as_slice(), settings].concat());
    server.sql("create table filler (k int primary key, v text)");
    server
}

/// Where the slot stands, and what became of its WAL.
fn slot(server: &Walwriter, name: &str) -> (Lsn, String) {
    let row = server
        .sql(&format!("select restart_lsn, wal_status from pg_replication_slots where slot_name = '{name}'"));
    let (restart, status) = row.split_once('|').unwrap();
    (restart.parse().unwrap(), status.to_owned())
}

/// Insists that the server sends everything from the slot's position on.
fn assert_sends_all(root: &TempRoot, server: &Walwriter, name: &str, into: &str) {
    let directory = root.dir(into);
    let from = slot(server, name).0;
    let end = server.flush_lsn();
    let receiver =
        walreceiver(root, &server.conninfo(), &directory).args(["-S", name, "--synchronous"]).spawn();
    wait_until("everything to be received", || slot(server, name).0 >= end);
    receiver.terminate();
    let first = format!("{:08X}", from.as_u64() >> 20);
    let names: Vec<_> =
        std::fs::read_dir(&directory).unwrap().flatten().map(|entry| entry.file_name()).collect();
    assert!(names.iter().any(|name| name.to_string_lossy().get(16..24) == Some(first.as_str())), "{names:?}");
}

#[test]
fn crash_recovery_keeps_the_wal_of_slots_and_of_wal_keep_size() {
    let root = TempRoot::new("kept");
    let mut server = leader(&root, &[]);
    server.sql("select pg_create_physical_replication_slot('standby1', true)");
    server.sql("select pg_create_physical_replication_slot('reader', true)");
    let first = segments(&server).remove(0);
    write_segments(&server);
    let (restart, status) = slot(&server, "standby1");
    assert_eq!(status, "extended");
    server.kill9();
    server.start();
    assert_eq!(slot(&server, "standby1").0, restart);
    assert_ne!(slot(&server, "standby1").1, "lost");
    assert_eq!(segments(&server).remove(0), first);
    assert_sends_all(&root, &server, "reader", "received");
    // A slot that may hold back no more than that does not, after a crash either.
    server.configure("max_slot_wal_keep_size", "1MB");
    server.kill9();
    server.start();
    assert_eq!(slot(&server, "standby1").1, "lost");
    assert!(segments(&server).remove(0) > first);
    // Nor does one that is gone, but for what is kept for followers without a slot.
    server.sql("select pg_drop_replication_slot('standby1')");
    server.sql("select pg_drop_replication_slot('reader')");
    server.configure("wal_keep_size", "5MB");
    server.kill9();
    server.start();
    write_segments_again(&server, 1);
    let kept = segments(&server).remove(0);
    server.kill9();
    server.start();
    let written =
        usize::from_str_radix(&server.sql("select pg_walfile_name(pg_current_wal_lsn())")[16..], 16).unwrap();
    let oldest = usize::from_str_radix(&segments(&server).remove(0)[16..], 16).unwrap();
    assert!(written - oldest >= 5, "{kept}: {oldest} to {written}");
}

#[test]
fn a_standby_keeps_what_slots_of_its_own_followers_need_when_it_restarts_crashes_and_is_promoted() {
    let root = TempRoot::new("cascade");
    let leader = leader(&root, &[]);
    let directory = root.dir("standby");
    let tool = Tool::ours(&root, "basebackup").args(["-d", &leader.conninfo(), "-c", "fast"]);
    tool.args(["-R", "-C", "-S", "standby", "-D"]).arg(&directory).succeed();
    let mut standby = Walwriter::in_directory(&root, "standby", &directory);
    standby.start();
    write_segments(&leader);
    standby.wait_for_replay(leader.flush_lsn());
    standby.sql("checkpoint");
    // Reserved at the last restartpoint, not at the one that the standby began with, whose WAL is gone.
    standby.sql("select pg_create_physical_replication_slot('cascade', true)");
    let (restart, status) = slot(&standby, "cascade");
    assert_ne!(status, "lost");
    let kept = |standby: &Walwriter, when: &str| {
        let (now, status) = slot(standby, "cascade");
        assert_eq!(now, restart, "{when}");
        assert_ne!(status, "lost", "{when}");
    };
    for round in 0..2 {
        write_segments_again(&leader, round);
        standby.wait_for_replay(leader.flush_lsn());
        standby.sql("checkpoint");
        kept(&standby, "a restartpoint");
        standby.kill9();
        standby.start();
        standby.sql("checkpoint");
        kept(&standby, "a crash of the standby");
    }
    standby.promote();
    standby.sql("insert into filler values (-1, '')");
    standby.sql("checkpoint");
    kept(&standby, "the promotion");
    standby.kill9();
    standby.start();
    kept(&standby, "a crash of the new leader");
    assert_sends_all(&root, &standby, "cascade", "received");
}

fn write_segments_again(server: &Walwriter, round: usize) {
    server.sql("delete from filler");
    server.sql(&format!("insert into filler values ({}, 'round')", 1_000_000 + round));
    write_segments(server);
}

#[test]
fn a_damaged_slot_is_shown_keeps_the_wal_and_can_be_dropped() {
    let root = TempRoot::new("damaged");
    let mut server = leader(&root, &[]);
    server.sql("select pg_create_physical_replication_slot('standby1', true)");
    let first = segments(&server).remove(0);
    let file = server.wal_dir().join("walship.slots/standby1.slot");
    flip_a_bit(&file);
    write_segments(&server);
    server.kill9();
    server.start();
    write_segments_again(&server, 0);
    assert_eq!(segments(&server).remove(0), first, "what it needed nobody knows");
    assert_eq!(
        server.sql("select slot_name, restart_lsn, wal_status from pg_replication_slots"),
        "standby1||lost"
    );
    assert!(server.log().contains("WAL is kept because replication slot \"standby1\" cannot be read"));
    server.sql("select pg_drop_replication_slot('standby1')");
    server.sql("checkpoint");
    wait_until("the WAL to go", || segments(&server).remove(0) > first);
}

fn flip_a_bit(file: &Path) {
    let mut bytes = std::fs::read(file).unwrap();
    bytes[20] ^= 1;
    std::fs::write(file, bytes).unwrap();
}

#[test]
fn a_temporary_slot_of_a_separate_walsender_keeps_wal_for_as_long_as_its_client_and_process_live() {
    let root = TempRoot::new("temporary");
    let server = leader(&root, &[]);
    let mut sender = Walsender::start_new(&root, &server.wal_dir());
    let make = |port, name: &str| {
        let mut client = Wire::replication(port);
        client.value(&format!("CREATE_REPLICATION_SLOT {name} TEMPORARY PHYSICAL RESERVE_WAL"));
        client
    };
    let files = || {
        let entries = std::fs::read_dir(server.wal_dir().join("walship.slots")).unwrap().flatten();
        let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
        names.collect::<Vec<_>>()
    };
    let first = |port: Option<u16>, name: &str| {
        server.sql("checkpoint");
        let client = make(port.unwrap_or(server.port()), name);
        let first = slot(&server, name).0;
        (client, format!("{:08X}", first.as_u64() >> 20))
    };
    let oldest = || segments(&server).remove(0)[16..].to_owned();
    for (round, through_sender) in [(0, true), (1, false)] {
        let (mut client, needed) = first(through_sender.then(|| sender.port()), "passing");
        let shown = "select active, temporary, wal_status from pg_replication_slots";
        assert_eq!(server.sql(shown), "t|t|reserved");
        write_segments_again(&server, round);
        assert!(oldest() <= needed, "{} of {needed} is there", oldest());
        // Its name is taken, everywhere.
        for port in [sender.port(), server.port()] {
            let (mut other, command) = (Wire::replication(port), "_REPLICATION_SLOT passing");
            assert_eq!(other.code(&format!("CREATE{command} PHYSICAL")), "42710");
            assert_eq!(other.code(&format!("CREATE{command} TEMPORARY PHYSICAL")), "42710");
            assert_eq!(other.code(&format!("DROP{command}")), "55006");
        }
        // It ends with its client.
        client.send(b'X', &[]);
        drop(client);
        wait_until("the slot to go", || server.sql("select count(*) from pg_replication_slots") == "0");
        assert_eq!(files(), [] as [String; 0]);
        server.sql("checkpoint");
        wait_until("the WAL to go", || oldest() > needed);
    }
    // So it does with its process, however that ends.
    let (client, needed) = first(Some(sender.port()), "left");
    sender.kill9();
    write_segments_again(&server, 2);
    wait_until("the WAL to go", || oldest() > needed);
    assert_eq!(files(), [] as [String; 0]);
    drop(client);
}
