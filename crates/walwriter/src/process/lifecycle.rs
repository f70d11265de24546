//! How a server starts, what signals do to it, and how it stops.
//!
//! Start: the directory is checked and locked, the configuration read, the sockets bound (so that clients hear that the
//! server is starting up), the database opened, which may take a recovery; then sessions are opened. TERM and INT end
//! all sessions, then the database with a shutdown checkpoint; HUP reads the configuration again; USR1 promotes if the
//! file `promote` is there, both also while a standby waits to be readable. QUIT, and a second TERM or INT, end the process at once: in the program that is done by
//! `program::end_at_once_on_signals`, whatever the threads here wait for; a QUIT that this hears first does the same.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use anyhow::Context as _;
use disk::{Disk, OsDisk};
use replication::server::PasswordFile;
use runtime::sync::RwLock;
use tracing::{error, info, warn};

use super::claim::Claim;
use super::early::EarlyRequests;
use super::pid_file::SharedPidFile;
use super::signals::{Asked, Signals};
use super::{PROMOTE_FILE, check_data_directory};
use crate::config::Config;
use crate::server::{ListenOptions, Listeners, Registry, ReplicationHandoff, Server, ServerOptions};
use crate::session::Database;
use crate::standby;

/// A database with what only its process can ask of it.
pub trait Node: Database {
    /// Makes a leader of a standby. May block; returns when writes are taken.
    ///
    /// # Errors
    /// Why it stays a standby.
    fn promote(&self) -> anyhow::Result<()>;

    /// The configuration was read again.
    fn reload(&self, config: &Config);

    /// Ends everything with a shutdown checkpoint. No session is open any more.
    ///
    /// # Errors
    /// What went wrong; the next start recovers then.
    fn shutdown(&self) -> anyhow::Result<()>;
}

/// What to serve.
#[derive(Debug, Clone)]
pub struct ServeOptions {
    /// The data directory.
    pub directory: PathBuf,
    /// `name=value`, stronger than the files.
    pub overrides: Vec<String>,
}

/// The configuration in force; replaced as a whole when the files are read again.
#[derive(Debug)]
pub struct LiveConfig(RwLock<Arc<Config>>);

impl LiveConfig {
    /// The one in force now.
    pub fn current(&self) -> Arc<Config> {
        self.0.read().clone()
    }
}

/// What a [`Node`] is opened with.
pub struct Opening {
    /// The data directory, which this process has locked.
    pub directory: PathBuf,
    /// The file system.
    pub disk: Arc<dyn Disk>,
    /// The configuration; look at it again where a setting can change.
    pub config: Arc<LiveConfig>,
    /// The port that is listened on.
    pub port: u16,
    /// The open sessions, to interrupt them.
    pub registry: Arc<Registry>,
    /// To be called when a standby has become a leader: tells all clients.
    pub promoted: Arc<dyn Fn() + Send + Sync>,
    /// Who is asked for a promotion, or told of another configuration, before the node is open.
    pub early: Arc<EarlyRequests>,
}

/// How a server ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stopped {
    /// As asked, with a shutdown checkpoint.
    Cleanly,
    /// At once, as asked.
    AtOnce,
}

/// Serves a data directory until a signal ends it.
///
/// # Errors
/// Everything that keeps the server from starting, and a shutdown that fails.
pub fn serve<N: Node>(
    options: &ServeOptions,
    handoff: impl FnOnce(&LiveConfig, u16) -> anyhow::Result<Option<Arc<dyn ReplicationHandoff>>>,
    open: impl FnOnce(Opening) -> anyhow::Result<Arc<N>> + Send + 'static,
) -> anyhow::Result<Stopped> {
    let directory = &options.directory;
    check_data_directory(directory)?;
    let config = Config::load(directory, &options.overrides)?;
    program::set_log_level(log_level(&config));
    let disk: Arc<dyn Disk> = Arc::new(OsDisk::new());
    let (claim, pid_file) = Claim::take(&*disk, directory)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let _entered = runtime.enter();
    let mut signals = Signals::catch().context("could not catch signals")?;
    program::leave_the_first_to_the_program();
    let listeners = Listeners::bind(&listen_options(&config))?;
    let first_address = config.list("listen_addresses").into_iter().next().unwrap_or_default();
    let server_options = server_options(&config)?;
    let passwords = server_options.passwords.clone();
    let config = Arc::new(LiveConfig(RwLock::new(Arc::new(config))));
    let handoff = handoff(&config, listeners.port())?;
    let server =
        Arc::new(Server::start(server_options, listeners, handoff).context("could not start threads")?);
    let port = server.port();
    let pid_file = Arc::new(SharedPidFile::new(pid_file));
    pid_file.tell(|content| {
        content.port = Some(port);
        content.listen_address = first_address;
        let socket = server.unix_socket_directory().map(|path| path.display().to_string());
        content.socket_directory = socket.unwrap_or_default();
    });
    program::before_ending_at_once(tidying(&server, &pid_file, directory));
    let promoted: Arc<dyn Fn() + Send + Sync> = {
        // Whoever holds this must keep neither the sockets nor the file in place.
        let (server, pid_file) = (Arc::downgrade(&server), Arc::downgrade(&pid_file));
        Arc::new(move || {
            if let (Some(server), Some(pid_file)) = (server.upgrade(), pid_file.upgrade()) {
                pid_file.tell(|content| content.status = "ready".to_owned());
                server.announce("in_hot_standby", "off");
            }
        })
    };
    let opening = Opening {
        directory: directory.clone(),
        disk,
        config: config.clone(),
        port,
        registry: server.registry().clone(),
        promoted,
        early: Arc::default(),
    };
    let ended = runtime.block_on(async {
        let Some(node) = open_node(&mut signals, opening, options, open).await? else { return Ok(None) };
        server.open(node.clone());
        let role = if node.in_recovery() { "standby" } else { "ready" };
        pid_file.tell(|content| content.status = role.to_owned());
        info!(port, role, "ready to accept connections");
        anyhow::Ok(run(&mut signals, &node, options, &config, passwords.as_ref()).await.then_some(node))
    });
    let Ok(Some(node)) = ended else {
        tidying(&server, &pid_file, directory)();
        return ended.map(|_| Stopped::AtOnce);
    };
    pid_file.tell(|content| content.status = "stopping".to_owned());
    server.stop();
    node.shutdown().context("could not shut down")?;
    info!("the server is shut down");
    pid_file.take_away();
    drop(claim);
    Ok(Stopped::Cleanly)
}

/// What is done before the process ends without a shutdown: commands that it runs end too, sockets and `postmaster.pid` go.
fn tidying<N: Node>(
    server: &Arc<Server<N>>,
    pid_file: &Arc<SharedPidFile>,
    directory: &Path,
) -> impl Fn() + Send + Sync + use<N> {
    let (server, pid_file, directory) =
        (Arc::downgrade(server), Arc::downgrade(pid_file), directory.to_owned());
    move || {
        standby::end_commands(&directory);
        if let Some(pid_file) = pid_file.upgrade() {
            pid_file.take_away();
        }
        if let Some(server) = server.upgrade() {
            server.abandon();
        }
    }
}

/// Opens the node on a thread of its own, so that signals are heard while it recovers, or waits as a standby. `None` if one
/// ended it.
async fn open_node<N: Node>(
    signals: &mut Signals,
    opening: Opening,
    options: &ServeOptions,
    open: impl FnOnce(Opening) -> anyhow::Result<Arc<N>> + Send + 'static,
) -> anyhow::Result<Option<Arc<N>>> {
    let (sender, mut opened) = tokio::sync::oneshot::channel();
    let (early, config) = (opening.early.clone(), opening.config.clone());
    let mut reloaded = false;
    thread::Builder::new().name("startup".to_owned()).spawn(move || {
        let _nobody_waits = sender.send(open(opening));
    })?;
    loop {
        tokio::select! {
            opened = &mut opened => {
                let node = opened.context("the startup thread panicked")??;
                early.close();
                if reloaded {
                    node.reload(&config.current());
                }
                return Ok(Some(node));
            }
            asked = signals.next() => match asked {
                Asked::Stop(name) | Asked::Quit(name) => {
                    warn!("received {name} while starting up: stopping at once");
                    return Ok(None);
                }
                Asked::Reload => reloaded |= reload(options, &config, |new| early.reload(new)),
                Asked::User1 if is_promotion_asked(&options.directory) => early.promote(),
                Asked::User1 => {}
            },
        }
    }
}

/// Serves until a signal ends it; `false` if at once.
async fn run<N: Node>(
    signals: &mut Signals,
    node: &Arc<N>,
    options: &ServeOptions,
    config: &LiveConfig,
    passwords: Option<&PasswordFile>,
) -> bool {
    loop {
        match signals.next().await {
            Asked::Stop(name) => {
                info!("received {name}: ending all sessions and shutting down");
                return true;
            }
            Asked::Quit(name) => {
                warn!("received {name}: stopping at once");
                return false;
            }
            Asked::Reload => {
                reload(options, config, |new| node.reload(new));
                reload_passwords(passwords);
            }
            Asked::User1 => promote(node, &options.directory),
        }
    }
}

/// Reads who may come in again. A file that is of no use changes nothing.
fn reload_passwords(passwords: Option<&PasswordFile>) {
    if let Some(Err(error)) = passwords.map(PasswordFile::reload) {
        error!("passwords not changed: {:#}", anyhow::Error::from(error));
    }
}

/// Reads the files again, and tells of what is new. What is wrong in them is told in the log, and nothing changes; whether
/// anything does.
fn reload(options: &ServeOptions, live: &LiveConfig, tell: impl FnOnce(&Config)) -> bool {
    match Config::load(&options.directory, &options.overrides) {
        Ok(new) => {
            let running = live.current();
            for name in running.needs_restart(&new) {
                warn!("parameter \"{name}\" cannot be changed without restarting the server");
            }
            let new = Arc::new(new.keeping_fixed(&running));
            program::set_log_level(log_level(&new));
            *live.0.write() = new.clone();
            tell(&new);
            info!("configuration read again");
            true
        }
        Err(error) => {
            error!("configuration not changed: {error}");
            false
        }
    }
}

/// Whether SIGUSR1 asks for a promotion, which the file says that is there then. It asks once.
fn is_promotion_asked(directory: &Path) -> bool {
    match fs::remove_file(directory.join(PROMOTE_FILE)) {
        Ok(()) => info!("received promote request"),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return false,
        Err(error) => {
            error!("not promoted: could not remove file \"{PROMOTE_FILE}\": {error}");
            return false;
        }
    }
    true
}

/// Does what `promote` asks for, if it asks.
fn promote<N: Node>(node: &Arc<N>, directory: &Path) {
    if !is_promotion_asked(directory) {
        return;
    }
    let node = node.clone();
    let promotion = thread::Builder::new().name("promotion".to_owned()).spawn(move || {
        if let Err(error) = node.promote() {
            error!("not promoted: {error:#}");
        }
    });
    if let Err(error) = promotion {
        error!("not promoted: {error}");
    }
}

/// The least level that is logged. PostgreSQL's notices and log messages are information here, and nothing is worse than an error.
fn log_level(config: &Config) -> &'static str {
    match config.text("log_min_messages").as_str() {
        "debug" => "debug",
        "warning" => "warn",
        "error" | "fatal" | "panic" => "error",
        _ => "info",
    }
}

fn listen_options(config: &Config) -> ListenOptions {
    let configured = config.list("unix_socket_directories");
    let unix_socket_directories = match configured.as_slice() {
        [] => vec![default_socket_directory()],
        [none] if none == "none" => Vec::new(),
        directories => directories.iter().map(PathBuf::from).collect(),
    };
    ListenOptions {
        hosts: config.list("listen_addresses"),
        port: u16::try_from(config.integer("port")).unwrap_or_default(),
        unix_socket_directories,
        unix_socket_permissions: u32::try_from(config.integer("unix_socket_permissions")).unwrap_or(0o700),
        allow_remote: config.is_on("insecure_listen_anywhere") || !config.text("password_file").is_empty(),
    }
}

/// Where the clients of this system look: packaged PostgreSQL's place if this user may write there, else PostgreSQL's own.
fn default_socket_directory() -> PathBuf {
    let packaged = Path::new("/var/run/postgresql");
    let usable = rustix::fs::access(packaged, rustix::fs::Access::WRITE_OK).is_ok();
    if usable { packaged.to_owned() } else { PathBuf::from("/tmp") }
}

fn server_options(config: &Config) -> anyhow::Result<ServerOptions> {
    let file = config.text("password_file");
    let passwords = if file.is_empty() { None } else { Some(PasswordFile::load(Path::new(&file))?) };
    let count = |name: &str| usize::try_from(config.integer(name)).unwrap_or_default();
    let workers = match count("worker_threads") {
        0 => thread::available_parallelism().map_or(1, usize::from).min(8),
        workers => workers,
    };
    let authentication_timeout = config.duration("authentication_timeout").unwrap_or(Duration::from_secs(60));
    let max_connections = count("max_connections");
    let most_sockets = super::descriptors::provide(max_connections as u64, count("max_wal_senders") as u64)?;
    Ok(ServerOptions { workers, max_connections, most_sockets, authentication_timeout, passwords })
}
