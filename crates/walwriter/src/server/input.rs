//! What was received and not yet read.

use std::os::fd::OwnedFd;

use rustix::buffer::spare_capacity;
use rustix::io::Errno;

/// How much is received at once, and how large an empty buffer is.
pub(super) const CHUNK: usize = 16 * 1024;
/// How far a buffer grows beyond what has arrived of a long message.
const AHEAD: usize = 256 * 1024;

/// A receive buffer; without bytes in it, it may be without memory too.
#[derive(Debug, Default)]
pub(super) struct Input {
    bytes: Vec<u8>,
    /// How much of `bytes` has been read. Never beyond its length.
    start: usize,
}

/// What a read from the socket gave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Received {
    /// Bytes; whether there may be more at once.
    Some {
        /// The buffer was filled.
        more: bool,
    },
    /// Nothing at the moment.
    Nothing,
    /// The client has closed its side, or is gone.
    End,
}

impl Input {
    pub(super) fn pending(&self) -> &[u8] {
        self.bytes.get(self.start..).unwrap_or_default()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.start == self.bytes.len()
    }

    pub(super) fn consume(&mut self, count: usize) {
        self.start = (self.start + count).min(self.bytes.len());
        if self.is_empty() {
            self.bytes.clear();
            self.start = 0;
        }
    }

    /// Receives what there is, up to the room there is. `wanted` is the size of the message at the front, or 0: for a
    /// long one the room grows with what has arrived.
    pub(super) fn receive(&mut self, socket: &OwnedFd, pool: &mut Pool, wanted: usize) -> Received {
        if self.bytes.capacity() == 0 {
            self.bytes = pool.take();
        }
        if self.start > 0 {
            self.bytes.drain(..self.start);
            self.start = 0;
        }
        let missing = wanted.saturating_sub(self.bytes.len());
        if self.bytes.capacity() - self.bytes.len() < CHUNK / 2 || missing > CHUNK {
            self.bytes.reserve(missing.clamp(CHUNK, AHEAD));
        }
        loop {
            let room = self.bytes.capacity() - self.bytes.len();
            match rustix::io::read(socket, spare_capacity(&mut self.bytes)) {
                Ok(0) => return Received::End,
                Ok(count) => return Received::Some { more: count == room },
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return Received::Nothing,
                Err(_) => return Received::End,
            }
        }
    }

    /// Gives the memory back if nothing is in it.
    pub(super) fn relax(&mut self, pool: &mut Pool) {
        if self.is_empty() && self.bytes.capacity() > 0 {
            pool.give(std::mem::take(self).bytes);
        }
    }

    /// Takes everything out.
    pub(super) fn into_pending(mut self) -> Vec<u8> {
        self.bytes.drain(..self.start);
        self.bytes
    }
}

/// Empty buffers of one worker, lent to connections while they have something in them.
#[derive(Debug, Default)]
pub(super) struct Pool(Vec<Vec<u8>>);

impl Pool {
    /// How many buffers are kept.
    const KEPT: usize = 256;
    /// Larger ones are not kept.
    pub(super) const LARGEST_KEPT: usize = 128 * 1024;

    pub(super) fn take(&mut self) -> Vec<u8> {
        self.0.pop().unwrap_or_else(|| Vec::with_capacity(CHUNK))
    }

    pub(super) fn give(&mut self, mut buffer: Vec<u8>) {
        if self.0.len() < Self::KEPT && (CHUNK..=Self::LARGEST_KEPT).contains(&buffer.capacity()) {
            buffer.clear();
            self.0.push(buffer);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn a_buffer_grows_with_what_arrives_and_is_given_back_when_it_is_empty() {
        let (mut client, server) = UnixStream::pair().unwrap();
        server.set_nonblocking(true).unwrap();
        let socket = OwnedFd::from(server);
        let (mut input, mut pool) = (Input::default(), Pool::default());
        assert_eq!(input.receive(&socket, &mut pool, 0), Received::Nothing);
        client.write_all(&[7; 100]).unwrap();
        // A gibibyte is claimed, a hundred bytes are there.
        assert_eq!(input.receive(&socket, &mut pool, 1 << 30), Received::Some { more: false });
        assert!(input.bytes.capacity() <= AHEAD + 2 * CHUNK);
        input.relax(&mut pool);
        assert_eq!(input.pending(), [7; 100]);
        input.consume(40);
        assert_eq!(input.pending(), [7; 60]);
        input.consume(60);
        input.relax(&mut pool);
        assert_eq!((input.bytes.capacity(), input.is_empty()), (0, true));
        drop(client);
        assert_eq!(input.receive(&socket, &mut pool, 0), Received::End);
    }
}
