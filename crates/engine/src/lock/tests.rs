use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Wake, Waker};

use super::*;
use crate::{EngineError, TreeId};

const TREE: TreeId = TreeId::new(20000);

#[derive(Default)]
struct Count(AtomicUsize);

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

struct Session<'a> {
    table: &'a LockTable,
    owner: LockOwner,
    wakes: Arc<Count>,
}

impl<'a> Session<'a> {
    fn new(table: &'a LockTable) -> Self {
        Self { table, owner: table.owner(), wakes: Arc::default() }
    }

    fn row(&mut self, key: &str) -> Result<Locked, EngineError> {
        let waker = Waker::from(self.wakes.clone());
        self.table.lock_row(&mut self.owner, TREE, key.as_bytes(), &waker)
    }

    fn tree(&mut self, mode: LockMode) -> Locked {
        let waker = Waker::from(self.wakes.clone());
        self.table.lock_tree(&mut self.owner, TREE, mode, &waker).unwrap()
    }

    fn release(&mut self) {
        self.table.release_all(&mut self.owner);
    }

    fn wakes(&self) -> usize {
        self.wakes.0.load(Ordering::SeqCst)
    }
}

#[test]
fn a_tree_is_taken_at_once_by_its_only_writer_or_not_at_all() {
    let table = LockTable::new();
    let [mut a, mut b] = [(); 2].map(|()| Session::new(&table));
    assert_eq!((a.tree(LockMode::Shared), b.tree(LockMode::Shared)), (Locked::Granted, Locked::Granted));
    assert!(!table.try_lock_tree(&mut a.owner, TREE, LockMode::Exclusive));
    b.release();
    assert!(table.try_lock_tree(&mut a.owner, TREE, LockMode::Exclusive));
    assert_eq!(b.tree(LockMode::Shared), Locked::Wait);
    assert!(table.try_lock_row(&mut a.owner, TREE, b"k"));
    assert!(!table.try_lock_row(&mut b.owner, TREE, b"k"));
    a.release();
    assert_eq!((b.wakes(), b.tree(LockMode::Shared)), (1, Locked::Granted));
    assert!(table.try_lock_row(&mut b.owner, TREE, b"k"));
}

#[test]
fn a_row_goes_to_those_who_wait_in_the_order_in_which_they_came() {
    let table = LockTable::new();
    let [mut a, mut b, mut c] = [(); 3].map(|()| Session::new(&table));
    assert_eq!(a.row("k").unwrap(), Locked::Granted);
    assert_eq!(a.row("k").unwrap(), Locked::Granted, "re-entrant");
    assert_eq!(b.row("k").unwrap(), Locked::Wait);
    assert_eq!(c.row("k").unwrap(), Locked::Wait);
    assert_eq!(b.row("k").unwrap(), Locked::Wait, "asking again changes nothing");
    a.release();
    assert_eq!((b.wakes(), c.wakes()), (1, 0));
    assert_eq!(a.row("k").unwrap(), Locked::Wait, "handed over, not up for grabs");
    assert_eq!(b.row("k").unwrap(), Locked::Granted);
    b.release();
    assert_eq!(c.wakes(), 1);
    c.release();
    assert_eq!(a.wakes(), 1, "a lock handed over and never asked for again is released too");
    assert_eq!(a.row("k").unwrap(), Locked::Granted);
}

#[test]
fn the_request_that_closes_a_circle_is_refused_and_the_others_go_on() {
    let table = LockTable::new();
    let [mut a, mut b, mut c] = [(); 3].map(|()| Session::new(&table));
    for (session, key) in [(&mut a, "1"), (&mut b, "2"), (&mut c, "3")] {
        assert_eq!(session.row(key).unwrap(), Locked::Granted);
    }
    assert_eq!(a.row("2").unwrap(), Locked::Wait);
    assert_eq!(b.row("3").unwrap(), Locked::Wait);
    assert!(matches!(c.row("1"), Err(EngineError::Deadlock)));
    c.release();
    assert_eq!(b.row("3").unwrap(), Locked::Granted);
    b.release();
    assert_eq!(a.row("2").unwrap(), Locked::Granted);
}

#[test]
fn a_circle_through_a_place_in_the_queue_is_a_deadlock_too() {
    let table = LockTable::new();
    let [mut a, mut b, mut c] = [(); 3].map(|()| Session::new(&table));
    a.row("1").unwrap();
    b.row("2").unwrap();
    assert_eq!(b.row("1").unwrap(), Locked::Wait);
    assert_eq!(c.row("1").unwrap(), Locked::Wait);
    // a -> 2 (held by b), b -> 1 (held by a).
    assert!(matches!(a.row("2"), Err(EngineError::Deadlock)));
    a.release();
    assert_eq!(b.wakes(), 1);
}

#[test]
fn trees_are_shared_or_exclusive_and_nobody_overtakes_who_waits() {
    let table = LockTable::new();
    let [mut a, mut b, mut c] = [(); 3].map(|()| Session::new(&table));
    assert_eq!(a.tree(LockMode::Shared), Locked::Granted);
    assert_eq!(b.tree(LockMode::Shared), Locked::Granted);
    assert_eq!(c.tree(LockMode::Exclusive), Locked::Wait);
    let mut d = Session::new(&table);
    assert_eq!(d.tree(LockMode::Shared), Locked::Wait, "behind the exclusive request");
    assert_eq!(a.tree(LockMode::Shared), Locked::Granted, "already held");
    a.release();
    assert_eq!(c.wakes(), 0);
    b.release();
    assert_eq!((c.wakes(), d.wakes()), (1, 0));
    c.release();
    assert_eq!(d.wakes(), 1);
}

#[test]
fn two_who_share_and_both_want_more_are_a_deadlock() {
    let table = LockTable::new();
    let [mut a, mut b] = [(); 2].map(|()| Session::new(&table));
    a.tree(LockMode::Shared);
    b.tree(LockMode::Shared);
    assert_eq!(a.tree(LockMode::Exclusive), Locked::Wait);
    let waker = Waker::noop();
    let refused = table.lock_tree(&mut b.owner, TREE, LockMode::Exclusive, waker);
    assert!(matches!(refused, Err(EngineError::Deadlock)));
    b.release();
    assert_eq!(a.wakes(), 1);
    assert_eq!(a.tree(LockMode::Exclusive), Locked::Granted);
    a.release();
    assert_eq!(b.tree(LockMode::Exclusive), Locked::Granted, "nothing is left behind");
}

#[test]
fn what_was_locked_after_a_mark_can_be_released_alone() {
    let table = LockTable::new();
    let [mut a, mut b] = [(); 2].map(|()| Session::new(&table));
    a.row("kept").unwrap();
    let mark = a.owner.held();
    a.row("kept").unwrap();
    a.row("given up").unwrap();
    table.release_after(&mut a.owner, mark);
    assert_eq!(b.row("given up").unwrap(), Locked::Granted);
    assert_eq!(b.row("kept").unwrap(), Locked::Wait);
    let mark = b.owner.held();
    table.release_after(&mut b.owner, mark);
    a.release();
    assert_eq!(b.wakes(), 0, "a wait that was given up is forgotten");
}

#[test]
fn asking_for_another_lock_ends_the_wait_for_the_first() {
    let table = LockTable::new();
    let [mut a, mut b, mut c] = [(); 3].map(|()| Session::new(&table));
    a.row("1").unwrap();
    assert_eq!(b.row("1").unwrap(), Locked::Wait);
    assert_eq!(b.row("2").unwrap(), Locked::Granted);
    a.release();
    assert_eq!(b.wakes(), 0);
    assert_eq!(c.row("1").unwrap(), Locked::Granted);
}

#[test]
fn threads_that_lock_the_same_rows_in_any_order_exclude_each_other_and_all_finish() {
    struct Unpark(std::thread::Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let table = LockTable::new();
    let holders: Vec<AtomicUsize> = (0..4).map(|_| AtomicUsize::new(0)).collect();
    std::thread::scope(|scope| {
        for thread in 0..4_usize {
            let (table, holders) = (&table, &holders);
            scope.spawn(move || {
                let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
                let mut owner = table.owner();
                for round in 0..2000 {
                    let rows = [(round + thread) % 4, (round * 7 + thread * 3) % 4];
                    let mut held = Vec::new();
                    for row in rows {
                        let key = [row as u8];
                        let granted = loop {
                            match table.lock_row(&mut owner, TREE, &key, &waker) {
                                Ok(Locked::Granted) => break true,
                                // Some ask again without having been woken.
                                Ok(Locked::Wait) if thread % 2 == 0 => std::thread::park(),
                                Ok(Locked::Wait) => std::thread::yield_now(),
                                Err(_) => break false,
                            }
                        };
                        if !granted {
                            break;
                        }
                        if !held.contains(&row) {
                            assert_eq!(holders[row].fetch_add(1, Ordering::SeqCst), 0);
                            held.push(row);
                        }
                    }
                    for row in held {
                        holders[row].fetch_sub(1, Ordering::SeqCst);
                    }
                    table.release_all(&mut owner);
                }
            });
        }
    });
}
