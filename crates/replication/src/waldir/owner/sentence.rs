//! Whose a directory is, in words, and what to do about it.

use std::fmt;

use super::detection::{CATALOGUE, CONTROL};
use super::{FORMAT, Owner};

impl Owner {
    /// What to do for whoever wanted walwriter to open it.
    pub(super) fn remedy(&self) -> &'static str {
        match self {
            Self::Missing | Self::Empty => "make a data directory with \"walwriter init\"",
            Self::Walwriter { .. } | Self::EarlierWalwriter => "use the version of walwriter that made it",
            Self::Postgres { .. } => "serve it with that PostgreSQL; walwriter would destroy it",
            Self::Overwritten => {
                "restore it from a backup; if it has been walwriter's ever since and nothing of PostgreSQL's is missed, remove \
                 \"global/pg_filenode.map\""
            }
            Self::DamagedCatalogue | Self::DamagedControlFile { .. } => {
                "restore it from a base backup, or make it anew from its leader"
            }
            Self::UnfinishedInit | Self::UnfinishedBackup => "remove it and begin anew",
            Self::ServersWal(_) => "name the data directory itself",
            Self::Archive => "a base backup is needed to restore it to",
            Self::TarBackup => "extract it first",
            Self::Other => "name a directory that \"walwriter init\" or a base backup has made",
        }
    }
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let of = |version: &str| match version {
            "" => "PostgreSQL".to_owned(),
            version => format!("PostgreSQL {version}"),
        };
        match self {
            Self::Missing => f.write_str("does not exist"),
            Self::Empty => f.write_str("is empty"),
            Self::Walwriter { format: FORMAT } => f.write_str("is a data directory of walwriter"),
            Self::Walwriter { format } => {
                write!(
                    f,
                    "is a data directory of walwriter in format {format}, and format {FORMAT} is known here"
                )
            }
            Self::EarlierWalwriter => f.write_str("is a data directory of an earlier walwriter"),
            Self::Postgres { version } => write!(f, "is a data directory of {}", of(version)),
            Self::Overwritten => f.write_str(
                "is a data directory of PostgreSQL 15 over whose catalogue an earlier walwriter has written",
            ),
            Self::DamagedCatalogue => write!(
                f,
                "is a data directory whose catalogue is missing or damaged: file \"{CATALOGUE}\" is not one of walwriter's"
            ),
            Self::DamagedControlFile { version, is_postgres: true, reason } => {
                write!(f, "is a data directory of {}, and its {CONTROL} is damaged: {reason}", of(version))
            }
            Self::DamagedControlFile { reason, .. } => {
                write!(f, "is a data directory, and its {CONTROL} is damaged: {reason}")
            }
            Self::UnfinishedInit => {
                write!(f, "is a data directory whose making did not finish: it has no {CONTROL}")
            }
            Self::UnfinishedBackup => f.write_str("is a base backup that was not completed"),
            Self::ServersWal(owner) if **owner == Self::Other => f.write_str("is the pg_wal of a server"),
            Self::ServersWal(owner) => write!(f, "is the pg_wal of what {owner}"),
            Self::Archive => f.write_str("is an archive of WAL"),
            Self::TarBackup => f.write_str("is a base backup in tar format"),
            Self::Other => f.write_str("is not a data directory"),
        }
    }
}
