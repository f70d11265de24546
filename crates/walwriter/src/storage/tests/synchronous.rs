//! Commits that wait for followers.

use super::*;

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
    let conninfo = leader.conninfo("other");
    let other = TestNode::start(&one, &[("primary_conninfo", conninfo.as_str())]);
    other.wait_for(alone);
    assert!(leader.engine().confirmed() < alone, "it is not in the list");
    drop(other);
    let conninfo = leader.conninfo("one");
    let one = TestNode::start(&one, &[("primary_conninfo", conninfo.as_str())]);
    leader.wait_for(alone);
    assert_eq!(leader.get("a").as_deref(), Some("1"));
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
