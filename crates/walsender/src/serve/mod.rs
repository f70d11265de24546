//! Serving followers: the listening sockets, a thread per connection, the commands, and the stream.
//!
//! Every connection has a thread with a small runtime of its own, so that a follower that reads old WAL from a slow
//! disk holds up nobody else, and several use several cores. What they share is `Shared`.

mod adopter;
mod answers;
mod backup;
mod connection;
mod draining;
mod fork;
mod listener;
mod origin;
mod run;
mod session;
mod slots;
mod socket;
mod standing;
mod stream;
mod streamer;
mod turned_away;
mod wal_feed;
mod wire;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use replication::server::ServerConfig;
use runtime::sync::Mutex;
use tokio::sync::watch;

use crate::settings::Settings;
use crate::source::Source;
use draining::{Progress, Reached};

pub use adopter::Adopter;
pub use backup::{BackupOptions, CheckpointHook};
pub use listener::{ListenError, ListenOptions, Listeners};
pub use origin::{FollowersMoved, LogWriter, Origin};
pub use run::{Listen, ServeError, Server, ServerOptions};
pub use socket::StdSocket;

/// Whether to go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Phase {
    Serving,
    /// Followers get what is durable now, and are let go; base backups end.
    Draining,
}

/// What all connections share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) settings: Settings,
    pub(crate) source: Source,
    /// Whether the directory is another server's, where nothing is written.
    pub(crate) read_only: bool,
    pub(crate) slots: slots::SlotKeeper,
    /// What base backups are taken of; `None` where there is only WAL.
    pub(crate) backups: Option<BackupOptions>,
    pub(crate) origin: Origin,
    pub(crate) moved: FollowersMoved,
    pub(crate) turned_away: turned_away::TurnedAway,
    /// For clients of this host and for others, who may have to use TLS.
    pub(crate) handshake_local: ServerConfig,
    pub(crate) handshake_remote: ServerConfig,
    pub(crate) phase: watch::Receiver<Phase>,
    pub(crate) port: u16,
    /// Clients that were let in and count against `max_wal_senders`.
    senders: AtomicUsize,
    connections: Connections,
}

/// Who is connected, and how far each is.
#[derive(Debug, Default)]
pub(crate) struct Connections {
    /// Addresses, by the number of the connection.
    clients: Mutex<BTreeMap<u64, (String, Arc<Progress>)>>,
    next: AtomicU64,
}

impl Connections {
    fn enter(&self, peer: String) -> (u64, Arc<Progress>) {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let progress = Arc::<Progress>::default();
        let other = self.clients.lock().insert(number, (peer, progress.clone()));
        assert!(other.is_none(), "connection {number} is one connection");
        (number, progress)
    }

    fn leave(&self, number: u64) {
        let left = self.clients.lock().remove(&number);
        assert!(left.is_some(), "connection {number} leaves once");
    }

    fn reached(&self) -> Vec<(u64, Reached)> {
        let clients = self.clients.lock();
        clients.iter().map(|(number, (_, progress))| (*number, progress.now())).collect()
    }

    fn peers(&self) -> Vec<String> {
        self.clients.lock().values().map(|(peer, _)| peer.clone()).collect()
    }
}

/// One client's place among `max_wal_senders`.
#[derive(Debug)]
pub(crate) struct SenderPlace(Arc<Shared>);

impl Shared {
    /// A place, if there is one left.
    pub(crate) fn take_place(self: &Arc<Self>) -> Option<SenderPlace> {
        let most = self.settings.max_wal_senders;
        self.senders
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |taken| (taken < most).then_some(taken + 1))
            .ok()
            .map(|_| SenderPlace(self.clone()))
    }
}

impl Drop for SenderPlace {
    fn drop(&mut self) {
        let taken = self.0.senders.fetch_sub(1, Ordering::AcqRel);
        assert!(taken > 0, "a place that is given back was taken");
    }
}

#[cfg(test)]
mod tests {
    use super::Connections;

    #[test]
    #[should_panic(expected = "connection 0 leaves once")]
    fn a_connection_leaves_once() {
        let connections = Connections::default();
        let (number, _) = connections.enter("[local]".to_owned());
        connections.leave(number);
        connections.leave(number);
    }
}
