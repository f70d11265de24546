//! What SQL clients send, from the bytes of a socket; and their proofs of who they are.
#![no_main]

use bytes::BytesMut;
use libfuzzer_sys::fuzz_target;
use replication::frame::decode_startup_frame;
use replication::message::FirstPacket;
use walwriter::protocol::{FrontendMessage, ResultFormats, peek};

fuzz_target!(|input: &[u8]| walship_fuzz::bounded(input, |input| {
    let Some((&kind, stream)) = input.split_first() else { return };
    match kind % 2 {
        0 => messages(stream),
        _ => connection(stream),
    }
}));

/// A client's packets from the first one on.
fn connection(stream: &[u8]) {
    let mut buffer = BytesMut::from(stream);
    while let Ok(Some(body)) = decode_startup_frame(&mut buffer) {
        if let Ok(FirstPacket::Startup(_)) = FirstPacket::decode(body) {
            return messages(&buffer);
        }
    }
}

fn messages(mut stream: &[u8]) {
    while let Ok(Some(frame)) = peek(stream) {
        assert!(frame.partial_body(stream).len() <= frame.body_size());
        let Some(body) = frame.body(stream) else { break };
        if let Ok(message) = FrontendMessage::decode(frame.tag, body) {
            check(&message, body);
        }
        stream = &stream[frame.size..];
    }
}

/// A message that decodes accounts for all of its body.
fn check(message: &FrontendMessage<'_>, body: &[u8]) {
    match message {
        FrontendMessage::Query(text) | FrontendMessage::CopyFail(text) => {
            assert_eq!(text.len() + 1, body.len())
        }
        FrontendMessage::Parse { name, text, types } => {
            assert_eq!(name.len() + text.len() + types.len() + 4, body.len());
        }
        FrontendMessage::CopyData(data) => assert_eq!(*data, body),
        FrontendMessage::Bind(bind) => {
            let announced = bind.arguments.len();
            assert_eq!(bind.arguments.count(), announced);
            let values: usize = bind.arguments.map(|(_, value)| 4 + value.map_or(0, <[u8]>::len)).sum();
            let formats = body.len().checked_sub(bind.portal.len() + bind.statement.len() + 8 + values);
            assert!(formats.is_some_and(|bytes| bytes % 2 == 0));
            for columns in [0, 1, 2, 3, 0xffff] {
                if let Ok(ResultFormats::Each(formats)) = bind.result_formats(columns) {
                    assert_eq!(formats.len(), columns);
                }
            }
        }
        _ => {}
    }
}
