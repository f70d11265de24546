//! Cutting a byte stream into protocol messages.
//!
//! Invariants: a claimed length is checked against the phase's limit before anything is done with it, and memory is
//! never reserved for more than [`RESERVE_AHEAD`] bytes beyond what has arrived. Bodies are handed out as slices of
//! the receive buffer, without copying.

use bytes::{Buf, Bytes, BytesMut};

/// How far the decoder lets a buffer grow beyond the bytes received.
pub const RESERVE_AHEAD: usize = 64 * 1024;
/// Bytes of a frame before its body: the tag and the length.
pub const FRAME_HEADER: usize = 5;
/// The longest first packet of a client (`MAX_STARTUP_PACKET_LENGTH`).
pub const MAX_STARTUP_PACKET: u32 = 10_000;
/// The longest message either side accepts for bulk data (`PQ_LARGE_MESSAGE_LIMIT`).
pub const LARGE_MESSAGE: u32 = 0x3fff_fffe;

/// One message: a tag and a body.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Frame {
    /// The message type.
    pub tag: u8,
    /// Everything after the length word.
    pub body: Bytes,
}

/// A stream that cannot be cut into messages any further.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// A length that is too short to include itself, or longer than this message may be now.
    #[error("invalid length {length} of message type \"{}\"", tag.escape_ascii())]
    InvalidLength {
        /// The message type.
        tag: u8,
        /// The claimed length, which includes itself.
        length: u32,
    },
    /// A message that may not come in this phase, whatever its length.
    #[error("unexpected message type \"{}\"", .0.escape_ascii())]
    UnexpectedType(u8),
    /// A first packet whose length no client would send.
    #[error("invalid length {0} of startup packet")]
    InvalidStartupLength(u32),
}

/// What may arrive, and how long it may be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Phase {
    /// At a client that is logging in. Source: `PQconnectPoll`.
    ServerStartup,
    /// At a client that is logged in. Source: `pqParseInput3`.
    Server,
    /// At a server whose client is logging in: only `p`, at most 65,535 bytes long (`PG_MAX_AUTH_TOKEN_LENGTH`).
    ClientAuthentication,
    /// At a server whose client is logged in. Source: `SocketBackend`.
    Client,
    /// At a server that streams WAL: CopyData up to the given length, CopyDone and Terminate.
    ClientStreaming {
        /// The longest CopyData.
        max_copy_data: u32,
    },
}

impl Phase {
    /// The largest length word that a message of this type may carry; `None` if it may not come at all.
    const fn limit(self, tag: u8) -> Option<u32> {
        match self {
            Self::ServerStartup => match tag {
                b'R' => Some(2_000),
                b'v' | b'K' => Some(8_000),
                b'E' | b'N' | b'S' => Some(30_000),
                b'Z' => Some(5),
                _ => None,
            },
            Self::Server => match tag {
                // The types that libpq lets be long (VALID_LONG_MESSAGE_TYPE).
                b'T' | b'D' | b'd' | b'V' | b'E' | b'N' | b'A' => Some(LARGE_MESSAGE),
                b'C' | b'Z' | b'S' | b'K' | b'c' | b'G' | b'H' | b'W' | b'I' | b'1' | b'2' | b'3' | b'n'
                | b's' | b't' | b'R' | b'v' => Some(30_000),
                _ => None,
            },
            Self::ClientAuthentication => match tag {
                b'p' => Some(65_535),
                _ => None,
            },
            Self::Client => match tag {
                b'Q' | b'd' | b'P' | b'B' | b'F' => Some(LARGE_MESSAGE),
                b'X' | b'c' | b'f' | b'S' | b'H' | b'E' | b'D' | b'C' | b'p' => Some(10_000),
                _ => None,
            },
            Self::ClientStreaming { max_copy_data } => match tag {
                b'd' => Some(max_copy_data),
                b'c' | b'X' => Some(10_000),
                _ => None,
            },
        }
    }
}

/// Cuts messages off the front of a receive buffer.
#[derive(Clone, Debug)]
pub struct FrameDecoder {
    phase: Phase,
}

impl FrameDecoder {
    /// A decoder for messages of `phase`.
    pub const fn new(phase: Phase) -> Self {
        Self { phase }
    }

    /// From now on, messages of `phase` are expected.
    pub const fn set_phase(&mut self, phase: Phase) {
        self.phase = phase;
    }

    /// What is expected now.
    pub const fn phase(&self) -> Phase {
        self.phase
    }

    /// The tag and the whole size (header included) of the message at the front of `buffer`, as soon as its
    /// header is there. Checks the length against the phase.
    pub fn peek(&self, buffer: &[u8]) -> Result<Option<(u8, usize)>, FrameError> {
        let Some((&tag, rest)) = buffer.split_first() else { return Ok(None) };
        let limit = self.phase.limit(tag).ok_or(FrameError::UnexpectedType(tag))?;
        let Some(length) = rest.first_chunk::<4>() else { return Ok(None) };
        let length = u32::from_be_bytes(*length);
        if length < 4 || length > limit {
            return Err(FrameError::InvalidLength { tag, length });
        }
        Ok(Some((tag, length as usize + 1)))
    }

    /// Takes one complete message off `buffer`. `None` if there is none yet; room for what is missing, up to
    /// [`RESERVE_AHEAD`] bytes, is then there for the next read.
    pub fn decode(&self, buffer: &mut BytesMut) -> Result<Option<Frame>, FrameError> {
        let Some((tag, size)) = self.peek(buffer)? else {
            reserve_for(buffer, FRAME_HEADER);
            return Ok(None);
        };
        if buffer.len() < size {
            reserve_for(buffer, size);
            return Ok(None);
        }
        let mut body = buffer.split_to(size).freeze();
        body.advance(FRAME_HEADER);
        Ok(Some(Frame { tag, body }))
    }
}

/// Takes a client's first packet, which has no tag, off `buffer`: the bytes after its length word.
pub fn decode_startup_frame(buffer: &mut BytesMut) -> Result<Option<Bytes>, FrameError> {
    let Some(length) = buffer.first_chunk::<4>() else { return Ok(None) };
    let length = u32::from_be_bytes(*length);
    if !(8..=MAX_STARTUP_PACKET).contains(&length) {
        return Err(FrameError::InvalidStartupLength(length));
    }
    if buffer.len() < length as usize {
        reserve_for(buffer, length as usize);
        return Ok(None);
    }
    let mut body = buffer.split_to(length as usize).freeze();
    body.advance(4);
    Ok(Some(body))
}

fn reserve_for(buffer: &mut BytesMut, size: usize) {
    buffer.reserve(size.saturating_sub(buffer.len()).min(RESERVE_AHEAD));
}

#[cfg(test)]
mod tests {
    use bytes::BufMut;
    use proptest::prelude::*;

    use super::*;

    const PHASES: [Phase; 5] = [
        Phase::ServerStartup,
        Phase::Server,
        Phase::ClientAuthentication,
        Phase::Client,
        Phase::ClientStreaming { max_copy_data: 1 << 20 },
    ];

    #[test]
    fn a_claimed_gibibyte_reserves_little() {
        let mut buffer = BytesMut::from(&b"d\x3f\xff\xff\xfe"[..]);
        assert_eq!(FrameDecoder::new(Phase::Server).decode(&mut buffer), Ok(None));
        assert!(buffer.capacity() <= 2 * RESERVE_AHEAD, "{}", buffer.capacity());
    }

    #[test]
    fn lengths_are_limited_by_phase() {
        let bytes = |tag: u8, length: u32| {
            let mut bytes = BytesMut::new();
            bytes.put_u8(tag);
            bytes.put_u32(length);
            bytes
        };
        for (phase, tag, length) in [
            (Phase::ServerStartup, b'R', 2_001),
            (Phase::ServerStartup, b'E', 30_001),
            (Phase::Server, b'd', 0x4000_0000),
            (Phase::Server, b'Z', 30_001),
            (Phase::ClientAuthentication, b'p', 65_536),
            (Phase::Client, b'X', 10_001),
            (Phase::ClientStreaming { max_copy_data: 100 }, b'd', 101),
            (Phase::Client, b'Q', 3),
        ] {
            let error = FrameDecoder::new(phase).decode(&mut bytes(tag, length));
            assert_eq!(error, Err(FrameError::InvalidLength { tag, length }), "{phase:?}");
        }
        let unexpected = FrameDecoder::new(Phase::ClientAuthentication).decode(&mut bytes(b'Q', 8));
        assert_eq!(unexpected, Err(FrameError::UnexpectedType(b'Q')));
    }

    #[test]
    fn a_startup_packet_is_limited_too() {
        for length in [0_u32, 7, 10_001, u32::MAX] {
            let mut buffer = BytesMut::from(&length.to_be_bytes()[..]);
            assert_eq!(decode_startup_frame(&mut buffer), Err(FrameError::InvalidStartupLength(length)));
        }
        let mut buffer = BytesMut::from(&[0, 0, 0, 8, 1, 2, 3, 4, 9][..]);
        assert_eq!(decode_startup_frame(&mut buffer).unwrap().unwrap(), [1, 2, 3, 4][..]);
        assert_eq!(buffer, [9][..]);
    }

    proptest! {
        #[test]
        fn any_chunking_gives_the_same_frames(
            bodies in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..50), 0..10),
            chunk in 1_usize..40,
        ) {
            let mut stream = Vec::new();
            for body in &bodies {
                stream.put_u8(b'd');
                stream.put_u32(body.len() as u32 + 4);
                stream.extend_from_slice(body);
            }
            let decoder = FrameDecoder::new(Phase::Server);
            let (mut buffer, mut seen) = (BytesMut::new(), Vec::new());
            for bytes in stream.chunks(chunk) {
                buffer.extend_from_slice(bytes);
                while let Some(frame) = decoder.decode(&mut buffer).unwrap() {
                    seen.push(frame.body.to_vec());
                }
            }
            prop_assert_eq!(seen, bodies);
        }

        #[test]
        fn garbage_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
            for phase in PHASES {
                let mut buffer = BytesMut::from(&bytes[..]);
                let _ = FrameDecoder::new(phase).decode(&mut buffer);
                prop_assert!(buffer.capacity() <= 2 * RESERVE_AHEAD + bytes.len());
            }
            let _ = decode_startup_frame(&mut BytesMut::from(&bytes[..]));
        }
    }
}
