//! The buffers that a connection is read into.

use std::collections::VecDeque;

use bytes::{Buf, BytesMut};

use crate::frame::{FRAME_HEADER, Frame, FrameDecoder, FrameError};

/// Receive buffers that are handed out in slices, and used again once all slices of them are dropped.
///
/// Invariant: memory grows with what has been received, never with a length that a peer claims.
pub(super) struct ReceiveBuffer {
    /// What is being read into; its filled part begins with the next frame.
    current: BytesMut,
    /// Earlier buffers, empty, whose slices may still be in use.
    retired: VecDeque<BytesMut>,
    /// How large a buffer is.
    chunk: usize,
}

/// Enough for commands and log-in.
const SMALL_CHUNK: usize = 16 * 1024;
/// For bulk data: four of PostgreSQL's largest WAL messages.
const LARGE_CHUNK: usize = 512 * 1024;
/// Below this much room, the next buffer is taken.
const LEAST_READ: usize = 4 * 1024;
/// With this much room left in a large buffer, reading goes on in it.
const LEAST_LARGE_READ: usize = 64 * 1024;
/// How many buffers wait to be used again.
const MOST_RETIRED: usize = 64;

impl ReceiveBuffer {
    pub(super) fn new() -> Self {
        Self { current: BytesMut::new(), retired: VecDeque::new(), chunk: SMALL_CHUNK }
    }

    /// From now on, bulk data is to be expected (or not).
    pub(super) fn expect_bulk(&mut self, bulk: bool) {
        self.chunk = if bulk { LARGE_CHUNK } else { SMALL_CHUNK };
        if !bulk {
            self.retired.clear();
        }
    }

    /// Takes the next complete frame out, without copying.
    pub(super) fn take_frame(&mut self, decoder: &FrameDecoder) -> Result<Option<Frame>, FrameError> {
        let Some((tag, size)) = decoder.peek(&self.current)? else { return Ok(None) };
        if self.current.len() < size {
            return Ok(None);
        }
        let mut body = self.current.split_to(size).freeze();
        body.advance(FRAME_HEADER);
        Ok(Some(Frame { tag, body }))
    }

    /// The buffer to read into, with room in it.
    pub(super) fn room(&mut self) -> &mut BytesMut {
        let spare = self.current.capacity() - self.current.len();
        let least = if self.chunk == LARGE_CHUNK { LEAST_LARGE_READ } else { LEAST_READ };
        if spare < least {
            self.change_buffer();
        }
        assert!(self.has_room(), "a buffer to read into has room");
        &mut self.current
    }

    /// Whether the last read left room: it took all there was.
    pub(super) fn has_room(&self) -> bool {
        self.current.len() < self.current.capacity()
    }

    /// Moves the beginning of an unfinished frame to another buffer. A frame longer than a buffer gets one twice as
    /// long as what has been received of it, time and again.
    fn change_buffer(&mut self) {
        let capacity = self.chunk.max(self.current.len().saturating_mul(2));
        let mut next = self.reclaim(capacity).unwrap_or_else(|| BytesMut::with_capacity(capacity));
        next.extend_from_slice(&self.current);
        let mut last = std::mem::replace(&mut self.current, next);
        last.clear();
        if self.chunk == LARGE_CHUNK && self.retired.len() < MOST_RETIRED {
            self.retired.push_back(last);
        }
    }

    fn reclaim(&mut self, capacity: usize) -> Option<BytesMut> {
        if capacity > LARGE_CHUNK {
            return None;
        }
        let free = self.retired.iter_mut().position(|buffer| buffer.try_reclaim(capacity))?;
        self.retired.remove(free)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::Phase;

    fn frame(length: usize) -> Vec<u8> {
        let mut bytes = vec![b'd'];
        bytes.extend_from_slice(&(length as u32 + 4).to_be_bytes());
        bytes.resize(bytes.len() + length, 7);
        bytes
    }

    /// Feeds `stream` as a socket would, and gives what comes out to `each`.
    fn run(buffer: &mut ReceiveBuffer, mut stream: &[u8], mut each: impl FnMut(Frame)) {
        let decoder = FrameDecoder::new(Phase::Server);
        while !stream.is_empty() {
            let room = buffer.room();
            let read = stream.len().min(room.capacity() - room.len());
            room.extend_from_slice(&stream[..read]);
            stream = &stream[read..];
            while let Some(frame) = buffer.take_frame(&decoder).unwrap() {
                each(frame);
            }
        }
    }

    #[test]
    fn buffers_are_used_again_once_their_slices_are_gone() {
        let mut buffer = ReceiveBuffer::new();
        buffer.expect_bulk(true);
        let stream = frame(128 * 1024).repeat(100);
        let mut seen = 0;
        run(&mut buffer, &stream, |frame| seen += usize::from(frame.body.len() == 128 * 1024));
        assert_eq!(seen, 100);
        assert!(buffer.retired.len() <= 2, "{} buffers for 13 MB, one at a time", buffer.retired.len());
    }

    #[test]
    fn slices_kept_are_not_overwritten() {
        let mut buffer = ReceiveBuffer::new();
        buffer.expect_bulk(true);
        let mut kept = Vec::new();
        let mut stream = Vec::new();
        for value in 0..100_u8 {
            stream.extend_from_slice(&frame(100_000)[..5]);
            stream.resize(stream.len() + 100_000, value);
        }
        run(&mut buffer, &stream, |frame| kept.push(frame.body));
        for (value, body) in (0..100_u8).zip(kept) {
            assert!(body.iter().all(|&byte| byte == value), "{value}");
        }
    }

    #[test]
    fn a_frame_longer_than_a_buffer_arrives() {
        for bulk in [true, false] {
            let mut buffer = ReceiveBuffer::new();
            buffer.expect_bulk(bulk);
            let mut lengths = Vec::new();
            run(&mut buffer, &[frame(3 << 20), frame(1)].concat(), |frame| lengths.push(frame.body.len()));
            assert_eq!(lengths, [3 << 20, 1]);
        }
    }

    #[test]
    fn a_claimed_gibibyte_takes_one_buffer() {
        let mut buffer = ReceiveBuffer::new();
        buffer.expect_bulk(true);
        run(&mut buffer, b"d\x3f\xff\xff\xfe12345", |_| panic!("no frame is complete"));
        assert!(buffer.room().capacity() <= LARGE_CHUNK);
    }
}
