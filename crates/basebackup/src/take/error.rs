//! Why a backup was not taken.

use std::io;

use replication::client::{ClientError, ConnectError};
use replication::error::SqlState;
use replication::waldir::Owner;

use super::feed::FeedError;
use super::ledger::Difference;
use super::options::InvalidOptions;
use crate::file_error::{FileError, reason};
use crate::manifest::ManifestError;
use crate::tar::{HeaderError, TarError};

/// Why a backup was not taken.
#[derive(Debug, thiserror::Error)]
pub enum TakeError {
    /// Options that make no sense.
    #[error(transparent)]
    Options(#[from] InvalidOptions),
    /// No connection.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The server refused something, or the connection broke.
    #[error("{doing}: {source}")]
    Server {
        /// What was being done, such as `could not initiate base backup`.
        doing: &'static str,
        /// What happened.
        #[source]
        source: ClientError,
    },
    /// A server this program does not talk to.
    #[error("incompatible server version {0}; base backups are taken from PostgreSQL 15 to 18")]
    ServerVersion(String),
    /// An answer that makes no sense.
    #[error("{0}")]
    Answer(String),
    /// A directory that is in use.
    #[error("directory \"{path}\" exists but is not empty{}", whose(owner))]
    NotEmpty {
        /// The directory.
        path: String,
        /// Whose it is, as far as that can be told.
        owner: Owner,
    },
    /// A file here.
    #[error(transparent)]
    File(#[from] FileError),
    /// An archive that is none.
    #[error("archive \"{archive}\": {source}")]
    Archive {
        /// Its name.
        archive: String,
        /// What is wrong.
        #[source]
        source: TarError,
    },
    /// An archive that cannot be unpacked.
    #[error("could not decompress archive \"{archive}\": {}", reason(.source))]
    Decompress {
        /// Its name.
        archive: String,
        /// What is wrong.
        source: io::Error,
    },
    /// A member that cannot be written.
    #[error(transparent)]
    Header(#[from] HeaderError),
    /// Something that a server has no business to send.
    #[error("refusing what the server sent: {0}")]
    Refused(String),
    /// A manifest that is none.
    #[error("could not parse backup manifest: {0}")]
    Manifest(#[from] ManifestError),
    /// What was received is not what the manifest says was sent.
    #[error("backup does not match its manifest: {}", list(.0))]
    Differences(Vec<Difference>),
    /// The WAL beside it.
    #[error("could not receive the WAL of the backup: {0}")]
    Wal(String),
    /// The server is silent.
    #[error("{server} has sent nothing for {seconds} seconds, while waiting for {what}")]
    Stalled {
        /// What was waited for.
        what: String,
        /// From whom.
        server: String,
        /// How long.
        seconds: u64,
    },
    /// The server found damaged pages, and sent them nevertheless.
    #[error("checksum error occurred: {0}")]
    Damaged(ClientError),
    /// Something was wrong when all of the backup had come.
    #[error(
        "{error}; all that came is left in directory \"{directory}\", under other names than \"{}\", so that nothing \
         takes it for a backup",
        crate::manifest::FILE_NAME
    )]
    LeftBehind {
        /// What was wrong.
        #[source]
        error: Box<Self>,
        /// Where it is.
        directory: String,
    },
    /// The other side of the process gave up, and says why.
    #[error("the backup was given up")]
    Abandoned,
    /// A signal.
    #[error("interrupted")]
    Interrupted,
}

impl TakeError {
    /// For `map_err`: a server's refusal while `doing` something.
    pub(super) fn server(doing: &'static str) -> impl FnOnce(ClientError) -> Self {
        move |source| Self::Server { doing, source }
    }
}

impl TakeError {
    /// The server's last word about pages that it sent.
    pub(super) fn telling_damage(self) -> Self {
        match self {
            Self::Server { source, .. } if source.code() == Some(SqlState::DATA_CORRUPTED) => {
                Self::Damaged(source)
            }
            other => other,
        }
    }
}

impl From<FeedError> for TakeError {
    fn from(error: FeedError) -> Self {
        match error {
            FeedError::Abandoned => Self::Abandoned,
            FeedError::StrayData => Self::Answer(error.to_string()),
        }
    }
}

/// What there is to say of whose a directory is.
fn whose(owner: &Owner) -> String {
    if *owner == Owner::Other { String::new() } else { format!(": it {owner}") }
}

/// The first few, and how many more.
fn list(differences: &[Difference]) -> String {
    const SHOWN: usize = 5;
    let mut text: Vec<_> = differences.iter().take(SHOWN).map(ToString::to_string).collect();
    if let Some(more) = differences.len().checked_sub(SHOWN).filter(|more| *more > 0) {
        text.push(format!("and {more} more"));
    }
    text.join("; ")
}
