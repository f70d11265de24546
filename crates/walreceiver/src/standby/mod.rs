//! Receiving into the `pg_wal` of a server that replays what arrives: a hot standby's half of the connection.
//!
//! | file | |
//! |---|---|
//! | `session` | one connection to the leader: one timeline, from where replay is |
//! | `status` | what the directory's readers are told, whether there is a connection or not |
//!
//! Other than an archive's receiver ([`crate::receive`]), this one goes on where it is told to, writes segments under
//! their final names, as PostgreSQL's `walreceiver.c` does, and ends with its connection or its timeline: whoever
//! replays decides where WAL comes from next. What is durable is acknowledged at once; how far replay is, it is told
//! ([`StandbyReceiver::applied`]) and passes on.

mod session;
mod status;

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use replication::client::NextTimeline;
use replication::conninfo::ConnInfo;
use replication::waldir::WalDir;
use runtime::sync::Mutex;
use tokio::sync::watch;
use wal::{Lsn, SegmentSize, SystemId, TimelineHistory, TimelineId};

use crate::archive::{Naming, SegmentFiles};
use crate::receive::ReceiverError;
use crate::receive::acknowledger::Acknowledger;
pub use crate::receive::acknowledger::DurableListener;
pub use status::StandbyStatusFile;

/// How to follow a leader.
#[derive(Clone, Debug)]
pub struct StandbyOptions {
    /// `primary_conninfo`.
    pub conninfo: ConnInfo,
    /// `primary_slot_name`.
    pub slot: Option<String>,
    /// `create_primary_slot`: have the leader make the slot whenever it has not got it.
    pub create_slot: bool,
    /// The server's `pg_wal`.
    pub dir: PathBuf,
    /// The cluster.
    pub system_id: SystemId,
    /// The cluster's segment size.
    pub segment_size: SegmentSize,
    /// `wal_receiver_status_interval`; `None` is never.
    pub status_interval: Option<Duration>,
    /// `wal_receiver_timeout`; `None` is never.
    pub timeout: Option<Duration>,
}

/// Where to go on.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StandbyStart {
    /// The timeline to ask for, with its ancestors.
    pub history: TimelineHistory,
    /// The end of what is durable and valid in the directory. Streaming starts at its segment's start.
    pub position: Lsn,
    /// The end of what is replayed; never ahead of `position`.
    pub applied: Lsn,
}

/// How receiving ended that nothing was wrong with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum StandbyEnd {
    /// Told to.
    Stopped,
    /// The leader has no more on this timeline; its history files are in the directory.
    TimelineEnded(NextTimeline),
}

/// What a receiver is doing (`pg_stat_wal_receiver`).
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ReceiverState {
    /// Whether WAL is being streamed: the leader has let us in and agreed to send.
    pub streaming: bool,
    /// Where it began.
    pub start: Lsn,
    /// The timeline it began on.
    pub start_timeline: u32,
    /// The leader's host, and its port.
    pub host: String,
    /// The leader's port.
    pub port: u16,
}

/// Whether `dir`, a standby's `pg_wal` that no receiver writes to at the moment, has space for another segment.
///
/// # Errors
/// It cannot be told, for another reason than a full disk.
pub fn has_space(dir: &WalDir, size: SegmentSize) -> Result<bool, ReceiverError> {
    let files = SegmentFiles {
        disk: Arc::clone(dir.disk()),
        dir: dir.path().to_owned(),
        timeline: TimelineId::FIRST,
        size,
        naming: Naming::Final,
    };
    Ok(files.has_space()?)
}

/// A connection to the leader, on a thread of its own.
#[derive(Debug)]
pub struct StandbyReceiver {
    shared: Arc<Shared>,
    stop: watch::Sender<bool>,
    thread: Mutex<Option<JoinHandle<Result<StandbyEnd, ReceiverError>>>>,
}

/// What the thread and its owner have in common.
#[derive(Default)]
struct Shared {
    state: Mutex<ReceiverState>,
    /// Of the stream under way.
    acknowledger: Mutex<Option<Arc<Acknowledger>>>,
    /// See [`StandbyReceiver::history_agrees`]. Set once, by the connection.
    history_agrees: AtomicBool,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").field("state", &self.state).finish_non_exhaustive()
    }
}

impl StandbyReceiver {
    /// Connects and receives, on a thread of its own. `listener` hears of what is durable; `ended` is called once when
    /// the receiver is through, whatever the reason, which [`StandbyReceiver::wait`] then tells.
    ///
    /// # Errors
    /// No thread to be had.
    pub fn start(
        options: StandbyOptions,
        start: StandbyStart,
        status: &StandbyStatusFile,
        listener: Arc<dyn DurableListener>,
        ended: impl FnOnce() + Send + 'static,
    ) -> io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let (stop, stopped) = watch::channel(false);
        let session = session::Session {
            options,
            publisher: status.publisher(),
            listener,
            shared: Arc::clone(&shared),
            stopped,
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let run = move || {
            let outcome = runtime.block_on(Box::pin(session.run(start)));
            // Not dropped: that waits for a name that is being looked up.
            runtime.shutdown_background();
            *session.shared.acknowledger.lock() = None;
            *session.shared.state.lock() = ReceiverState::default();
            session.publisher.disconnected();
            ended();
            outcome
        };
        let thread = thread::Builder::new().name("walreceiver".to_owned()).spawn(run)?;
        Ok(Self { shared, stop, thread: Mutex::new(Some(thread)) })
    }

    /// Everything before `position` has been replayed: for the leader to know.
    pub fn applied(&self, position: Lsn) {
        let acknowledger = self.shared.acknowledger.lock().clone();
        if let Some(acknowledger) = acknowledger {
            acknowledger.applied(position);
        }
    }

    /// What it is doing.
    pub fn state(&self) -> ReceiverState {
        self.shared.state.lock().clone()
    }

    /// Whether the leader's history has been compared with the directory's, has all that is here, and the leader sends. What a
    /// leader does not tell is not compared.
    pub fn history_agrees(&self) -> bool {
        self.shared.history_agrees.load(Ordering::Acquire)
    }

    /// Asks it to end: everything received is made durable and acknowledged first.
    pub fn stop(&self) {
        self.stop.send_replace(true);
    }

    /// Waits until it is through, and tells how that came, once.
    ///
    /// # Errors
    /// Why it could not go on.
    pub fn wait(&self) -> Result<StandbyEnd, ReceiverError> {
        let thread = self.thread.lock().take();
        match thread.map(JoinHandle::join) {
            Some(Ok(outcome)) => outcome,
            Some(Err(panic)) => std::panic::resume_unwind(panic),
            None => Ok(StandbyEnd::Stopped),
        }
    }
}

impl Drop for StandbyReceiver {
    /// No thread goes on writing where somebody else may soon.
    fn drop(&mut self) {
        self.stop();
        let thread = self.thread.lock().take();
        if let Some(thread) = thread {
            // Its outcome, or panic, is nobody's business any more.
            let _ = thread.join();
        }
    }
}
