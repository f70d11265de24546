//! How other threads reach a worker.
//!
//! Mail is queued under a short lock, and the worker's eventfd is written only if the worker may be asleep: not by the
//! worker itself, and once per batch.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Wake, Waker};
use std::thread::ThreadId;

use runtime::sync::Mutex;
use rustix::event::{EventfdFlags, eventfd};

use super::slots::Token;

/// What an eventfd is written: anything but zero, in whatever byte order.
pub(super) const WAKE: &[u8; 8] = &[1; 8];

/// A client that was accepted.
#[derive(Debug)]
pub(super) struct Newcomer {
    pub(super) socket: OwnedFd,
    /// `None` on a Unix socket.
    pub(super) peer: Option<SocketAddr>,
}

/// What a worker is told.
#[derive(Debug)]
pub(super) enum Mail {
    /// A client for it.
    Newcomer(Newcomer),
    /// Something that this connection waits for may have happened.
    Wake(Token),
    /// The confirmed LSN has moved.
    Confirmed,
    /// A setting that every client is to hear of.
    Announce(Arc<(String, String)>),
    /// End all sessions, then the worker.
    Shutdown,
}

#[derive(Debug)]
pub(super) struct Mailbox {
    queue: Mutex<Vec<Mail>>,
    event: OwnedFd,
    /// Whether the eventfd was written since the worker last looked, or need not be.
    signalled: AtomicBool,
    /// Whether some connection waits for the confirmed LSN. Set by the worker before it looks at it a last time.
    awaits_confirmation: AtomicBool,
    owner: OnceLock<ThreadId>,
}

impl Mailbox {
    pub(super) fn new() -> io::Result<Arc<Self>> {
        Ok(Arc::new(Self {
            queue: Mutex::new(Vec::new()),
            event: eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?,
            signalled: AtomicBool::new(false),
            awaits_confirmation: AtomicBool::new(false),
            owner: OnceLock::new(),
        }))
    }

    /// Makes the calling thread the worker.
    pub(super) fn adopt(&self) {
        assert!(self.owner.set(std::thread::current().id()).is_ok(), "a mailbox is one worker's");
    }

    pub(super) fn event(&self) -> BorrowedFd<'_> {
        self.event.as_fd()
    }

    pub(super) fn post(&self, mail: Mail) {
        self.queue.lock().push(mail);
        // The worker looks into the queue before it sleeps.
        let by_worker = self.owner.get() == Some(&std::thread::current().id());
        if !by_worker && !self.signalled.swap(true, Ordering::AcqRel) {
            // It can only fail by being full, and then the worker is awake.
            let _full = rustix::io::write(&self.event, WAKE);
        }
    }

    /// Takes all mail. Called by the worker when its eventfd is readable and before it sleeps.
    pub(super) fn collect(&self, mail: &mut Vec<Mail>) {
        let owner = self.owner.get();
        assert!(owner.is_none_or(|&owner| owner == std::thread::current().id()), "mail is its worker's");
        if self.signalled.load(Ordering::Acquire) {
            let mut count = [0; 8];
            let _empty = rustix::io::read(&self.event, &mut count);
            self.signalled.store(false, Ordering::Release);
        }
        mail.append(&mut self.queue.lock());
    }

    /// Says whether moves of the confirmed LSN matter. After `true`, look at the LSN again before sleeping.
    pub(super) fn await_confirmation(&self, whether: bool) {
        self.awaits_confirmation.store(whether, Ordering::SeqCst);
    }

    /// A waker for moves of the confirmed LSN.
    pub(super) fn confirmation_waker(self: &Arc<Self>) -> Waker {
        Arc::new(ConfirmationWaker(self.clone())).into()
    }

    /// A waker for one connection.
    pub(super) fn waker(self: &Arc<Self>, token: Token) -> Waker {
        Arc::new(ConnectionWaker { mailbox: self.clone(), token }).into()
    }
}

struct ConfirmationWaker(Arc<Mailbox>);

impl Wake for ConfirmationWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if self.0.awaits_confirmation.swap(false, Ordering::SeqCst) {
            self.0.post(Mail::Confirmed);
        }
    }
}

struct ConnectionWaker {
    mailbox: Arc<Mailbox>,
    token: Token,
}

impl Wake for ConnectionWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.mailbox.post(Mail::Wake(self.token));
    }
}
