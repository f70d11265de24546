//! Commits that wait for followers.

use replication::waldir::{Follower, FollowerEntry, FollowerState};

use super::*;
use crate::session::Acknowledgement;

#[test]
fn a_commit_is_confirmed_once_a_named_standby_has_it_and_the_next_replaces_one_that_is_lost() {
    let root = root();
    let path = root.path().join("leader");
    let settings =
        [("synchronous_standby_names", "FIRST 1 (one, two)"), ("synchronous_commit", "remote_apply")];
    drop(TestNode::new_leader(&path, &[]));
    let leader = TestNode::start(&path, &settings);
    let (one, two) = (root.path().join("one"), root.path().join("two"));
    leader.back_up(&one, &[]);
    leader.back_up(&two, &[]);
    let alone = leader.put("a", "1");
    assert!(leader.engine().confirmed() < alone);
    assert_eq!(leader.get("a"), None, "nobody sees what could be lost");
    let reached = |awaited| leader.storage().reached(awaited) >= alone;
    let of_followers = |what| reached(Awaited::Followers(what));
    assert!(reached(Awaited::Flush) && !reached(Awaited::Visibility));
    assert!(!Acknowledgement::ALL.into_iter().any(of_followers));
    let conninfo = leader.conninfo("other");
    let other = TestNode::start(&one, &[("primary_conninfo", conninfo.as_str())]);
    other.wait_for(alone);
    assert!(leader.engine().confirmed() < alone, "it is not in the list");
    drop(other);
    let conninfo = leader.conninfo("one");
    let one = TestNode::start(&one, &[("primary_conninfo", conninfo.as_str())]);
    leader.wait_for(alone);
    assert_eq!(leader.get("a").as_deref(), Some("1"));
    assert!(Acknowledgement::ALL.into_iter().all(of_followers) && reached(Awaited::Visibility));
    let conninfo = leader.conninfo("two");
    let two = TestNode::start(&two, &[("primary_conninfo", conninfo.as_str())]);
    let states = || {
        let mut rows = leader.storage().followers().unwrap();
        rows.sort_by_key(|row| row.standing.priority);
        rows.iter().map(|row| row.standing.state).collect::<Vec<_>>()
    };
    wait_until("both to stream", || states() == ["sync", "potential"]);
    leader.wait_for(leader.put("b", "2"));
    assert_eq!(one.get("b").as_deref(), Some("2"), "remote_apply: it can be read there");
    drop(one);
    leader.wait_for(leader.put("c", "3"));
    assert_eq!(two.get("c").as_deref(), Some("3"));
    wait_until("the other to replace it", || states() == ["sync"]);
    drop(two);
    let alone = leader.put("d", "4");
    let mut config = Config::default();
    assert!(leader.engine().confirmed() < alone);
    config.set("synchronous_standby_names", "", Origin::CommandLine).unwrap();
    leader.storage().reload(&config).unwrap();
    leader.wait_for(alone);
}

#[test]
fn what_a_leader_recovers_is_not_confirmed_before_a_named_standby_has_all_of_it() {
    let root = root();
    let (path, one) = (root.path().join("leader"), root.path().join("one"));
    let settings = [("synchronous_standby_names", "one")];
    let leader = TestNode::new_leader(&path, &settings);
    leader.back_up(&one, &[]);
    let alone = leader.put("a", "1");
    drop(leader);
    let leader = TestNode::start(&path, &settings);
    let recovered = leader.engine().unconfirmed_recovery().unwrap();
    assert!(recovered >= alone);
    assert_eq!(leader.engine().confirmed(), Lsn::INVALID);
    let conninfo = leader.conninfo("one");
    let standby = TestNode::start(&one, &[("primary_conninfo", conninfo.as_str())]);
    leader.wait_for(alone);
    assert_eq!(leader.engine().unconfirmed_recovery(), None);
    leader.wait_for(leader.put("b", "2"));
    leader.stop();
    drop(standby);
    let leader = TestNode::start(&path, &settings);
    assert_eq!(leader.engine().unconfirmed_recovery(), None, "an orderly end says that all was confirmed");
    assert_eq!(leader.get("b").as_deref(), Some("2"));
    let alone = leader.put("c", "3");
    leader.stop();
    let leader = TestNode::start(&path, &settings);
    assert!(leader.engine().unconfirmed_recovery().is_some_and(|recovered| recovered > alone));
    let mut config = Config::default();
    config.set("synchronous_standby_names", "", Origin::CommandLine).unwrap();
    leader.storage().reload(&config).unwrap();
    leader.wait_for(alone);
}

#[test]
fn a_standby_that_has_standbys_of_its_own_configured_shows_what_it_replays() {
    let root = root();
    let path = root.path().join("leader");
    let leader = TestNode::new_leader(&path, &[]);
    leader.back_up(&root.path().join("one"), &[]);
    let conninfo = leader.conninfo("one");
    let settings = [("primary_conninfo", conninfo.as_str()), ("synchronous_standby_names", "*")];
    let one = TestNode::start(&root.path().join("one"), &settings);
    one.wait_for(leader.put("a", "1"));
    assert_eq!(one.get("a").as_deref(), Some("1"));
    drop(leader);
    one.storage().promote_now().unwrap();
    assert_eq!(one.get("a").as_deref(), Some("1"), "what was seen stays to be seen");
    let alone = one.put("b", "2");
    assert!(one.engine().confirmed() < alone, "a leader's commits wait");
}

#[test]
fn what_followers_of_another_sender_have_of_a_log_that_is_no_more_confirms_nothing() {
    let root = root();
    let path = root.path().join("leader");
    drop(TestNode::new_leader(&path, &[]));
    let dir = WalDir::on_os(path.join("pg_wal"));
    // As a walsender of its own has it, which goes on while the server is restarted with an older log.
    let served = |end: Lsn| {
        let mut follower = Follower::new("one", "[local]", "");
        follower.state = FollowerState::Streaming;
        (follower.sent, follower.write, follower.flush, follower.apply) = (end, end, end, end);
        FollowerEntry::register(&dir, follower).unwrap()
    };
    let settings = [("synchronous_standby_names", "one")];
    let end = dir.control_file().unwrap().unwrap().checkpoint;
    let of_the_other = served(end.saturating_add(100_000));
    let leader = TestNode::start(&path, &settings);
    let look = || (leader.storage().synchronous.followers_moved().0.unwrap())();
    let first = leader.put("a", "1");
    let mut last = first;
    for number in 0.. {
        if last > end.saturating_add(200_000) {
            break;
        }
        last = leader.put(&format!("a{number}"), &"x".repeat(7000));
        look();
    }
    assert!(leader.engine().confirmed() < first, "the log is longer than the other by now");
    assert_eq!(leader.get("a"), None);
    // It has connected again, and counts by what it was sent since.
    drop(of_the_other);
    let again = served(leader.engine().log().flushed());
    look();
    assert!(leader.engine().confirmed() >= last);
    // Of another timeline it says nothing.
    drop(again);
    let mut other = Follower::new("one", "[local]", "");
    other.state = FollowerState::Streaming;
    other.timeline = TimelineId::new(2);
    (other.sent, other.write, other.flush) = (Lsn::new(1 << 40), Lsn::new(1 << 40), Lsn::new(1 << 40));
    let _entry = FollowerEntry::register(&dir, other).unwrap();
    let alone = leader.put("b", "2");
    look();
    assert!(leader.engine().confirmed() < alone);
}
