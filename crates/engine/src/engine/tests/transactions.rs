use super::*;

fn engine() -> Arc<Engine> {
    open(&SimDisk::new(), Path::new("/data"), EngineOptions::default())
}

fn get(transaction: &Transaction, key: &str) -> Option<String> {
    let value = transaction.get(CATALOG, key.as_bytes()).unwrap();
    value.map(|value| String::from_utf8(value).unwrap())
}

#[test]
fn a_commit_is_seen_by_others_once_it_is_flushed() {
    let engine = engine();
    let commit = put(&engine, &[("a", "1")]);
    let before = engine.begin(Isolation::RepeatableRead, true);
    assert_eq!(get(&before, "a"), None, "not confirmed");
    engine.log().flush(commit.lsn).unwrap();
    assert_eq!(engine.confirmed(), commit.lsn);
    assert_eq!(get(&before, "a"), None, "a snapshot stays as it is");
    assert_eq!(get(&engine.begin(Isolation::ReadCommitted, true), "a"), Some("1".into()));
}

#[test]
fn a_rule_decides_when_a_flushed_commit_is_confirmed() {
    let engine = engine();
    let start = engine.confirmed();
    engine.set_durability(|_| {});
    let commit = put(&engine, &[("a", "1")]);
    engine.log().flush(commit.lsn).unwrap();
    assert_eq!(engine.confirmed(), start);
    engine.confirm(commit.lsn);
    assert_eq!(engine.confirmed(), commit.lsn);
}

#[test]
fn own_writes_are_seen_over_the_snapshot_and_vanish_on_rollback() {
    let engine = engine();
    put(&engine, &[("a", "1"), ("b", "2"), ("d", "4")]);
    flush(&engine);
    let mut transaction = engine.begin(Isolation::ReadCommitted, false);
    transaction.put(CATALOG, b"c", b"3").unwrap();
    transaction.put(CATALOG, b"a", b"one").unwrap();
    transaction.delete(CATALOG, b"b").unwrap();
    transaction.delete(CATALOG, b"nothing").unwrap();
    let seen: Vec<_> = rows(&transaction, CATALOG).into_iter().collect();
    let expected = [("a", "one"), ("c", "3"), ("d", "4")];
    assert_eq!(seen, expected.map(|(key, value)| (key.into(), value.into())));
    transaction.rollback();
    assert_eq!(rows_now(&engine, CATALOG).len(), 3);
    assert_eq!(get(&engine.begin(Isolation::ReadCommitted, true), "b"), Some("2".into()));
}

#[test]
fn read_committed_sees_more_with_each_statement_and_repeatable_read_does_not() {
    let engine = engine();
    let mut committed = engine.begin(Isolation::ReadCommitted, true);
    let mut repeatable = engine.begin(Isolation::RepeatableRead, true);
    for transaction in [&mut committed, &mut repeatable] {
        transaction.begin_statement();
        assert_eq!(get(transaction, "a"), None);
    }
    put(&engine, &[("a", "1")]);
    flush(&engine);
    assert_eq!(get(&committed, "a"), None, "the same statement");
    for transaction in [&mut committed, &mut repeatable] {
        transaction.begin_statement();
    }
    assert_eq!((get(&committed, "a"), get(&repeatable, "a")), (Some("1".into()), None));
}

#[test]
fn a_locked_row_is_read_as_it_is_now_and_gates_the_reply_until_that_is_confirmed() {
    let engine = engine();
    put(&engine, &[("a", "1")]);
    flush(&engine);
    let mut transaction = engine.begin(Isolation::ReadCommitted, false);
    transaction.begin_statement();
    assert_eq!(get(&transaction, "a"), Some("1".into()));
    let unconfirmed = put(&engine, &[("a", "2")]);
    lock(&mut transaction, b"a");
    assert_eq!(transaction.read_gate(), Lsn::INVALID);
    assert_eq!(transaction.get_locked(CATALOG, b"a").unwrap(), Some(b"2".to_vec()));
    assert_eq!(transaction.read_gate(), unconfirmed.lsn);
}

#[test]
fn repeatable_read_refuses_a_row_that_others_have_changed_and_no_other() {
    let engine = engine();
    put(&engine, &[("changed", "1"), ("deleted", "1"), ("same", "1")]);
    flush(&engine);
    let mut transaction = engine.begin(Isolation::RepeatableRead, false);
    transaction.snapshot_lsn();
    put(&engine, &[("changed", "2"), ("new", "1")]);
    let mut other = engine.begin(Isolation::ReadCommitted, false);
    other.delete(CATALOG, b"deleted").unwrap();
    other.commit().unwrap();
    for key in ["changed", "deleted", "new"] {
        let refused = transaction.get_locked(CATALOG, key.as_bytes());
        assert!(matches!(refused, Err(EngineError::Serialization)), "{key}");
    }
    assert_eq!(transaction.get_locked(CATALOG, b"same").unwrap(), Some(b"1".to_vec()));
    assert_eq!(transaction.get_locked(CATALOG, b"never there").unwrap(), None);
}

#[test]
fn a_row_lock_keeps_others_waiting_until_the_commit_is_applied() {
    let engine = engine();
    let mut first = engine.begin(Isolation::ReadCommitted, false);
    lock(&mut first, b"a");
    first.put(CATALOG, b"a", b"1").unwrap();
    let mut second = engine.begin(Isolation::ReadCommitted, false);
    assert_eq!(second.lock_row(CATALOG, b"a", Waker::noop()).unwrap(), Locked::Wait);
    first.commit().unwrap();
    lock(&mut second, b"a");
    assert_eq!(second.get_locked(CATALOG, b"a").unwrap(), Some(b"1".to_vec()));
}

#[test]
fn a_transaction_that_changes_nothing_leaves_no_record_and_is_as_durable_as_what_it_found() {
    let engine = engine();
    let found = put(&engine, &[("a", "1")]);
    let before = engine.log().inserted();
    assert_eq!(engine.begin(Isolation::ReadCommitted, false).commit().unwrap(), Commit::NOTHING);
    let again = put(&engine, &[("a", "1")]);
    assert_eq!(again, Commit { lsn: found.lsn, xid: Xid::INVALID }, "the same value again");
    assert_eq!(engine.log().inserted(), before);
}

#[test]
fn trees_are_created_loaded_and_dropped_with_their_transaction() {
    let (disk, dir) = (SimDisk::new(), Path::new("/data"));
    let engine = open(&disk, dir, EngineOptions::default());
    let mut transaction = engine.begin(Isolation::ReadCommitted, false);
    let tree = transaction.create_tree().unwrap();
    assert_eq!(tree.as_u32(), TreeId::FIRST_CREATED);
    transaction.put(tree, b"k", b"v").unwrap();
    assert_eq!(rows(&transaction, tree).len(), 1);
    transaction.commit().unwrap();
    flush(&engine);

    let mut transaction = engine.begin(Isolation::ReadCommitted, false);
    transaction.drop_tree(tree).unwrap();
    let loaded = transaction.create_tree().unwrap();
    let mut load = transaction.bulk_load(loaded).unwrap();
    for number in 0..20_000_u32 {
        assert!(load.add(&number.to_be_bytes(), &[7; 100]).unwrap());
    }
    assert_eq!(load.finish().unwrap(), 20_000);
    assert_eq!(rows(&transaction, loaded).len(), 20_000, "its own transaction sees them");
    let reader = engine.begin(Isolation::RepeatableRead, true);
    assert_eq!(reader.get(tree, b"k").unwrap(), Some(b"v".to_vec()));
    transaction.commit().unwrap();
    flush(&engine);
    assert_eq!(reader.get(tree, b"k").unwrap(), Some(b"v".to_vec()), "its snapshot is older than the drop");
    drop(reader);
    engine.remove_dropped();
    assert!(rows_now(&engine, loaded).len() == 20_000);
    let files = engine.pool().files().trees().unwrap();
    assert!(!files.contains(&tree), "{files:?}");

    let mut abandoned = engine.begin(Isolation::ReadCommitted, false);
    let tree = abandoned.create_tree().unwrap();
    let mut load = abandoned.bulk_load(tree).unwrap();
    load.add(b"k", b"v").unwrap();
    load.finish().unwrap();
    abandoned.rollback();
    flush(&engine);
    drop(engine);
    let engine = open(&disk, dir, EngineOptions::default());
    assert_eq!(rows_now(&engine, loaded).len(), 20_000, "after a restart as well");
    assert!(matches!(
        engine.begin(Isolation::ReadCommitted, true).get(tree, b"k"),
        Err(EngineError::NoTree(_))
    ));
    let mut transaction = engine.begin(Isolation::ReadCommitted, false);
    assert!(transaction.create_tree().unwrap() > loaded, "numbers are not used again");
}

#[test]
fn savepoints_undo_writes_locks_and_trees() {
    let engine = engine();
    let mut transaction = engine.begin(Isolation::ReadCommitted, false);
    lock(&mut transaction, b"a");
    transaction.put(CATALOG, b"a", b"1").unwrap();
    let outer = transaction.savepoint();
    lock(&mut transaction, b"b");
    transaction.put(CATALOG, b"b", b"2").unwrap();
    let inner = transaction.savepoint();
    transaction.put(CATALOG, b"a", b"inner").unwrap();
    let tree = transaction.create_tree().unwrap();
    transaction.rollback_to(inner);
    assert!(transaction.get(tree, b"k").is_err(), "the tree is gone");
    transaction.release(inner);
    assert_eq!(rows(&transaction, CATALOG).len(), 2);
    transaction.rollback_to(outer);
    let mut other = engine.begin(Isolation::ReadCommitted, false);
    lock(&mut other, b"b");
    assert_eq!(other.lock_row(CATALOG, b"a", Waker::noop()).unwrap(), Locked::Wait);
    transaction.commit().unwrap();
    flush(&engine);
    assert_eq!(rows_now(&engine, CATALOG), Rows::from([(b"a".to_vec(), b"1".to_vec())]));
}
