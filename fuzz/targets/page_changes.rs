//! Changes of pages as Generic records bring them.
#![no_main]

use engine::page::Page;
use engine::run::{apply_fragments, diff};
use libfuzzer_sys::fuzz_target;
use wal::WalVersion;
use wal::record::Record;

fuzz_target!(|input: &[u8]| walship_fuzz::bounded(input, |input| {
    change(input);
    if let Ok(record) = Record::decode_unchecked(input, WalVersion::V15) {
        for block in &record.blocks {
            change(block.data);
        }
    }
}));

/// Applies `fragments` to a page with something on it. What is the difference then makes the new page of the old one.
fn change(fragments: &[u8]) {
    let mut before = Page::zeroed();
    before.init(16);
    for (at, byte) in before.bytes_mut()[8100..].iter_mut().enumerate() {
        *byte = at as u8;
    }
    before.set_upper(8100);
    let mut after = before.clone();
    if apply_fragments(&mut after, fragments).is_none() {
        return;
    }
    let mut difference = Vec::new();
    diff(&before, &after, &mut difference);
    let mut again = before.clone();
    apply_fragments(&mut again, &difference).expect("a difference of pages");
    // LSN and checksum are not described.
    assert!(again.bytes()[10..] == after.bytes()[10..]);
}
