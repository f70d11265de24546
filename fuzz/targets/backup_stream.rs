//! What a server sends during BASE_BACKUP: the copy messages, and the archives inside them.
#![no_main]

use basebackup::tar::{Event, Header, Owner, Reader};
use bytes::{Bytes, BytesMut};
use libfuzzer_sys::fuzz_target;
use replication::stream::BackupMessage;

fuzz_target!(|input: &[u8]| walship_fuzz::bounded(input, |input| {
    messages(input);
    archive(input);
}));

/// A message that decodes encodes to the same bytes.
fn messages(input: &[u8]) {
    if let Ok(message) = BackupMessage::decode(Bytes::copy_from_slice(input)) {
        let mut encoded = BytesMut::new();
        message.encode(&mut encoded);
        assert_eq!(encoded, input);
    }
}

/// An archive says the same whether it arrives whole or in two parts, and its events account for its bytes.
fn archive(input: &[u8]) {
    let Some((&cut, archive)) = input.split_first() else { return };
    let whole = read(&[archive]);
    let (first, second) = archive.split_at((usize::from(cut) * 7).min(archive.len()));
    assert_eq!(whole, read(&[first, second]));
}

/// The members and their contents up to the first error, and whether the archive was complete.
fn read(parts: &[&[u8]]) -> (Vec<(Header, Vec<u8>)>, bool) {
    let mut reader = Reader::new();
    let mut members: Vec<(Header, Vec<u8>)> = Vec::new();
    for mut part in parts.iter().copied() {
        loop {
            match reader.next(&mut part) {
                Ok(Some(Event::Begin(header))) => {
                    // A header that was accepted can be written again, and says the same then.
                    if let Ok(block) = header.encode(Owner { uid: 0, gid: 0 }) {
                        assert_eq!(Header::decode(&block).as_ref().ok(), Some(&header));
                    }
                    members.push((header, Vec::new()));
                }
                Ok(Some(Event::Data(data))) => members.last_mut().expect("data of a member").1.extend(data),
                Ok(Some(Event::End)) => {
                    let (header, contents) = members.last().expect("the end of a member");
                    assert_eq!(header.size, contents.len() as u64);
                }
                Ok(None) => break,
                Err(_) => return (members, false),
            }
        }
    }
    let complete = reader.finish().is_ok();
    (members, complete)
}
