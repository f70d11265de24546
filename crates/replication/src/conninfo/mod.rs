//! What to connect to, and how: connection strings, URIs, `PG*` variables, service and password files.
//!
//! [`ConnInfo::resolve`] does what libpq does for the tools: the command line goes before the connection string, that
//! before the service file, that before the environment, that before the defaults. Source: fe-connect.c.

mod environment;
mod keyword;
mod options;
mod parse;
mod passfile;
mod render;
mod resolve;
mod service;
mod uri;

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

pub use environment::Environment;
pub use options::{
    AuthMethod, ChannelBindingMode, Keepalives, RequireAuth, RootCert, SslMode, SslNegotiation,
    TargetSessionAttrs, TlsOptions, TlsVersion,
};
pub use render::masked;

/// What a tool's command line says about the connection; everything else comes from the environment.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct ConnArgs {
    /// `-d`: a connection string or URI. (A bare database name is not one, as for PostgreSQL's replication tools.)
    pub connection_string: Option<String>,
    /// `-h`: overrides the connection string; so do the next two.
    pub host: Option<String>,
    /// `-p`.
    pub port: Option<String>,
    /// `-U`.
    pub user: Option<String>,
    /// The tool's name, which becomes `fallback_application_name`.
    pub program: String,
}

impl fmt::Debug for ConnArgs {
    /// Without secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConnArgs")
            .field("connection_string", &self.connection_string.as_deref().map(masked))
            .field("host", &self.host)
            .field("port", &self.port)
            .field("user", &self.user)
            .field("program", &self.program)
            .finish()
    }
}

/// Everything needed to connect, resolved and checked.
#[derive(Clone, Debug)]
pub struct ConnInfo {
    /// Where to try, in this order. Never empty.
    pub hosts: Vec<Host>,
    /// The role to log in as.
    pub user: String,
    /// The database, where one is wanted at all (not on a physical replication connection).
    pub dbname: Option<String>,
    /// The password from the connection string, `PGPASSWORD`, or the user's keyboard; it goes before the password file.
    pub password: Option<Password>,
    /// The password file; `None` if there is no home directory to have one in.
    pub passfile: Option<PathBuf>,
    /// What the server's views and log call this connection.
    pub application_name: String,
    /// Command-line options for the server process, `-c name=value`.
    pub options: Option<String>,
    /// The encoding to ask for.
    pub client_encoding: Option<String>,
    /// How long one address may take to let us in; `None`: for ever.
    pub connect_timeout: Option<Duration>,
    /// TCP keepalives.
    pub keepalives: Keepalives,
    /// How long sent data may stay unacknowledged; `None`: as the system wants.
    pub tcp_user_timeout: Option<Duration>,
    /// Which kind of server will do.
    pub target_session_attrs: TargetSessionAttrs,
    /// Whether to try the hosts in random order.
    pub random_host_order: bool,
    /// Whether to bind SCRAM to the TLS channel.
    pub channel_binding: ChannelBindingMode,
    /// Which ways of logging in the server may ask for.
    pub require_auth: RequireAuth,
    /// TLS.
    pub tls: TlsOptions,
    /// Every keyword that somebody set, and its value, in libpq's order: what `primary_conninfo` is written from.
    settings: Settings,
}

/// Keywords and their values, not to be seen in logs: passwords are among them.
#[derive(Clone)]
struct Settings(Vec<(&'static str, String)>);

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().map(|(name, _)| name)).finish()
    }
}

/// One place to try.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    /// A name, or a socket directory.
    pub name: HostName,
    /// The address to use instead of looking the name up.
    pub address: Option<IpAddr>,
    /// The port; for a Unix socket, part of its file name.
    pub port: u16,
}

/// How a host is named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HostName {
    /// A host name or an address; empty if only `hostaddr` was given.
    Tcp(String),
    /// A directory with sockets; one that starts with `@` is in the abstract namespace.
    Unix(PathBuf),
}

impl Host {
    /// The socket's path, for a Unix socket.
    pub fn socket_path(&self) -> Option<PathBuf> {
        match &self.name {
            HostName::Unix(directory) => Some(directory.join(format!(".s.PGSQL.{}", self.port))),
            HostName::Tcp(_) => None,
        }
    }
}

/// A password, which is not to be seen in logs.
#[derive(Clone, PartialEq, Eq)]
pub struct Password(String);

impl Password {
    /// `text` as a password.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The password in clear.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("********")
    }
}

/// A connection string, variable or file that makes no sense. The texts are libpq's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConnInfoError {
    /// The string does not follow its grammar, or names an unknown keyword.
    #[error("{0}")]
    Syntax(String),
    /// A keyword's value is not one it can have.
    #[error("invalid {keyword} value: \"{value}\"")]
    InvalidValue {
        /// The keyword.
        keyword: &'static str,
        /// What it was given.
        value: String,
    },
    /// Values that do not go together, or that this program cannot honour.
    #[error("{0}")]
    Unsupported(String),
    /// The service file.
    #[error("{0}")]
    Service(String),
}
