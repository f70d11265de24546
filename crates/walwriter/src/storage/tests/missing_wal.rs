//! WAL that the leader has recycled, and archives that have it.

use super::*;

/// Nothing is kept for its own sake, and only checkpoints that a test asks for remove anything.
const SMALL: [(&str, &str); 2] = [("max_wal_size", "64MB"), ("min_wal_size", "2MB")];

fn copy_wal(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from.join("pg_wal")).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        let is_segment = name.len() == 24 && name.bytes().all(|byte| byte.is_ascii_hexdigit());
        if is_segment || name.ends_with(".history") {
            fs::copy(entry.path(), to.join(name)).unwrap();
        }
    }
}

#[test]
fn what_the_leader_has_recycled_comes_from_the_archive_and_the_rest_from_the_leader() {
    let root = root();
    let path = root.path().join("leader");
    let leader = TestNode::new_leader(&path, &SMALL);
    leader.put("a", "1");
    let standby = root.path().join("standby");
    leader.back_up(&standby, &[]);
    let archive = root.path().join("archive");
    for round in 0..4 {
        leader.put_much(&format!("{round} "));
        copy_wal(&path, &archive);
        leader.engine().checkpoint(engine::checkpoint::Cause::Immediate).unwrap();
    }
    let last = leader.put("z", "26");
    let conninfo = leader.conninfo("s");
    let without = [("primary_conninfo", conninfo.as_str())];
    let node = TestNode::start(&standby, &without);
    let needed = path.join("pg_wal/000000010000000000000001");
    assert!(!needed.exists(), "the leader should have recycled what the standby needs");
    assert!(node.engine().confirmed() < last);
    assert_eq!(node.get("a").as_deref(), Some("1"), "it can be read all the same");
    node.stop();
    let command = format!("cp {}/%f %p", archive.display());
    let with = [("primary_conninfo", conninfo.as_str()), ("restore_command", command.as_str())];
    let node = TestNode::start(&standby, &with);
    node.wait_for(last);
    assert!(node.get("0 1").is_some() && node.get("3 399").is_some());
    node.wait_for(leader.put("streaming", "again"));
    wait_until("streaming", || node.storage().receiver().is_some_and(|row| row.streaming));
}

#[test]
fn a_standby_lives_from_an_archive_alone_and_follows_timelines_that_turn_up_there() {
    let root = root();
    let path = root.path().join("leader");
    let leader = TestNode::new_leader(&path, &[]);
    let (near, far) = (root.path().join("near"), root.path().join("far"));
    leader.back_up(&near, &[]);
    // No WAL at all: as a backup that was unpacked by hand.
    leader.back_up(&far, &["-X", "none"]);
    let archive = root.path().join("archive");
    let last = leader.put_much("one");
    leader.engine().log().switch_segment().unwrap();
    leader.engine().log().flush(leader.engine().log().inserted()).unwrap();
    copy_wal(&path, &archive);
    let command = format!("cp {}/%f %p", archive.display());
    let node = TestNode::start(&far, &[("restore_command", command.as_str()), ("primary_conninfo", "")]);
    node.wait_for(last);
    let conninfo = leader.conninfo("near");
    let near_path = near;
    let near = TestNode::start(&near_path, &[("primary_conninfo", conninfo.as_str())]);
    near.wait_for(last);
    drop(leader);
    near.storage().promote_now().unwrap();
    let last = near.put_much("two");
    copy_wal(&near_path, &archive);
    node.wait_for(last);
    assert_eq!(node.engine().log().timeline(), TimelineId::new(2));
    assert!(node.get("one399").is_some() && node.get("two399").is_some());
}

#[test]
fn a_slot_that_lost_its_wal_says_so_keeps_nothing_and_its_follower_is_told_what_is_missing() {
    let root = root();
    let settings = [SMALL.as_slice(), &[("max_slot_wal_keep_size", "2MB")]].concat();
    let path = root.path().join("leader");
    let leader = TestNode::new_leader(&path, &settings);
    let slot = SlotName::new("late").unwrap();
    let restart = leader.storage().create_slot(&slot, true).unwrap().unwrap();
    let row = || leader.storage().slots().unwrap().remove(0);
    assert_eq!(row().wal_status, Some(shipping::WalStatus::Reserved));
    let first = leader.engine().log().segment_size().segment_of(restart);
    let first = first.file_name(TimelineId::FIRST, leader.engine().log().segment_size());
    for round in 0..3 {
        leader.put_much(&format!("{round} "));
        leader.engine().checkpoint(engine::checkpoint::Cause::Immediate).unwrap();
    }
    assert_eq!((row().wal_status, row().safe_wal_size), (Some(shipping::WalStatus::Lost), None));
    let log = leader.engine().log();
    let extent = engine::LogExtent { segment_size: log.segment_size(), end: log.flushed() };
    assert_eq!(
        leader.storage().retention.oldest_needed(extent).unwrap(),
        None,
        "nothing is kept for what cannot go on"
    );
    let run = postgres_tool("pg_receivewal")
        .args(["--no-loop", "-S", "late", "-d", &leader.conninfo("late"), "-D"])
        .arg(root.path())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&run.stderr);
    assert!(!run.status.success(), "{said}");
    assert!(said.contains(&format!("requested WAL segment {first} has already been removed")), "{said}");
    leader.storage().drop_slot(&slot).unwrap();
    assert!(leader.storage().slots().unwrap().is_empty());
}
