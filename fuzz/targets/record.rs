//! One record: taken apart, put together, its page images restored.
#![no_main]

use libfuzzer_sys::fuzz_target;
use wal::WalVersion;
use wal::record::{Record, record_crc};

/// Where a record's header has its length and its checksum.
const LENGTH: std::ops::Range<usize> = 0..4;
const CHECKSUM: std::ops::Range<usize> = 20..24;

fuzz_target!(|input: &[u8]| walship_fuzz::bounded(input, |input| {
    decode(input);
    // The fuzzer cannot guess checksums, so they are made right for it.
    let mut sealed = input.to_vec();
    if sealed.len() >= CHECKSUM.end {
        sealed[LENGTH].copy_from_slice(&(input.len() as u32).to_le_bytes());
        let crc = record_crc(&sealed).to_le_bytes();
        sealed[CHECKSUM].copy_from_slice(&crc);
        decode(&sealed);
    }
}));

fn decode(bytes: &[u8]) {
    let Ok(record) = Record::decode(bytes, WalVersion::V15) else { return };
    for image in record.blocks.iter().filter_map(|block| block.image.as_ref()) {
        let _ = image.restore();
    }
    // PostgreSQL has more than one way to write some lengths; what is written back says the same.
    let encoded = record.encode().expect("what was decoded can be encoded");
    let again = Record::decode(&encoded, WalVersion::V15).expect("what was encoded can be decoded");
    assert_eq!((again.blocks, again.origin, again.top_xid), (record.blocks, record.origin, record.top_xid));
    assert_eq!(again.main_data, record.main_data);
}
