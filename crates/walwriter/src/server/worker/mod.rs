//! A worker: a thread with an event loop over its share of the connections.
//!
//! Works in rounds: look at every connection that has something to do (`turn`), then make the log durable once for all
//! commits of the round, then send all replies (`replies`). A connection that waits (for a row lock, for a synchronous
//! standby, for its reader) costs no thread and no system call.
//!
//! Sockets are watched edge-triggered and for reading only; for room to write only while a reader is slow.
//!
//! Invariants: a connection belongs to one worker for its whole life, and only that worker's thread touches it; a turn
//! makes nothing durable and sends nothing; who is to be looked at again without an event is in `ready`, or has a
//! deadline in `timers`, or has given its waker away.

mod mail;
mod parting;
mod replies;
mod turn;

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Instant;

use engine::fatal::fatal;
use rustix::buffer::spare_capacity;
use rustix::event::Timespec;
use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::io::Errno;
use tracing::{debug, warn};
use wal::Lsn;

use super::Shared;
use super::admission::shown;
use super::connection::{Connection, Phase};
use super::input::Pool;
use super::mailbox::Mailbox;
use super::slots::{Slots, Token};
use super::timers::Timers;
use crate::session::Database;

/// The event data of the mailbox; no token has it.
const MAILBOX: u64 = u64::MAX;
/// What sockets are watched for.
const WATCHED: EventFlags = EventFlags::IN.union(EventFlags::RDHUP).union(EventFlags::ET);

pub(super) struct Worker<D: Database> {
    pub(super) shared: Arc<Shared<D>>,
    pub(super) mailbox: Arc<Mailbox>,
    epoll: OwnedFd,
    pub(super) connections: Slots<Connection<D::Session>>,
    /// To be looked at in the next round.
    ready: Vec<Token>,
    /// Have output to send, or wait for the log, at the end of this round.
    pub(super) replies: Vec<Token>,
    /// Wait for their gates, longer than for this worker's own flush. A connection whose gate has opened meanwhile may
    /// still be in here: it is looked at once more for nothing.
    gated: Vec<Token>,
    /// What this round's commits need. Moved forward by turns, and back to nothing by the flush at the round's end.
    flush_to: Lsn,
    pub(super) timers: Timers,
    pub(super) pool: Pool,
    /// All sessions are being ended.
    stopping: bool,
}

impl<D: Database> Worker<D> {
    pub(super) fn new(shared: Arc<Shared<D>>, mailbox: Arc<Mailbox>) -> io::Result<Self> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        epoll::add(&epoll, mailbox.event(), EventData::new_u64(MAILBOX), EventFlags::IN)?;
        Ok(Self {
            shared,
            mailbox,
            epoll,
            connections: Slots::new(),
            ready: Vec::new(),
            replies: Vec::new(),
            gated: Vec::new(),
            flush_to: Lsn::INVALID,
            timers: Timers::default(),
            pool: Pool::default(),
            stopping: false,
        })
    }

    /// Runs until told to stop and everybody is gone.
    pub(super) fn run(mut self) {
        self.mailbox.adopt();
        let mut events = Vec::with_capacity(256);
        let mut mail = Vec::new();
        let mut batch = Vec::new();
        loop {
            self.mailbox.collect(&mut mail);
            mail.drain(..).for_each(|mail| self.read_mail(mail));
            if self.stopping && self.connections.len() == 0 {
                return;
            }
            events.clear();
            match epoll::wait(&self.epoll, spare_capacity(&mut events), self.timeout().as_ref()) {
                Ok(_) | Err(Errno::INTR) => {}
                // The descriptors are this thread's own: there is nothing that could be better the next time.
                Err(error) => fatal(format_args!("could not wait for clients: {error}")),
            }
            for event in &events {
                let (word, flags) = (event.data.u64(), event.flags);
                if word != MAILBOX {
                    self.happened(Token::from_u64(word), flags);
                }
            }
            self.expire();
            std::mem::swap(&mut self.ready, &mut batch);
            if !batch.is_empty() {
                runtime::fault::panic_if_wanted("panic in a worker");
            }
            batch.drain(..).for_each(|token| self.turn(token));
            self.reply();
        }
    }

    fn timeout(&self) -> Option<Timespec> {
        if !self.ready.is_empty() || !self.replies.is_empty() {
            return Some(Timespec { tv_sec: 0, tv_nsec: 0 });
        }
        let left = self.timers.next()?.saturating_duration_since(Instant::now());
        Timespec::try_from(left).ok()
    }

    /// Has the connection looked at in the next round.
    pub(super) fn enqueue(&mut self, token: Token) {
        if let Some(connection) = self.connections.get_mut(token)
            && !std::mem::replace(&mut connection.queued, true)
        {
            self.ready.push(token);
        }
    }

    /// Takes note of what the system says about a socket.
    fn happened(&mut self, token: Token, flags: EventFlags) {
        let Some(connection) = self.connections.get_mut(token) else { return };
        connection.hung_up |= flags.intersects(EventFlags::RDHUP | EventFlags::HUP | EventFlags::ERR);
        connection.gone |= flags.intersects(EventFlags::HUP | EventFlags::ERR);
        if flags.intersects(EventFlags::IN | EventFlags::RDHUP | EventFlags::HUP | EventFlags::ERR) {
            connection.readable = true;
        }
        self.enqueue(token);
    }

    /// Looks at everything whose time has come.
    fn expire(&mut self) {
        if self.timers.next().is_none() {
            return;
        }
        let now = Instant::now();
        while let Some(token) = self.timers.pop_expired(now) {
            let Some(connection) = self.connections.get_mut(token) else { continue };
            connection.armed = None;
            match &mut connection.phase {
                Phase::Startup(_) => {
                    let peer = shown(connection.peer);
                    warn!(%peer, "connection not authorized: not let in within the authentication timeout");
                    self.close(token);
                }
                Phase::Closing => {
                    let peer = shown(connection.peer);
                    if self.stopping {
                        warn!(%peer, "giving up a client that does not read what it is told");
                    } else {
                        debug!(%peer, "closing the connection: timeout");
                    }
                    self.close(token);
                }
                Phase::Talking { conversation, .. } if conversation.idle_timeout().is_some() => {
                    conversation.idle_timeout_passed(&mut connection.output);
                    self.part(token);
                }
                Phase::Talking { .. } => self.enqueue(token),
            }
        }
    }
}
