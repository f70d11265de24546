//! What goes out while WAL is streamed: messages from memory, and WAL straight from its files.
//!
//! Invariant: a message that was begun is finished before the next one begins, however many writes it takes.

use std::collections::VecDeque;
use std::future::Future as _;
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Buf, BytesMut};
use disk::DiskFile;
use replication::server::Transport;
use tokio::io::{AsyncReadExt as _, AsyncWrite as _};

use super::socket::Socket;

/// How much is read from a follower at once: thousands of status messages.
const READ_SIZE: usize = 16 * 1024;

/// A stretch of a file.
#[derive(Debug)]
pub(crate) struct FileRun {
    pub(crate) file: Arc<dyn DiskFile>,
    pub(crate) offset: u64,
    pub(crate) length: usize,
}

/// What is on its way to the follower: bytes first, then stretches of files.
#[derive(Debug, Default)]
pub(crate) struct Outgoing {
    pub(crate) bytes: BytesMut,
    pub(crate) files: VecDeque<FileRun>,
}

impl Outgoing {
    pub(crate) fn is_empty(&self) -> bool {
        self.bytes.is_empty() && self.files.is_empty()
    }

    /// Sends as much as the socket takes now; `true` once everything is sent.
    pub(crate) fn try_send(&mut self, socket: &Socket) -> io::Result<bool> {
        while !self.bytes.is_empty() {
            match socket.try_send(&self.bytes, !self.files.is_empty()) {
                Ok(count) => self.bytes.advance(count),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(error) => return Err(error),
            }
        }
        assert!(self.bytes.is_empty(), "a message's header goes out before the files that follow it");
        while let Some(run) = self.files.front_mut() {
            let file = run.file.as_fd().ok_or(io::ErrorKind::Unsupported)?;
            match socket.try_send_file(file, run.offset, run.length) {
                // The message is begun and cannot be finished.
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(count) => {
                    assert!(count <= run.length, "no more of a file is sent than the message says");
                    run.offset += count as u64;
                    run.length -= count;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(error) => return Err(error),
            }
            if run.length == 0 {
                self.files.pop_front();
            }
        }
        Ok(true)
    }

    /// Ready once everything is sent.
    pub(crate) fn poll_send(
        &mut self,
        transport: &mut Transport<Socket>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            match transport {
                Transport::Plain(socket) => {
                    if self.try_send(socket)? {
                        return Poll::Ready(Ok(()));
                    }
                    ready!(socket.poll_writable(cx))?;
                }
                Transport::Tls(stream) => {
                    if self.bytes.is_empty() {
                        return Pin::new(stream).poll_flush(cx);
                    }
                    let count = ready!(Pin::new(&mut *stream).poll_write(cx, &self.bytes))?;
                    self.bytes.advance(count);
                }
            }
        }
    }
}

/// What came of waiting for the socket.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Exchange {
    /// The follower sent this many bytes; 0 when it closed its side.
    Received(usize),
    /// Everything is sent.
    Sent,
}

/// Adds what the follower has sent to `input`; ready with how many bytes that was.
pub(crate) fn poll_receive(
    transport: &mut Transport<Socket>,
    input: &mut BytesMut,
    cx: &mut Context<'_>,
) -> Poll<io::Result<usize>> {
    input.reserve(READ_SIZE);
    pin!(transport.read_buf(input)).poll(cx)
}

/// Reads and writes at the same time, so that a follower that waits for us to read is never waited for.
pub(crate) fn poll_exchange(
    transport: &mut Transport<Socket>,
    input: &mut BytesMut,
    outgoing: &mut Outgoing,
    reading: bool,
    cx: &mut Context<'_>,
) -> Poll<io::Result<Exchange>> {
    if reading && let Poll::Ready(count) = poll_receive(transport, input, cx) {
        return Poll::Ready(count.map(Exchange::Received));
    }
    if outgoing.is_empty() {
        return Poll::Pending;
    }
    ready!(outgoing.poll_send(transport, cx))?;
    Poll::Ready(Ok(Exchange::Sent))
}
