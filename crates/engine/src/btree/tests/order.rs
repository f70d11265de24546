//! The order in which keys come decides how full pages are left.

use super::super::layout::BODY_SIZE;
use super::{Memory, TREE, empty};

fn filled(keys: impl Iterator<Item = u32>) -> Memory {
    let mut tree = empty();
    for key in keys {
        TREE.put(&mut tree, &key.to_be_bytes(), &[7; 90]).unwrap();
    }
    tree
}

/// All of 0..2^16 in an order without any pattern.
fn shuffled() -> impl Iterator<Item = u32> {
    (0..1 << 16).map(|number: u32| number.wrapping_mul(40_503).wrapping_add(12_345) & 0xFFFF)
}

#[test]
fn ascending_keys_leave_full_pages() {
    let report = TREE.check(&filled(0..20_000)).unwrap();
    assert_eq!(report.entries, 20_000);
    assert!(report.leaf_fill() > 0.97, "{report:?}");
    assert_eq!((report.root_level, report.inner_nodes), (1, 1), "{report:?}");
}

#[test]
fn descending_keys_leave_full_pages() {
    let report = TREE.check(&filled((0..20_000).rev())).unwrap();
    assert!(report.leaf_fill() > 0.97, "{report:?}");
}

#[test]
fn keys_that_ascend_in_several_places_leave_full_pages() {
    let keys = (0..2_000).flat_map(|step| (0..10).map(move |place| place * 100_000 + step));
    let report = TREE.check(&filled(keys)).unwrap();
    assert!(report.leaf_fill() > 0.93, "{report:?}");
    let keys = (0..2_000).rev().flat_map(|step| (0..10).map(move |place| place * 100_000 + step));
    let report = TREE.check(&filled(keys)).unwrap();
    assert!(report.leaf_fill() > 0.93, "{report:?}");
}

#[test]
fn random_keys_leave_pages_two_thirds_full() {
    let report = TREE.check(&filled(shuffled())).unwrap();
    assert_eq!(report.entries, 1 << 16);
    assert!(report.leaf_fill() > 0.62, "{report:?}");
}

#[test]
fn a_queue_does_not_grow() {
    let mut tree = filled(0..5_000);
    let blocks = tree.pages.len();
    for key in 0..50_000u32 {
        assert!(TREE.delete(&mut tree, &key.to_be_bytes()).unwrap());
        TREE.put(&mut tree, &(key + 5_000).to_be_bytes(), &[7; 90]).unwrap();
    }
    let report = TREE.check(&tree).unwrap();
    assert_eq!((report.entries, report.root_level), (5_000, 1));
    assert!(tree.pages.len() <= blocks + 3, "{} blocks, then {}", blocks, tree.pages.len());
}

#[test]
fn what_is_left_after_random_deletes_is_on_few_pages() {
    let mut tree = filled(shuffled());
    for key in shuffled().filter(|key| key % 10 != 3) {
        assert!(TREE.delete(&mut tree, &key.to_be_bytes()).unwrap());
    }
    let report = TREE.check(&tree).unwrap();
    assert_eq!(report.entries, (0..1 << 16).filter(|key| key % 10 == 3).count() as u64);
    assert!(report.leaf_fill() > 0.25, "{report:?}");
    assert!(report.free_pages > report.leaves, "{report:?}");
}

#[test]
fn separators_hold_no_more_than_tells_leaves_apart() {
    let mut tree = empty();
    for number in 0..4_000u32 {
        let key = [number.to_be_bytes().as_slice(), &[b'x'; 1_500]].concat();
        TREE.put(&mut tree, &key, b"").unwrap();
    }
    let report = TREE.check(&tree).unwrap();
    assert!(report.leaves >= 800 && report.leaf_fill() * BODY_SIZE as f64 > 7_000.0, "{report:?}");
    // 16 bytes for each leaf: all of them fit a few inner nodes although four whole keys would fill one.
    assert!(report.inner_nodes <= 4, "{report:?}");
}
