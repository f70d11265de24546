//! A hot standby: what gets WAL into `pg_wal`, and has the engine replay it.
//!
//! | file | |
//! |---|---|
//! | `driver` | the thread: replay what there is, then the archive, then the leader, and again |
//! | `inbox` | what wakes the thread: durable WAL, the receiver's end, requests |
//! | `archive`, `restore` | files from the archive, by `restore_command` |
//! | `extent` | how far files that somebody put into `pg_wal` are valid |
//! | `signal_file` | `standby.signal` |
//! | `refusal` | that a directory's history was found to be another one than its source's |
//!
//! WAL comes from three places, as in PostgreSQL's `WaitForWALToBecomeAvailable`: `pg_wal` itself, the archive, and the
//! leader. Whichever has what comes next gets replay on; when one fails, the next is tried, and after the last a while
//! (`wal_retrieve_retry_interval`) passes. Newer timelines are followed wherever they turn up.
//!
//! Invariants: nothing is replayed that is not durable here; the status file tells followers no more than that; and the
//! receiver has stopped, and the status file is given up, before a promotion touches the log. A standby that was refused by
//! its source lets nobody in, after a restart neither, until a source's history has been compared and is its own.

mod archive;
mod driver;
mod extent;
mod inbox;
mod refusal;
mod restore;
mod signal_file;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant, SystemTime};

use engine::Engine;
use replication::conninfo::ConnInfo;
use replication::waldir::{StatusWriterError, WalDir};
use runtime::sync::{Condvar, Mutex};
use wal::Lsn;
use walreceiver::standby::{StandbyReceiver, StandbyStatusFile};

use driver::Driver;
use inbox::Inbox;
pub use refusal::Refusal;
use restore::Running;
pub(crate) use restore::end_commands;
pub use restore::{RestoreCommand, RestoreError};
pub use signal_file::is_standby;

/// How long `restore_command` may take to end when it is told to.
const COMMAND_PATIENCE: Duration = Duration::from_secs(5);

/// How a standby gets its WAL.
#[derive(Debug, Clone)]
pub struct StandbyOptions {
    /// The data directory.
    pub data_directory: PathBuf,
    /// `primary_conninfo`; `None` if there is no leader to connect to.
    pub leader: Option<ConnInfo>,
    /// `primary_slot_name`.
    pub slot: Option<String>,
    /// `create_primary_slot`.
    pub create_slot: bool,
    /// `restore_command`.
    pub restore_command: Option<RestoreCommand>,
    /// `wal_receiver_status_interval`.
    pub status_interval: Option<Duration>,
    /// `wal_receiver_timeout`.
    pub receiver_timeout: Option<Duration>,
    /// `wal_retrieve_retry_interval`.
    pub retry_interval: Duration,
}

/// What the standby tells whoever put the server together. Called on the standby's thread.
pub trait StandbyEvents: Send + Sync + 'static {
    /// The pages are as of one LSN: reads can be served.
    fn consistent(&self);

    /// Writes are taken from now on.
    fn promoted(&self, engine: &Arc<Engine>);

    /// Replay cannot go on, ever. The process should end.
    fn failed(&self, error: &StandbyError);
}

/// Why a standby cannot be started, or cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum StandbyError {
    /// The engine's reason: a damaged page, a log that makes no sense.
    #[error("{0}")]
    Engine(String),
    /// What is on the pages, or what its history file says, is not in the history that is to be followed.
    #[error("{0}")]
    Diverged(String),
    /// The archive's command failed in a way that must not be taken for a missing file.
    #[error(transparent)]
    Restore(#[from] RestoreError),
    /// The status file cannot be made.
    #[error(transparent)]
    Status(#[from] StatusWriterError),
    /// A file could not be read or written.
    #[error("could not {action} file \"{}\": {source}", path.display())]
    File {
        /// What was tried.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// What was received could not be made durable.
    #[error("could not keep the WAL that is received: {0}")]
    Receive(walreceiver::receive::ReceiverError),
    /// The WAL directory cannot be read.
    #[error(transparent)]
    WalDir(#[from] replication::waldir::WalDirError),
    /// The standby stops, in the middle of something whose outcome means nothing now.
    #[error("the standby stops")]
    Stopped,
    /// No thread can be started.
    #[error("could not start a thread: {0}")]
    Thread(io::Error),
}

impl StandbyError {
    /// Whether it may have come of a full disk, with nothing begun that matters: a command that brings a file, or a file that
    /// is written beside its name.
    fn may_be_for_want_of_space(&self) -> bool {
        match self {
            Self::Restore(RestoreError::Failed { .. }) => true,
            Self::File { action: "write", source, .. } => source.kind() == io::ErrorKind::StorageFull,
            _ => false,
        }
    }
}

impl From<engine::EngineError> for StandbyError {
    fn from(error: engine::EngineError) -> Self {
        match error {
            engine::EngineError::Diverged { .. } => Self::Diverged(error.to_string()),
            error => Self::Engine(error.chain()),
        }
    }
}

/// What a file is to blame for.
fn failed(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> StandbyError + use<> {
    let path = path.to_owned();
    move |source| StandbyError::File { action, path, source }
}

/// How far a promotion is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Promotion {
    /// Asked for, and under way.
    UnderWay,
    /// Writes are taken.
    Done,
}

/// The connection to the leader (`pg_stat_wal_receiver`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReceiverRow {
    /// Whether WAL is being streamed; otherwise the connection is being made.
    pub streaming: bool,
    /// Where it began, and on which timeline.
    pub start: (Lsn, u32),
    /// Written up to here.
    pub written: Lsn,
    /// Durable up to here.
    pub flushed: Lsn,
    /// The timeline of that.
    pub timeline: u32,
    /// When the leader was last heard.
    pub last_received: Option<SystemTime>,
    /// How far the leader said it was.
    pub latest_end: Lsn,
    /// The slot that is used.
    pub slot: Option<String>,
    /// The leader's host.
    pub host: String,
    /// The leader's port.
    pub port: u16,
    /// The connection string, without its password.
    pub conninfo: String,
}

/// A running hot standby. Stops following when dropped.
#[derive(Debug)]
pub struct HotStandby {
    standby: Arc<engine::Standby>,
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// What the thread and those who ask have in common.
struct Shared {
    options: Mutex<StandbyOptions>,
    inbox: Arc<Inbox>,
    /// `None` after the promotion.
    status: Mutex<Option<StandbyStatusFile>>,
    receiver: Mutex<Option<Arc<StandbyReceiver>>>,
    events: Arc<dyn StandbyEvents>,
    /// `restore_command`, when it runs.
    running: Arc<Running>,
    /// Whether the thread is through.
    ended: Mutex<bool>,
    changed: Condvar,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").field("options", &self.options).finish_non_exhaustive()
    }
}

impl HotStandby {
    /// Goes on where `standby`, just opened, has got to.
    ///
    /// # Errors
    /// Another process writes to the directory; no thread.
    pub fn start(
        standby: Arc<engine::Standby>,
        options: StandbyOptions,
        events: Arc<dyn StandbyEvents>,
    ) -> Result<Arc<Self>, StandbyError> {
        let dir = WalDir::on_os(options.data_directory.join("pg_wal"));
        let log = standby.engine().log();
        let directory = &options.data_directory;
        let refusal =
            Refusal::read(&**dir.disk(), directory).map_err(failed("read", &Refusal::path(directory)))?;
        let status = StandbyStatusFile::create(&dir, log.system_id(), log.segment_size())?;
        let running = Running::of(&options.data_directory);
        let shared = Arc::new(Shared {
            options: Mutex::new(options),
            inbox: Arc::default(),
            status: Mutex::new(Some(status)),
            receiver: Mutex::default(),
            events,
            running,
            ended: Mutex::new(false),
            changed: Condvar::new(),
        });
        let driver = Driver::new(Arc::clone(&standby), Arc::clone(&shared), dir, refusal);
        let thread = thread::Builder::new().name("startup".to_owned()).spawn(move || driver.run());
        let thread = Mutex::new(Some(thread.map_err(StandbyError::Thread)?));
        Ok(Arc::new(Self { standby, shared, thread }))
    }

    /// The engine's side of it.
    pub fn standby(&self) -> &Arc<engine::Standby> {
        &self.standby
    }

    /// Asks for a promotion, or how far one is. Does not block. It comes as soon as the pages are consistent.
    pub fn promote(&self) -> Promotion {
        if !self.standby.engine().is_read_only() {
            return Promotion::Done;
        }
        self.shared.inbox.promote();
        Promotion::UnderWay
    }

    /// Asks for a promotion, and waits until writes are taken.
    ///
    /// # Errors
    /// The server stops before, or replay has failed.
    pub fn promote_now(&self) -> Result<(), StandbyError> {
        self.promote();
        let mut ended = self.shared.ended.lock();
        while !*ended {
            ended = self.shared.changed.wait(ended);
        }
        if self.standby.engine().is_read_only() {
            return Err(StandbyError::Engine("replay ended before the promotion: see the log".to_owned()));
        }
        Ok(())
    }

    fn ends_within(&self, patience: Duration) -> bool {
        let deadline = Instant::now() + patience;
        let mut ended = self.shared.ended.lock();
        while !*ended {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            ended = self.shared.changed.wait_timeout(ended, left).0;
        }
        true
    }

    /// Other settings. A connection that would be made differently is made anew.
    pub fn set_options(&self, options: StandbyOptions) {
        *self.shared.options.lock() = options;
        self.shared.inbox.reconnect();
    }

    /// Up to where WAL was received and is durable.
    pub fn received(&self) -> Lsn {
        self.shared
            .status
            .lock()
            .as_ref()
            .map_or_else(|| self.standby.engine().log().flushed(), |status| status.current().flush)
    }

    /// The connection to the leader; `None` if there is none.
    pub fn receiver(&self) -> Option<ReceiverRow> {
        let state = self.shared.receiver.lock().as_ref()?.state();
        let status = self.shared.status.lock().as_ref()?.current();
        let options = self.shared.options.lock().clone();
        let since = |at: replication::waldir::UnixMicros| {
            SystemTime::UNIX_EPOCH.checked_add(Duration::from_micros(at.as_u64()))
        };
        Some(ReceiverRow {
            streaming: state.streaming,
            start: (state.start, state.start_timeline),
            written: status.write,
            flushed: status.flush,
            timeline: status.timeline.as_u32(),
            last_received: status.last_byte_at.and_then(since),
            latest_end: status.server_end,
            slot: options.slot,
            host: state.host,
            port: state.port,
            conninfo: options.leader.map(|leader| leader.to_shown_conninfo()).unwrap_or_default(),
        })
    }

    /// Stops following, and waits for that. What was received is durable, and acknowledged. A `restore_command` that
    /// runs is told to end, and killed if it does not.
    pub fn stop(&self) {
        self.shared.inbox.stop();
        self.shared.running.stop(false);
        if !self.ends_within(COMMAND_PATIENCE) {
            self.shared.running.stop(true);
        }
        let thread = self.thread.lock().take();
        if let Some(thread) = thread
            && thread.join().is_err()
        {
            tracing::error!("the thread that replays WAL panicked");
        }
    }
}

impl Drop for HotStandby {
    fn drop(&mut self) {
        self.stop();
    }
}
