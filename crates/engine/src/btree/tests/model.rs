//! Any sequence of puts and deletes leaves what it leaves in a `BTreeMap`.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::super::layout::BODY_SIZE;
use super::super::{MAX_INLINE, MAX_KEY};
use super::{Memory, TREE, empty};
use crate::EngineError;
use crate::effort::cases;

type Model = BTreeMap<Vec<u8>, Vec<u8>>;

#[derive(Clone, Debug)]
enum Step {
    Put(Vec<u8>, usize),
    Delete(Vec<u8>),
    /// Deletes the entry that is about so far into the tree, in 1/256.
    DeleteAt(u8),
    /// Gives an entry that is there another value.
    Update(u8, usize),
}

/// Lengths of values, most of them around a boundary.
fn length() -> impl Strategy<Value = usize> {
    prop_oneof![
        6 => 0..300usize,
        2 => Just(100),
        2 => MAX_INLINE - 60..MAX_INLINE + 4,
        1 => BODY_SIZE - 2..BODY_SIZE + 3,
        1 => 2 * BODY_SIZE - 1..2 * BODY_SIZE + 2,
        1 => 0..5 * BODY_SIZE,
    ]
}

fn key() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        4 => (0..400u32).prop_map(|number| number.to_be_bytes().to_vec()),
        3 => (0..200u16).prop_map(|number| [b"a rather long common prefix ".as_slice(), &number.to_be_bytes()].concat()),
        2 => proptest::collection::vec(prop_oneof![Just(0u8), Just(1), Just(255)], 0..12),
        1 => (0..20usize, MAX_KEY - 3..=MAX_KEY).prop_map(|(number, length)| {
            let mut key = vec![b'k'; length];
            key[length - 1] = number as u8;
            key[number * 50] = b'j';
            key
        }),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        5 => (key(), length()).prop_map(|(key, length)| Step::Put(key, length)),
        1 => key().prop_map(Step::Delete),
        2 => any::<u8>().prop_map(Step::DeleteAt),
        2 => (any::<u8>(), length()).prop_map(|(at, length)| Step::Update(at, length)),
    ]
}

pub(super) fn value(length: usize, seed: u8) -> Vec<u8> {
    (0..length).map(|at| (at as u8).wrapping_mul(31).wrapping_add(seed)).collect()
}

fn nth(model: &Model, at: u8) -> Option<Vec<u8>> {
    model.keys().nth(usize::from(at) * model.len() / 256).cloned()
}

fn apply(tree: &mut Memory, model: &mut Model, step: &Step, seed: u8) {
    let (key, length) = match step {
        Step::Put(key, length) => (Some(key.clone()), Some(*length)),
        Step::Delete(key) => (Some(key.clone()), None),
        Step::DeleteAt(at) => (nth(model, *at), None),
        Step::Update(at, length) => (nth(model, *at), Some(*length)),
    };
    let Some(key) = key else { return };
    match length {
        Some(length) => {
            let value = value(length, seed);
            let replaced = TREE.put(tree, &key, &value).unwrap();
            assert_eq!(replaced, model.insert(key, value).is_some());
        }
        None => {
            let deleted = TREE.delete(tree, &key).unwrap();
            assert_eq!(deleted, model.remove(&key).is_some());
        }
    }
}

pub(super) fn assert_same(tree: &Memory, model: &Model) {
    let report = TREE.check(tree).unwrap();
    assert_eq!(report.entries, model.len() as u64);
    for (key, value) in model {
        assert_eq!(TREE.get(tree, key).unwrap().as_ref(), Some(value));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(60), ..ProptestConfig::default() })]

    #[test]
    fn any_puts_and_deletes_leave_what_they_leave_in_a_map(
        steps in proptest::collection::vec(step(), 1..600),
    ) {
        let (mut tree, mut model) = (empty(), Model::new());
        for (number, step) in steps.iter().enumerate() {
            apply(&mut tree, &mut model, step, number as u8);
            if number % 16 == 0 {
                TREE.check(&tree).unwrap();
            }
        }
        assert_same(&tree, &model);

        // Down to nothing, in whatever order, and up again on the pages that became free.
        let mut keys: Vec<_> = model.keys().cloned().collect();
        match steps.len() % 3 {
            0 => keys.reverse(),
            1 => keys.sort_by_key(|key| key.iter().map(|&byte| u32::from(byte)).sum::<u32>() % 7),
            _ => {}
        }
        for (number, key) in keys.iter().enumerate() {
            prop_assert!(TREE.delete(&mut tree, key).unwrap());
            if number % 8 == 0 {
                TREE.check(&tree).unwrap();
            }
        }
        let report = TREE.check(&tree).unwrap();
        prop_assert_eq!((report.root_level, report.leaves, report.inner_nodes, report.overflow_pages), (0, 1, 0, 0));
        let pages = tree.pages.len();
        for (key, value) in &model {
            TREE.put(&mut tree, key, value).unwrap();
        }
        assert_same(&tree, &model);
        prop_assert!(tree.pages.len() <= pages + 2 + pages / 2, "free pages were not used: {} then {}", pages, tree.pages.len());
    }
}

#[test]
fn too_long_keys_and_values_change_nothing() {
    let mut tree = empty();
    tree.touched.clear();
    let long = vec![1; MAX_KEY + 1];
    assert!(matches!(
        TREE.put(&mut tree, &long, b""),
        Err(EngineError::KeyTooLong { length: 2001, limit: 2000 })
    ));
    let long = vec![1; super::super::MAX_VALUE + 1];
    assert!(matches!(TREE.put(&mut tree, b"k", &long), Err(EngineError::ValueTooLong { .. })));
    assert!(tree.touched.is_empty());
    assert!(!TREE.delete(&mut tree, &[1; MAX_KEY + 1]).unwrap());
    assert_eq!(TREE.get(&tree, &[1; MAX_KEY + 1]).unwrap(), None);
}
