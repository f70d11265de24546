//! Directories that belong to somebody else: no program of ours changes a byte of one, and each says whose it is.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use walship_tests::receiver::{pg_receivewal, walreceiver};
use walship_tests::{DEADLINE, wait_until};
use walship_tests::{
    Finished, Options, Postgres, Shutdown, TempRoot, Tool, Version, Walsender, Walwriter, archive,
};

/// Every file of a directory, with its content; of directories the name alone.
fn content(directory: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut all = BTreeMap::new();
    let mut left = vec![directory.to_owned()];
    while let Some(directory) = left.pop() {
        for entry in std::fs::read_dir(directory).unwrap().flatten() {
            let path = entry.path();
            if path.is_dir() {
                left.push(path.clone());
                all.insert(path, Vec::new());
            } else {
                let bytes = std::fs::read(&path).unwrap();
                all.insert(path, bytes);
            }
        }
    }
    all
}

fn serve(root: &TempRoot, data: &Path) -> Tool {
    let tool = Tool::ours(root, "walwriter").args(["serve", "-D"]).arg(data);
    tool.args(["-c", "port=0", "-c", "unix_socket_directories=none"])
}

fn walwriter(root: &TempRoot, command: &str, data: &Path) -> Finished {
    Tool::ours(root, "walwriter").args([command, "-D"]).arg(data).run()
}

/// Of all that can be done to a data directory.
fn everything_is_refused(root: &TempRoot, data: &Path, said: &str) {
    for refused in [
        serve(root, data).run(),
        walwriter(root, "promote", data),
        walwriter(root, "init", data),
        walreceiver(root, "host=127.0.0.1 port=1 user=postgres", data).arg("-n").run(),
        walreceiver(root, "host=127.0.0.1 port=1 user=postgres", &data.join("pg_wal")).arg("-n").run(),
    ] {
        let line = refused.one_line_failure("");
        assert!(line.contains(said), "{line}");
    }
    let status = walwriter(root, "status", data);
    assert!(status.code == Some(4) && status.stderr.contains(said), "{status}");
}

#[test]
fn a_postgresql_directory_is_left_alone_by_every_program_stopped_and_running() {
    for version in Version::at_hand() {
        println!("PostgreSQL {version}");
        let root = TempRoot::new("foreign");
        let options = Options::default().wal_segment_mib(1).setting("autovacuum", "off");
        let mut server = Postgres::start_new(&root, "server", version, options);
        server.script("create table precious as select generate_series(1, 1000) as g; checkpoint;");
        let pid_file = std::fs::read(server.data().join("postmaster.pid")).unwrap();
        let said = format!("a data directory of PostgreSQL {version}");
        everything_is_refused(&root, server.data(), &said);
        assert_eq!(std::fs::read(server.data().join("postmaster.pid")).unwrap(), pid_file);
        assert_eq!(server.sql("select count(*) from precious"), "1000");
        let taken =
            Tool::ours(&root, "basebackup").args(["-d", &server.conninfo(), "-D"]).arg(server.data()).run();
        assert!(taken.one_line_failure("").contains(&format!("not empty: it is {said}")));
        assert_eq!(server.sql("select count(*) from precious"), "1000");
        server.stop(Shutdown::Fast).success();
        let before = content(server.data());
        everything_is_refused(&root, server.data(), &said);
        // Verifying its WAL is reading it, whatever is found in files that it has recycled.
        Tool::ours(&root, "walreceiver").args(["verify", "-D"]).arg(server.wal_dir()).run();
        assert!(content(server.data()) == before, "something was changed");
        server.start();
        assert_eq!(server.sql("select count(*) from precious"), "1000");
    }
}

#[test]
fn a_sender_over_a_postgresql_servers_wal_writes_nothing_there_and_keeps_no_slot() {
    for version in Version::at_hand() {
        println!("PostgreSQL {version}");
        let root = TempRoot::new("foreign-wal");
        let options = Options::default().wal_segment_mib(1).setting("autovacuum", "off");
        let mut server = Postgres::start_new(&root, "server", version, options);
        server.script("create table t as select generate_series(1, 1000) as g; checkpoint;");
        server.stop(Shutdown::Fast).success();
        let before = content(server.data());
        let mut sender = Walsender::start_new(&root, server.data());
        let refused = sender.try_command("CREATE_REPLICATION_SLOT standby PHYSICAL RESERVE_WAL");
        assert!(refused.stderr.contains("cannot be kept in the pg_wal of another server"), "{refused}");
        sender.command("CREATE_REPLICATION_SLOT passing TEMPORARY PHYSICAL RESERVE_WAL");
        let received = root.dir("received");
        let follower = pg_receivewal(&root, version, &sender.conninfo(), &received).spawn();
        wait_until("the follower to stream", || !archive::wal_files(&received).is_empty());
        follower.interrupt().success();
        sender.terminate().success();
        assert!(content(server.data()) == before, "something was changed");
    }
}

#[test]
fn pg_rewind_neither_takes_a_walwriter_directory_for_its_source_nor_changes_one() {
    let root = TempRoot::new("rewind");
    let mut ours = Walwriter::start_new(&root, "ours", &[]);
    ours.sql("create table t (x int primary key)");
    let mut theirs = Postgres::start_new(&root, "theirs", Version::V15, Options::default().data_checksums());
    theirs.stop(Shutdown::Fast).success();
    let rewind = |target: &Path, source: &str| {
        let tool = Tool::postgres(&root, Version::V15, "pg_rewind").arg("-D").arg(target);
        let refused = tool.args(["-R", source]).run();
        println!("{refused}");
        assert_eq!(refused.code, Some(1), "{refused}");
    };
    let directory = |path: &Path| format!("--source-pgdata={}", path.display());
    let their_content = content(theirs.data());
    // A server that runs.
    rewind(ours.data(), &directory(theirs.data()));
    rewind(theirs.data(), &format!("--source-server={} dbname=postgres", ours.conninfo()));
    assert_eq!(ours.sql("select count(*) from t"), "0");
    // One that was killed: its lock file says nothing any more.
    ours.kill9();
    let mut killed = content(ours.data());
    rewind(ours.data(), &directory(theirs.data()));
    let mut left = content(ours.data());
    [&mut killed, &mut left]
        .into_iter()
        .for_each(|content| drop(content.remove(&ours.data().join("postmaster.pid"))));
    assert!(left == killed, "something was changed");
    // One that was shut down, and a copy that would be a perfect source.
    ours.start();
    ours.stop(Shutdown::Fast).success();
    let copy = root.copy_dir(ours.data(), "copy");
    let our_content = content(ours.data());
    rewind(ours.data(), &directory(theirs.data()));
    rewind(theirs.data(), &directory(ours.data()));
    rewind(ours.data(), &directory(&copy));
    assert!(content(ours.data()) == our_content && content(theirs.data()) == their_content);
    ours.start();
    theirs.start();
}

#[test]
fn postgresql_refuses_a_walwriter_directory_in_its_own_words_and_its_tools_read_it() {
    let root = TempRoot::new("refused");
    let mut server = Walwriter::start_new(&root, "server", &[]);
    server.sql("create table t (x int primary key)");
    server.stop(Shutdown::Fast).success();
    let before = content(server.data());
    let postgres = Tool::postgres(&root, Version::V15, "postgres").arg("-D").arg(server.data()).run();
    assert_eq!(postgres.code, Some(1), "{postgres}");
    assert!(postgres.stderr.contains("initialized with CATALOG_VERSION_NO 1500000001"), "{postgres}");
    assert!(content(server.data()) == before, "something was changed");
    let control = Tool::postgres(&root, Version::V15, "pg_controldata").arg(server.data()).succeed();
    assert!(control.contains("Catalog version number:               1500000001"), "{control}");
    server.assert_sound();
    server.start();
    assert_eq!(server.sql("select count(*) from t"), "0");
}

#[test]
fn a_directory_of_an_earlier_version_is_taken_over_and_so_are_copies_of_it() {
    let root = TempRoot::new("earlier");
    let mut leader = Walwriter::start_new(&root, "leader", &[]);
    leader.sql("create table t (x int primary key)");
    leader.sql("insert into t values (1)");
    leader.stop(Shutdown::Fast).success();
    mark_as_earlier(leader.data());
    let copy = root.copy_dir(leader.data(), "copy");
    for path in [leader.data(), &copy] {
        assert_eq!(walwriter(&root, "status", path).code, Some(3));
    }
    leader.start();
    assert_eq!(leader.sql("select x from t"), "1");
    assert_eq!(catalog_version(leader.data()), 1_500_000_001);
    // What a base backup of an earlier leader is: a control file that says nothing of whose it is, and the catalogue.
    let mut standby = Walwriter::in_directory(&root, "standby", &copy);
    standby.follow(&leader.conninfo());
    standby.start();
    leader.sql("insert into t values (2)");
    standby.wait_for_replay(leader.flush_lsn());
    assert_eq!(standby.sql("select count(*) from t"), "2");
    assert_eq!(catalog_version(&copy), 1_500_000_001);
}

#[test]
fn a_lock_file_of_a_living_process_is_refused_and_never_removed_and_a_stale_one_is_replaced() {
    let root = TempRoot::new("locked");
    let mut server = Walwriter::start_new(&root, "server", &[]);
    // A second server, also when somebody has removed the file that keeps them apart.
    let second = serve(&root, server.data()).run().one_line_failure("");
    assert!(second.contains(&format!("in use by process {}", server.process().pid())), "{second}");
    std::fs::remove_file(server.data().join("walship.lock")).unwrap();
    let second = serve(&root, server.data()).run().one_line_failure("");
    assert!(second.contains(&format!("in use by process {}", server.process().pid())), "{second}");
    assert_eq!(server.sql("select 1"), "1");
    let path = server.data().join("postmaster.pid");
    let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&path).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600);
    // A file of ours that a kill has left is stale, whoever has its process number now.
    server.kill9();
    let left = std::fs::read_to_string(&path).unwrap();
    let other = Tool::new(&root, "sleep", "/bin/sleep").arg("600").spawn();
    let living = other.pid().to_string();
    let (_, rest) = left.split_once('\n').unwrap();
    std::fs::write(&path, format!("{living}\n{rest}")).unwrap();
    assert_eq!(walwriter(&root, "status", server.data()).code, Some(3));
    server.start();
    server.stop(Shutdown::Fast).success();
    assert!(!path.exists());
    // Somebody else's is not: with and without the lines that PostgreSQL adds, another user's process, no postmaster.
    for pid in [living, "1".to_owned(), "-1".to_owned()] {
        let foreign = format!(
            "{pid}\n{}\n1795000000\n5432\n/tmp\nlocalhost\n  5432001    999999\nready   \n",
            server.data().display()
        );
        root.file(&path, &foreign);
        let refused = serve(&root, server.data()).run().one_line_failure("");
        let named = format!("process {} uses the data directory", pid.trim_start_matches('-'));
        assert!(refused.contains(&named), "{refused}");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), foreign);
    }
    root.file(&path, format!("{}\n/data\n1795000000\n", i32::MAX));
    server.start();
}

#[test]
fn a_damaged_catalogue_is_fatal_at_the_start_of_leader_and_standby() {
    let root = TempRoot::new("damaged-catalogue");
    let mut leader = Walwriter::start_new(&root, "leader", &[]);
    leader.sql("create table t (x int primary key)");
    leader.stop(Shutdown::Fast).success();
    let leaders: &dyn Fn(&Path) = &|_| {};
    let standbys: &dyn Fn(&Path) = &|data| drop(root.file(data.join("standby.signal"), ""));
    for (role, becomes) in [("leader", leaders), ("standby", standbys)] {
        for (name, block) in [("base/5/1259", 0), ("base/5/1259", 1), ("base/5/1214", 1)] {
            let data = root.copy_dir(leader.data(), format!("{role}-{}-{block}", &name[7..]));
            becomes(&data);
            let path = data.join(name);
            let mut bytes = std::fs::read(&path).unwrap();
            bytes[block * 8192 + 8000] ^= 1;
            std::fs::write(&path, bytes).unwrap();
            let ended = serve(&root, &data).run_within(DEADLINE);
            assert!(ended.code != Some(0) && !ended.stderr.contains("ready to accept"), "{role}: {ended}");
            assert!(ended.stderr.contains(&format!("block {block} of {name}")), "{role}: {ended}");
        }
    }
    // A catalogue that is gone is not made anew over the tables.
    let data = root.copy_dir(leader.data(), "gone");
    std::fs::remove_file(data.join("base/5/1259")).unwrap();
    std::fs::remove_file(data.join("base/5/1214")).unwrap();
    let files = content(&data.join("base"));
    let ended = serve(&root, &data).run();
    assert!(ended.code == Some(1) && ended.stderr.contains("the catalog is damaged"), "{ended}");
    assert!(content(&data.join("base")) == files);
}

#[test]
fn what_is_no_data_directory_or_none_any_more_is_named_for_what_it_is() {
    let root = TempRoot::new("strange");
    let made = Walwriter::init(&root, "made", &[]);
    let archive = root.dir("archive");
    root.file("archive/000000010000000000000001", "");
    let unfinished = root.copy_dir(made.data(), "unfinished");
    std::fs::remove_file(unfinished.join("global/pg_control")).unwrap();
    let (flipped, short) = (root.copy_dir(made.data(), "flipped"), root.copy_dir(made.data(), "short"));
    let control = std::fs::read(made.data().join("global/pg_control")).unwrap();
    let mut damaged = control.clone();
    damaged[60] ^= 1;
    root.file("flipped/global/pg_control", damaged);
    root.file("short/global/pg_control", &control[..100]);
    let newer = root.copy_dir(made.data(), "newer");
    set_catalog_version(&newer, 1_500_000_002);
    for (data, said) in [
        (root.dir("empty"), "is empty; make a data directory with"),
        (archive, "is an archive of WAL"),
        (unfinished, "whose making did not finish"),
        (flipped, "global/pg_control is damaged"),
        (short, "global/pg_control is damaged"),
        (newer, "in format 2, and format 1 is known here"),
        (made.wal_dir(), "is the pg_wal of what is a data directory of walwriter"),
    ] {
        let before = content(&data);
        let refused = serve(&root, &data).run().one_line_failure("");
        assert!(refused.contains(said), "{refused}");
        let status = walwriter(&root, "status", &data);
        assert_eq!(status.code, Some(4), "{status}");
        assert!(content(&data) == before);
    }
}

fn catalog_version(data: &Path) -> u32 {
    let bytes = std::fs::read(data.join("global/pg_control")).unwrap();
    u32::from_le_bytes(bytes[12..16].try_into().unwrap())
}

fn set_catalog_version(data: &Path, version: u32) {
    let path = data.join("global/pg_control");
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[12..16].copy_from_slice(&version.to_le_bytes());
    let crc = crc32c::crc32c(&bytes[..288]);
    bytes[288..292].copy_from_slice(&crc.to_le_bytes());
    std::fs::write(&path, bytes).unwrap();
}

/// Earlier versions wrote PostgreSQL 15's number, and were the same in everything else.
fn mark_as_earlier(data: &Path) {
    set_catalog_version(data, 202_209_061);
}
