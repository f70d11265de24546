//! How long a tree takes per operation when finding a page costs next to nothing: `btree_speed [ENTRIES]`
//!
//! Pages are in a vector, so that what is measured is the tree's own work; a `BTreeMap` of the same entries, run side by side,
//! tells how fast the machine is at the time.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::time::Instant;

use engine::btree::{BTree, Cursor};
use engine::page::{Page, SharedPage};
use engine::page_access::{PageReader, PageWriter};
use engine::{EngineError, PageId, TreeId};

#[derive(Default)]
struct Pages(Vec<SharedPage>);

fn missing(page: PageId) -> EngineError {
    EngineError::Damaged { page, reason: "no such page".to_owned() }
}

impl PageReader for Pages {
    fn page(&self, id: PageId) -> Result<SharedPage, EngineError> {
        self.0.get(id.block.as_u32() as usize).cloned().ok_or_else(|| missing(id))
    }
}

impl PageWriter for Pages {
    fn page(&mut self, id: PageId) -> Result<&Page, EngineError> {
        self.0.get(id.block.as_u32() as usize).map(|page| &**page).ok_or_else(|| missing(id))
    }

    fn page_mut(&mut self, id: PageId) -> Result<&mut Page, EngineError> {
        self.0.get_mut(id.block.as_u32() as usize).and_then(SharedPage::get_mut).ok_or_else(|| missing(id))
    }

    fn new_page(&mut self, id: PageId) -> Result<&mut Page, EngineError> {
        let block = id.block.as_u32() as usize;
        if self.0.len() <= block {
            self.0.resize_with(block + 1, SharedPage::zeroed);
        }
        self.0[block] = SharedPage::zeroed();
        self.page_mut(id)
    }
}

fn measure(what: &str, operations: u32, mut operation: impl FnMut(u32) -> Result<(), EngineError>) {
    let start = Instant::now();
    for number in 0..operations {
        if let Err(error) = operation(number) {
            eprintln!("btree_speed: error: {error}");
            std::process::exit(1);
        }
    }
    println!("{what:<34}{:>8.1} ns", start.elapsed().as_nanos() as f64 / f64::from(operations));
}

/// The `number`th of `count` keys in an order without pattern.
fn shuffled(number: u32, count: u32) -> u64 {
    let hash = u64::from(number).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    ((hash >> 32) * u64::from(count)) >> 32
}

fn main() {
    let count: u32 = std::env::args().nth(1).and_then(|text| text.parse().ok()).unwrap_or(1_000_000);
    let tree = BTree::new(TreeId::new(16384));
    for prefix in ["", "a common prefix of keys "] {
        println!("{count} keys of {} bytes", prefix.len() + 8);
        let key = |number: u64, key: &mut Vec<u8>| {
            key.clear();
            key.extend_from_slice(prefix.as_bytes());
            key.extend_from_slice(&number.to_be_bytes());
        };
        let mut buffer = Vec::new();
        let mut map = BTreeMap::new();
        for number in 0..u64::from(count) {
            key(number, &mut buffer);
            map.insert(buffer.clone(), vec![0u8; 92]);
        }
        measure("BTreeMap get, random", count, |number| {
            key(shuffled(number, count), &mut buffer);
            std::hint::black_box(map.get(&buffer));
            Ok(())
        });
        drop(map);
        let mut pages = Pages::default();
        measure("create", 1, |_| tree.create(&mut pages));
        measure("put, ascending", count, |number| {
            key(u64::from(number), &mut buffer);
            tree.put(&mut pages, &buffer, &[0; 92]).map(drop)
        });
        measure("get, random", count, |number| {
            key(shuffled(number, count), &mut buffer);
            tree.get_with(&pages, &buffer, |value| value.len()).map(drop)
        });
        measure("get, the same few", count, |number| {
            key(shuffled(number % 1024, count), &mut buffer);
            tree.get_with(&pages, &buffer, |value| value.len()).map(drop)
        });
        measure("put, random, same length", count, |number| {
            key(shuffled(number, count), &mut buffer);
            tree.put(&mut pages, &buffer, &[number as u8; 92]).map(drop)
        });
        measure("put, the same few, same length", count, |number| {
            key(shuffled(number % 1024, count), &mut buffer);
            tree.put(&mut pages, &buffer, &[number as u8; 92]).map(drop)
        });
        let mut cursor = Cursor::new(tree, Bound::Unbounded, Bound::Unbounded);
        let (mut found, mut value) = (Vec::new(), Vec::new());
        measure("scan", count, |_| cursor.next(&pages, &mut found, &mut value).map(drop));
        drop(cursor);
        measure("delete, random", count, |number| {
            key(shuffled(number, count), &mut buffer);
            tree.delete(&mut pages, &buffer).map(drop)
        });
        let mut pages = Pages::default();
        measure("create", 1, |_| tree.create(&mut pages));
        measure("put, random", count, |number| {
            key(shuffled(number, count), &mut buffer);
            tree.put(&mut pages, &buffer, &[0; 92]).map(drop)
        });
        match tree.check(&pages) {
            Ok(report) => println!("{report:?}, leaves {:.0} % full", report.leaf_fill() * 100.0),
            Err(error) => println!("{error}"),
        }
    }
}
