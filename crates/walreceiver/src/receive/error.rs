//! Why receiving stopped.

use std::path::PathBuf;

use replication::client::{ClientError, ConnectError};
use replication::error::{ServerError, SqlState};
use replication::receiver::ReceiveError;
use replication::waldir::{Owner, StatusWriterError, WalDirError};
use wal::{HistoryError, Lsn, TimelineHistory, TimelineId, WalError};

use crate::archive::ArchiveError;
use crate::archive::resume::ResumeError;

/// What ends a connection, or the receiver.
#[derive(Debug, thiserror::Error)]
pub enum ReceiverError {
    /// The server could not be reached, or did not let us in.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The connection broke, or the server refused a command.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// The server does not keep to the streaming protocol.
    #[error(transparent)]
    Protocol(#[from] ReceiveError),
    /// The server sent bytes that are not valid WAL; they were neither kept nor acknowledged.
    #[error("server sent {0}; nothing from there on was kept or acknowledged")]
    Damaged(WalError),
    /// The record that is not valid began in a segment that is finished.
    #[error(
        "server sent {error}, in a record that began before segment \"{first}\"; to receive it again, move \"{before}\" \
         and everything after it out of the directory"
    )]
    DamagedAcrossSegments {
        /// What is wrong.
        error: WalError,
        /// The first segment of this stream.
        first: String,
        /// The segment in which the record begins.
        before: String,
    },
    /// The server has been silent for so long that the connection is taken for dead.
    #[error("server has not sent anything for {0} seconds, terminating the connection")]
    Silent(u64),
    /// Somebody wanted us to stop while an answer of the server was waited for.
    #[error("told to stop")]
    Stopped,
    /// The server stopped in good order.
    #[error("replication stream was terminated before stop point")]
    ServerShutdown,
    /// The server named a next timeline that cannot be.
    #[error(
        "server reported unexpected next timeline {timeline} starting at {start}, following timeline {after} at {at}"
    )]
    NextTimeline {
        /// What it named.
        timeline: TimelineId,
        /// And from where.
        start: Lsn,
        /// The timeline that ended.
        after: TimelineId,
        /// How far that was received.
        at: Lsn,
    },
    /// A connection to a database.
    #[error("replication connection is unexpectedly database specific")]
    DatabaseSpecific,
    /// Another system answers than at first.
    #[error("system identifier does not match between connections: {found}, before {expected}")]
    SystemChanged {
        /// Who answers now.
        found: wal::SystemId,
        /// Who answered at first.
        expected: wal::SystemId,
    },
    /// The leader's newest timeline is older than ours.
    #[error("highest timeline {leader} of the primary is behind recovery timeline {ours}")]
    Behind {
        /// The leader's.
        leader: TimelineId,
        /// Ours.
        ours: TimelineId,
    },
    /// The slot does not exist at this server: one that was promoted, for instance, has only slots of its own.
    #[error(
        "replication slot \"{name}\" does not exist on the server: create it there, or have it created from here with \
         {remedy}; until then no WAL is received"
    )]
    NoSuchSlot {
        /// Its name.
        name: String,
        /// The option, or the setting, that has it created.
        remedy: &'static str,
    },
    /// The server has removed WAL that the archive does not have.
    #[error(
        "{error}; this directory needs WAL from {from} of timeline {timeline} on: put the missing segments into it if \
         another archive has them, or receive into a new directory"
    )]
    WalRemoved {
        /// What the server said.
        error: Box<ServerError>,
        /// What was asked for.
        from: Lsn,
        /// On which timeline.
        timeline: TimelineId,
    },
    /// The timeline of the archive and the server's timeline of that number are two.
    #[error(
        "history file \"{}\" differs from the server's history of timeline {timeline}, which begins at {ours} here and at \
         {theirs} there: the histories have forked; take a new base backup of that server, or begin a new directory, if its \
         history is the one to follow",
        path.display()
    )]
    ForkedHistory {
        /// Our file.
        path: PathBuf,
        /// Whose history.
        timeline: TimelineId,
        /// Where the timeline begins by our file; 0/0 if that makes no sense.
        ours: Lsn,
        /// Where it begins by the server's.
        theirs: Lsn,
    },
    /// The directory holds whole segments that the server's newest timeline has discarded.
    #[error(
        "this directory holds WAL of timeline {timeline} up to {end}, but the server's timeline {newest} left that at {left}: \
         to follow the server, move \"{first}\" and everything of timeline {timeline} after it out of the directory, or use \
         another directory"
    )]
    PastFork {
        /// The directory's timeline.
        timeline: TimelineId,
        /// How far it goes.
        end: Lsn,
        /// The server's.
        newest: TimelineId,
        /// Where that left the directory's.
        left: Lsn,
        /// The first segment that goes past that. It is received again up to there, once it is away.
        first: String,
    },
    /// A history file from the server makes no sense.
    #[error(transparent)]
    History(#[from] HistoryError),
    /// The archive cannot be gone on with.
    #[error("{0}")]
    Resume(String),
    /// The archive could not be written.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// The archive could not be read.
    #[error(transparent)]
    Directory(#[from] WalDirError),
    /// A server's directory, where nobody else may write.
    #[error("directory \"{}\" {owner}: WAL is received into a directory of its own", path.display())]
    Foreign {
        /// The directory.
        path: PathBuf,
        /// Whose it is.
        owner: Owner,
    },
    /// Another receiver writes there.
    #[error("another receiver is running: {0}")]
    Locked(String),
    /// The status file could not be made.
    #[error(transparent)]
    Status(#[from] StatusWriterError),
    /// Compressing failed.
    #[error("could not compress segment \"{}\": {reason}", path.display())]
    Compress {
        /// The segment.
        path: PathBuf,
        /// Why.
        reason: String,
    },
}

impl From<ResumeError> for ReceiverError {
    fn from(error: ResumeError) -> Self {
        match error {
            ResumeError::Dir(error) => Self::Directory(error),
            ResumeError::Archive(error) => Self::Archive(error),
            other => Self::Resume(other.to_string()),
        }
    }
}

/// What START_REPLICATION was for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asked<'a> {
    pub(crate) slot: Option<&'a str>,
    pub(crate) from: Lsn,
    pub(crate) timeline: TimelineId,
    /// What has a missing slot created.
    pub(crate) remedy: &'static str,
}

impl ReceiverError {
    /// The history of `timeline` in `path`, which is `ours`, is not what the server has, `theirs`.
    pub(crate) fn forked(path: PathBuf, timeline: TimelineId, ours: &[u8], theirs: &[u8]) -> Self {
        let begin = |bytes: &[u8]| {
            TimelineHistory::parse(timeline, bytes).map_or(Lsn::INVALID, |history| history.begin())
        };
        Self::ForkedHistory { path, timeline, ours: begin(ours), theirs: begin(theirs) }
    }

    /// Whether this host's disk has failed, or was full in the middle of something. What was written since the last sync that
    /// succeeded may be gone, even if a later sync succeeds, so whoever received it must end without acknowledging more.
    pub fn is_disk_failure(&self) -> bool {
        use ArchiveError::{Finished, Fork, NoSpace};
        match self {
            Self::Archive(error) => !matches!(error, Fork { .. } | Finished(_) | NoSpace { .. }),
            Self::Directory(WalDirError::Io { .. }) | Self::Status(_) => true,
            _ => false,
        }
    }

    /// Whether there is no space for more WAL. What was received before is durable, nothing is in doubt, and the rest can be
    /// received once there is space.
    pub fn is_out_of_space(&self) -> bool {
        matches!(self, Self::Archive(ArchiveError::NoSpace { .. }))
    }

    /// What a refusal of START_REPLICATION means.
    pub(crate) fn refused(self, asked: Asked<'_>) -> Self {
        match (self, asked.slot) {
            (Self::Client(ClientError::Server(error)), Some(name))
                if error.code == SqlState::UNDEFINED_OBJECT =>
            {
                Self::NoSuchSlot { name: name.to_owned(), remedy: asked.remedy }
            }
            (error, _) => error.at(asked.from, asked.timeline),
        }
    }

    /// What an error means that came when WAL from `from` on was wanted.
    pub(crate) fn at(self, from: Lsn, timeline: TimelineId) -> Self {
        match self {
            Self::Client(ClientError::Server(error)) if error.code == SqlState::UNDEFINED_FILE => {
                Self::WalRemoved { error, from, timeline }
            }
            other => other,
        }
    }

    /// Whether trying again could only fail the same way, or would do harm.
    pub fn is_final(&self) -> bool {
        match self {
            Self::Connect(_)
            | Self::Client(_)
            | Self::Protocol(_)
            | Self::Damaged(_)
            | Self::DamagedAcrossSegments { .. }
            | Self::Silent(_)
            | Self::Stopped
            | Self::ServerShutdown
            | Self::NextTimeline { .. }
            | Self::PastFork { .. }
            | Self::Behind { .. }
            | Self::NoSuchSlot { .. }
            | Self::WalRemoved { .. } => false,
            Self::DatabaseSpecific
            | Self::SystemChanged { .. }
            | Self::ForkedHistory { .. }
            | Self::History(_)
            | Self::Resume(_)
            | Self::Archive(_)
            | Self::Directory(_)
            | Self::Foreign { .. }
            | Self::Locked(_)
            | Self::Status(_)
            | Self::Compress { .. } => true,
        }
    }
}
