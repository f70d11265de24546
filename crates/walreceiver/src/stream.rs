//! WAL streamed in the background, beside something else: what `basebackup -X stream` needs.
//!
//! [`BackgroundStream::start`] opens a replication connection of its own on a thread of its own, makes or takes a
//! slot, checks that the system is the expected one, and streams validated WAL into a
//! [`WalSink`] until it has passed the position given to [`BackgroundStream::stop_at`]; [`BackgroundStream::join`]
//! waits for that. Timeline switches are followed. There is no reconnecting: a base backup whose WAL stream breaks has
//! failed.

mod worker;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use replication::client::{ClientError, ConnectError};
use replication::conninfo::{ConnInfo, Host};
use replication::receiver::ReceiveError;
use tokio::sync::{Notify, oneshot};
use wal::{HistoryError, Lsn, SystemId, TimelineId, WalError};

use crate::sink::{SinkError, WalSink};

/// The slot that keeps the server from removing WAL before it has been streamed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum StreamSlot {
    /// None: the server may remove WAL too early, and the stream then fails.
    None,
    /// One that exists.
    Existing(String),
    /// One to be created first, permanent, reserving WAL at once (`-C -S`).
    Create(String),
    /// A temporary one, `PREFIX_<backend pid>`, gone with the connection.
    Temporary {
        /// What its name begins with: `pg_basebackup` calls it `pg_basebackup`.
        prefix: String,
    },
}

/// What to stream.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StreamRequest {
    /// Where the WAL must begin; rounded down to the start of its segment.
    pub start: Lsn,
    /// The timeline of `start`.
    pub timeline: TimelineId,
    /// The system it must come from, if known.
    pub system_id: Option<SystemId>,
    /// The slot to use.
    pub slot: StreamSlot,
    /// How often to tell the server how far we are (`-s`); zero: only when asked.
    pub status_interval: Duration,
    /// How long the server may take to begin to stream, and how long nothing may come of what is missing once it is known
    /// where to stop; `None` is for ever.
    pub patience: Option<Duration>,
}

/// What a stream that ended well has seen.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Streamed {
    /// The timeline it ended on.
    pub timeline: TimelineId,
    /// After the last byte received: at or past the stop position.
    pub end: Lsn,
}

/// Why a stream failed.
#[derive(Debug, thiserror::Error)]
pub enum StreamError {
    /// The server could not be reached, or did not let us in.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The connection broke, or the server refused a command.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// The server does not keep to the streaming protocol.
    #[error(transparent)]
    Protocol(#[from] ReceiveError),
    /// The server sent bytes that are not valid WAL.
    #[error("server sent {0}")]
    Damaged(#[from] WalError),
    /// A history file from the server makes no sense.
    #[error(transparent)]
    History(#[from] HistoryError),
    /// The connection leads to another system.
    #[error("system identifier does not match between connections: {found}, expected {expected}")]
    OtherSystem {
        /// Who answered.
        found: SystemId,
        /// Who should have.
        expected: SystemId,
    },
    /// The server has been silent for so long that the connection is taken for dead.
    #[error("server has not sent anything for {0} seconds, terminating the connection")]
    Silent(u64),
    /// The server ended the stream before the stop position.
    #[error("replication stream was terminated before stop point, at {0}")]
    EndedEarly(Lsn),
    /// The server does not begin to stream.
    #[error("{server} has not begun to stream WAL within {seconds} seconds")]
    NotBegun {
        /// Who was asked, as far as that is known.
        server: String,
        /// How long it was waited for.
        seconds: u64,
    },
    /// The server goes on living, but does not send what is missing.
    #[error(
        "WAL up to {wanted} was waited for, but {server} has sent nothing after {received} for {seconds} seconds"
    )]
    Stalled {
        /// Who should have sent it.
        server: String,
        /// Up to where WAL is needed.
        wanted: Lsn,
        /// Up to where it was received.
        received: Lsn,
        /// How long nothing has come.
        seconds: u64,
    },
    /// The thread could not be started, or died of a defect.
    #[error("the WAL streaming thread failed: {0}")]
    Thread(String),
    /// The sink could not keep what was received.
    #[error(transparent)]
    Sink(#[from] SinkError),
}

/// A stream under way, on a thread of its own. Dropping it ends the stream without waiting for anything.
#[derive(Debug)]
pub struct BackgroundStream {
    control: Arc<Control>,
    ended: Option<oneshot::Receiver<Result<Streamed, StreamError>>>,
}

/// What the stream's owner and its thread tell each other.
#[derive(Debug, Default)]
struct Control {
    /// Where to stop; 0 while that is not known. Set by the owner.
    stop: AtomicU64,
    /// After the last byte received; moved by the thread.
    received: AtomicU64,
    /// The owner is gone.
    abandoned: std::sync::atomic::AtomicBool,
    changed: Notify,
}

impl BackgroundStream {
    /// Connects, makes the slot, and returns once WAL is being streamed, so that a refused connection or slot is known
    /// at once.
    pub async fn start(
        conninfo: &ConnInfo,
        request: StreamRequest,
        sink: Box<dyn WalSink>,
    ) -> Result<Self, StreamError> {
        let control = Arc::new(Control::default());
        let (begun, beginning) = oneshot::channel();
        let (ended, ending) = oneshot::channel();
        let patience = request.patience;
        let worker = worker::Worker::new(conninfo.clone(), request, sink, Arc::clone(&control), begun);
        thread::Builder::new()
            .name("wal-stream".to_owned())
            .spawn(move || {
                // Nobody listens any more if the owner is gone.
                let _ = ended.send(worker.run());
            })
            .map_err(|error| StreamError::Thread(error.to_string()))?;
        let mut stream = Self { control, ended: Some(ending) };
        let beginning = async {
            match patience {
                Some(limit) => tokio::time::timeout(limit, beginning).await.map_err(|_| limit),
                None => Ok(beginning.await),
            }
        };
        let begun = beginning.await.map_err(|limit| StreamError::NotBegun {
            server: conninfo.hosts.first().map_or_else(|| "the server".to_owned(), Host::describe),
            seconds: limit.as_secs(),
        })?;
        match begun {
            Ok(()) => Ok(stream),
            // The thread gave up before streaming began: its result says why.
            Err(_) => match stream.outcome().await {
                Err(error) => Err(error),
                Ok(streamed) => Err(StreamError::EndedEarly(streamed.end)),
            },
        }
    }

    /// The stream is to end by itself once it has received everything before `end`.
    pub fn stop_at(&self, end: Lsn) {
        self.control.stop.store(end.as_u64().max(1), Ordering::Release);
        self.control.changed.notify_one();
    }

    /// After the last byte received so far.
    pub fn received(&self) -> Lsn {
        Lsn::new(self.control.received.load(Ordering::Acquire))
    }

    /// Waits until the stream has ended, and its sink with it: by [`BackgroundStream::stop_at`], or by failing.
    pub async fn join(mut self) -> Result<Streamed, StreamError> {
        self.outcome().await
    }

    async fn outcome(&mut self) -> Result<Streamed, StreamError> {
        let died = || StreamError::Thread("it ended unexpectedly".to_owned());
        self.ended.take().ok_or_else(died)?.await.map_err(|_| died())?
    }
}

impl Control {
    /// Where to stop, once that is known.
    fn stop_position(&self) -> Option<Lsn> {
        Some(Lsn::new(self.stop.load(Ordering::Acquire))).filter(|stop| stop.is_valid())
    }
}

impl Drop for BackgroundStream {
    fn drop(&mut self) {
        self.control.abandoned.store(true, Ordering::Release);
        self.control.changed.notify_one();
    }
}
