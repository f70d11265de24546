//! The pages of a tree, with right checksums and whatever else on them: reading and changing the tree end with an answer
//! or an error that names a page.
#![no_main]

use std::collections::HashMap;
use std::ops::Bound;
use std::sync::LazyLock;

use engine::btree::{BTree, Cursor, Gap};
use engine::page::{PAGE_SIZE, Page, SharedPage};
use engine::page_access::{PageReader, PageWriter};
use engine::{EngineError, PageId, TreeId};
use libfuzzer_sys::arbitrary::{Result, Unstructured};
use libfuzzer_sys::fuzz_target;

const TREE: BTree = BTree::new(TreeId::CATALOG);
/// The longest value: what a damaged chain of pages can say it is.
const LONGEST: usize = 64 << 20;
/// More entries than a damaged tree of this size can show.
const MANY: usize = 100_000;

fuzz_target!(|input: &[u8]| {
    let tree = &*FILLED;
    if input.is_empty() {
        return;
    }
    // Reading one value, and the pages that are changed.
    walship_fuzz::bounded_by(3 * LONGEST / input.len() + PAGE_SIZE, input, |input| {
        let mut tree = tree.clone();
        let _ = damage(&mut tree, &mut Unstructured::new(input));
        exercise(&mut tree);
    });
});

/// A tree with two levels of inner nodes, values on pages of their own, and free pages.
static FILLED: LazyLock<Memory> = LazyLock::new(|| {
    let mut tree = Memory(HashMap::new());
    TREE.create(&mut tree).expect("a tree");
    for number in 0..400 {
        let value = vec![7; if number % 50 == 0 { 20_000 } else { number as usize % 90 }];
        TREE.put(&mut tree, &key(number), &value).expect("an entry");
    }
    for number in 100..160 {
        TREE.delete(&mut tree, &key(number)).expect("an entry less");
    }
    assert!(TREE.check(&tree).expect("a sound tree").root_level >= 2);
    tree
});

/// Long keys that differ at the end, so that inner nodes have few entries.
fn key(number: u32) -> Vec<u8> {
    [[b'k'; 1200].as_slice(), &number.to_be_bytes()].concat()
}

#[derive(Clone)]
struct Memory(HashMap<PageId, SharedPage>);

fn no_such_page(id: PageId) -> EngineError {
    EngineError::Damaged { page: id, reason: "no such page".to_owned() }
}

impl PageReader for Memory {
    fn page(&self, id: PageId) -> std::result::Result<SharedPage, EngineError> {
        self.0.get(&id).cloned().ok_or_else(|| no_such_page(id))
    }
}

impl PageWriter for Memory {
    fn page(&mut self, id: PageId) -> std::result::Result<&Page, EngineError> {
        self.0.get(&id).map(|page| &**page).ok_or_else(|| no_such_page(id))
    }

    fn page_mut(&mut self, id: PageId) -> std::result::Result<&mut Page, EngineError> {
        self.0.get_mut(&id).map(SharedPage::make_mut).ok_or_else(|| no_such_page(id))
    }

    fn new_page(&mut self, id: PageId) -> std::result::Result<&mut Page, EngineError> {
        self.0.insert(id, SharedPage::zeroed());
        self.page_mut(id)
    }
}

/// Writes over parts of some pages, or gives a page the content of another.
fn damage(tree: &mut Memory, input: &mut Unstructured<'_>) -> Result<()> {
    while !input.is_empty() {
        let count = tree.0.len() as u32;
        // The first pages describe the tree and lead to the others.
        let most = if input.arbitrary()? { 4 } else { count - 1 };
        let id = PageId::new(TREE.id(), input.int_in_range(0..=most)?);
        if input.ratio(1, 8)? {
            let other = PageId::new(TREE.id(), input.int_in_range(0..=count - 1)?);
            if let Some(page) = tree.0.get(&other).cloned() {
                tree.0.insert(id, page);
            }
            continue;
        }
        let place = input.int_in_range(0..=3)?;
        let length = input.int_in_range(1..=8)?;
        let bytes = input.bytes(length)?;
        let start = match place {
            0 => input.int_in_range(12..=23)?,
            1 => input.int_in_range(24..=80)?,
            2 => input.int_in_range(PAGE_SIZE - 16..=PAGE_SIZE - 1)?,
            _ => input.int_in_range(0..=PAGE_SIZE - 1)?,
        };
        let Some(page) = tree.0.get_mut(&id) else { continue };
        let page = page.make_mut();
        for (place, byte) in page.bytes_mut().iter_mut().skip(start).zip(bytes) {
            *place = *byte;
        }
        page.set_checksum(id.block.as_u32());
        // What passes is read from a file; what does not is never seen.
        if page.verify(id).is_err() {
            page.copy_from(&FILLED.0[&id]);
        }
    }
    Ok(())
}

/// An answer, or an error that names a page.
fn sane<T>(result: std::result::Result<T, EngineError>) -> Option<T> {
    match result {
        Ok(answer) => Some(answer),
        Err(EngineError::Damaged { .. }) => None,
        Err(error) => panic!("{error}"),
    }
}

fn exercise(tree: &mut Memory) {
    sane(TREE.check(tree));
    let (mut found, mut value) = (Vec::new(), Vec::new());
    for forward in [true, false] {
        let mut cursor = Cursor::new(TREE, Bound::Unbounded, Bound::Unbounded);
        cursor.seek(if forward { Gap::Start } else { Gap::End });
        for entries in 0.. {
            let moved = match forward {
                true => cursor.next(tree, &mut found, &mut value),
                false => cursor.prev(tree, &mut found, &mut value),
            };
            if sane(moved) != Some(true) {
                break;
            }
            assert!(entries < MANY, "a scan does not end");
        }
    }
    drop((found, value));
    for number in (0..400).step_by(37) {
        sane(TREE.get_with(tree, &key(number), |_| ()));
        sane(TREE.put(tree, &key(number), &vec![5; number as usize]));
        sane(TREE.put(tree, &key(number + 1), &vec![5; number as usize * 30]));
        sane(TREE.delete(tree, &key(number + 2)));
    }
    for number in 200..260 {
        sane(TREE.delete(tree, &key(number)));
    }
}
