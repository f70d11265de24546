//! The command line of `basebackup`, which is pg_basebackup's.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail, ensure};
use basebackup::compression::Specification;
use basebackup::take::{Destination, Format, ManifestRequest, Options, Slot, WalMethod};
use clap::{ArgAction, Parser, Subcommand, ValueEnum};
use replication::client::PasswordPrompt;
use replication::conninfo::ConnArgs;

use crate::verify_arguments::VerifyArguments;

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

/// kB/s, from 32 to 1048576, with an optional unit.
fn parse_rate(text: &str) -> anyhow::Result<u32> {
    let (number, factor) = match text.trim_end().strip_suffix(['k', 'M']) {
        Some(number) if text.trim_end().ends_with('M') => (number, 1024.0),
        Some(number) => (number, 1.0),
        None => (text.trim_end(), 1.0),
    };
    let rate: f64 =
        number.trim().parse().ok().with_context(|| format!("invalid transfer rate \"{text}\""))?;
    ensure!(rate > 0.0, "transfer rate must be greater than zero");
    let rate = rate * factor;
    ensure!((32.0..=1_048_576.0).contains(&rate), "transfer rate \"{text}\" is out of range");
    Ok(rate as u32)
}

/// `OLDDIR=NEWDIR`, in which `\=` is an equals sign.
fn parse_mapping(text: &str) -> anyhow::Result<(PathBuf, PathBuf)> {
    let mut sides = vec![String::new()];
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        let side = sides.last_mut().context("a mapping has a side")?;
        match character {
            '\\' if characters.next_if_eq(&'=').is_some() => side.push('='),
            '=' => sides.push(String::new()),
            other => side.push(other),
        }
    }
    ensure!(sides.len() <= 2, "multiple \"=\" signs in tablespace mapping");
    let [old, new] = <[String; 2]>::try_from(sides)
        .ok()
        .filter(|sides| sides.iter().all(|side| !side.is_empty()))
        .with_context(|| {
            format!("invalid tablespace mapping format \"{text}\", must be \"OLDDIR=NEWDIR\"")
        })?;
    // Without trailing slashes, as the server tells locations.
    let canonical = |path: &str| path.chars().rev().skip_while(|c| *c == '/').collect::<Vec<_>>();
    let canonical = |path: &str| PathBuf::from(canonical(path).into_iter().rev().collect::<String>());
    let (old, new) = (canonical(&old), canonical(&new));
    ensure!(
        old.is_absolute(),
        "old directory is not an absolute path in tablespace mapping: {}",
        old.display()
    );
    ensure!(
        new.is_absolute(),
        "new directory is not an absolute path in tablespace mapping: {}",
        new.display()
    );
    Ok((old, new))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn options(arguments: &str) -> Result<Options, String> {
        let arguments = std::iter::once("basebackup").chain(arguments.split_whitespace());
        let arguments = Arguments::try_parse_from(arguments).map_err(|error| error.to_string())?;
        arguments.options().map_err(|error| error.to_string())
    }

    #[test]
    fn the_definition_is_sound() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn options_read_as_pg_basebackups() {
        let plain = options("-D /x -Fp -Xs -R -S one -C -cfast -P -v -l label").unwrap();
        assert_eq!(plain.slot, Slot::Named { name: "one".to_owned(), create: true });
        assert!(plain.recovery_configuration && plain.fast_checkpoint && plain.progress && plain.verbose);
        assert_eq!(
            (plain.format, plain.wal, plain.label.as_str()),
            (Format::Plain, WalMethod::Stream, "label")
        );
        let tar = options("-D - -Ft -X fetch -z --no-manifest -r 1.5M -T /a\\=b/=/c").unwrap();
        assert_eq!((tar.destination, tar.max_rate, tar.manifest), (Destination::Stdout, Some(1536), None));
        assert_eq!(tar.tablespace_mapping, [(PathBuf::from("/a=b"), PathBuf::from("/c"))]);
        let twice = options("-D /x -D /y -P -P -T /a=/b -T /c=/d -l one -l two").unwrap();
        assert_eq!(twice.destination, Destination::Directory(PathBuf::from("/y")));
        assert_eq!((twice.label.as_str(), twice.tablespace_mapping.len()), ("two", 2));
        let target = options("-t server:/backups -Xnone -Z zstd:3").unwrap();
        let server = Destination::Target { name: "server".to_owned(), detail: Some("/backups".to_owned()) };
        assert_eq!(target.destination, server);
        let none = options("-D /x --manifest-checksums=none").unwrap();
        assert_eq!(none.manifest, Some(ManifestRequest { checksums: None, force_encode: false }));
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for (arguments, why) in [
            ("", "must specify output directory or backup target"),
            ("-D /x -t blackhole", "cannot specify both output directory and backup target"),
            ("-t blackhole -Ft", "cannot specify both format and backup target"),
            ("-t blackhole", "WAL cannot be streamed when a backup target is specified"),
            ("-t blackhole -Xn -R", "recovery configuration cannot be written"),
            ("-D -", "cannot write a plain format backup to stdout"),
            ("-D - -Ft", "cannot stream write-ahead logs in tar mode to stdout"),
            ("-D /x -Xn -S one", "replication slots can only be used with WAL streaming"),
            ("-D /x -C", "--create-slot needs a slot"),
            ("-D /x -S one --no-slot", "--no-slot cannot be used with slot name"),
            ("-D /x -C --no-slot", "--create-slot and --no-slot are incompatible options"),
            ("-D /x -Z gzip", "only tar mode backups can be compressed"),
            ("-D /x -z", "only tar mode backups can be compressed"),
            ("-D /x -Ft -Z gzip:11", "invalid compression specification"),
            ("-D /x -Ft -Z rar", "unrecognized compression algorithm"),
            ("-D /x -Ft --waldir=/y", "can only be specified in plain mode"),
            ("-D /x --waldir=y", "must be an absolute path"),
            ("-D /x -P --no-estimate-size", "incompatible options"),
            ("-D /x --no-manifest --manifest-force-encode", "incompatible options"),
            ("-D /x --no-manifest --manifest-checksums=SHA256", "incompatible options"),
            ("-D /x --manifest-checksums=MD5", "unrecognized checksum algorithm"),
            ("-D /x -r 31", "out of range"),
            ("-D /x -r 2000M", "out of range"),
            ("-D /x -r 1x", "invalid transfer rate"),
            ("-D /x -T /a", "invalid tablespace mapping format"),
            ("-D /x -T a=/b", "old directory is not an absolute path"),
            ("-D /x -T /a=b", "new directory is not an absolute path"),
            ("-D /x -T /a=/b=/c", "multiple \"=\" signs"),
            ("-D /x -w -W", "cannot be used with"),
        ] {
            let error = options(arguments).expect_err(arguments);
            assert!(error.contains(why), "{arguments}: {error}");
        }
        assert!(options("-D /x -Z server-zstd:7").is_ok());
    }
}
