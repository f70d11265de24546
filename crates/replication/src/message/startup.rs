//! A client's first packets, which have no type byte.

use bytes::{Buf, BufMut, Bytes, BytesMut};

use super::MessageError;
use super::body::{Body, put_length_prefixed, put_text};

/// Protocol 3.0 as a number.
pub const PROTOCOL_3_0: u32 = 3 << 16;
/// The code of a CancelRequest.
pub const CANCEL_REQUEST: u32 = 80_877_102;
/// The code of an SSLRequest.
pub const SSL_REQUEST: u32 = 80_877_103;
/// The code of a GSSENCRequest.
pub const GSSENC_REQUEST: u32 = 80_877_104;

/// What a client may begin with.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum FirstPacket {
    /// Asks for TLS; answered by one byte, `S` or `N`.
    SslRequest,
    /// Asks for Kerberos encryption; answered by one byte, `G` or `N`.
    GssEncRequest,
    /// Asks for another connection's query to be cancelled; not answered.
    Cancel {
        /// That connection's process.
        process_id: u32,
        /// And the secret that it was given.
        secret_key: Bytes,
    },
    /// Wants to log in.
    Startup(StartupMessage),
}

/// The startup packet.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StartupMessage {
    /// The protocol asked for, major in the upper half, minor in the lower. The major is always 3.
    pub protocol: u32,
    /// Names and values in the order sent.
    pub parameters: Vec<(String, String)>,
}

impl StartupMessage {
    /// The last value given for `name`.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.parameters.iter().rev().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}

impl FirstPacket {
    /// Reads what came after the length word (see [`decode_startup_frame`](crate::frame::decode_startup_frame)).
    pub fn decode(bytes: Bytes) -> Result<Self, MessageError> {
        let mut body = Body { name: "startup", bytes };
        match body.u32()? {
            SSL_REQUEST => body.end(Self::SslRequest),
            GSSENC_REQUEST => body.end(Self::GssEncRequest),
            CANCEL_REQUEST => {
                let process_id = body.u32()?;
                // Four bytes in protocol 3.0, up to 256 in 3.2.
                if !(4..=256).contains(&body.bytes.len()) {
                    return Err(body.malformed());
                }
                Ok(Self::Cancel { process_id, secret_key: body.bytes })
            }
            protocol if protocol >> 16 == 3 => {
                let mut parameters = Vec::new();
                loop {
                    let name = body.text()?;
                    if name.is_empty() {
                        return body.end(Self::Startup(StartupMessage { protocol, parameters }));
                    }
                    parameters.push((name, body.text()?));
                }
            }
            other => Err(MessageError::UnsupportedProtocol(other)),
        }
    }

    /// Appends the packet with its length word.
    pub fn encode(&self, out: &mut BytesMut) {
        put_length_prefixed(out, |out| match self {
            Self::SslRequest => out.put_u32(SSL_REQUEST),
            Self::GssEncRequest => out.put_u32(GSSENC_REQUEST),
            Self::Cancel { process_id, secret_key } => {
                out.put_u32(CANCEL_REQUEST);
                out.put_u32(*process_id);
                out.put(secret_key.chunk());
            }
            Self::Startup(startup) => {
                out.put_u32(startup.protocol);
                for (name, value) in &startup.parameters {
                    put_text(out, name);
                    put_text(out, value);
                }
                out.put_u8(0);
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::frame::decode_startup_frame;

    fn round_trip(packet: &FirstPacket) -> Result<FirstPacket, MessageError> {
        let mut buffer = BytesMut::new();
        packet.encode(&mut buffer);
        FirstPacket::decode(decode_startup_frame(&mut buffer).unwrap().unwrap())
    }

    proptest! {
        #[test]
        fn packets_round_trip(parameters in prop::collection::vec(("[a-z_]{1,9}", "[ -~]{0,9}"), 0..5)) {
            let startup = StartupMessage { protocol: PROTOCOL_3_0, parameters };
            let cancel = FirstPacket::Cancel { process_id: 5, secret_key: Bytes::from_static(&[1; 32]) };
            for packet in [FirstPacket::Startup(startup), cancel, FirstPacket::SslRequest, FirstPacket::GssEncRequest] {
                prop_assert_eq!(round_trip(&packet), Ok(packet));
            }
        }

        #[test]
        fn garbage_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            let mut startup = PROTOCOL_3_0.to_be_bytes().to_vec();
            startup.extend_from_slice(&bytes);
            let _ = FirstPacket::decode(startup.into());
            let _ = FirstPacket::decode(bytes.into());
        }
    }

    #[test]
    fn another_major_version_is_named() {
        let error = FirstPacket::decode(Bytes::from_static(&[0, 2, 0, 0])).unwrap_err();
        assert_eq!(error.to_string(), "unsupported frontend protocol 2.0");
    }

    #[test]
    fn a_parameter_without_a_value_is_malformed() {
        let bytes = Bytes::from_static(b"\0\x03\0\0user\0");
        assert_eq!(FirstPacket::decode(bytes), Err(MessageError::Malformed("startup")));
    }
}
