//! Serving followers: walsender's library inside the server, on the server's own port.
//!
//! The server's workers hand over clients that ask for replication ([`ReplicationHandoff`]); what they are sent is read
//! from the directory, like any walsender's. Before [`Shipping::open`] they are told that the server is starting up.
//!
//! [`Retention`] tells checkpoints what followers still need, [`followers`] and [`slots`] what the views show.

mod followers;
mod retention;
mod slots;

use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock, Weak};
use std::thread::JoinHandle;
use std::{io, thread};

use engine::Engine;
use engine::checkpoint::Cause;
use replication::error::{ServerError, SqlState};
use runtime::sync::Mutex;
use rustix::net::SendFlags;
use tokio::sync::oneshot;
use wal::Lsn;
use walsender::serve::{
    Adopter, BackupOptions, CheckpointHook, FollowersMoved, Listen, LogWriter, Origin, ServeError, Server,
    ServerOptions, StdSocket,
};
use walsender::settings::Settings;

use crate::protocol::backend;
use crate::server::{ReplicationClient, ReplicationHandoff};
pub use followers::{FollowerRow, followers};
pub use retention::Retention;
pub use slots::{SlotRow, WalStatus, create_slot, drop_slot, reserve_slot, slots};

/// What followers are served.
#[derive(Debug, Clone)]
pub struct ShippingOptions {
    /// The data directory.
    pub data_directory: PathBuf,
    /// The port that clients connect to.
    pub port: u16,
    /// `wal_sender_timeout`, `max_wal_senders`, ...
    pub settings: Settings,
    /// Who wants to know of them.
    pub moved: FollowersMoved,
}

/// Serves followers. Shared by the server, which hands clients over, and whoever opens and stops it.
#[derive(Debug, Default)]
pub struct Shipping {
    adopter: OnceLock<Adopter>,
    running: Mutex<Option<Running>>,
}

#[derive(Debug)]
struct Running {
    stop: oneshot::Sender<()>,
    thread: JoinHandle<()>,
}

impl Shipping {
    /// One that turns followers away until it is opened.
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    /// Serves followers from now on. `engine` makes the checkpoints that base backups start with; on a standby these are
    /// restartpoints.
    ///
    /// # Errors
    /// A directory that cannot be served; no thread.
    pub fn open(&self, options: ShippingOptions, engine: &Arc<Engine>) -> Result<(), ServeError> {
        let ShippingOptions { data_directory, port, settings, moved } = options;
        let backups = BackupOptions {
            data_directory: data_directory.clone(),
            checkpoint: Some(checkpoint_hook(Arc::downgrade(engine))),
        };
        let options = ServerOptions {
            directory: data_directory.join("pg_wal"),
            listen: Listen::Elsewhere(port),
            settings,
            backups: Some(backups),
            origin: origin(Arc::downgrade(engine)),
            moved,
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(ServeError::Thread)?;
        let server = {
            let _entered = runtime.enter();
            Server::start(options)?
        };
        let adopter = server.adopter();
        let (stop, stopped) = oneshot::channel::<()>();
        let run = move || runtime.block_on(server.run(async { drop(stopped.await) }));
        let thread = thread::Builder::new().name("walsenders".to_owned()).spawn(run);
        let thread = thread.map_err(ServeError::Thread)?;
        *self.running() = Some(Running { stop, thread });
        tell_of_flushes(engine, adopter.clone());
        let _open_already = self.adopter.set(adopter);
        Ok(())
    }

    /// What walsender's connections need of the log beyond the directory's slots.
    pub(crate) fn adopter(&self) -> Option<&Adopter> {
        self.adopter.get()
    }

    /// Lets followers have everything that is durable, and then go. Waits for that; nothing may be appended any more.
    pub fn stop(&self) {
        let running = self.running().take();
        if let Some(Running { stop, thread }) = running {
            let _gone_already = stop.send(());
            if thread.join().is_err() {
                tracing::error!("the thread that serves followers panicked");
            }
        }
    }

    fn running(&self) -> runtime::sync::MutexGuard<'_, Option<Running>> {
        self.running.lock()
    }
}

impl ReplicationHandoff for Shipping {
    fn take(&self, client: ReplicationClient) {
        let ReplicationClient { socket, peer, received } = client;
        let Some(adopter) = self.adopter.get() else { return refuse(&socket) };
        let address = peer.map_or_else(|| "[local]".to_owned(), |peer| peer.to_string());
        let is_local = peer.is_none_or(|peer| peer.ip().is_loopback());
        if !adopter.adopt(std_socket(socket, peer), received.into(), address, is_local) {
            tracing::debug!("a replication connection came too late");
        }
    }
}

fn std_socket(socket: OwnedFd, peer: Option<SocketAddr>) -> StdSocket {
    match peer {
        Some(_) => StdSocket::Tcp(socket.into()),
        None => StdSocket::Unix(socket.into()),
    }
}

/// The client's socket takes so little at once, or the client is not worth more.
fn refuse(socket: &OwnedFd) {
    let mut out = Vec::new();
    let message = "the database system is starting up";
    backend::error(&mut out, &ServerError::fatal(SqlState::CANNOT_CONNECT_NOW, message));
    let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
    if let Err(error) = rustix::net::send(socket, &out, flags) {
        tracing::debug!("could not turn away a client: {}", io::Error::from(error));
    }
}

/// A standby's WAL is its leader's, until it is one itself.
fn origin(engine: Weak<Engine>) -> Origin {
    Origin::Writer(Arc::new(EngineLog(engine)))
}

/// The log of an engine, which may be gone.
struct EngineLog(Weak<Engine>);

impl LogWriter for EngineLog {
    fn is_received(&self) -> bool {
        self.0.upgrade().is_some_and(|engine| engine.is_read_only())
    }

    fn go_on_after(&self, end: Lsn) {
        let Some(engine) = self.0.upgrade() else { return };
        if let Err(error) = engine.append_nothing_after(end) {
            tracing::warn!("could not append to the log for a follower at its end: {}", error.chain());
        }
    }
}

/// Those who serve followers learn of each flush from the thread that made it: through the status file they would be woken
/// by another thread that has to be woken first.
fn tell_of_flushes(engine: &Arc<Engine>, adopter: Adopter) {
    let weak = Arc::downgrade(engine);
    engine.log().subscribe_reader(move |flushed| {
        if let Some(engine) = weak.upgrade() {
            adopter.tell_durable(engine.log().timeline(), flushed);
        }
    });
}

fn checkpoint_hook(engine: Weak<Engine>) -> Arc<CheckpointHook> {
    Arc::new(move |fast| {
        let Some(engine) = engine.upgrade() else { return Err("the server is stopping".to_owned()) };
        engine.checkpoint(if fast { Cause::Immediate } else { Cause::Spread }).map_err(|error| error.chain())
    })
}
