//! What a client sends after its startup packet.

use bytes::{BufMut, Bytes, BytesMut};

use super::MessageError;
use super::body::{Body, put_frame, put_text};
use crate::frame::Frame;

/// A client's message.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum FrontendMessage {
    /// `Q`: a command or a SQL text.
    Query(String),
    /// `p`: an answer to an authentication request; what it holds depends on the request.
    Authentication(Bytes),
    /// `d`.
    CopyData(Bytes),
    /// `c`.
    CopyDone,
    /// `f`, with the reason.
    CopyFail(String),
    /// `X`: goodbye.
    Terminate,
    /// A message of the extended query protocol (`P B D E C F S H`), by its type, body unread.
    Extended(u8),
}

impl FrontendMessage {
    /// Takes a frame apart.
    pub fn decode(frame: Frame) -> Result<Self, MessageError> {
        let body = |name| Body { name, bytes: frame.body.clone() };
        match frame.tag {
            b'Q' => {
                let mut body = body("Query");
                let text = body.text()?;
                body.end(Self::Query(text))
            }
            b'p' => Ok(Self::Authentication(frame.body)),
            b'd' => Ok(Self::CopyData(frame.body)),
            // As PostgreSQL does, whatever these two carry is passed over.
            b'c' => Ok(Self::CopyDone),
            b'X' => Ok(Self::Terminate),
            b'f' => {
                let mut body = body("CopyFail");
                let text = body.text()?;
                body.end(Self::CopyFail(text))
            }
            tag @ (b'P' | b'B' | b'D' | b'E' | b'C' | b'F' | b'S' | b'H') => Ok(Self::Extended(tag)),
            other => Err(MessageError::UnknownType(other)),
        }
    }

    /// Appends the message. An extended-protocol message is sent with an empty body.
    pub fn encode(&self, out: &mut BytesMut) {
        match self {
            Self::Query(text) => put_frame(out, b'Q', |out| put_text(out, text)),
            Self::Authentication(bytes) => put_frame(out, b'p', |out| out.put_slice(bytes)),
            Self::CopyData(bytes) => put_frame(out, b'd', |out| out.put_slice(bytes)),
            Self::CopyDone => put_frame(out, b'c', |_| ()),
            Self::CopyFail(reason) => put_frame(out, b'f', |out| put_text(out, reason)),
            Self::Terminate => put_frame(out, b'X', |_| ()),
            Self::Extended(tag) => put_frame(out, *tag, |_| ()),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::frame::{FrameDecoder, Phase};

    fn message() -> impl Strategy<Value = FrontendMessage> {
        let bytes = || prop::collection::vec(any::<u8>(), 0..50).prop_map(Bytes::from);
        prop_oneof![
            "[ -~]{0,50}".prop_map(FrontendMessage::Query),
            bytes().prop_map(FrontendMessage::Authentication),
            bytes().prop_map(FrontendMessage::CopyData),
            Just(FrontendMessage::CopyDone),
            "[ -~]{0,50}".prop_map(FrontendMessage::CopyFail),
            Just(FrontendMessage::Terminate),
        ]
    }

    proptest! {
        #[test]
        fn messages_round_trip(message in message()) {
            let mut buffer = BytesMut::new();
            message.encode(&mut buffer);
            let frame = FrameDecoder::new(Phase::Client).decode(&mut buffer).unwrap().unwrap();
            prop_assert_eq!(FrontendMessage::decode(frame), Ok(message));
            prop_assert!(buffer.is_empty());
        }

        #[test]
        fn garbage_never_panics(tag: u8, body in prop::collection::vec(any::<u8>(), 0..64)) {
            let _ = FrontendMessage::decode(Frame { tag, body: body.into() });
        }
    }

    #[test]
    fn a_query_ends_with_its_zero() {
        for body in [&b"SHOW x"[..], b"SHOW x\0y"] {
            let frame = Frame { tag: b'Q', body: Bytes::from_static(body) };
            assert_eq!(FrontendMessage::decode(frame), Err(MessageError::Malformed("Query")));
        }
    }
}
