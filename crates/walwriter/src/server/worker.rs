//! A worker: a thread with an event loop over its share of the connections.
//!
//! Works in rounds: look at every connection that has something to do, then make the log durable once for all commits
//! of the round, then send all replies. A connection that waits (for a row lock, for a synchronous standby, for its
//! reader) costs no thread and no system call.
//!
//! Sockets are watched edge-triggered and for reading only; for room to write only while a reader is slow.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::buffer::spare_capacity;
use rustix::event::Timespec;
use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::io::Errno;
use tracing::debug;
use wal::Lsn;

use super::Shared;
use super::connection::{Connection, Phase, Sent, Waiting};
use super::conversation::Progress;
use super::input::{Pool, Received};
use super::mailbox::{Mail, Mailbox, Newcomer};
use super::slots::{Slots, Token};
use super::timers::Timers;
use crate::protocol::backend;
use crate::session::{Awaited, Database, Interrupt};

/// The event data of the mailbox; no token has it.
const MAILBOX: u64 = u64::MAX;
/// How long a client that is told goodbye may take to read it.
const FAREWELL: Duration = Duration::from_secs(5);

pub(super) struct Worker<D: Database> {
    pub(super) shared: Arc<Shared<D>>,
    pub(super) mailbox: Arc<Mailbox>,
    epoll: OwnedFd,
    pub(super) connections: Slots<Connection<D::Session>>,
    /// To be looked at in the next round.
    ready: Vec<Token>,
    /// Have output to send, or wait for the log, at the end of this round.
    pub(super) replies: Vec<Token>,
    /// Wait for their gates, longer than for this worker's own flush.
    gated: Vec<Token>,
    /// What this round's commits need.
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
                Err(error) => tracing::error!(%error, "could not wait for events"),
            }
            for event in &events {
                let (word, flags) = (event.data.u64(), event.flags);
                if word != MAILBOX {
                    self.happened(Token::from_u64(word), flags);
                }
            }
            self.expire();
            std::mem::swap(&mut self.ready, &mut batch);
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

    fn read_mail(&mut self, mail: Mail) {
        match mail {
            Mail::Newcomer(newcomer) => self.welcome(newcomer),
            Mail::Wake(token) => self.enqueue(token),
            Mail::Confirmed => self.replies.append(&mut self.gated),
            Mail::Announce(setting) => self.announce(&setting.0, &setting.1),
            Mail::Shutdown => self.begin_to_stop(),
        }
    }

    fn welcome(&mut self, newcomer: Newcomer) {
        let Newcomer { socket, peer } = newcomer;
        let token = self.connections.insert(|_| Connection::new(socket, peer));
        let Some(connection) = self.connections.get_mut(token) else { return };
        let flags = EventFlags::IN | EventFlags::RDHUP | EventFlags::ET;
        let watched = epoll::add(&self.epoll, &connection.socket, EventData::new_u64(token.to_u64()), flags);
        if self.stopping || watched.is_err() {
            return self.close(token);
        }
        let deadline = Instant::now().checked_add(self.shared.options.authentication_timeout);
        self.timers.set(token, &mut connection.armed, deadline);
        self.enqueue(token);
    }

    fn announce(&mut self, name: &str, value: &str) {
        for token in self.connections.tokens() {
            if let Some(connection) = self.connections.get_mut(token)
                && matches!(connection.phase, Phase::Talking { .. })
            {
                backend::parameter_status(&mut connection.output, name, value);
                self.replies.push(token);
            }
        }
    }

    fn begin_to_stop(&mut self) {
        self.stopping = true;
        for token in self.connections.tokens() {
            match self.connections.get_mut(token).map(|connection| &connection.phase) {
                Some(Phase::Talking { conversation, .. }) => {
                    conversation.interrupts.raise(Interrupt::Terminate);
                    self.enqueue(token);
                }
                Some(Phase::Startup(_)) => self.close(token),
                Some(Phase::Closing) | None => {}
            }
        }
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
                Phase::Startup(_) | Phase::Closing => {
                    debug!(peer = ?connection.peer, "closing the connection: timeout");
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

    /// Does what one connection has to do.
    fn turn(&mut self, token: Token) {
        let Some(connection) = self.connections.get_mut(token) else { return };
        connection.queued = false;
        match connection.phase {
            Phase::Startup(_) => self.let_in(token),
            Phase::Talking { .. } => self.talk(token),
            Phase::Closing => self.replies.push(token),
        }
    }

    /// Reads and answers what a client says.
    fn talk(&mut self, token: Token) {
        let (Some(connection), Some(database)) =
            (self.connections.get_mut(token), self.shared.database.get())
        else {
            return;
        };
        let Phase::Talking { conversation, .. } = &mut connection.phase else { return };
        if connection.waiting == Waiting::Confirmation {
            self.gated.retain(|gated| *gated != token);
        }
        let ends = conversation.interrupts.pending() == Some(Interrupt::Terminate);
        if connection.hung_up && matches!(connection.waiting, Waiting::Waker | Waiting::Confirmation) {
            return self.close(token);
        }
        if connection.watching_room && !ends {
            return self.replies.push(token);
        }
        if connection.armed.is_some() {
            self.timers.set(token, &mut connection.armed, None);
        }
        let wanted = match connection.waiting {
            Waiting::Messages => Some(0),
            Waiting::Rest(size) => Some(size),
            _ => None,
        };
        if let Some(wanted) = wanted.filter(|_| connection.readable) {
            match connection.input.receive(&connection.socket, &mut self.pool, wanted) {
                Received::Some { more } => connection.readable = more || connection.hung_up,
                Received::Nothing => connection.readable = false,
                Received::End => (connection.readable, connection.ended) = (false, true),
            }
        }
        if connection.output.capacity() == 0 {
            connection.output = self.pool.take();
        }
        let progress = conversation
            .advance(&mut connection.input, &mut connection.output, |awaited| database.reached(awaited));
        let nobody_waits = match progress {
            Progress::Blocked(_) => connection.hung_up,
            Progress::Yield => connection.gone,
            _ => false,
        };
        if nobody_waits {
            return self.close(token);
        }
        let mut again = false;
        match progress {
            Progress::Input(size) => {
                connection.waiting = if size == 0 { Waiting::Messages } else { Waiting::Rest(size) };
                if connection.ended {
                    return self.part(token);
                }
                again = connection.readable;
                if let Some(timeout) = conversation.idle_timeout() {
                    let deadline = Instant::now().checked_add(timeout);
                    self.timers.set(token, &mut connection.armed, deadline);
                }
            }
            Progress::Yield => {
                connection.waiting = Waiting::Turn;
                again = true;
            }
            Progress::Blocked(until) => {
                connection.waiting = Waiting::Waker;
                self.timers.set(token, &mut connection.armed, until);
            }
            Progress::Gated(gate, until) => {
                connection.waiting = Waiting::Confirmation;
                self.timers.set(token, &mut connection.armed, until);
                connection.gate = Some(gate);
                self.flush_to = self.flush_to.max(gate.lsn);
            }
            Progress::Output => connection.waiting = Waiting::Reader,
            Progress::Close => return self.part(token),
        }
        connection.input.relax(&mut self.pool);
        self.replies.push(token);
        if again {
            self.enqueue(token);
        }
    }

    /// Makes this round's commits durable, and sends what may be sent.
    fn reply(&mut self) {
        if self.replies.is_empty() {
            return;
        }
        self.flush();
        let mut replies = std::mem::take(&mut self.replies);
        for token in replies.drain(..) {
            self.reply_to(token);
        }
        if self.replies.is_empty() {
            // Its memory is used again.
            self.replies = replies;
        }
        if !self.gated.is_empty() {
            self.mailbox.await_confirmation(true);
            // What has moved since it was last looked at woke nobody.
            let Self { connections, gated, shared, .. } = self;
            if gated.iter().any(|&token| connections.get_mut(token).is_some_and(|it| it.is_open(shared))) {
                self.replies.append(&mut self.gated);
            }
        }
    }

    /// Makes the log durable as far as this round needs it.
    fn flush(&mut self) {
        let flush_to = std::mem::replace(&mut self.flush_to, Lsn::INVALID);
        if let Some(database) = self.shared.database.get()
            && flush_to > database.reached(Awaited::Flush)
        {
            database.flush(flush_to);
        }
    }

    fn reply_to(&mut self, token: Token) {
        let Some(connection) = self.connections.get_mut(token) else { return };
        let is_open = connection.is_open(&self.shared);
        if connection.waiting == Waiting::Confirmation
            && let Phase::Talking { conversation, .. } = &mut connection.phase
        {
            if !is_open {
                if connection.hung_up {
                    return self.close(token);
                }
                if !self.gated.contains(&token) {
                    self.gated.push(token);
                }
                return;
            }
            connection.gate = None;
            conversation.gate_opened();
            if connection.armed.is_some() {
                self.timers.set(token, &mut connection.armed, None);
            }
            let reads = conversation.reads_next();
            connection.waiting = if reads { Waiting::Messages } else { Waiting::Turn };
            let more = connection.readable || connection.ended || !connection.input.is_empty();
            if !reads || more || conversation.idle_timeout().is_some() {
                self.enqueue(token);
            }
        }
        self.send(token);
    }

    /// Sends what is queued for a connection.
    fn send(&mut self, token: Token) {
        let Some(connection) = self.connections.get_mut(token) else { return };
        match connection.send(&mut self.pool) {
            Sent::All => {
                if matches!(connection.phase, Phase::Closing) {
                    return self.close(token);
                }
                if connection.watching_room {
                    connection.watching_room = false;
                    self.watch(token, EventFlags::empty());
                }
                self.resume(token);
            }
            Sent::Part if !connection.watching_room => {
                connection.watching_room = true;
                self.watch(token, EventFlags::OUT);
            }
            Sent::Part => {}
            Sent::Gone => self.close(token),
        }
    }

    /// Everything has been sent: goes on with what waited for that.
    fn resume(&mut self, token: Token) {
        let Some(connection) = self.connections.get_mut(token) else { return };
        let waits = match connection.waiting {
            Waiting::Reader => {
                connection.waiting = Waiting::Turn;
                true
            }
            Waiting::Turn => true,
            Waiting::Messages | Waiting::Rest(_) => connection.readable,
            Waiting::Waker | Waiting::Confirmation => false,
        };
        if waits {
            self.enqueue(token);
        }
    }

    fn watch(&mut self, token: Token, more: EventFlags) {
        let Some(connection) = self.connections.get_mut(token) else { return };
        let flags = EventFlags::IN | EventFlags::RDHUP | EventFlags::ET | more;
        let data = EventData::new_u64(token.to_u64());
        if epoll::modify(&self.epoll, &connection.socket, data, flags).is_err() {
            self.close(token);
        }
    }

    /// Ends a session; what is queued for its client is still sent.
    pub(super) fn part(&mut self, token: Token) {
        let Some(connection) = self.connections.get_mut(token) else { return };
        if let Phase::Talking { process_id, .. } = connection.phase {
            self.shared.registry.leave(process_id);
        }
        // Dropping the session rolls back.
        connection.phase = Phase::Closing;
        connection.waiting = Waiting::Reader;
        let deadline = Instant::now().checked_add(FAREWELL);
        self.timers.set(token, &mut connection.armed, deadline);
        self.replies.push(token);
    }

    /// Ends a connection.
    pub(super) fn close(&mut self, token: Token) {
        if let Some(connection) = self.take(token)
            && let Phase::Talking { process_id, .. } = connection.phase
        {
            self.shared.registry.leave(process_id);
        }
    }

    /// Takes a connection out of this worker.
    pub(super) fn take(&mut self, token: Token) -> Option<Connection<D::Session>> {
        let mut connection = self.connections.remove(token)?;
        self.timers.set(token, &mut connection.armed, None);
        if connection.waiting == Waiting::Confirmation {
            self.gated.retain(|gated| *gated != token);
        }
        self.shared.registry.sockets.fetch_sub(1, std::sync::atomic::Ordering::AcqRel);
        Some(connection)
    }

    /// Stops watching a socket that goes elsewhere.
    pub(super) fn unwatch(&self, socket: &OwnedFd) {
        let _not_watched = epoll::delete(&self.epoll, socket);
    }
}
