//! Following a leader: from a backup on, over restarts, down a chain, past promotions.

use super::*;

#[test]
fn a_standby_made_by_pg_basebackup_follows_is_restarted_and_promoted() {
    let root = root();
    let leader = TestNode::new_leader(&root.path().join("leader"), &[]);
    leader.put_much("before");
    let path = root.path().join("standby");
    leader.back_up(&path, &[]);
    let conninfo = leader.conninfo("s1");
    let settings = [("primary_conninfo", conninfo.as_str())];
    let standby = TestNode::start(&path, &settings);
    assert!(standby.storage().in_recovery());
    standby.wait_for(leader.put("a", "1"));
    assert_eq!(standby.get("a").as_deref(), Some("1"));
    assert_eq!(standby.get("before399").map(|value| value.len()), Some(7000));
    wait_until("the leader to hear of it", || {
        let followers = leader.storage().followers().unwrap();
        followers.iter().any(|row| row.follower.apply >= leader.engine().confirmed())
    });
    let row = || leader.storage().followers().unwrap().remove(0).follower;
    assert_eq!(row().user, "postgres");
    standby.wait_for(leader.put("timed", "1"));
    wait_until("the lags to be known", || {
        let lags = row().lags;
        lags.write.is_some() && lags.flush >= lags.write && lags.apply >= lags.write
    });
    let receiver = standby.storage().receiver().unwrap();
    assert!(receiver.streaming && receiver.flushed >= leader.engine().confirmed(), "{receiver:?}");
    standby.stop();
    let last = leader.put_much("meanwhile");
    let standby = TestNode::start(&path, &settings);
    standby.wait_for(last);
    leader.stop();
    standby.storage().promote_now().unwrap();
    assert!(!standby.storage().in_recovery());
    assert!(!path.join(STANDBY_SIGNAL).exists());
    assert!(path.join("pg_wal/00000002.history").exists());
    standby.wait_for(standby.put("b", "2"));
    assert_eq!((standby.get("a"), standby.get("b")), (Some("1".into()), Some("2".into())));
    standby.stop();
    let again = TestNode::start(&path, &[]);
    assert_eq!((again.get("meanwhile7").is_some(), again.get("b")), (true, Some("2".into())));
}

#[test]
fn a_standbys_standby_follows_the_promotion_of_its_leader() {
    let root = root();
    let leader = TestNode::new_leader(&root.path().join("leader"), &[]);
    let (near, far) = (root.path().join("near"), root.path().join("far"));
    leader.back_up(&near, &[]);
    leader.back_up(&far, &[]);
    let conninfo = leader.conninfo("near");
    let near = TestNode::start(&near, &[("primary_conninfo", conninfo.as_str())]);
    let conninfo = near.conninfo("far");
    let far = TestNode::start(&far, &[("primary_conninfo", conninfo.as_str())]);
    far.wait_for(leader.put_much("one"));
    drop(leader);
    near.storage().promote_now().unwrap();
    far.wait_for(near.put_much("two"));
    assert!(far.storage().in_recovery());
    assert_eq!(far.engine().log().timeline(), TimelineId::new(2));
    assert!(far.get("one3").is_some() && far.get("two399").is_some());
    far.storage().promote_now().unwrap();
    far.wait_for(far.put("three", "3"));
    assert_eq!(far.engine().log().timeline(), TimelineId::new(3));
}

#[test]
fn a_standby_goes_on_with_a_leader_that_was_killed_and_started_again() {
    let root = root();
    let path = root.path().join("leader");
    let leader = TestNode::new_leader(&path, &[]);
    let standby = root.path().join("standby");
    leader.back_up(&standby, &[]);
    let (conninfo, port) = (leader.conninfo("s"), leader.port);
    let standby = TestNode::start(&standby, &[("primary_conninfo", conninfo.as_str())]);
    standby.wait_for(leader.put("a", "1"));
    drop(leader);
    for round in 0..3 {
        let last = leader_put(&path, port, round, &standby);
        assert!(standby.engine().confirmed() >= last);
    }

    fn leader_put(path: &Path, port: u16, round: u32, standby: &TestNode) -> Lsn {
        let leader = TestNode::start_at(path, &[], port);
        let last = leader.put_much(&format!("round {round} "));
        standby.wait_for(last);
        last
    }
}

#[test]
fn pg_receivewal_writes_what_the_leader_has_byte_for_byte() {
    let root = root();
    let path = root.path().join("leader");
    let leader = TestNode::new_leader(&path, &[]);
    let archive = root.path().join("archive");
    fs::create_dir(&archive).unwrap();
    let conninfo = leader.conninfo("pg_receivewal");
    let tool = |arguments: &[&str]| {
        let mut command = postgres_tool("pg_receivewal");
        command.args(["-d", &conninfo, "-D"]).arg(&archive).args(["-S", "archive"]).args(arguments);
        command
    };
    assert!(tool(&["--create-slot"]).status().unwrap().success());
    let slot = || leader.storage().slots().unwrap().remove(0);
    assert_eq!((slot().name.as_str(), slot().active), ("archive", false));
    let mut running = tool(&["--no-loop", "-s", "1"]).spawn().unwrap();
    wait_until("streaming", || slot().active);
    leader.put_much("w");
    let finished = || {
        let names = fs::read_dir(&archive).unwrap().map(|entry| entry.unwrap().file_name());
        names.filter(|name| !name.to_string_lossy().ends_with(".partial")).count()
    };
    wait_until("two segments", || finished() >= 2);
    running.kill().unwrap();
    running.wait().unwrap();
    let mut compared = 0;
    for entry in fs::read_dir(&archive).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        if !name.ends_with(".partial") {
            let ours = fs::read(path.join("pg_wal").join(&name)).unwrap();
            assert!(ours == fs::read(entry.path()).unwrap(), "{name}");
            compared += 1;
        }
    }
    assert!(compared >= 2, "{compared}");
}

#[test]
fn a_slot_keeps_wal_as_far_as_it_may() {
    let root = root();
    let path = root.path().join("leader");
    let settings = [("max_wal_size", "2MB"), ("min_wal_size", "2MB"), ("max_slot_wal_keep_size", "4MB")];
    let leader = TestNode::new_leader(&path, &settings);
    let name = SlotName::new("keeper").unwrap();
    let kept = leader.storage().create_slot(&name, true).unwrap().unwrap();
    let size = leader.engine().log().segment_size();
    let file = path.join("pg_wal").join(size.segment_of(kept).file_name(TimelineId::FIRST, size));
    let status = || leader.storage().slots().unwrap().remove(0).wal_status.unwrap().as_str();
    let checkpoint = || leader.engine().checkpoint(engine::checkpoint::Cause::Immediate).unwrap();
    leader.put_much("a");
    checkpoint();
    assert!(file.exists());
    assert_eq!(status(), "extended");
    leader.put_much("b");
    checkpoint();
    checkpoint();
    assert!(!file.exists());
    assert_eq!(status(), "lost");
    leader.storage().drop_slot(&name).unwrap();
    assert_eq!(leader.storage().slots().unwrap(), []);
}

#[test]
fn followers_are_told_whether_the_server_leads() {
    let root = root();
    let leader = TestNode::new_leader(&root.path().join("leader"), &[]);
    let path = root.path().join("standby");
    leader.back_up(&path, &[]);
    let conninfo = leader.conninfo("s1");
    let standby = TestNode::start(&path, &[("primary_conninfo", conninfo.as_str())]);
    // libpq goes by ParameterStatus.
    let is = |node: &TestNode, what: &str| {
        let conninfo = format!("{} replication=true target_session_attrs={what}", node.conninfo("psql"));
        let run = postgres_tool("psql").args(["-XAtc", "SHOW in_hot_standby", &conninfo]).output();
        let run = run.unwrap();
        run.status.success().then(|| String::from_utf8_lossy(&run.stdout).trim().to_owned())
    };
    let (off, on) = (Some("off".to_owned()), Some("on".to_owned()));
    assert_eq!((is(&leader, "primary"), is(&leader, "standby")), (off.clone(), None));
    assert_eq!((is(&standby, "primary"), is(&standby, "standby")), (None, on));
    standby.storage().promote_now().unwrap();
    assert_eq!(is(&standby, "primary"), off);
}
