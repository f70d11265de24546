use super::*;

fn lsn(bytes: u64) -> Lsn {
    Lsn::new(bytes)
}

#[test]
fn readers_get_the_current_lsn_and_keep_it() {
    let snapshots = Snapshots::new(lsn(10));
    let first = snapshots.register_current();
    snapshots.advance(lsn(20));
    let second = snapshots.register_current();
    assert_eq!((first.lsn(), second.lsn(), snapshots.current()), (lsn(10), lsn(20), lsn(20)));
    assert_eq!(snapshots.oldest(), lsn(10));
    drop(first);
    assert_eq!(snapshots.oldest(), lsn(20));
    drop(second);
    snapshots.advance(lsn(30));
    assert_eq!(snapshots.oldest(), lsn(30));
}

#[test]
fn the_current_lsn_never_goes_back() {
    let snapshots = Snapshots::new(lsn(10));
    snapshots.advance(lsn(5));
    snapshots.advance(lsn(10));
    assert_eq!(snapshots.current(), lsn(10));
}

#[test]
fn a_clone_keeps_the_snapshot_as_well() {
    let snapshots = Snapshots::new(lsn(10));
    let first = snapshots.register_current();
    let second = first.clone();
    snapshots.advance(lsn(20));
    drop(first);
    assert_eq!(snapshots.oldest(), lsn(10));
    drop(second);
    assert_eq!(snapshots.oldest(), lsn(20));
}

#[test]
fn only_an_lsn_that_is_held_or_current_can_be_registered() {
    let snapshots = Snapshots::new(lsn(10));
    let oldest = snapshots.register_current();
    snapshots.advance(lsn(20));
    let middle = snapshots.register_current();
    snapshots.advance(lsn(30));
    assert_eq!(snapshots.register(lsn(20)).map(|guard| guard.lsn()), Some(lsn(20)));
    assert_eq!(snapshots.register(lsn(30)).map(|guard| guard.lsn()), Some(lsn(30)));
    assert!(snapshots.register(lsn(15)).is_none());
    assert!(snapshots.register(lsn(40)).is_none());
    drop(middle);
    assert!(snapshots.register(lsn(20)).is_none(), "nobody held it, so its versions may be gone");
    assert!(snapshots.register(oldest.lsn()).is_some());
}

#[test]
fn a_version_is_needed_by_the_snapshots_between_it_and_its_successor() {
    let snapshots = Snapshots::new(lsn(10));
    let _old = snapshots.register_current();
    snapshots.advance(lsn(20));
    let unread = snapshots.register_current();
    snapshots.advance(lsn(30));
    drop(unread);
    let needed = snapshots.needed();
    assert_eq!((needed.oldest(), needed.current()), (lsn(10), lsn(30)));
    assert!(needed.needs(lsn(8), lsn(11)));
    assert!(needed.needs(lsn(10), lsn(11)));
    assert!(!needed.needs(lsn(8), lsn(10)), "its successor is visible at 10");
    assert!(!needed.needs(lsn(11), lsn(30)), "nobody reads between");
    assert!(needed.needs(lsn(11), lsn(31)), "the current snapshot does");
    assert!(needed.needs(lsn(31), lsn(32)), "a later current snapshot may");
}

#[test]
fn the_oldest_are_cancelled_first_and_never_the_current_one() {
    let snapshots = Snapshots::new(lsn(10));
    let old = snapshots.register_current();
    snapshots.advance(lsn(20));
    let current = snapshots.register_current();
    assert_eq!(snapshots.cancel_oldest(), Some(lsn(10)));
    assert_eq!(snapshots.cancel_oldest(), None);
    assert!(old.is_cancelled() && !current.is_cancelled());
    assert_eq!(snapshots.oldest(), lsn(20));
    assert!(snapshots.register(lsn(10)).is_none());
}

#[test]
fn what_is_not_needed_is_never_registered_afterwards() {
    let snapshots = Snapshots::new(lsn(1));
    let trimmed = AtomicU64::new(0);
    let readers_done = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                for _ in 0..5_000 {
                    // Whatever was trimmed before registering must not be what this guard needs.
                    let before = trimmed.load(Ordering::SeqCst);
                    let guard = snapshots.register_current();
                    assert!(guard.lsn().as_u64() >= before);
                    assert!(snapshots.oldest() <= guard.lsn());
                    assert!(snapshots.needed().needs(guard.lsn(), lsn(guard.lsn().as_u64() + 1)));
                }
                readers_done.fetch_add(1, Ordering::SeqCst);
            });
        }
        let mut next = 1;
        while readers_done.load(Ordering::SeqCst) < 3 {
            next += 1;
            snapshots.advance(lsn(next));
            trimmed.store(snapshots.oldest().as_u64(), Ordering::SeqCst);
        }
    });
    let current = snapshots.current();
    assert_eq!(snapshots.needed(), Needed { lsns: vec![current], current, open_from: current });
}

#[test]
fn who_has_seen_more_reads_ahead_of_the_current_lsn_and_is_a_reader_like_others_once_it_has_passed() {
    let snapshots = Snapshots::new(lsn(10));
    let ahead = snapshots.register_at_least(lsn(20));
    let further = snapshots.register_at_least(lsn(40));
    assert_eq!(
        (ahead.lsn(), snapshots.register_current().lsn(), snapshots.oldest()),
        (lsn(20), lsn(10), lsn(10))
    );
    assert_eq!(snapshots.register_at_least(lsn(20)).lsn(), lsn(20));
    snapshots.advance(lsn(30));
    assert_eq!((snapshots.current(), snapshots.oldest()), (lsn(30), lsn(20)), "it still needs its versions");
    assert_eq!(snapshots.register_at_least(lsn(20)).lsn(), lsn(30), "the current one has that too");
    assert_eq!(snapshots.register(lsn(20)).map(|guard| guard.lsn()), Some(lsn(20)));
    assert!(snapshots.needed().needs(lsn(15), lsn(21)));
    drop(ahead);
    assert_eq!(snapshots.oldest(), lsn(30));
    snapshots.advance(lsn(40));
    assert_eq!((snapshots.current(), further.lsn()), (lsn(40), lsn(40)));
    snapshots.advance(lsn(50));
    assert_eq!(snapshots.oldest(), lsn(40));
    assert!(!further.is_cancelled());
}

#[test]
fn between_marks_nothing_is_needed_but_what_is_read_and_the_current_lsn_goes_from_mark_to_mark() {
    let snapshots = Snapshots::new(lsn(10));
    let ahead = snapshots.register_at_least(lsn(15));
    for mark in [20, 30] {
        snapshots.mark(lsn(mark));
    }
    snapshots.mark(lsn(25));
    let needed = snapshots.needed();
    assert!(needed.needs(lsn(8), lsn(11)) && needed.needs(lsn(12), lsn(16)), "current, ahead");
    assert!(needed.needs(lsn(16), lsn(21)) && needed.needs(lsn(21), lsn(31)), "marks");
    assert!(!needed.needs(lsn(11), lsn(14)) && !needed.needs(lsn(21), lsn(29)));
    assert!(needed.needs(lsn(31), lsn(32)), "any boundary after the last mark");
    assert_eq!(snapshots.register_at_least(lsn(12)).lsn(), lsn(20), "versions for 12 may be gone");
    assert_eq!(snapshots.register_at_least(lsn(15)).lsn(), lsn(15), "but not those of a reader");
    for (to, current) in [(19, 10), (29, 20), (30, 30), (33, 33)] {
        snapshots.advance(lsn(to));
        assert_eq!(snapshots.current(), lsn(current));
    }
    assert_eq!(ahead.lsn(), snapshots.oldest());
}

#[test]
fn marks_are_few_and_the_first_stays() {
    let snapshots = Snapshots::new(lsn(10));
    for mark in 2..1000 {
        snapshots.mark(lsn(mark * 10));
    }
    assert!(snapshots.needed().lsns.len() <= 2 + MOST_MARKS);
    assert!(snapshots.thin_marks() && !snapshots.thin_marks());
    snapshots.advance(lsn(20));
    assert_eq!(snapshots.current(), lsn(20));
    snapshots.advance(lsn(9990));
    assert_eq!(snapshots.current(), lsn(9990));
}
