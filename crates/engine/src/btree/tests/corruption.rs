//! Whatever is on a page, reading and writing give an answer or [`EngineError::Damaged`]: no panic, and an end.

use std::ops::Bound;
use std::sync::LazyLock;

use proptest::prelude::*;

use super::super::edit::NodeMut;
use super::super::layout::{HEADER_SIZE, Kind, SPECIAL, format, page_id, set_lower, set_upper};
use super::super::node::{Cell, Node, Stored};
use super::super::{Cursor, Gap};
use super::model::value;
use super::{Memory, TREE, empty};
use crate::EngineError;
use crate::effort::cases;
use crate::page::{PAGE_SIZE, Page};

/// Keys that differ late, so that inner nodes have few entries and there are two levels of them.
fn key(number: u32) -> Vec<u8> {
    [[b'k'; 300].as_slice(), &number.to_be_bytes()].concat()
}

fn filled() -> Memory {
    static FILLED: LazyLock<Memory> = LazyLock::new(fill);
    FILLED.clone()
}

fn fill() -> Memory {
    let mut tree = empty();
    for number in 0..1_500 {
        let length = if number % 50 == 0 { 20_000 } else { number as usize % 90 };
        TREE.put(&mut tree, &key(number), &value(length, number as u8)).unwrap();
    }
    for number in 300..700 {
        TREE.delete(&mut tree, &key(number)).unwrap();
    }
    assert!(TREE.check(&tree).unwrap().root_level >= 2);
    tree
}

/// An answer, or an error that names a page.
fn sane<T>(result: Result<T, EngineError>) -> Option<T> {
    match result {
        Ok(answer) => Some(answer),
        Err(EngineError::Damaged { .. }) => None,
        Err(error) => panic!("{error}"),
    }
}

/// Reads and writes all over the tree.
fn exercise(tree: &mut Memory) {
    sane(TREE.check(tree));
    let (mut found, mut found_value) = (Vec::new(), Vec::new());
    for forward in [true, false] {
        let mut cursor = Cursor::new(TREE, Bound::Unbounded, Bound::Unbounded);
        cursor.seek(if forward { Gap::Start } else { Gap::End });
        let mut entries = 0;
        loop {
            let moved = match forward {
                true => cursor.next(tree, &mut found, &mut found_value),
                false => cursor.prev(tree, &mut found, &mut found_value),
            };
            match sane(moved) {
                Some(true) => entries += 1,
                _ => break,
            }
            assert!(entries < 100_000, "a scan does not end");
        }
    }
    for number in (0..1_500).step_by(7) {
        sane(TREE.get(tree, &key(number)));
    }
    for number in (0..1_600).step_by(13) {
        sane(TREE.put(tree, &key(number), &value(number as usize % 400, 5)));
        sane(TREE.put(tree, &key(number + 1), &value(number as usize * 20, 5)));
        sane(TREE.delete(tree, &key(number + 2)));
    }
    for number in 700..1_500 {
        sane(TREE.delete(tree, &key(number)));
    }
}

/// What to do to a page: a place, as a fraction of what is worth damaging, and what to put there.
#[derive(Clone, Debug)]
struct Damage {
    page: prop::sample::Index,
    place: Place,
    bytes: Vec<u8>,
}

#[derive(Clone, Debug)]
enum Place {
    Header(usize),
    Slots(usize),
    Special(usize),
    Anywhere(usize),
    /// The whole page becomes another one.
    Swap(prop::sample::Index),
}

fn damage() -> impl Strategy<Value = Damage> {
    let place = prop_oneof![
        (12..24usize).prop_map(Place::Header),
        (HEADER_SIZE..HEADER_SIZE + 60).prop_map(Place::Slots),
        (SPECIAL..PAGE_SIZE - 4).prop_map(Place::Special),
        (0..PAGE_SIZE - 4).prop_map(Place::Anywhere),
        any::<prop::sample::Index>().prop_map(Place::Swap),
    ];
    let bytes = prop_oneof![
        proptest::collection::vec(any::<u8>(), 1..4),
        proptest::collection::vec(prop_oneof![Just(0u8), Just(1), Just(255), 0..32u8], 1..4),
    ];
    (any::<prop::sample::Index>(), place, bytes).prop_map(|(page, place, bytes)| Damage {
        page,
        place,
        bytes,
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(150), ..ProptestConfig::default() })]

    #[test]
    fn a_damaged_tree_neither_panics_nor_loops(damages in proptest::collection::vec(damage(), 1..6)) {
        let mut tree = filled();
        let mut ids: Vec<_> = tree.pages.keys().copied().collect();
        ids.sort();
        for damage in damages {
            // Half of the damage to the first pages: what describes the tree, and the inner nodes.
            let choices = if damage.bytes.len() % 2 == 0 { &ids[..8] } else { &ids };
            let id = *damage.page.get(choices);
            let at = match damage.place {
                Place::Swap(other) => {
                    let other = tree.pages[other.get(&ids)].clone();
                    tree.pages.insert(id, other);
                    continue;
                }
                Place::Header(at) | Place::Slots(at) | Place::Special(at) | Place::Anywhere(at) => at,
            };
            let page = tree.pages.get_mut(&id).unwrap().make_mut();
            page.bytes_mut()[at..at + damage.bytes.len()].copy_from_slice(&damage.bytes);
        }
        exercise(&mut tree);
    }

    #[test]
    fn a_node_of_any_bytes_can_be_read_and_changed(
        body in proptest::collection::vec(any::<u8>(), SPECIAL - HEADER_SIZE),
        slots in proptest::collection::vec(prop_oneof![any::<u16>(), 0..8192u16, 4000..8176u16], 0..40),
        lengths in proptest::collection::vec((4000..8176usize, 0..120u16, 0..60u16), 0..60),
        upper in prop_oneof![24..8177usize, 3000..4000usize],
        dead in prop_oneof![Just(0u16), 0..5000u16],
        changes in proptest::collection::vec((0..3u8, 0..50usize, 0..900usize), 0..30),
    ) {
        let id = page_id(TREE.id(), 7);
        let mut page = Page::zeroed();
        format(&mut page, Kind::Node, 0);
        page.bytes_mut()[HEADER_SIZE..SPECIAL].copy_from_slice(&body);
        for (at, key, value) in lengths {
            let at = at.min(SPECIAL - 4);
            page.bytes_mut()[at..at + 2].copy_from_slice(&key.to_le_bytes());
            page.bytes_mut()[at + 2..at + 4].copy_from_slice(&value.to_le_bytes());
        }
        for (index, slot) in slots.iter().enumerate() {
            page.bytes_mut()[HEADER_SIZE + index * 2..][..2].copy_from_slice(&slot.to_le_bytes());
        }
        set_lower(&mut page, HEADER_SIZE + slots.len() * 2);
        set_upper(&mut page, upper);
        page.bytes_mut()[SPECIAL + 4..SPECIAL + 6].copy_from_slice(&dead.to_le_bytes());
        let bytes = [3; 900];
        for (what, index, length) in changes {
            let Some(node) = sane(Node::open(&page, id)) else { break };
            for index in 0..node.count() {
                sane(node.cell(index));
                sane(node.child(index));
            }
            sane(node.search(&bytes[..length]));
            sane(node.route(&bytes[..length]));
            let Some(mut node) = sane(NodeMut::open(&mut page, id)) else { break };
            let stored = Stored { bytes: &bytes[..length], in_chain: false };
            let done = match what {
                0 => sane(node.insert(index, Cell { key: b"some key", stored })).is_some(),
                1 => sane(node.set_stored(index, stored)).is_some(),
                2 if length > 600 => sane(node.remove_range(index, index + length % 5)).is_some(),
                _ => sane(node.remove(index)).is_some(),
            };
            if !done {
                break;
            }
        }
    }
}
