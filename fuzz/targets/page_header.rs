//! The header of a page.
#![no_main]

use libfuzzer_sys::fuzz_target;
use wal::page::PageHeader;

fuzz_target!(|input: &[u8]| walship_fuzz::bounded(input, |input| {
    if let Ok(header) = PageHeader::decode(input) {
        let mut encoded = Vec::new();
        header.encode_into(&mut encoded);
        assert_eq!(input.get(..encoded.len()), Some(encoded.as_slice()));
    }
}));
