//! What goes to and fro while WAL is streamed: WAL data, keepalives, status and feedback.
#![no_main]

use bytes::{Bytes, BytesMut};
use libfuzzer_sys::fuzz_target;
use replication::stream::{ClientPayload, ServerPayload};

fuzz_target!(|input: &[u8]| walship_fuzz::bounded(input, |input| {
    let mut encoded = BytesMut::new();
    match ServerPayload::decode(Bytes::copy_from_slice(input)) {
        Ok(ServerPayload::Wal(wal)) => wal.encode(&mut encoded),
        Ok(ServerPayload::Keepalive(keepalive)) => keepalive.encode(&mut encoded),
        Err(_) => {}
    }
    // A flag byte may be anything but zero, and is written as 1.
    assert!(encoded.is_empty() || encoded.len() == input.len());
    encoded.clear();
    match ClientPayload::decode(input) {
        Ok(ClientPayload::Status(status)) => status.encode(&mut encoded),
        Ok(ClientPayload::HotStandbyFeedback(feedback)) => feedback.encode(&mut encoded),
        Err(_) => {}
    }
    assert!(encoded.is_empty() || encoded.len() == input.len());
}));
