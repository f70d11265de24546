//! The messages of START_REPLICATION PHYSICAL. Source: "Streaming Replication Protocol", walsender.c, walreceiver.c.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use wal::Lsn;

use super::{PayloadError, PgTimestamp};

/// `w`: WAL.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct WalData {
    /// Where the first byte of `data` belongs.
    pub start: Lsn,
    /// How far the server may send: its flush position, or the end of the timeline.
    pub server_end: Lsn,
    /// When the server sent it, by the server's clock.
    pub send_time: PgTimestamp,
    /// Bytes of the log, from anywhere to anywhere; may cross a segment boundary.
    pub data: Bytes,
}

/// `k`: the server is alive.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Keepalive {
    /// How far the server has sent.
    pub end: Lsn,
    /// When the server sent it, by the server's clock.
    pub send_time: PgTimestamp,
    /// Whether the server wants a status at once, lest it drop the connection.
    pub reply_requested: bool,
}

/// `r`: how far the client is. 0/0 means "not known" or "not offered".
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct StandbyStatus {
    /// After the last byte received and written.
    pub write: Lsn,
    /// After the last byte that is durable; a slot's restart position follows it.
    pub flush: Lsn,
    /// After the last byte replayed.
    pub apply: Lsn,
    /// When the client sent it, by the client's clock.
    pub time: PgTimestamp,
    /// Whether the client wants a keepalive at once.
    pub reply_requested: bool,
}

/// `h`: what a hot standby's queries still need. All zero: feedback is off.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct HotStandbyFeedback {
    /// When the client sent it.
    pub time: PgTimestamp,
    /// The oldest transaction needed by queries, and its epoch.
    pub xmin: u32,
    /// Epoch of `xmin`.
    pub xmin_epoch: u32,
    /// The oldest transaction needed by slots for the catalogue.
    pub catalog_xmin: u32,
    /// Epoch of `catalog_xmin`.
    pub catalog_xmin_epoch: u32,
}

/// What a server sends while streaming.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ServerPayload {
    /// WAL.
    Wal(WalData),
    /// Alive.
    Keepalive(Keepalive),
}

/// What a client sends while streaming.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ClientPayload {
    /// Positions.
    Status(StandbyStatus),
    /// Transactions still needed.
    HotStandbyFeedback(HotStandbyFeedback),
}

/// Bytes before the WAL in a complete `d` frame that carries a `w`.
pub const WAL_FRAME_HEADER: usize = 1 + 4 + WAL_HEADER;
const WAL_HEADER: usize = 1 + 8 + 8 + 8;
const KEEPALIVE: usize = 1 + 8 + 8 + 1;
const STATUS: usize = 1 + 8 + 8 + 8 + 8 + 1;
const FEEDBACK: usize = 1 + 8 + 4 * 4;

/// The bytes that go before `data_len` bytes of WAL to make a complete CopyData frame, for a vectored write.
/// `None` if the frame's length would not fit the protocol.
pub fn wal_frame_header(
    start: Lsn,
    server_end: Lsn,
    send_time: PgTimestamp,
    data_len: usize,
) -> Option<[u8; WAL_FRAME_HEADER]> {
    let length = i32::try_from(data_len.checked_add(4 + WAL_HEADER)?).ok()?;
    let mut header = [0; WAL_FRAME_HEADER];
    let mut out = &mut header[..];
    out.put_u8(b'd');
    out.put_i32(length);
    out.put_u8(b'w');
    out.put_u64(start.as_u64());
    out.put_u64(server_end.as_u64());
    out.put_i64(send_time.as_micros());
    Some(header)
}

fn expect_length(kind: u8, body: &[u8], length: usize) -> Result<(), PayloadError> {
    if body.len() == length { Ok(()) } else { Err(PayloadError::WrongLength { kind, length: body.len() }) }
}

fn get_lsn(buf: &mut impl Buf) -> Lsn {
    Lsn::new(buf.get_u64())
}

fn get_time(buf: &mut impl Buf) -> PgTimestamp {
    PgTimestamp::from_micros(buf.get_i64())
}

impl ServerPayload {
    /// Reads one CopyData body; the WAL is a slice of it.
    pub fn decode(mut body: Bytes) -> Result<Self, PayloadError> {
        let kind = *body.first().ok_or(PayloadError::Empty)?;
        match kind {
            b'w' => {
                if body.len() < WAL_HEADER {
                    return Err(PayloadError::WrongLength { kind, length: body.len() });
                }
                body.advance(1);
                let (start, server_end) = (get_lsn(&mut body), get_lsn(&mut body));
                let send_time = get_time(&mut body);
                Ok(Self::Wal(WalData { start, server_end, send_time, data: body }))
            }
            b'k' => {
                expect_length(kind, &body, KEEPALIVE)?;
                body.advance(1);
                let (end, send_time) = (get_lsn(&mut body), get_time(&mut body));
                Ok(Self::Keepalive(Keepalive { end, send_time, reply_requested: body.get_u8() != 0 }))
            }
            other => Err(PayloadError::UnknownType(other)),
        }
    }
}

impl WalData {
    /// Appends the CopyData body. A server on its hot path uses [`wal_frame_header`] instead.
    pub fn encode(&self, out: &mut BytesMut) {
        out.put_u8(b'w');
        out.put_u64(self.start.as_u64());
        out.put_u64(self.server_end.as_u64());
        out.put_i64(self.send_time.as_micros());
        out.extend_from_slice(&self.data);
    }
}

impl Keepalive {
    /// Appends the CopyData body.
    pub fn encode(&self, out: &mut BytesMut) {
        out.put_u8(b'k');
        out.put_u64(self.end.as_u64());
        out.put_i64(self.send_time.as_micros());
        out.put_u8(u8::from(self.reply_requested));
    }
}

impl StandbyStatus {
    /// Appends the CopyData body.
    pub fn encode(&self, out: &mut BytesMut) {
        out.extend_from_slice(&self.to_bytes());
    }

    /// The CopyData body.
    pub fn to_bytes(&self) -> [u8; STATUS] {
        let mut bytes = [0; STATUS];
        let mut out = &mut bytes[..];
        out.put_u8(b'r');
        out.put_u64(self.write.as_u64());
        out.put_u64(self.flush.as_u64());
        out.put_u64(self.apply.as_u64());
        out.put_i64(self.time.as_micros());
        out.put_u8(u8::from(self.reply_requested));
        bytes
    }
}

impl HotStandbyFeedback {
    /// Appends the CopyData body.
    pub fn encode(&self, out: &mut BytesMut) {
        out.put_u8(b'h');
        out.put_i64(self.time.as_micros());
        out.put_u32(self.xmin);
        out.put_u32(self.xmin_epoch);
        out.put_u32(self.catalog_xmin);
        out.put_u32(self.catalog_xmin_epoch);
    }
}

impl ClientPayload {
    /// Reads one CopyData body.
    pub fn decode(body: &[u8]) -> Result<Self, PayloadError> {
        let kind = *body.first().ok_or(PayloadError::Empty)?;
        let mut rest = body;
        match kind {
            b'r' => {
                expect_length(kind, body, STATUS)?;
                rest.advance(1);
                let (write, flush, apply) = (get_lsn(&mut rest), get_lsn(&mut rest), get_lsn(&mut rest));
                let time = get_time(&mut rest);
                let reply_requested = rest.get_u8() != 0;
                Ok(Self::Status(StandbyStatus { write, flush, apply, time, reply_requested }))
            }
            b'h' => {
                expect_length(kind, body, FEEDBACK)?;
                rest.advance(1);
                let time = get_time(&mut rest);
                Ok(Self::HotStandbyFeedback(HotStandbyFeedback {
                    time,
                    xmin: rest.get_u32(),
                    xmin_epoch: rest.get_u32(),
                    catalog_xmin: rest.get_u32(),
                    catalog_xmin_epoch: rest.get_u32(),
                }))
            }
            other => Err(PayloadError::UnknownType(other)),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn wal_round_trips_through_both_encoders(
            start: u64, end: u64, time: i64, data in prop::collection::vec(any::<u8>(), 0..100),
        ) {
            let message = WalData {
                start: Lsn::new(start), server_end: Lsn::new(end),
                send_time: PgTimestamp::from_micros(time), data: data.clone().into(),
            };
            let mut body = BytesMut::new();
            message.encode(&mut body);
            let header = wal_frame_header(message.start, message.server_end, message.send_time, data.len()).unwrap();
            prop_assert_eq!(&header[5..], &body[..WAL_HEADER]);
            prop_assert_eq!(&header[1..5], &(body.len() as i32 + 4).to_be_bytes()[..]);
            prop_assert_eq!(ServerPayload::decode(body.freeze()), Ok(ServerPayload::Wal(message)));
        }

        #[test]
        fn keepalives_round_trip(end: u64, time: i64, reply_requested: bool) {
            let message =
                Keepalive { end: Lsn::new(end), send_time: PgTimestamp::from_micros(time), reply_requested };
            let mut body = BytesMut::new();
            message.encode(&mut body);
            prop_assert_eq!(ServerPayload::decode(body.freeze()), Ok(ServerPayload::Keepalive(message)));
        }

        #[test]
        fn statuses_round_trip(write: u64, flush: u64, apply: u64, time: i64, reply_requested: bool) {
            let [write, flush, apply] = [write, flush, apply].map(Lsn::new);
            let time = PgTimestamp::from_micros(time);
            let message = StandbyStatus { write, flush, apply, time, reply_requested };
            prop_assert_eq!(ClientPayload::decode(&message.to_bytes()), Ok(ClientPayload::Status(message)));
        }

        #[test]
        fn feedback_round_trips(time: i64, xmin: u32, xmin_epoch: u32, catalog_xmin: u32, catalog_xmin_epoch: u32) {
            let time = PgTimestamp::from_micros(time);
            let message = HotStandbyFeedback { time, xmin, xmin_epoch, catalog_xmin, catalog_xmin_epoch };
            let mut body = BytesMut::new();
            message.encode(&mut body);
            prop_assert_eq!(ClientPayload::decode(&body), Ok(ClientPayload::HotStandbyFeedback(message)));
        }

        #[test]
        fn garbage_never_panics(body in prop::collection::vec(any::<u8>(), 0..64), kind in prop::sample::select(b"wkrh".to_vec())) {
            let mut named = vec![kind];
            named.extend_from_slice(&body);
            for bytes in [body, named] {
                let _ = ClientPayload::decode(&bytes);
                let _ = ServerPayload::decode(bytes.into());
            }
        }
    }
}
