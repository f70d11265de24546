//! A tree built from ascending entries is the tree that puts would have made, but full.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::super::layout::BODY_SIZE;
use super::super::{BulkBuilder, MAX_INLINE};
use super::model::{assert_same, value};
use super::{Memory, TREE};
use crate::effort::cases;
use crate::page_access::PageWriter;

fn build(model: &BTreeMap<Vec<u8>, Vec<u8>>) -> Memory {
    let mut memory = Memory::default();
    let mut builder = BulkBuilder::new(TREE, |id, page| {
        assert!(!memory.pages.contains_key(&id), "{id} comes a second time");
        memory.new_page(id)?.copy_from(page);
        Ok(())
    });
    for (key, value) in model {
        assert!(builder.add(key, value).unwrap());
    }
    assert_eq!(builder.finish().unwrap(), model.len() as u64);
    memory
}

fn entry() -> impl Strategy<Value = (Vec<u8>, usize)> {
    let length = prop_oneof![
        10 => 0..200usize,
        2 => MAX_INLINE - 40..MAX_INLINE + 2,
        1 => BODY_SIZE - 1..BODY_SIZE + 2,
        1 => 0..30_000usize,
    ];
    (proptest::collection::vec(any::<u8>(), 0..40), length)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(40), ..ProptestConfig::default() })]

    #[test]
    fn any_ascending_entries_become_a_sound_tree(entries in proptest::collection::vec(entry(), 0..800)) {
        let model: BTreeMap<_, _> =
            entries.into_iter().map(|(key, length)| { let seed = length as u8; (key, value(length, seed)) }).collect();
        let mut tree = build(&model);
        assert_same(&tree, &model);
        // It can be changed like any other.
        for (number, key) in model.keys().enumerate() {
            if number % 2 == 0 {
                prop_assert!(TREE.delete(&mut tree, key).unwrap());
            } else {
                prop_assert!(TREE.put(&mut tree, key, &value(300, 1)).unwrap());
            }
        }
        prop_assert_eq!(TREE.check(&tree).unwrap().entries, model.len() as u64 / 2);
    }
}

#[test]
fn pages_are_full_and_every_level_is() {
    let model: BTreeMap<_, _> =
        (0..60_000u32).map(|number| (number.to_be_bytes().repeat(25), vec![1; 20])).collect();
    let report = TREE.check(&build(&model)).unwrap();
    assert!(report.leaf_fill() > 0.98, "{report:?}");
    assert_eq!((report.root_level, report.free_pages), (2, 0), "{report:?}");
}

#[test]
fn entries_out_of_order_are_left_out() {
    let mut memory = Memory::default();
    let mut builder = BulkBuilder::new(TREE, |id, page| {
        memory.new_page(id)?.copy_from(page);
        Ok(())
    });
    let added: Vec<_> = [b"".as_slice(), b"", b"b", b"b", b"a", b"c"]
        .iter()
        .map(|key| builder.add(key, b"value").unwrap())
        .collect();
    assert_eq!(added, [true, false, true, false, false, true]);
    assert_eq!(builder.finish().unwrap(), 3);
    assert_eq!(TREE.check(&memory).unwrap().entries, 3);
}
