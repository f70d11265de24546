//! Base backups in every mode, taken while pgbench runs: both verifiers accept them, and servers start from them.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

use walship_tests::base_backup::{
    Load, assert_consistent, assert_starts, assert_verifies, basebackup, pg_verifybackup, unpack, verify,
};
use walship_tests::receiver::walreceiver;
use walship_tests::{Options, Postgres, Shutdown, TempRoot, Tool, Version, wait_until};

fn leader(root: &TempRoot, version: Version) -> Postgres {
    let options = Options::default().wal_segment_mib(1).data_checksums().setting("max_wal_size", "1GB");
    Postgres::start_new(root, "leader", version, options)
}

fn file_names(directory: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(directory).unwrap();
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn data_directories_verify_and_start_however_the_wal_comes_and_the_server_compresses() {
    let root = TempRoot::new("plain");
    let leader = leader(&root, Version::V15);
    let load = Load::start(&leader);
    for options in [
        &["-X", "fetch", "--manifest-checksums", "SHA256"][..],
        &["-X", "stream"],
        &["-X", "stream", "--no-slot", "--manifest-checksums", "NONE"],
        &["-X", "stream", "-Z", "server-gzip:9", "--manifest-checksums", "SHA512"],
        &["-X", "fetch", "-Z", "server-lz4", "--manifest-force-encode"],
        &["-X", "stream", "-Z", "server-zstd:level=3,workers=2"],
    ] {
        println!("{options:?}");
        let directory = root.join("backup");
        let (transactions, finished) = load.during(basebackup(&leader, &directory).args(options));
        assert_eq!(finished.stderr, "", "{options:?}");
        assert_verifies(&root, Version::V15, &directory, &[]);
        assert_starts(&leader, &directory, transactions);
    }
    load.stop();
    assert_eq!(leader.sql("select count(*) from pg_replication_slots"), "0");
}

#[test]
fn archives_verify_unpack_and_start_whoever_compresses_them() {
    let root = TempRoot::new("tar");
    let leader = leader(&root, Version::V15);
    let load = Load::start(&leader);
    for (options, names) in [
        (&["-X", "fetch"][..], &["base.tar"][..]),
        (&["-X", "stream"], &["base.tar", "pg_wal.tar"]),
        (&["-X", "stream", "-z"], &["base.tar.gz", "pg_wal.tar.gz"]),
        // Like pg_basebackup, which compresses the WAL with gzip or not at all.
        (&["-X", "stream", "-Z", "client-lz4:1"], &["base.tar.lz4", "pg_wal.tar"]),
        (&["-X", "stream", "-Z", "zstd:5"], &["base.tar.zst", "pg_wal.tar"]),
        (&["-X", "fetch", "-Z", "server-gzip"], &["base.tar.gz"]),
        (&["-X", "stream", "-Z", "server-lz4"], &["base.tar.lz4", "pg_wal.tar"]),
        (&["-X", "fetch", "-Z", "server-zstd"], &["base.tar.zst"]),
    ] {
        println!("{options:?}");
        let archives = root.join("archives");
        let tool = basebackup(&leader, &archives).args(["-F", "t"]).args(options);
        let (transactions, finished) = load.during(tool);
        assert_eq!(finished.stderr, "", "{options:?}");
        let mut names = names.to_vec();
        names.push("backup_manifest");
        names.sort_unstable();
        assert_eq!(file_names(&archives), names, "{options:?}");
        assert_eq!(verify(&root, &archives).succeed(), "backup successfully verified\n");
        let directory = unpack(&root, &archives, "backup");
        std::fs::remove_dir_all(&archives).unwrap();
        assert_verifies(&root, Version::V15, &directory, &[]);
        assert_starts(&leader, &directory, transactions);
    }
    load.stop();
}

#[test]
fn the_main_archive_can_go_to_standard_output() {
    let root = TempRoot::new("stdout");
    let leader = leader(&root, Version::V15);
    let load = Load::start(&leader);
    let script =
        "umask 077; mkdir backup && \"$1\" -D - -F t -X fetch -c fast -d \"$2\" | tar -xf - -C backup";
    let program = Tool::ours(&root, "basebackup").program().to_owned();
    let pipe = Tool::new(&root, "sh", "sh").args(["-c", script, "sh"]).arg(program).arg(leader.conninfo());
    let (transactions, finished) = load.during(pipe);
    assert_eq!(finished.stderr, "");
    let directory = root.join("backup");
    // The manifest is a member of the only archive, which no data directory's manifest names.
    assert_verifies(&root, Version::V15, &directory, &[]);
    assert_starts(&leader, &directory, transactions);
    load.stop();
}

#[test]
fn a_backup_without_wal_starts_from_an_archive_through_fetch() {
    let root = TempRoot::new("none");
    let leader = leader(&root, Version::V15);
    let archive = root.dir("archive");
    leader.sql("select pg_create_physical_replication_slot('w', true)");
    let receiver =
        walreceiver(&root, &leader.conninfo(), &archive).args(["-S", "w", "--synchronous"]).spawn();
    let load = Load::start(&leader);
    let directory = root.join("backup");
    let tool = basebackup(&leader, &directory).args(["-X", "none", "--manifest-checksums", "NONE"]);
    let (transactions, _) = load.during(tool);
    assert!(file_names(&directory.join("pg_wal")).iter().all(|name| name.len() != 24));
    load.stop();
    let end = leader.flush_lsn();
    wait_until("everything to be received", || {
        leader.sql(&format!("select flush_lsn >= '{end}' from pg_stat_replication")) == "t"
    });
    let committed = leader.sql("select count(*) from pgbench_history").parse().unwrap();
    assert!(committed > transactions);

    let missing = verify(&root, &directory).run();
    missing.failure("WAL parsing failed for timeline 1");
    assert_verifies(&root, Version::V15, &directory, &["-n"]);
    assert_verifies(&root, Version::V15, &directory, &["-w", archive.to_str().unwrap()]);

    let mut restored = Postgres::in_directory(&root, "restored", Version::V15, &directory);
    let fetch = Tool::ours(&root, "walreceiver").program().display().to_string();
    restored.configure("restore_command", &format!("{fetch} fetch -D {} \"%f\" \"%p\"", archive.display()));
    restored.append("recovery.signal", "");
    restored.start();
    wait_until("the recovery to end", || restored.sql("select pg_is_in_recovery()") == "f");
    // All of the archive was replayed, its unfinished segment too: not a transaction is missing.
    assert_consistent(&restored, committed);
    receiver.interrupt().success();
}

/// A tablespace that lies elsewhere, with a table in it; gives its directory and its number.
fn make_tablespace(leader: &Postgres) -> (String, String) {
    let place = leader.root().dir("elsewhere").display().to_string();
    leader.script(&format!(
        "create tablespace elsewhere location '{place}';
         create table far_away tablespace elsewhere as select generate_series(1, 1000) as n;"
    ));
    (place, leader.sql("select oid from pg_tablespace where spcname = 'elsewhere'"))
}

#[test]
fn tablespaces_and_wal_of_a_data_directory_go_where_they_are_sent() {
    let root = TempRoot::new("tablespaces");
    let leader = leader(&root, Version::V15);
    let (place, oid) = make_tablespace(&leader);
    leader.script(
        "set allow_in_place_tablespaces = on; create tablespace in_place location '';
         create table nearby tablespace in_place as select generate_series(1, 1000) as n;",
    );
    let load = Load::start(&leader);
    let (directory, mapped, wal) = (root.join("backup"), root.join("mapped=here"), root.join("wal"));
    let refused = basebackup(&leader, &directory).run();
    refused.failure("exists but is not empty");
    assert!(!directory.exists());

    let mapping = format!("{place}={}", mapped.display().to_string().replace('=', "\\="));
    let tool = basebackup(&leader, &directory).args(["-T", &mapping, "--waldir"]).arg(&wal);
    let (transactions, _) = load.during(tool);
    let link = directory.join("pg_tblspc").join(oid);
    assert_eq!(std::fs::read_link(link).unwrap(), mapped);
    assert_eq!(std::fs::read_link(directory.join("pg_wal")).unwrap(), wal);
    assert_eq!(mapped.metadata().unwrap().mode() & 0o777, 0o700);
    assert_verifies(&root, Version::V15, &directory, &[]);
    load.stop();
    leader.script("truncate far_away; truncate nearby; checkpoint;");

    let mut restored = Postgres::in_directory(&root, "restored", Version::V15, &directory);
    // What servers insist on before they recover with such a tablespace.
    restored.configure("allow_in_place_tablespaces", "on");
    restored.start();
    assert_consistent(&restored, transactions);
    let sums = "select (select sum(n) from far_away), (select sum(n) from nearby)";
    assert_eq!(restored.sql(sums), "500500|500500");
}

#[test]
fn tablespaces_come_as_archives_of_their_own() {
    let root = TempRoot::new("tablespaces");
    let leader = leader(&root, Version::V15);
    let (place, oid) = make_tablespace(&leader);
    let load = Load::start(&leader);
    let archives = root.join("archives");
    let (transactions, _) = load.during(basebackup(&leader, &archives).args(["-F", "t", "-Z", "lz4"]));
    load.stop();
    let tablespace = format!("{oid}.tar.lz4");
    assert_eq!(file_names(&archives), [tablespace.as_str(), "backup_manifest", "base.tar.lz4", "pg_wal.tar"]);
    verify(&root, &archives).succeed();
    let directory = unpack(&root, &archives, "backup");
    assert_verifies(&root, Version::V15, &directory, &[]);

    // Whoever unpacks archives says in tablespace_map where to, as for pg_basebackup's.
    let map = std::fs::read_to_string(directory.join("tablespace_map")).unwrap();
    assert_eq!(map, format!("{oid} {place}\n"));
    let moved = map.replace(&place, &root.join(format!("backup-{oid}")).display().to_string());
    root.file(directory.join("tablespace_map"), moved);
    leader.script("truncate far_away; checkpoint;");
    let mut restored = Postgres::in_directory(&root, "restored", Version::V15, &directory);
    restored.start();
    assert_consistent(&restored, transactions);
    assert_eq!(restored.sql("select sum(n) from far_away"), "500500");
    restored.stop(Shutdown::Immediate);
}

#[test]
fn backups_of_every_version_verify_and_start() {
    for version in Version::at_hand() {
        let root = TempRoot::new("versions");
        let leader = leader(&root, version);
        let load = Load::start(&leader);
        let (directory, archives) = (root.join("backup"), root.join("archives"));

        let (transactions, _) = load.during(basebackup(&leader, &directory).args(["-X", "stream"]));
        assert_verifies(&root, version, &directory, &[]);
        assert_starts(&leader, &directory, transactions);

        let tool = basebackup(&leader, &archives).args(["-F", "t", "-X", "fetch"]);
        let (transactions, _) = load.during(tool);
        verify(&root, &archives).succeed();
        // From 18 on, pg_verifybackup reads archives, though not the WAL in them.
        if let Some(theirs) = pg_verifybackup(&root, version, &archives).filter(|_| version >= Version::V18) {
            theirs.arg("-n").run().success();
        }
        let directory = unpack(&root, &archives, "backup");
        assert_verifies(&root, version, &directory, &[]);
        load.stop();
        assert_starts(&leader, &directory, transactions);
    }
}
