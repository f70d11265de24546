//! Everybody who is connected, by the number that clients know their connection by: for cancel requests, for ending
//! sessions, and for counting.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::task::Waker;

use runtime::sync::Mutex;

use crate::session::{Interrupt, Interrupts};

/// The sessions that are open, on all workers.
#[derive(Debug)]
pub struct Registry {
    sessions: Mutex<HashMap<u32, Entry>>,
    next_process_id: AtomicU32,
    /// Sockets, whether their clients were let in or not. Moved by the acceptor and the workers.
    pub(super) sockets: AtomicUsize,
}

#[derive(Debug)]
struct Entry {
    secret: [u8; 4],
    interrupts: Arc<Interrupts>,
    waker: Waker,
}

impl Registry {
    pub(super) fn new() -> Self {
        Self {
            sessions: Mutex::new(HashMap::new()),
            next_process_id: AtomicU32::new(1),
            sockets: AtomicUsize::new(0),
        }
    }

    /// A number for a new connection. Drivers take it for a positive 32-bit integer.
    pub(super) fn next_process_id(&self) -> u32 {
        loop {
            let id = self.next_process_id.fetch_add(1, Ordering::Relaxed) & 0x7fff_ffff;
            if id != 0 && !self.lock().contains_key(&id) {
                return id;
            }
        }
    }

    /// Enters a session, unless there are `most` already.
    pub(super) fn enter(
        &self,
        process_id: u32,
        secret: [u8; 4],
        interrupts: Arc<Interrupts>,
        waker: Waker,
        most: usize,
    ) -> bool {
        let mut sessions = self.lock();
        if sessions.len() >= most {
            return false;
        }
        let other = sessions.insert(process_id, Entry { secret, interrupts, waker });
        assert!(other.is_none(), "a session has a number of its own, not {process_id}");
        assert!(sessions.len() <= most, "there are no more sessions than there may be");
        true
    }

    pub(super) fn leave(&self, process_id: u32) {
        self.lock().remove(&process_id);
    }

    /// What a CancelRequest asks for, if it knows the secret.
    pub(super) fn cancel(&self, process_id: u32, secret: &[u8]) {
        let sessions = self.lock();
        if let Some(entry) = sessions.get(&process_id).filter(|entry| entry.secret == secret) {
            entry.interrupts.raise(Interrupt::Cancel);
            entry.waker.wake_by_ref();
        }
    }

    /// Interrupts a session on this server's own authority (`pg_cancel_backend`, `pg_terminate_backend`). Says whether
    /// there is such a session.
    pub fn interrupt(&self, process_id: u32, interrupt: Interrupt) -> bool {
        let sessions = self.lock();
        let Some(entry) = sessions.get(&process_id) else { return false };
        entry.interrupts.raise(interrupt);
        entry.waker.wake_by_ref();
        true
    }

    /// How many sessions are open.
    pub fn sessions(&self) -> usize {
        self.lock().len()
    }

    fn lock(&self) -> runtime::sync::MutexGuard<'_, HashMap<u32, Entry>> {
        self.sessions.lock()
    }
}
