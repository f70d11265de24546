//! Cursors see what `BTreeMap::range` gives, from wherever they stand, and go on when the tree changes under them.

use std::collections::BTreeMap;
use std::ops::Bound;

use proptest::prelude::*;
use wal::Lsn;

use super::super::{Cursor, Gap};
use super::model::value;
use super::{Memory, TREE, empty};
use crate::effort::cases;

type Model = BTreeMap<Vec<u8>, Vec<u8>>;

/// Keys that are neither few nor dense: a prefix that does not tell, a number, and something to make leaves small.
fn key(number: u16) -> Vec<u8> {
    [b"a prefix ".as_slice(), &number.to_be_bytes(), &vec![b'.'; usize::from(number % 7) * 40]].concat()
}

fn filled(numbers: impl Iterator<Item = u16>) -> (Memory, Model) {
    let (mut tree, mut model) = (empty(), Model::new());
    for number in numbers {
        let value =
            value(usize::from(number % 11) * 40 + if number % 97 == 0 { 9_000 } else { 0 }, number as u8);
        TREE.put(&mut tree, &key(number), &value).unwrap();
        model.insert(key(number), value);
    }
    (tree, model)
}

fn bound() -> impl Strategy<Value = Bound<Vec<u8>>> {
    prop_oneof![
        Just(Bound::Unbounded),
        (0..1_000u16).prop_map(|number| Bound::Included(key(number))),
        (0..1_000u16).prop_map(|number| Bound::Excluded(key(number))),
    ]
}

fn contains(bounds: &(Bound<Vec<u8>>, Bound<Vec<u8>>), key: &[u8]) -> bool {
    let bounds = (bounds.0.as_ref().map(Vec::as_slice), bounds.1.as_ref().map(Vec::as_slice));
    std::ops::RangeBounds::<[u8]>::contains(&bounds, key)
}

#[derive(Clone, Debug)]
enum Move {
    Next,
    Prev,
    Before(u16),
    After(u16),
    Start,
    End,
    Put(u16, u16),
    Delete(u16, u16),
}

fn moves() -> impl Strategy<Value = Vec<Move>> {
    let one = prop_oneof![
        12 => Just(Move::Next),
        8 => Just(Move::Prev),
        1 => (0..1_000u16).prop_map(Move::Before),
        1 => (0..1_000u16).prop_map(Move::After),
        1 => Just(Move::Start),
        1 => Just(Move::End),
        2 => (0..1_000u16, 1..60u16).prop_map(|(from, count)| Move::Put(from, count)),
        2 => (0..1_000u16, 1..200u16).prop_map(|(from, count)| Move::Delete(from, count)),
    ];
    proptest::collection::vec(one, 1..300)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(100), ..ProptestConfig::default() })]

    #[test]
    fn a_range_is_what_a_map_gives_in_both_directions(
        step in 1..9u16,
        lower in bound(),
        upper in bound(),
        snapshot in any::<bool>(),
    ) {
        let (mut tree, model) = filled((0..1_000).filter(|number| number % step == 0));
        tree.as_of = snapshot.then_some(Lsn::new(77));
        let bounds = (lower, upper);
        let expected: Vec<_> =
            model.iter().filter(|(key, _)| contains(&bounds, key)).map(|(key, value)| (key.clone(), value.clone())).collect();

        let mut cursor = Cursor::new(TREE, bounds.0, bounds.1);
        let (mut key, mut value) = (Vec::new(), Vec::new());
        let mut found = Vec::new();
        while cursor.next(&tree, &mut key, &mut value).unwrap() {
            found.push((key.clone(), value.clone()));
        }
        prop_assert_eq!(&found, &expected);

        cursor.seek(Gap::End);
        found.clear();
        while cursor.prev(&tree, &mut key, &mut value).unwrap() {
            found.push((key.clone(), value.clone()));
        }
        found.reverse();
        prop_assert_eq!(&found, &expected);
    }

    #[test]
    fn a_cursor_goes_on_from_its_key_whatever_happens_to_the_tree(
        moves in moves(),
        lower in bound(),
        upper in bound(),
    ) {
        let (mut tree, mut model) = filled((0..1_000).filter(|number| number % 3 == 0));
        let bounds = (lower, upper);
        let mut cursor = Cursor::new(TREE, bounds.0.clone(), bounds.1.clone());
        let (mut found_key, mut found_value) = (Vec::new(), Vec::new());
        for (count, step) in moves.into_iter().enumerate() {
            match step {
                Move::Before(number) => cursor.seek(Gap::Before(&key(number))),
                Move::After(number) => cursor.seek(Gap::After(&key(number))),
                Move::Start => cursor.seek(Gap::Start),
                Move::End => cursor.seek(Gap::End),
                Move::Put(from, length) => {
                    for number in from..from + length {
                        let value = value(usize::from(number % 13) * 30, count as u8);
                        TREE.put(&mut tree, &key(number), &value).unwrap();
                        model.insert(key(number), value);
                    }
                }
                Move::Delete(from, length) => {
                    for number in from..from + length {
                        prop_assert_eq!(
                            TREE.delete(&mut tree, &key(number)).unwrap(),
                            model.remove(&key(number)).is_some()
                        );
                    }
                }
                Move::Next => {
                    let (low, gap) = (bounds.0.as_ref().map(Vec::as_slice), cursor.gap());
                    let expected = model
                        .iter()
                        .find(|(key, _)| match gap {
                            Gap::Start => contains(&bounds, key) || (low == Bound::Unbounded),
                            Gap::End => !contains(&bounds, key) && contains(&(bounds.0.clone(), Bound::Unbounded), key),
                            Gap::Before(at) => key.as_slice() >= at,
                            Gap::After(at) => key.as_slice() > at,
                        })
                        .filter(|(key, _)| contains(&(Bound::Unbounded, bounds.1.clone()), key))
                        .map(|(key, value)| (key.clone(), value.clone()));
                    let moved = cursor.next(&tree, &mut found_key, &mut found_value).unwrap();
                    prop_assert_eq!(moved.then(|| (found_key.clone(), found_value.clone())), expected);
                }
                Move::Prev => {
                    let gap = cursor.gap();
                    let expected = model
                        .iter()
                        .rev()
                        .find(|(key, _)| match gap {
                            Gap::Start => false,
                            Gap::End => contains(&(Bound::Unbounded, bounds.1.clone()), key),
                            Gap::Before(at) => key.as_slice() < at,
                            Gap::After(at) => key.as_slice() <= at,
                        })
                        .filter(|(key, _)| contains(&(bounds.0.clone(), Bound::Unbounded), key))
                        .map(|(key, value)| (key.clone(), value.clone()));
                    let moved = cursor.prev(&tree, &mut found_key, &mut found_value).unwrap();
                    prop_assert_eq!(moved.then(|| (found_key.clone(), found_value.clone())), expected);
                }
            }
        }
        TREE.check(&tree).unwrap();
    }
}

#[test]
fn an_end_is_an_end_only_until_something_comes_after_it() {
    let (mut tree, _) = filled(0..100);
    let mut cursor = Cursor::new(TREE, Bound::Unbounded, Bound::Unbounded);
    let (mut found, mut value) = (Vec::new(), Vec::new());
    while cursor.next(&tree, &mut found, &mut value).unwrap() {}
    // New leaves come up on the right, while the last one stays as it is.
    for number in 100..1_000 {
        let before = tree.clone();
        TREE.put(&mut tree, &key(number), b"new").unwrap();
        // As a run does, which publishes no page that has not changed.
        for (id, page) in &before.pages {
            if page.bytes() == tree.pages[id].bytes() {
                tree.pages.insert(*id, page.clone());
            }
        }
        assert!(cursor.next(&tree, &mut found, &mut value).unwrap(), "{number}");
        assert_eq!(found, key(number));
    }
    assert!(!cursor.next(&tree, &mut found, &mut value).unwrap());
}

#[test]
fn an_end_that_is_on_another_leaf_does_not_hide_what_comes_before_it() {
    // The end is looked for wherever the leaves happen to meet: at every key.
    for last in (0..1_000).step_by(3) {
        let (mut tree, _) = filled((0..1_000).filter(|number| number % 3 == 0));
        let mut cursor = Cursor::new(TREE, Bound::Included(key(last)), Bound::Excluded(key(last + 3)));
        let (mut found, mut value) = (Vec::new(), Vec::new());
        assert!(cursor.next(&tree, &mut found, &mut value).unwrap(), "{last}");
        assert!(!cursor.next(&tree, &mut found, &mut value).unwrap(), "{last}");
        let before = tree.clone();
        TREE.put(&mut tree, &key(last + 1), b"new").unwrap();
        for (id, page) in &before.pages {
            if page.bytes() == tree.pages[id].bytes() {
                tree.pages.insert(*id, page.clone());
            }
        }
        assert!(cursor.next(&tree, &mut found, &mut value).unwrap(), "{last}");
        assert_eq!(found, key(last + 1));
    }
}

#[test]
fn an_empty_tree_has_nothing_in_either_direction() {
    let tree = empty();
    let mut cursor = Cursor::new(TREE, Bound::Unbounded, Bound::Unbounded);
    let (mut key, mut value) = (Vec::new(), Vec::new());
    assert!(!cursor.next(&tree, &mut key, &mut value).unwrap());
    assert!(!cursor.prev(&tree, &mut key, &mut value).unwrap());
    cursor.seek(Gap::Before(b""));
    assert!(!cursor.prev(&tree, &mut key, &mut value).unwrap());
    cursor.seek(Gap::After(b"x"));
    assert!(!cursor.next(&tree, &mut key, &mut value).unwrap());
}
