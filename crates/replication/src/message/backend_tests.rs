use proptest::prelude::*;

use super::*;
use crate::error::SqlState;
use crate::frame::{FrameDecoder, Phase};

fn bytes() -> impl Strategy<Value = Bytes> {
    prop::collection::vec(any::<u8>(), 0..50).prop_map(Bytes::from)
}

fn authentication() -> impl Strategy<Value = AuthenticationRequest> {
    use AuthenticationRequest as Request;
    prop_oneof![
        Just(Request::Ok),
        Just(Request::CleartextPassword),
        any::<[u8; 4]>().prop_map(Request::Md5Password),
        prop::collection::vec("[A-Z0-9-]{1,9}", 0..4).prop_map(Request::Sasl),
        bytes().prop_map(Request::SaslContinue),
        bytes().prop_map(Request::SaslFinal),
        Just(Request::Unsupported(7)),
    ]
}

fn message() -> impl Strategy<Value = BackendMessage> {
    use BackendMessage as Message;
    let text = || "[ -~]{0,20}";
    let column = (text(), any::<u32>(), any::<i16>()).prop_map(|(name, type_oid, type_size)| Column {
        name,
        type_oid,
        type_size,
    });
    let format = (any::<u8>(), prop::collection::vec(any::<i16>(), 0..4))
        .prop_map(|(overall, columns)| CopyFormat { overall, columns });
    prop_oneof![
        authentication().prop_map(Message::Authentication),
        (any::<u32>(), prop::collection::vec(any::<u8>(), 4..=256))
            .prop_map(|(process_id, key)| { Message::BackendKeyData { process_id, secret_key: key.into() } }),
        (text(), text()).prop_map(|(name, value)| Message::ParameterStatus { name, value }),
        (any::<u32>(), prop::collection::vec(text(), 0..3)).prop_map(|(newest, unknown_options)| {
            Message::NegotiateProtocolVersion { newest, unknown_options }
        }),
        prop::collection::vec(column, 0..4).prop_map(Message::RowDescription),
        prop::collection::vec(prop::option::of(bytes()), 0..4).prop_map(Message::DataRow),
        text().prop_map(Message::CommandComplete),
        text().prop_map(|text| Message::NoticeResponse(Box::new(ServerError::error(
            SqlState::SYNTAX_ERROR,
            text
        )))),
        text().prop_map(|text| Message::ErrorResponse(Box::new(ServerError::error(
            SqlState::SYNTAX_ERROR,
            text
        )))),
        format.clone().prop_map(Message::CopyBothResponse),
        format.clone().prop_map(Message::CopyInResponse),
        format.prop_map(Message::CopyOutResponse),
        bytes().prop_map(Message::CopyData),
        prop::sample::select(vec![
            Message::CopyDone,
            Message::EmptyQueryResponse,
            Message::NotificationResponse,
            Message::ReadyForQuery(TransactionStatus::Idle),
            Message::ReadyForQuery(TransactionStatus::Failed),
        ]),
    ]
}

fn encoded(message: &BackendMessage) -> Frame {
    let mut buffer = BytesMut::new();
    message.encode(&mut buffer);
    let frame = FrameDecoder::new(Phase::Server).decode(&mut buffer).unwrap().unwrap();
    assert!(buffer.is_empty());
    frame
}

proptest! {
    #[test]
    fn messages_round_trip(message in message()) {
        prop_assert_eq!(BackendMessage::decode(encoded(&message)), Ok(message));
    }

    #[test]
    fn a_body_cut_short_is_never_a_panic(message in message(), cut in 0_usize..300) {
        let mut frame = encoded(&message);
        frame.body.truncate(cut);
        let _ = BackendMessage::decode(frame);
    }

    #[test]
    fn garbage_never_panics(
        tag in prop::sample::select(b"RKSvZTDCIENGHWdcA1".to_vec()),
        body in prop::collection::vec(any::<u8>(), 0..64),
    ) {
        let _ = BackendMessage::decode(Frame { tag, body: body.into() });
    }
}

#[test]
fn counts_beyond_the_body_are_refused() {
    for (tag, body) in [
        (b'T', &b"\x7f\xff"[..]),
        (b'D', b"\x7f\xff"),
        (b'D', b"\0\x01\x7f\xff\xff\xff"),
        (b'D', b"\0\x01\xff\xff\xff\xfe"),
        (b'W', b"\0\x7f\xff"),
        (b'W', b"\0\xff\xff"),
        (b'v', b"\0\x03\0\0\x7f\xff\xff\xff"),
        (b'K', b"\0\0\0\x01\0\0\0"),
        (b'R', b"\0\0\0\x05\0\0\0"),
        (b'Z', b""),
        (b'Z', b"X"),
    ] {
        let frame = Frame { tag, body: Bytes::from_static(body) };
        assert!(matches!(BackendMessage::decode(frame), Err(MessageError::Malformed(_))), "{tag} {body:?}");
    }
}
