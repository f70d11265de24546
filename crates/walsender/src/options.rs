//! The command line.

use std::path::PathBuf;

use anyhow::bail;
use clap::{Args, Parser, Subcommand};
use walsender::serve::{BackupOptions, FollowersMoved, Listen, ListenOptions, Origin, ServerOptions};
use walsender::settings::Settings;

/// The exit code after SIGQUIT or a second SIGTERM or SIGINT.
pub(crate) const STOPPED_AT_ONCE: u8 = 3;

const ABOUT: &str = "Serves a directory of PostgreSQL WAL to standbys, receivers and archivers.";

const AFTER_HELP: &str = "\
The directory can be that of a running walreceiver (followers get WAL the moment it is durable there), a finished
archive, or a PostgreSQL server's pg_wal. Everything that speaks PostgreSQL's streaming replication can follow: a
standby with primary_conninfo, pg_receivewal, walreceiver, another relay behind it.

Examples:
  walsender -D /srv/archive                       serve an archive on localhost, port 5432
  walsender -D /srv/archive -p 0 --port-file port  on a port that the system chooses
  walsender -D /srv/archive -h '*' --cert server.crt --key server.key --password-file users
                                                  serve other hosts, with TLS and passwords
  walsender status -D /srv/archive                who follows, and how far they are
  psql 'host=localhost replication=1' -c IDENTIFY_SYSTEM

On a standby: primary_conninfo = 'host=relay port=5432 user=repl password=...'

Without TLS and passwords only addresses of this host itself are listened on. The password file has lines
user:password; the password may be a verifier copied from pg_authid (SCRAM-SHA-256$... or md5...). Nobody else may be
able to read it.

Settings for -c, as in PostgreSQL: wal_sender_timeout (60s), max_wal_senders (10), max_replication_slots (10),
authentication_timeout (60s), ssl_cert_file, ssl_key_file, cluster_name; and password_file, server_version (by default
that of the WAL, so that every client of that version or later works).

SIGHUP reads the password file, the certificate and its key again, for clients that come from then on.
SIGTERM and SIGINT let followers have everything that is durable and then stop; a second one, or SIGQUIT, stops at once.
Exit status: 0 after an orderly stop, 1 after an error, 2 for a wrong command line, 3 when stopped at once.";

/// What was asked for.
#[derive(Debug, Parser)]
#[command(name = "walsender", version, about = ABOUT, after_help = AFTER_HELP, disable_help_flag = true)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Options {
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
    /// The directory with the WAL to serve; a PostgreSQL data directory stands for its pg_wal
    #[arg(short = 'D', long, value_name = "DIR")]
    directory: Option<PathBuf>,
    /// An address or host name to listen on; '*' for all. Can be given more than once, or as a list with commas
    #[arg(
        short = 'h',
        short_alias = 'l',
        long,
        alias = "listen",
        visible_short_alias = 'l',
        value_name = "ADDR",
        value_delimiter = ',',
        default_value = "localhost"
    )]
    host: Vec<String>,
    /// The port to listen on; 0 lets the system choose
    #[arg(short = 'p', long, value_name = "PORT", default_value_t = 5432)]
    port: u16,
    /// Listen on a Unix socket in this directory too
    #[arg(long, value_name = "DIR")]
    unix_socket_dir: Option<PathBuf>,
    /// Set a configuration parameter; see below
    #[arg(short = 'c', value_name = "NAME=VALUE")]
    set: Vec<String>,
    /// Users and passwords, lines user:password; without it everybody is trusted
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
    /// The server's certificate chain in PEM; turns TLS on
    #[arg(long, value_name = "FILE")]
    cert: Option<PathBuf>,
    /// The certificate's private key in PEM
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
    /// Listen on addresses that other hosts can reach even without TLS and passwords
    #[arg(long)]
    insecure_listen_anywhere: bool,
    /// Write the port to this file once clients can connect
    #[arg(long, value_name = "FILE")]
    pub(crate) port_file: Option<PathBuf>,
    /// Log more; twice for even more
    #[arg(short, long, action = clap::ArgAction::Count)]
    pub(crate) verbose: u8,
    /// Print help
    #[arg(short = '?', long, action = clap::ArgAction::Help, global = true)]
    help: Option<bool>,
}

/// What to do instead of serving.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Show who follows from a directory, and how far they are
    Status(StatusOptions),
}

/// Options of `walsender status`.
#[derive(Debug, Args)]
pub(crate) struct StatusOptions {
    /// The directory that is served
    #[arg(short = 'D', long, value_name = "DIR")]
    pub(crate) directory: PathBuf,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

impl Options {
    /// What the server is to be started with.
    pub(crate) fn server_options(&self) -> anyhow::Result<ServerOptions> {
        let Some(directory) = &self.directory else {
            bail!("no directory to serve was given (-D DIR); try \"walsender --help\"");
        };
        let mut settings = Settings::default();
        for assignment in &self.set {
            settings.assign(assignment)?;
        }
        let chosen = |option: &Option<PathBuf>, setting: Option<PathBuf>| option.clone().or(setting);
        settings.password_file = chosen(&self.password_file, settings.password_file.take());
        settings.ssl_cert_file = chosen(&self.cert, settings.ssl_cert_file.take());
        settings.ssl_key_file = chosen(&self.key, settings.ssl_key_file.take());
        let listen = ListenOptions {
            hosts: self.host.iter().filter(|host| !host.is_empty()).cloned().collect(),
            port: self.port,
            unix_socket_dir: self.unix_socket_dir.clone(),
            open_unix_socket: false,
            allow_remote: self.insecure_listen_anywhere,
        };
        let is_data_directory = directory.join("PG_VERSION").exists() && directory.join("pg_wal").is_dir();
        let directory = if is_data_directory { directory.join("pg_wal") } else { directory.clone() };
        let backups = BackupOptions::around(&directory);
        Ok(ServerOptions {
            directory,
            listen: Listen::On(listen),
            settings,
            backups,
            origin: Origin::default(),
            moved: FollowersMoved::default(),
        })
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Options::command().debug_assert();
    }

    #[test]
    fn options_override_settings() {
        let options = Options::parse_from([
            "walsender",
            "-D",
            "x",
            "-c",
            "ssl_key_file=a",
            "--key",
            "b",
            "-l",
            "::1,host",
        ]);
        let server = options.server_options().unwrap();
        assert_eq!(server.settings.ssl_key_file, Some(PathBuf::from("b")));
        let Listen::On(listen) = server.listen else { panic!("it has sockets of its own") };
        assert_eq!(listen.hosts, ["::1", "host"]);
    }

    #[test]
    fn unknown_settings_are_refused() {
        let options = Options::parse_from(["walsender", "-D", "x", "-c", "fsync=off"]);
        assert!(
            options
                .server_options()
                .unwrap_err()
                .to_string()
                .contains("unrecognized configuration parameter")
        );
    }
}
