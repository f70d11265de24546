//! The command line of `basebackup`, which is pg_basebackup's.

mod values;

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{bail, ensure};
use basebackup::compression::Specification;
use basebackup::take::{Destination, Format, ManifestRequest, Options, Slot, WalMethod};
use clap::{ArgAction, Parser, Subcommand, ValueEnum};
use replication::client::PasswordPrompt;
use replication::conninfo::ConnArgs;

use crate::verify_arguments::VerifyArguments;
use values::{parse_mapping, parse_rate};

/// Takes a base backup of a running PostgreSQL server (15 or later), and verifies base backups.
///
/// The backup is written to a directory, as a data directory or as tar archives, together with the WAL needed to start
/// a server from it. Every file is checked against the server's manifest while it arrives.
#[derive(Parser, Debug)]
#[command(name = "basebackup", version, disable_help_flag = true, args_conflicts_with_subcommands = true)]
// As with PostgreSQL's tools, of an option given twice the last counts: scripts add theirs to what users give.
#[command(args_override_self = true)]
#[command(after_help = "Example, a standby of the server on host db:\n  \
    basebackup -h db -U replicator -D /srv/standby -R -C -S standby1 -c fast -P\n\
    Connection settings not given come from PG* variables and the password file.")]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) command: Option<Command>,

    /// Receive the backup into this directory, new or empty; "-" is standard output (with -Ft)
    #[arg(short = 'D', long = "pgdata", value_name = "DIRECTORY", help_heading = OUTPUT)]
    directory: Option<PathBuf>,
    /// Output format: p[lain] or t[ar] [default: plain]
    #[arg(short = 'F', long, value_name = "p|t", help_heading = OUTPUT)]
    format: Option<FormatArgument>,
    /// Maximum transfer rate in kB/s, or with suffix "k" or "M"
    #[arg(short = 'r', long, value_name = "RATE", value_parser = parse_rate, help_heading = OUTPUT)]
    max_rate: Option<u32>,
    /// Write configuration for replication: standby.signal, and settings in postgresql.auto.conf
    #[arg(short = 'R', long, help_heading = OUTPUT)]
    write_recovery_conf: bool,
    /// Have the server keep the backup: server:/path, or blackhole
    #[arg(short = 't', long, value_name = "TARGET[:DETAIL]", help_heading = OUTPUT)]
    target: Option<String>,
    /// Relocate the tablespace in OLDDIR to NEWDIR; may be repeated
    #[arg(short = 'T', long, value_name = "OLDDIR=NEWDIR", value_parser = parse_mapping, help_heading = OUTPUT)]
    tablespace_mapping: Vec<(PathBuf, PathBuf)>,
    /// Put the write-ahead log into this directory, and a link to it into the backup
    #[arg(long, value_name = "WALDIR", help_heading = OUTPUT)]
    waldir: Option<PathBuf>,
    /// Include the required WAL: n[one], f[etch] or s[tream]
    #[arg(short = 'X', long, value_name = "METHOD", default_value = "stream", help_heading = OUTPUT)]
    wal_method: WalArgument,
    /// Compress tar output with gzip
    #[arg(short = 'z', long, help_heading = OUTPUT)]
    gzip: bool,
    /// Compress with gzip, lz4, zstd or none, here or on the server; DETAIL is a level or options such as
    /// level=3,workers=2,long
    #[arg(short = 'Z', long, value_name = "[{client|server}-]METHOD[:DETAIL]", help_heading = OUTPUT)]
    compress: Option<String>,

    /// Wait for a spread checkpoint, or have a fast one
    #[arg(short = 'c', long, value_name = "fast|spread", default_value = "spread", help_heading = GENERAL)]
    checkpoint: Checkpoint,
    /// Create the replication slot named by -S first
    #[arg(short = 'C', long, help_heading = GENERAL)]
    create_slot: bool,
    /// Label in backup_label
    #[arg(short = 'l', long, default_value = "basebackup base backup", hide_default_value = true, help_heading = GENERAL)]
    label: String,
    /// Do not clean up after errors
    #[arg(short = 'n', long, help_heading = GENERAL)]
    no_clean: bool,
    /// Do not wait for changes to be written safely to disk
    #[arg(short = 'N', long, help_heading = GENERAL)]
    no_sync: bool,
    /// Show progress
    #[arg(short = 'P', long, help_heading = GENERAL)]
    progress: bool,
    /// Replication slot to stream WAL with
    #[arg(short = 'S', long, value_name = "SLOTNAME", help_heading = GENERAL)]
    slot: Option<String>,
    /// Say what is being done
    #[arg(short = 'v', long, help_heading = GENERAL)]
    pub(crate) verbose: bool,
    /// Checksums in the manifest: CRC32C (default), SHA224, SHA256, SHA384, SHA512 or NONE
    #[arg(long, value_name = "ALGORITHM", help_heading = GENERAL)]
    manifest_checksums: Option<String>,
    /// Hex encode all file names in the manifest
    #[arg(long, help_heading = GENERAL)]
    manifest_force_encode: bool,
    /// Do not have the server estimate the size of the backup
    #[arg(long, help_heading = GENERAL)]
    no_estimate_size: bool,
    /// Do without a manifest; what is received cannot be checked then
    #[arg(long, help_heading = GENERAL)]
    no_manifest: bool,
    /// Do not use a temporary replication slot
    #[arg(long, help_heading = GENERAL)]
    no_slot: bool,
    /// Do not have the server verify data checksums
    #[arg(long, help_heading = GENERAL)]
    no_verify_checksums: bool,
    /// Print this help
    #[arg(short = '?', long, action = ArgAction::Help, help_heading = GENERAL)]
    help: Option<bool>,

    /// Connection string or URI
    #[arg(short = 'd', long, value_name = "CONNSTR", help_heading = CONNECTION)]
    dbname: Option<String>,
    /// Server host or socket directory
    #[arg(short = 'h', long, help_heading = CONNECTION)]
    host: Option<String>,
    /// Server port
    #[arg(short = 'p', long, help_heading = CONNECTION)]
    port: Option<String>,
    /// Seconds between reports to the server of how far its WAL was received
    #[arg(short = 's', long, value_name = "SECONDS", default_value_t = 10, help_heading = CONNECTION)]
    status_interval: u32,
    /// Give up when the server has sent nothing for so many seconds while it copies, or for a minute at most when all it
    /// has to do is to answer; 0: never
    #[arg(long, value_name = "SECONDS", default_value_t = 600, help_heading = CONNECTION)]
    server_timeout: u32,
    /// Connect as this user
    #[arg(short = 'U', long, help_heading = CONNECTION)]
    username: Option<String>,
    /// Never prompt for a password
    #[arg(short = 'w', long, help_heading = CONNECTION)]
    no_password: bool,
    /// Prompt for a password before connecting
    #[arg(short = 'W', long, conflicts_with = "no_password", help_heading = CONNECTION)]
    password: bool,
}

const OUTPUT: &str = "Options controlling the output";
const GENERAL: &str = "General options";
const CONNECTION: &str = "Connection options";

/// What else the command does.
#[derive(Subcommand, Debug)]
pub(crate) enum Command {
    /// Verify a backup against its manifest, and the WAL it needs
    Verify(VerifyArguments),
    /// Say what a server is: walwriter or PostgreSQL, its version, its role and its system
    Server(ServerArguments),
}

/// What `basebackup server` asks.
#[derive(clap::Args, Debug)]
pub(crate) struct ServerArguments {
    /// Connection string or URI
    #[arg(short = 'd', long, value_name = "CONNSTR")]
    dbname: Option<String>,
    /// Say whether it has this replication slot, too
    #[arg(short = 'S', long, value_name = "SLOTNAME")]
    pub(crate) slot: Option<String>,
}

impl ServerArguments {
    pub(crate) fn connection(&self) -> ConnArgs {
        ConnArgs {
            connection_string: self.dbname.clone(),
            program: "basebackup".to_owned(),
            ..ConnArgs::default()
        }
    }
}

/// What the command line says about the connection.
pub(crate) struct Connection {
    pub(crate) args: ConnArgs,
    pub(crate) prompt: PasswordPrompt,
}

#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum FormatArgument {
    #[value(alias = "p")]
    Plain,
    #[value(alias = "t")]
    Tar,
}

impl From<FormatArgument> for Format {
    fn from(argument: FormatArgument) -> Self {
        match argument {
            FormatArgument::Plain => Self::Plain,
            FormatArgument::Tar => Self::Tar,
        }
    }
}

#[derive(ValueEnum, Clone, Copy, Debug)]
enum WalArgument {
    #[value(alias = "n")]
    None,
    #[value(alias = "f")]
    Fetch,
    #[value(alias = "s")]
    Stream,
}

#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
enum Checkpoint {
    Fast,
    Spread,
}

impl Arguments {
    pub(crate) fn connection(&self) -> Connection {
        let args = ConnArgs {
            connection_string: self.dbname.clone(),
            host: self.host.clone(),
            port: self.port.clone(),
            user: self.username.clone(),
            program: "basebackup".to_owned(),
        };
        let prompt = match (self.no_password, self.password) {
            (true, _) => PasswordPrompt::Never,
            (_, true) => PasswordPrompt::Force,
            _ => PasswordPrompt::IfNeeded,
        };
        Connection { args, prompt }
    }

    /// What backup to take, checked as pg_basebackup checks it.
    pub(crate) fn options(&self) -> anyhow::Result<Options> {
        let options = Options {
            destination: self.destination()?,
            format: self.format.map_or(Format::Plain, Format::from),
            wal: match self.wal_method {
                WalArgument::None => WalMethod::None,
                WalArgument::Fetch => WalMethod::Fetch,
                WalArgument::Stream => WalMethod::Stream,
            },
            slot: self.slot()?,
            recovery_configuration: self.write_recovery_conf,
            fast_checkpoint: self.checkpoint == Checkpoint::Fast,
            label: self.label.clone(),
            max_rate: self.max_rate,
            compression: self.compression()?,
            manifest: self.manifest()?,
            verify_checksums: !self.no_verify_checksums,
            tablespace_mapping: self.tablespace_mapping.clone(),
            wal_directory: self.waldir.clone(),
            no_clean: self.no_clean,
            no_sync: self.no_sync,
            estimate_size: !self.no_estimate_size,
            progress: self.progress,
            verbose: self.verbose,
            status_interval: self.status_interval,
            server_timeout: (self.server_timeout > 0)
                .then(|| Duration::from_secs(self.server_timeout.into())),
        };
        options.check()?;
        Ok(options)
    }

    fn destination(&self) -> anyhow::Result<Destination> {
        match (&self.directory, &self.target) {
            (None, None) => bail!("must specify output directory or backup target"),
            (Some(_), Some(_)) => bail!("cannot specify both output directory and backup target"),
            (Some(directory), None) if directory == Path::new("-") => Ok(Destination::Stdout),
            (Some(directory), None) => Ok(Destination::Directory(directory.clone())),
            (None, Some(_)) if self.format.is_some() => bail!("cannot specify both format and backup target"),
            (None, Some(target)) => {
                let (name, detail) = match target.split_once(':') {
                    Some((name, detail)) => (name, Some(detail.to_owned())),
                    None => (target.as_str(), None),
                };
                // What pg_basebackup calls the default.
                ensure!(name != "client", "an output directory is needed for backup target \"client\"");
                Ok(Destination::Target { name: name.to_owned(), detail })
            }
        }
    }

    fn slot(&self) -> anyhow::Result<Slot> {
        match (&self.slot, self.no_slot, self.create_slot) {
            (Some(_), true, _) => bail!("--no-slot cannot be used with slot name"),
            (None, true, true) => bail!("--create-slot and --no-slot are incompatible options"),
            (None, false, true) => bail!("--create-slot needs a slot to be specified using --slot"),
            (None, true, false) => Ok(Slot::None),
            (None, false, false) => Ok(Slot::Temporary),
            (Some(name), false, create) => Ok(Slot::Named { name: name.clone(), create }),
        }
    }

    fn compression(&self) -> anyhow::Result<Option<Specification>> {
        match &self.compress {
            Some(text) => Ok(Specification::parse(text)?),
            None => Ok(self.gzip.then_some(Specification::GZIP)),
        }
    }

    fn manifest(&self) -> anyhow::Result<Option<ManifestRequest>> {
        if self.no_manifest {
            let other = [
                (self.manifest_checksums.is_some(), "--manifest-checksums"),
                (self.manifest_force_encode, "--manifest-force-encode"),
            ];
            if let Some((_, name)) = other.into_iter().find(|(given, _)| *given) {
                bail!("--no-manifest and {name} are incompatible options");
            }
            return Ok(None);
        }
        let checksums = match self.manifest_checksums.as_deref() {
            None => Some(Default::default()),
            Some(none) if none.eq_ignore_ascii_case("none") => None,
            Some(algorithm) => Some(algorithm.parse()?),
        };
        Ok(Some(ManifestRequest { checksums, force_encode: self.manifest_force_encode }))
    }
}

#[cfg(test)]
mod tests;
