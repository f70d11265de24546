//! The thread that accepts clients and deals them out to the workers.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;
use std::time::Duration;

use replication::error::{ServerError, SqlState};
use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use rustix::net::SendFlags;
use tracing::warn;

use super::listeners::Listeners;
use super::mailbox::{Mail, Mailbox, Newcomer, WAKE};
use super::registry::Registry;
use crate::protocol::backend;

/// How long to wait after the system could not accept, for example because there are no more descriptors.
const PAUSE: Timespec = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };
/// The same where it could not even wait, for want of memory.
const AFTER_FAILED_WAIT: Duration = Duration::from_millis(100);

pub(super) struct Acceptor {
    stop: Arc<OwnedFd>,
    thread: JoinHandle<()>,
}

impl Acceptor {
    pub(super) fn start(
        listeners: Listeners,
        workers: Vec<Arc<Mailbox>>,
        registry: Arc<Registry>,
        most_sockets: usize,
    ) -> io::Result<Self> {
        let stop = Arc::new(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?);
        let thread = std::thread::Builder::new().name("acceptor".to_owned()).spawn({
            let stop = stop.clone();
            move || {
                let mut dealer = Dealer { workers, next: 0, registry, most_sockets };
                accept_all(&listeners, &stop, &mut dealer);
            }
        })?;
        Ok(Self { stop, thread })
    }

    /// Closes the listening sockets.
    pub(super) fn stop(self) {
        let _cannot_be_full = rustix::io::write(&*self.stop, WAKE);
        if self.thread.join().is_err() {
            tracing::error!("the acceptor thread panicked");
        }
    }
}

fn accept_all(listeners: &Listeners, stop: &OwnedFd, dealer: &mut Dealer) {
    let mut sockets = vec![PollFd::from_borrowed_fd(stop.as_fd(), PollFlags::IN)];
    sockets.extend(
        listeners.sockets().into_iter().map(|socket| PollFd::from_borrowed_fd(socket, PollFlags::IN)),
    );
    loop {
        if let Err(error) = poll(&mut sockets, None)
            && error != rustix::io::Errno::INTR
        {
            warn!(%error, "could not wait for clients");
            std::thread::sleep(AFTER_FAILED_WAIT);
            continue;
        }
        let ready: Vec<bool> = sockets.iter().map(|socket| !socket.revents().is_empty()).collect();
        if ready.first() == Some(&true) {
            return;
        }
        for number in ready.iter().skip(1).zip(0..).filter(|(ready, _)| **ready).map(|(_, number)| number) {
            match listeners.accept(number) {
                Ok(newcomer) => dealer.deal(newcomer),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                // The client changed its mind.
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                Err(error) => {
                    warn!(%error, "could not accept a connection");
                    let mut only_stop = [PollFd::from_borrowed_fd(stop.as_fd(), PollFlags::IN)];
                    let _timeout = poll(&mut only_stop, Some(&PAUSE));
                }
            }
        }
    }
}

/// Deals clients out to the workers, one after the other.
struct Dealer {
    workers: Vec<Arc<Mailbox>>,
    next: usize,
    registry: Arc<Registry>,
    most_sockets: usize,
}

impl Dealer {
    fn deal(&mut self, newcomer: Newcomer) {
        runtime::fault::panic_if_wanted("panic in the acceptor");
        if self.registry.sockets.fetch_add(1, Ordering::AcqRel) >= self.most_sockets {
            self.registry.sockets.fetch_sub(1, Ordering::AcqRel);
            let mut answer = Vec::new();
            let message = "sorry, too many clients already";
            backend::error(&mut answer, &ServerError::fatal(SqlState::TOO_MANY_CONNECTIONS, message));
            // An empty socket has room for this, or the client is gone.
            let _gone = rustix::net::send(&newcomer.socket, &answer, SendFlags::NOSIGNAL);
            return;
        }
        if let Some(worker) = self.workers.get(self.next % self.workers.len().max(1)) {
            worker.post(Mail::Newcomer(newcomer));
        }
        self.next = self.next.wrapping_add(1);
    }
}
