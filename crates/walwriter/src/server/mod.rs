//! The server: sockets, worker threads, and who is connected.
//!
//! [`Server::start`] listens and answers at once; until [`Server::open`] gives it a [`Database`], clients are told that
//! it is starting up. Each connection belongs to one `worker` for its whole life; requests for replication are handed
//! over as they are ([`ReplicationHandoff`]).

mod acceptor;
mod admission;
mod connection;
mod conversation;
mod input;
mod listeners;
mod mailbox;
mod registry;
mod slots;
mod startup;
#[cfg(test)]
mod tests;
mod timers;
mod worker;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::thread::JoinHandle;
use std::time::Duration;

use replication::server::PasswordFile;
use runtime::sync::Mutex;

pub use admission::{ReplicationClient, ReplicationHandoff};
pub use listeners::{ListenError, ListenOptions, Listeners};
pub use registry::Registry;

use crate::session::Database;
use acceptor::Acceptor;
use mailbox::{Mail, Mailbox};
use worker::Worker;

/// How clients are served.
#[derive(Debug, Clone)]
pub struct ServerOptions {
    /// How many worker threads there are; at least one.
    pub workers: usize,
    /// How many sessions there may be.
    pub max_connections: usize,
    /// How many sockets clients may have, let in or not.
    pub most_sockets: usize,
    /// How long a client may take to be let in.
    pub authentication_timeout: Duration,
    /// Who may come in; `None` lets everybody in.
    pub passwords: Option<PasswordFile>,
}

/// What the acceptor and all workers share.
pub(crate) struct Shared<D> {
    options: ServerOptions,
    /// Set once, when sessions can be opened.
    database: OnceLock<Arc<D>>,
    registry: Arc<Registry>,
    handoff: Option<Arc<dyn ReplicationHandoff>>,
}

/// A running server. Ends when told to ([`Server::stop`]); dropping it without that leaves its threads running.
pub struct Server<D: Database> {
    shared: Arc<Shared<D>>,
    mailboxes: Vec<Arc<Mailbox>>,
    /// Until they are stopped.
    threads: Mutex<Option<(Acceptor, Vec<JoinHandle<()>>)>>,
    port: u16,
    unix_socket_directory: Option<PathBuf>,
}

impl<D: Database> Server<D> {
    /// Starts to accept clients.
    ///
    /// # Errors
    /// The system's: no more threads or descriptors.
    pub fn start(
        options: ServerOptions,
        listeners: Listeners,
        handoff: Option<Arc<dyn ReplicationHandoff>>,
    ) -> io::Result<Self> {
        let registry = Arc::new(Registry::new());
        let count = options.workers.max(1);
        let shared = Arc::new(Shared { options, database: OnceLock::new(), registry, handoff });
        let (mut mailboxes, mut workers) = (Vec::new(), Vec::new());
        for number in 0..count {
            let mailbox = Mailbox::new()?;
            let worker = Worker::new(shared.clone(), mailbox.clone())?;
            let thread = std::thread::Builder::new().name(format!("worker-{number}"));
            // What clients send may nest as deep as its limits allow.
            let thread = thread.stack_size(sql::nesting::STACK);
            workers.push(thread.spawn(move || worker.run())?);
            mailboxes.push(mailbox);
        }
        let port = listeners.port();
        let unix_socket_directory = listeners.unix_socket_directory().map(Path::to_owned);
        let most_sockets = shared.options.most_sockets;
        let acceptor = Acceptor::start(listeners, mailboxes.clone(), shared.registry.clone(), most_sockets)?;
        let threads = Mutex::new(Some((acceptor, workers)));
        Ok(Self { shared, mailboxes, threads, port, unix_socket_directory })
    }

    /// From now on, sessions are opened in `database`. Only the first call counts.
    pub fn open(&self, database: Arc<D>) {
        for mailbox in &self.mailboxes {
            database.watch_reached(mailbox.confirmation_waker());
        }
        let _open_already = self.shared.database.set(database);
    }

    /// Tells every client the new value of a setting (ParameterStatus), such as `in_hot_standby` after a promotion.
    pub fn announce(&self, name: &str, value: &str) {
        let setting = Arc::new((name.to_owned(), value.to_owned()));
        self.mailboxes.iter().for_each(|mailbox| mailbox.post(Mail::Announce(setting.clone())));
    }

    /// Everybody who is connected.
    pub fn registry(&self) -> &Arc<Registry> {
        &self.shared.registry
    }

    /// The port that is listened on.
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// The directory of the first Unix socket.
    pub fn unix_socket_directory(&self) -> Option<&Path> {
        self.unix_socket_directory.as_deref()
    }

    /// Accepts nobody any more and removes the Unix sockets, and leaves the sessions to the end of the process.
    pub fn abandon(&self) {
        if let Some((acceptor, _)) = self.take_threads() {
            acceptor.stop();
        }
    }

    /// Accepts nobody any more, ends all sessions with `57P01`, and waits until everybody is gone, a few seconds at most
    /// for those that do not read.
    pub fn stop(&self) {
        let Some((acceptor, workers)) = self.take_threads() else { return };
        acceptor.stop();
        self.mailboxes.iter().for_each(|mailbox| mailbox.post(Mail::Shutdown));
        for worker in workers {
            if worker.join().is_err() {
                tracing::error!("a worker thread panicked");
            }
        }
    }

    fn take_threads(&self) -> Option<(Acceptor, Vec<JoinHandle<()>>)> {
        self.threads.lock().take()
    }
}
