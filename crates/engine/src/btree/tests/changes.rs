//! What a change leaves alone: bytes that do not differ are not logged, pages that are not touched need not be read.

use super::super::layout::{META_BLOCK, lower, page_id, upper};
use super::super::{MAX_INLINE, MAX_VALUE};
use super::model::value;
use super::{Memory, TREE, empty};
use crate::PageId;

/// How many bytes of each page that was touched differ from what was there before, holes left out.
fn differing(before: &Memory, after: &Memory) -> Vec<(PageId, usize)> {
    let mut pages: Vec<_> = after.touched.iter().copied().collect();
    pages.sort();
    pages
        .into_iter()
        .map(|id| {
            let (page, hole) = (&after.pages[&id], lower(&after.pages[&id])..upper(&after.pages[&id]));
            let bytes = page.bytes().iter().enumerate().filter(|(at, _)| !hole.contains(at));
            let differ =
                |&(at, byte): &(usize, &u8)| before.pages.get(&id).is_none_or(|old| old.bytes()[at] != *byte);
            (id, bytes.filter(differ).count())
        })
        .collect()
}

fn filled(count: u32) -> Memory {
    let mut tree = empty();
    for number in 0..count {
        TREE.put(&mut tree, &number.to_be_bytes(), &[0; 100]).unwrap();
    }
    tree
}

/// What `change` changes: pages and how many bytes of each.
fn changes(tree: &mut Memory, change: impl FnOnce(&mut Memory)) -> Vec<(PageId, usize)> {
    let before = tree.clone();
    tree.touched.clear();
    change(tree);
    TREE.check(tree).unwrap();
    differing(&before, tree)
}

#[test]
fn a_value_of_the_same_length_changes_nothing_but_its_bytes() {
    let mut tree = filled(10_000);
    let changed = changes(&mut tree, |tree| {
        assert!(TREE.put(tree, &5_000u32.to_be_bytes(), &[1; 100]).unwrap());
    });
    assert_eq!(changed.iter().map(|(_, bytes)| *bytes).collect::<Vec<_>>(), [100]);
}

#[test]
fn an_entry_more_or_less_touches_its_leaf_alone_and_little_of_it() {
    let mut tree = filled(10_000);
    let key = 5_000u32.to_be_bytes();
    let changed = changes(&mut tree, |tree| assert!(TREE.delete(tree, &key).unwrap()));
    assert_eq!(changed.len(), 1);
    assert!(changed[0].1 < 200, "{changed:?}");
    let changed = changes(&mut tree, |tree| assert!(!TREE.put(tree, &key, &[2; 80]).unwrap()));
    assert_eq!(changed.len(), 1);
    // The leaf is full: it has to be moved together once. Then there is a hole.
    let changed = changes(&mut tree, |tree| assert!(TREE.delete(tree, &key).unwrap()));
    assert_eq!(changed.len(), 1);
    assert!(changed[0].1 < 200, "{changed:?}");
    assert!(changes(&mut tree, |tree| assert!(!TREE.delete(tree, &key).unwrap())).is_empty());
}

#[test]
fn a_split_leaves_the_cells_that_stay_where_they_are() {
    let mut tree = filled(1_000);
    let (mut splits, mut number) = (0, 0u32);
    while splits < 20 {
        number += 1;
        let key = [(number * 37 % 1_000).to_be_bytes(), number.to_be_bytes()].concat();
        let changed = changes(&mut tree, |tree| {
            TREE.put(tree, &key, &[1; 100]).unwrap();
        });
        if changed.len() > 1 {
            // Left node, new node, parent, and what describes the tree.
            splits += 1;
            assert_eq!(changed.len(), 4, "{changed:?}");
            assert_eq!(changed[0].0, page_id(TREE.id(), META_BLOCK));
            let total: usize = changed.iter().map(|(_, bytes)| bytes).sum();
            assert!(total < 6_500, "{changed:?}");
        }
    }
}

#[test]
fn a_long_value_is_written_over_the_old_one() {
    let mut tree = empty();
    let old = value(100_000, 1);
    TREE.put(&mut tree, b"key", &old).unwrap();
    let mut new = old.clone();
    new[50_000] ^= 1;
    let changed = changes(&mut tree, |tree| assert!(TREE.put(tree, b"key", &new).unwrap()));
    assert_eq!(changed.iter().map(|(_, bytes)| bytes).sum::<usize>(), 1);
    assert_eq!(TREE.get(&tree, b"key").unwrap(), Some(new));

    for length in [200_000, 100_000, 8_153, 8_152, MAX_INLINE, MAX_INLINE - 3, MAX_INLINE - 2, 0, 70_000] {
        let value = value(length, 3);
        TREE.put(&mut tree, b"key", &value).unwrap();
        assert_eq!(TREE.get(&tree, b"key").unwrap(), Some(value));
        let report = TREE.check(&tree).unwrap();
        let pages = if length + 3 > MAX_INLINE { length.div_ceil(8_152) } else { 0 };
        assert_eq!(report.overflow_pages as usize, pages, "{length}");
    }
}

#[test]
fn the_longest_value_can_be_stored() {
    let mut tree = empty();
    let longest = value(MAX_VALUE, 9);
    TREE.put(&mut tree, b"key", &longest).unwrap();
    assert!(TREE.get_with(&tree, b"key", |value| value == longest).unwrap().unwrap());
    assert!(TREE.delete(&mut tree, b"key").unwrap());
    let report = TREE.check(&tree).unwrap();
    assert_eq!(report.free_pages as usize, MAX_VALUE.div_ceil(8_152));
}
