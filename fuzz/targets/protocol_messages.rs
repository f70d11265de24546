//! The protocol's messages in both directions, from the bytes of a socket.
#![no_main]

use bytes::BytesMut;
use libfuzzer_sys::fuzz_target;
use replication::frame::{FrameDecoder, Phase, decode_startup_frame};
use replication::message::{BackendMessage, FirstPacket, FrontendMessage};

fuzz_target!(|input: &[u8]| walship_fuzz::bounded(input, |input| {
    let Some((&phase, stream)) = input.split_first() else { return };
    match phase % 6 {
        0 => from_server(stream, Phase::ServerStartup),
        1 => from_server(stream, Phase::Server),
        2 => from_client(stream, Phase::ClientAuthentication),
        3 => from_client(stream, Phase::Client),
        4 => from_client(stream, Phase::ClientStreaming { max_copy_data: 65_536 }),
        _ => first_packet(stream),
    }
}));

/// A message that decodes can be written, and reads the same again.
fn from_server(stream: &[u8], phase: Phase) {
    let (decoder, mut buffer) = (FrameDecoder::new(phase), BytesMut::from(stream));
    while let Ok(Some(frame)) = decoder.decode(&mut buffer) {
        let Ok(message) = BackendMessage::decode(frame) else { continue };
        let mut encoded = BytesMut::new();
        message.encode(&mut encoded);
        let again = FrameDecoder::new(Phase::Server)
            .decode(&mut encoded)
            .expect("a valid frame")
            .expect("a whole frame");
        assert_eq!(BackendMessage::decode(again).as_ref(), Ok(&message));
    }
}

fn from_client(stream: &[u8], phase: Phase) {
    let (decoder, mut buffer) = (FrameDecoder::new(phase), BytesMut::from(stream));
    while let Ok(Some(frame)) = decoder.decode(&mut buffer) {
        let Ok(message) = FrontendMessage::decode(frame) else { continue };
        let mut encoded = BytesMut::new();
        message.encode(&mut encoded);
        let again = decoder.decode(&mut encoded).expect("a valid frame").expect("a whole frame");
        assert_eq!(FrontendMessage::decode(again).as_ref(), Ok(&message));
    }
}

fn first_packet(stream: &[u8]) {
    let mut buffer = BytesMut::from(stream);
    let Ok(Some(body)) = decode_startup_frame(&mut buffer) else { return };
    let Ok(packet) = FirstPacket::decode(body) else { return };
    let mut encoded = BytesMut::new();
    packet.encode(&mut encoded);
    let again = decode_startup_frame(&mut encoded).expect("a valid packet").expect("a whole packet");
    assert_eq!(FirstPacket::decode(again).as_ref(), Ok(&packet));
}
