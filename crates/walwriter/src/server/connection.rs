//! One client's socket, its buffers, and how far it has got.

use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::time::Instant;

use rustix::io::Errno;
use rustix::net::SendFlags;

use super::Shared;
use super::conversation::Conversation;
use super::input::{Input, Pool, Received};
use super::startup::Startup;
use crate::session::{Database, Gate, Session};

/// How far a client has got.
pub(super) enum Phase<S: Session> {
    /// Not let in yet.
    Startup(Startup),
    /// Let in.
    Talking { conversation: Box<Conversation<S>>, process_id: u32 },
    /// Only what was queued for it is still sent.
    Closing,
}

/// What a connection waits for, besides its socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Waiting {
    /// For messages.
    Messages,
    /// For the rest of a message of this size.
    Rest(usize),
    /// For its next turn: it has something to go on with.
    Turn,
    /// For the session's waker.
    Waker,
    /// For its gate.
    Confirmation,
    /// For its output to be read.
    Reader,
}

pub(super) struct Connection<S: Session> {
    pub(super) socket: OwnedFd,
    pub(super) peer: Option<SocketAddr>,
    pub(super) phase: Phase<S>,
    pub(super) input: Input,
    pub(super) output: Vec<u8>,
    /// How much of `output` was sent. Never beyond its length.
    sent: usize,
    pub(super) waiting: Waiting,
    /// What it waits for while `waiting` is `Confirmation`.
    pub(super) gate: Option<Gate>,
    /// The socket may have something to read; edge-triggered, so nobody says so again.
    pub(super) readable: bool,
    /// The client has closed its side, or is gone: what it sent before is still to be read and answered, but nothing
    /// is waited for any more.
    pub(super) hung_up: bool,
    /// The client is gone.
    pub(super) gone: bool,
    /// All it sent has been read, and no more will come.
    pub(super) ended: bool,
    /// It is in the list of those that are looked at next.
    pub(super) queued: bool,
    /// The socket is watched for room to write.
    pub(super) watching_room: bool,
    /// The deadline in the worker's timers.
    pub(super) armed: Option<Instant>,
}

/// What became of the output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sent {
    /// All of it is with the system.
    All,
    /// The client does not read fast enough.
    Part,
    /// The client is gone.
    Gone,
}

impl<S: Session> Connection<S> {
    pub(super) fn new(socket: OwnedFd, peer: Option<SocketAddr>) -> Self {
        Self {
            socket,
            peer,
            phase: Phase::Startup(Startup::new()),
            input: Input::default(),
            output: Vec::new(),
            sent: 0,
            waiting: Waiting::Messages,
            gate: None,
            readable: true,
            hung_up: false,
            gone: false,
            ended: false,
            queued: false,
            watching_room: false,
            armed: None,
        }
    }

    /// Whether what it waits for has come.
    pub(super) fn is_open<D: Database>(&self, shared: &Shared<D>) -> bool {
        self.gate.is_none_or(|gate| shared.database.get().is_some_and(|database| database.is_open(gate)))
    }

    /// Receives what the client has sent, up to the room there is. `wanted` is the size of the message at the front, or 0.
    pub(super) fn receive(&mut self, pool: &mut Pool, wanted: usize) {
        if !self.readable {
            return;
        }
        match self.input.receive(&self.socket, pool, wanted) {
            Received::Some { more } => self.readable = more || self.hung_up,
            Received::Nothing => self.readable = false,
            Received::End => (self.readable, self.ended) = (false, true),
        }
    }

    /// Sees to it that there is memory for output.
    pub(super) fn lend_output(&mut self, pool: &mut Pool) {
        if self.output.capacity() == 0 {
            self.output = pool.take();
        }
    }

    /// Sends what the system takes.
    pub(super) fn send(&mut self, pool: &mut Pool) -> Sent {
        while let Some(rest) = self.output.get(self.sent..).filter(|rest| !rest.is_empty()) {
            match rustix::net::send(&self.socket, rest, SendFlags::NOSIGNAL) {
                Ok(count) => self.sent += count,
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => {
                    self.forget_sent();
                    return Sent::Part;
                }
                Err(_) => return Sent::Gone,
            }
        }
        self.sent = 0;
        pool.give(std::mem::take(&mut self.output));
        Sent::All
    }

    /// Moves what is unsent to the front once most of the buffer has been sent: positions in the buffer are of no
    /// concern to a conversation that waits for its reader.
    fn forget_sent(&mut self) {
        if self.sent > self.output.len() / 2 {
            self.output.drain(..self.sent);
            self.sent = 0;
            self.output.shrink_to(self.output.len().max(Pool::LARGEST_KEPT));
        }
    }
}
