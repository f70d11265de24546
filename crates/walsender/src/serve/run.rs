//! The server as a whole: accepts, counts, and lets everybody go at the end.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::{Duration, Instant};
use std::{io, thread};

use bytes::Bytes;
use replication::server::{PasswordFile, PasswordFileError, ServerConfig};
use replication::tls::{TlsError, server_tls};
use replication::waldir::{Owner, Slots, WalDir, owner_of};
use tokio::sync::{mpsc, watch};
use tracing::{error, info, warn};

use super::adopter::{Adopted, Adopter};
use super::backup::remove_stale_holds;
use super::connection::{ConnectionError, Peer, serve};
use super::draining::Draining;
use super::origin::{FollowersMoved, Origin};
use super::slots::SlotKeeper;
use super::socket::Socket;
use super::{BackupOptions, Connections, ListenError, ListenOptions, Listeners, Phase, Shared};
use crate::settings::Settings;
use crate::source::{Source, SourceError};

/// Connections beyond `max_wal_senders` that may be in the middle of logging in.
const LOGGING_IN: usize = 64;
/// How long to wait when the system has no more files or threads.
const OUT_OF_RESOURCES: Duration = Duration::from_millis(100);
/// How often at the end clients are looked at.
const LOOK: Duration = Duration::from_millis(100);

/// What to serve, where, and how.
#[derive(Debug, Clone)]
pub struct ServerOptions {
    /// The WAL directory.
    pub directory: PathBuf,
    /// Where clients come from.
    pub listen: Listen,
    /// Everything else.
    pub settings: Settings,
    /// What base backups are taken of; `None` where there is only WAL.
    pub backups: Option<BackupOptions>,
    /// Whose WAL it is at the moment.
    pub origin: Origin,
    /// Who wants to know of followers.
    pub moved: FollowersMoved,
}

/// Where clients come from.
#[derive(Debug, Clone)]
pub enum Listen {
    /// Sockets of this server's own.
    On(ListenOptions),
    /// From somebody who listens on this port and hands over those who want WAL, through an [`Adopter`].
    Elsewhere(u16),
}

/// Why the server does not start, or stops.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The directory cannot be served.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// Nobody could connect.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// The certificate or key is of no use.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The password file is of no use.
    #[error(transparent)]
    Passwords(#[from] PasswordFileError),
    /// A certificate without a key, or the other way round.
    #[error("a certificate and its key are needed together (--cert and --key)")]
    HalfTls,
    /// No thread can be started.
    #[error("could not start a thread: {0}")]
    Thread(io::Error),
}

/// A server that is bound and ready to serve.
#[derive(Debug)]
pub struct Server {
    listeners: Listeners,
    shared: Arc<Shared>,
    phase: watch::Sender<Phase>,
    adopter: Adopter,
    adopted: mpsc::UnboundedReceiver<Adopted>,
}

impl Server {
    /// Looks at the directory and binds the sockets. Needs a tokio runtime.
    ///
    /// # Errors
    /// Everything that can be wrong with the options.
    pub fn start(options: ServerOptions) -> Result<Self, ServeError> {
        let ServerOptions { directory, listen, settings, backups, origin, moved } = options;
        let tls = match (&settings.ssl_cert_file, &settings.ssl_key_file) {
            (Some(certificate), Some(key)) => Some(server_tls(certificate, key)?),
            (None, None) => None,
            _ => return Err(ServeError::HalfTls),
        };
        let passwords = settings.password_file.as_deref().map(PasswordFile::load).transpose()?;
        let secure = tls.is_some() && passwords.is_some();
        let local = ServerConfig {
            tls,
            require_tls: false,
            passwords,
            authentication_timeout: settings.authentication_timeout,
        };
        // Where TLS is configured, others than this host must use it.
        let remote = ServerConfig { require_tls: local.tls.is_some(), ..local.clone() };
        let source = Source::watch(directory)?;
        let listeners = match listen {
            Listen::On(listen) => Listeners::bind(&ListenOptions {
                allow_remote: listen.allow_remote || secure,
                open_unix_socket: local.passwords.is_some(),
                ..listen
            })?,
            Listen::Elsewhere(port) => Listeners::none(port),
        };
        let (phase, receiver) = watch::channel(Phase::Serving);
        let slots = Slots::new(source.dir().clone());
        let read_only = is_anothers(source.dir())?;
        if !read_only {
            remove_stale_holds(&slots);
        }
        let slots = SlotKeeper::new(slots, settings.max_replication_slots, read_only);
        let shared = Arc::new(Shared {
            settings,
            source,
            read_only,
            slots,
            backups,
            origin,
            moved,
            turned_away: super::turned_away::TurnedAway::default(),
            handshake_local: local,
            handshake_remote: remote,
            phase: receiver,
            port: listeners.port(),
            senders: AtomicUsize::new(0),
            connections: Connections::default(),
        });
        let (sender, adopted) = mpsc::unbounded_channel();
        let adopter = Adopter::new(shared.clone(), sender);
        Ok(Self { listeners, shared, phase, adopter, adopted })
    }

    /// For those who hand clients over.
    pub fn adopter(&self) -> Adopter {
        self.adopter.clone()
    }

    /// The port that clients connect to.
    pub const fn port(&self) -> u16 {
        self.listeners.port()
    }

    /// Serves until `stop` is ready, and then until every follower has what is durable; but only as long as any of them gets on
    /// (`draining`). Those that are given up still have threads, which end with the process: they read
    /// the directory, and write nothing but their own entries in it.
    pub async fn run(self, stop: impl Future<Output = ()>) {
        let Self { listeners, shared, phase, adopter: _, mut adopted } = self;
        // Every connection holds a sender; when all are gone, so are the connections.
        let (guard, mut done) = mpsc::channel::<()>(1);
        let connections = Arc::new(());
        let mut stop = std::pin::pin!(stop);
        let keeper = shared.clone();
        let mut forgetting = std::pin::pin!(keeper.turned_away.forget_in_time());
        loop {
            let client = tokio::select! {
                () = &mut stop => break,
                never = &mut forgetting => match never {},
                Some(client) = adopted.recv() => Ok(client),
                client = listeners.accept() => client.and_then(|(socket, peer)| {
                    Ok(Adopted { socket: socket.into_std()?, read_before: Bytes::new(), peer })
                }),
            };
            let client = match client {
                Ok(client) => client,
                Err(error) => {
                    warn!(%error, "could not accept a connection");
                    tokio::time::sleep(OUT_OF_RESOURCES).await;
                    continue;
                }
            };
            let most = shared.settings.max_wal_senders + LOGGING_IN;
            if Arc::strong_count(&connections) > most {
                warn!(peer = %client.peer.address, "too many connections are logging in; closing this one");
                continue;
            }
            let ticket = (guard.clone(), connections.clone());
            if let Err(error) = spawn(shared.clone(), client, ticket) {
                error!(%error, "could not start a thread for a connection");
                tokio::time::sleep(OUT_OF_RESOURCES).await;
            }
        }
        drop(listeners);
        info!(connections = Arc::strong_count(&connections) - 1, "shutting down: letting followers go");
        phase.send_replace(Phase::Draining);
        drop(guard);
        let mut draining = Draining::new(Instant::now());
        while draining.goes_on(shared.connections.reached(), Instant::now()) {
            if tokio::time::timeout(LOOK, done.recv()).await.is_ok() {
                return;
            }
        }
        let peers = shared.connections.peers();
        if !peers.is_empty() {
            warn!(
                "giving up {} that took and confirmed nothing for 5 seconds, or less than 1 MiB a second: {}",
                if peers.len() == 1 { "a client" } else { "clients" },
                peers.join(", ")
            );
        }
    }
}

/// Whether the directory is that of a server which is not walwriter: it is read, and left as it is. Says so.
fn is_anothers(dir: &WalDir) -> Result<bool, SourceError> {
    match owner_of(&**dir.disk(), dir.path())? {
        Owner::ServersWal(of) if of.is_walwriters() => Ok(false),
        owner @ Owner::ServersWal(_) => {
            info!("directory \"{}\" {owner}: nothing is written there", dir.path().display());
            Ok(true)
        }
        // A data directory itself, or what is left of one.
        owner => Ok(owner.is_data_directory()),
    }
}

/// What every connection holds: when all are gone, so are the connections.
type Ticket = (mpsc::Sender<()>, Arc<()>);

/// Serves one client in a thread of its own. `ticket` lives as long as it does.
fn spawn(shared: Arc<Shared>, client: Adopted, ticket: Ticket) -> io::Result<()> {
    let Adopted { socket, read_before, peer } = client;
    thread::Builder::new().name("walsender".to_owned()).spawn(move || {
        let _ticket = ticket;
        let address = peer.address.clone();
        let (number, progress) = shared.connections.enter(address.clone());
        let peer = Peer { progress, ..peer };
        let connections = shared.clone();
        let result = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .and_then(|runtime| {
                let socket = {
                    let _entered = runtime.enter();
                    Socket::from_std(socket)?
                };
                Ok(runtime.block_on(serve(shared, socket, read_before, peer)))
            })
            .unwrap_or_else(|error| Err(error.into()));
        connections.connections.leave(number);
        match result {
            Ok(()) => info!(peer = %address, "disconnected"),
            Err(ConnectionError::Handshake(error)) => {
                warn!(peer = %address, "connection not authorized: {error}")
            }
            Err(error) => warn!(peer = %address, "connection lost: {error}"),
        }
    })?;
    Ok(())
}
