//! What backup to take.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::compression::{Location, Settings, Specification};
use crate::manifest::ChecksumAlgorithm;

/// Everything the user decides, but for the connection.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where the backup goes.
    pub destination: Destination,
    /// Its format; meaningless for a [`Destination::Target`].
    pub format: Format,
    /// How the WAL that belongs to it is got.
    pub wal: WalMethod,
    /// The slot that holds WAL back while streaming.
    pub slot: Slot,
    /// Write what a standby needs to follow the server (`-R`).
    pub recovery_configuration: bool,
    /// Ask for an immediate checkpoint rather than a spread one.
    pub fast_checkpoint: bool,
    /// The label in `backup_label`.
    pub label: String,
    /// At most that many kilobytes a second.
    pub max_rate: Option<u32>,
    /// Compression of archives.
    pub compression: Option<Specification>,
    /// The manifest to ask for; `None` for none.
    pub manifest: Option<ManifestRequest>,
    /// Have the server verify its data checksums.
    pub verify_checksums: bool,
    /// `-T OLD=NEW`.
    pub tablespace_mapping: Vec<(PathBuf, PathBuf)>,
    /// Where `pg_wal` points, if not into the data directory.
    pub wal_directory: Option<PathBuf>,
    /// Leave what a failed run wrote.
    pub no_clean: bool,
    /// Leave it to the system when files reach the disk.
    pub no_sync: bool,
    /// Have the server add up what it is going to send.
    pub estimate_size: bool,
    /// Report progress on standard error.
    pub progress: bool,
    /// Report steps on standard error, and file names with the progress.
    pub verbose: bool,
    /// How often to tell the server how far its WAL was received, in seconds; 0 is never.
    pub status_interval: u32,
    /// How long the server may send nothing of the copy; where it only has to answer, a minute at most. `None` is for ever.
    pub server_timeout: Option<Duration>,
}

/// Where a backup goes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Destination {
    /// A directory on this machine, new or empty.
    Directory(PathBuf),
    /// Standard output, as one tar archive.
    Stdout,
    /// Somewhere the server writes to.
    Target {
        /// `server`, `blackhole`, or what an extension adds.
        name: String,
        /// What follows the colon.
        detail: Option<String>,
    },
}

/// What a backup looks like on this machine.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Format {
    /// A data directory.
    Plain,
    /// An archive per tablespace.
    Tar,
}

/// How the WAL that belongs to a backup is got.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum WalMethod {
    /// Not at all; whoever restores it needs an archive.
    None,
    /// By the server, at the end of the base archive.
    Fetch,
    /// By streaming it on a second connection meanwhile.
    Stream,
}

/// The slot that holds WAL back while streaming.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Slot {
    /// One for this run only.
    Temporary,
    /// None.
    None,
    /// An existing one, or with `create` a new one, that stays.
    Named {
        /// Its name.
        name: String,
        /// Whether to create it.
        create: bool,
    },
}

/// What manifest to ask for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ManifestRequest {
    /// The checksums in it; `None` for none.
    pub checksums: Option<ChecksumAlgorithm>,
    /// Write every path in hexadecimal.
    pub force_encode: bool,
}

/// Options that make no sense together, or alone.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidOptions(pub String);

impl Options {
    /// Refuses what cannot be done, in pg_basebackup's words.
    pub fn check(&self) -> Result<(), InvalidOptions> {
        let refuse = |when: bool, why: &str| if when { Err(InvalidOptions(why.to_owned())) } else { Ok(()) };
        let target = matches!(self.destination, Destination::Target { .. });
        let stdout = self.destination == Destination::Stdout;
        let plain = self.format == Format::Plain && !target;
        let stream = self.wal == WalMethod::Stream;
        refuse(plain && stdout, "cannot write a plain format backup to stdout")?;
        refuse(stdout && stream, "cannot stream write-ahead logs in tar mode to stdout")?;
        refuse(target && stream, "WAL cannot be streamed when a backup target is specified")?;
        refuse(
            target && self.recovery_configuration,
            "recovery configuration cannot be written when a backup target is used",
        )?;
        refuse(
            !stream && matches!(self.slot, Slot::Named { .. }),
            "replication slots can only be used with WAL streaming",
        )?;
        refuse(
            self.wal_directory.is_some() && !plain,
            "WAL directory location can only be specified in plain mode",
        )?;
        refuse(
            self.wal_directory.as_deref().is_some_and(Path::is_relative),
            "WAL directory location must be an absolute path",
        )?;
        refuse(
            self.progress && !self.estimate_size,
            "--progress and --no-estimate-size are incompatible options",
        )?;
        self.check_compression(plain, target)?;
        if let Some((_, new)) = self.tablespace_mapping.iter().find(|(_, new)| new.is_relative()) {
            let why =
                format!("new directory is not an absolute path in tablespace mapping: {}", new.display());
            return Err(InvalidOptions(why));
        }
        Ok(())
    }

    fn check_compression(&self, plain: bool, target: bool) -> Result<(), InvalidOptions> {
        let Some(compression) = &self.compression else { return Ok(()) };
        if self.compression_location() == Location::Server {
            return Ok(());
        }
        let refuse = |why: String| Err(InvalidOptions(why));
        if target {
            return refuse(
                "client-side compression is not possible when a backup target is specified".to_owned(),
            );
        }
        if plain {
            return refuse("only tar mode backups can be compressed".to_owned());
        }
        match compression.settings() {
            Ok(_) => Ok(()),
            Err(error) => refuse(format!("invalid compression specification: {error}")),
        }
    }

    fn compression_location(&self) -> Location {
        let target = matches!(self.destination, Destination::Target { .. });
        let default = if target { Location::Server } else { Location::Client };
        self.compression.as_ref().and_then(|compression| compression.location).unwrap_or(default)
    }

    /// Whether the server describes links to tablespaces in a file, rather than sending them.
    pub(super) fn wants_tablespace_map(&self) -> bool {
        self.format == Format::Tar || matches!(self.destination, Destination::Target { .. })
    }

    /// The compression the server is asked for.
    pub(super) fn server_compression(&self) -> Option<&Specification> {
        self.compression.as_ref().filter(|_| self.compression_location() == Location::Server)
    }

    /// The compression done here.
    pub(super) fn client_compression(&self) -> Option<Settings> {
        let compression =
            self.compression.as_ref().filter(|_| self.compression_location() == Location::Client)?;
        compression.settings().ok()
    }

    /// Where the tablespace at `location` on the server goes.
    pub(super) fn map_tablespace(&self, location: &Path) -> PathBuf {
        let mapped = self.tablespace_mapping.iter().find(|(old, _)| old == location);
        mapped.map_or_else(|| location.to_owned(), |(_, new)| new.clone())
    }
}
