//! The options of each command.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

/// A database server whose files, log and protocol are PostgreSQL's: a leader, or a hot standby of one.
///
/// Make a data directory, serve it, and connect with psql:
///
///   walwriter init -D data
///   walwriter serve -D data
///   psql -h localhost postgres
#[derive(Debug, Parser)]
#[command(name = "walwriter", version, verbatim_doc_comment, arg_required_else_help = true)]
pub(crate) struct Arguments {
    /// Says more in the log; twice for everything
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub(crate) verbose: u8,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Makes a data directory
    ///
    /// The directory must be empty, or not there yet. It gets an empty database and a postgresql.conf that shows the
    /// settings one is most likely to change.
    Init(Init),
    /// Serves a data directory in the foreground: as a leader, or with standby.signal in it as a hot standby
    ///
    /// SQL clients and followers connect to the same port. Settings are read from postgresql.conf, then
    /// postgresql.auto.conf, then -c; the last one wins. SHOW ALL lists them.
    ///
    /// TERM and INT end all sessions and shut down with a checkpoint (exit status 0), QUIT stops at once (2), HUP reads the
    /// configuration again. The log goes to standard error.
    Serve(Serve),
    /// Makes a leader of the standby that serves a data directory
    ///
    /// What the standby has received is replayed, then a new timeline begins and it takes writes. Make sure before that
    /// the old leader is gone: nothing here can.
    Promote(Promote),
    /// Tells who serves a data directory, how far it is, and who follows it
    ///
    /// The exit status is 0 if a server is running, 3 if none is, and 4 if this is no data directory.
    Status(Status),
}

/// The directory that a command is about.
#[derive(Debug, Args)]
pub(crate) struct DataDirectory {
    /// The data directory
    #[arg(short = 'D', long = "pgdata", value_name = "DIRECTORY", env = "PGDATA")]
    pub(crate) directory: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct Init {
    #[command(flatten)]
    pub(crate) data: DataDirectory,
    /// The size of WAL files in megabytes: a power of two from 1 to 1024
    #[arg(long, value_name = "SIZE", default_value_t = 16)]
    pub(crate) wal_segsize: u32,
    /// Adds a setting to the new postgresql.conf
    #[arg(short = 'c', long = "set", value_name = "NAME=VALUE")]
    pub(crate) settings: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Serve {
    #[command(flatten)]
    pub(crate) data: DataDirectory,
    /// Goes on from LSN although WAL beyond it has been lost
    ///
    /// A leader that finds the end of its log before what was durable refuses to start and names both positions. LSN is the
    /// first of them: everything beyond it is given up, for good, and the log goes on from there on a new timeline. Followers
    /// that are further have to be made anew. Put back what is missing instead if anybody has it.
    #[arg(long, value_name = "LSN")]
    pub(crate) accept_loss: Option<wal::Lsn>,
    /// Listens on addresses that other hosts can reach even without passwords
    #[arg(long)]
    pub(crate) insecure_listen_anywhere: bool,
    /// A setting, stronger than those in postgresql.conf and postgresql.auto.conf
    #[arg(short = 'c', long = "set", value_name = "NAME=VALUE")]
    pub(crate) settings: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Promote {
    #[command(flatten)]
    pub(crate) data: DataDirectory,
    /// Does not wait until the server takes writes
    #[arg(short = 'W', long)]
    pub(crate) no_wait: bool,
    /// How long to wait, in seconds
    #[arg(short = 't', long, value_name = "SECONDS", default_value_t = 60)]
    pub(crate) timeout: u64,
}

#[derive(Debug, Args)]
pub(crate) struct Status {
    #[command(flatten)]
    pub(crate) data: DataDirectory,
    /// Prints JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_options_are_consistent() {
        Arguments::command().debug_assert();
    }
}
