//! The command line: `pg_receivewal`'s options, and three commands of our own.

use std::path::PathBuf;

use clap::{ArgAction, Args, Parser, Subcommand};
use wal::Lsn;
use walreceiver::Compress;

const AFTER_HELP: &str = "\
Without a command, receives WAL into DIRECTORY until interrupted. Connection options may also be given by the PG* \
environment variables, a service file and ~/.pgpass.

Examples:
  walreceiver -d 'host=leader user=replicator' -S witness --create-slot
  walreceiver -d 'host=leader user=replicator application_name=witness' -D /srv/wal -S witness --synchronous
  walreceiver status -D /srv/wal
  walreceiver verify -D /srv/wal
  restore_command = 'walreceiver fetch -D /srv/wal %f %p'";

/// Receives PostgreSQL's write-ahead log into a directory, checks every record as it arrives, makes it durable and
/// acknowledges it.
#[derive(Debug, Parser)]
#[command(
    name = "walreceiver",
    version,
    disable_help_flag = true,
    disable_version_flag = true,
    args_conflicts_with_subcommands = true,
    after_help = AFTER_HELP
)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
    #[command(flatten)]
    pub(crate) receive: ReceiveArguments,
    /// Show this help
    #[arg(short = '?', long, action = ArgAction::Help, global = true, help_heading = "Help")]
    help: Option<bool>,
    /// Show the version
    #[arg(short = 'V', long, action = ArgAction::Version, help_heading = "Help")]
    version: Option<bool>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Show where a directory's receiver and its followers are
    #[command(disable_help_flag = true)]
    Status(StatusArguments),
    /// Check every record in a directory, and name holes and forks
    #[command(disable_help_flag = true)]
    Verify(VerifyArguments),
    /// Copy a WAL or history file out of a directory, for restore_command
    #[command(disable_help_flag = true)]
    Fetch(FetchArguments),
}

#[derive(Debug, Args)]
pub(crate) struct ReceiveArguments {
    /// Receive WAL into this directory, which must exist
    #[arg(short = 'D', long, value_name = "DIRECTORY")]
    pub(crate) directory: Option<PathBuf>,
    /// Stop once this position has been passed
    #[arg(short = 'E', long, value_name = "LSN")]
    pub(crate) endpos: Option<Lsn>,
    /// With --create-slot: a slot that exists already is no error
    #[arg(long)]
    pub(crate) if_not_exists: bool,
    /// Do not connect again when the connection is lost
    #[arg(short = 'n', long)]
    pub(crate) no_loop: bool,
    /// Do not wait for WAL to be safely on disk
    #[arg(long)]
    pub(crate) no_sync: bool,
    /// Longest time between two status messages to the server; 0: only when it asks
    #[arg(short = 's', long, value_name = "SECONDS", default_value_t = 10, value_parser = clap::value_parser!(u32).range(..=2_147_483))]
    pub(crate) status_interval: u32,
    /// The replication slot to use
    #[arg(short = 'S', long, value_name = "SLOT")]
    pub(crate) slot: Option<String>,
    /// Make WAL durable as soon as it has come, and acknowledge it at once
    #[arg(long)]
    pub(crate) synchronous: bool,
    /// More messages; twice: even more
    #[arg(short = 'v', long, action = ArgAction::Count)]
    pub(crate) verbose: u8,
    /// Compress finished segments: none, gzip[:LEVEL], lz4, or a gzip level
    #[arg(
        short = 'Z',
        long,
        value_name = "METHOD[:DETAIL]",
        default_value = "none",
        hide_default_value = true
    )]
    pub(crate) compress: Compress,
    /// Create the slot and exit
    #[arg(long)]
    pub(crate) create_slot: bool,
    /// While receiving: have the server create the slot whenever it has not got it, as after a failover
    #[arg(long)]
    pub(crate) create_slot_if_missing: bool,
    /// Drop the slot and exit
    #[arg(long)]
    pub(crate) drop_slot: bool,
    #[command(flatten)]
    pub(crate) connection: ConnectionArguments,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Connection options")]
pub(crate) struct ConnectionArguments {
    /// Connection string or URI
    #[arg(short = 'd', long, value_name = "CONNSTR")]
    pub(crate) dbname: Option<String>,
    /// Server host or socket directory
    #[arg(short = 'h', long, value_name = "HOSTNAME")]
    pub(crate) host: Option<String>,
    /// Server port
    #[arg(short = 'p', long)]
    pub(crate) port: Option<String>,
    /// User name
    #[arg(short = 'U', long, value_name = "NAME")]
    pub(crate) username: Option<String>,
    /// Never prompt for a password
    #[arg(short = 'w', long)]
    pub(crate) no_password: bool,
    /// Prompt for a password before connecting
    #[arg(short = 'W', long)]
    pub(crate) password: bool,
}

#[derive(Debug, Args)]
pub(crate) struct StatusArguments {
    /// The directory
    #[arg(short = 'D', long, value_name = "DIRECTORY")]
    pub(crate) directory: PathBuf,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct VerifyArguments {
    /// The directory
    #[arg(short = 'D', long, value_name = "DIRECTORY")]
    pub(crate) directory: PathBuf,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
    /// Prove everything again, whatever was proved before
    #[arg(long)]
    pub(crate) full: bool,
    /// How many threads to use; default: one for each CPU
    #[arg(short = 'j', long, value_name = "NUM")]
    pub(crate) jobs: Option<std::num::NonZero<usize>>,
    /// More messages
    #[arg(short = 'v', long, action = ArgAction::Count)]
    pub(crate) verbose: u8,
}

#[derive(Debug, Args)]
pub(crate) struct FetchArguments {
    /// The directory
    #[arg(short = 'D', long, value_name = "DIRECTORY")]
    pub(crate) directory: PathBuf,
    /// The segment or history file wanted (%f)
    pub(crate) file: String,
    /// Where to put it (%p)
    pub(crate) target: PathBuf,
}

impl Arguments {
    /// How often `-v` was given.
    pub(crate) fn verbose(&self) -> u8 {
        match &self.command {
            None => self.receive.verbose,
            Some(Command::Verify(verify)) => verify.verbose,
            Some(Command::Status(_) | Command::Fetch(_)) => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Arguments, clap::Error> {
        Arguments::try_parse_from(std::iter::once("walreceiver").chain(line.split(' ')))
    }

    #[test]
    fn takes_what_pg_receivewal_takes() {
        let line = "-D x -d host=a -h b -p 1 -U u -w -S s --synchronous -E 0/10 -n -s 5 -Z gzip:1 -v";
        let receive = parse(line).unwrap().receive;
        assert_eq!(receive.endpos, Some(Lsn::new(16)));
        assert_eq!((receive.status_interval, receive.compress), (5, Compress::Gzip(1)));
        assert_eq!(receive.connection.host.as_deref(), Some("b"));
        let long = "--directory=x --dbname=a --host=b --port=1 --username=u --no-password --slot=s --endpos=0/1 --no-loop \
                    --status-interval=0 --compress=5 --verbose --no-sync --if-not-exists";
        parse(long).unwrap();
        for wrong in ["-E x", "-s -1", "-Z zstd", "extra", "--no-such-option", "-s x"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn commands_have_options_of_their_own() {
        assert!(matches!(parse("status -D x --json").unwrap().command, Some(Command::Status(_))));
        assert!(matches!(parse("verify -D x --full -j 2").unwrap().command, Some(Command::Verify(_))));
        assert!(matches!(parse("fetch -D x 0000 y").unwrap().command, Some(Command::Fetch(_))));
        assert!(parse("status").is_err());
        assert!(parse("fetch -D x 0000").is_err());
    }
}
