//! Where clients may connect.

use std::net::{IpAddr, SocketAddr, ToSocketAddrs as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::{fs, io};

use tokio::net::{TcpListener, UnixListener};
use tracing::{info, warn};

use super::connection::Peer;
use super::socket::Socket;

/// Where to listen.
#[derive(Debug, Clone)]
pub struct ListenOptions {
    /// Host names and addresses; `*` is every address.
    pub hosts: Vec<String>,
    /// The port; 0 lets the system choose one.
    pub port: u16,
    /// A directory for a Unix socket, `.s.PGSQL.<port>`.
    pub unix_socket_dir: Option<PathBuf>,
    /// Whether anybody on this host may use the Unix socket, not only this user.
    pub open_unix_socket: bool,
    /// Whether other addresses than those of this host itself may be listened on.
    pub allow_remote: bool,
}

/// Why nobody can connect.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// A name that does not resolve.
    #[error("could not translate host name \"{host}\" to address: {source}")]
    Resolve {
        /// The name.
        host: String,
        /// The system's reason.
        source: io::Error,
    },
    /// An address of this host that others can reach, and nothing to keep strangers out.
    #[error(
        "refusing to listen on \"{0}\", where other hosts could connect, without both TLS (--cert, --key) and \
         passwords (--password-file); --insecure-listen-anywhere overrides this"
    )]
    Insecure(SocketAddr),
    /// The address is taken, or is not one of this host.
    #[error("could not listen on \"{address}\": {source}")]
    Bind {
        /// The address and port, or the socket's path.
        address: String,
        /// The system's reason.
        source: io::Error,
    },
    /// Nowhere at all.
    #[error("no address to listen on")]
    Nowhere,
}

/// The sockets that clients connect to.
#[derive(Debug)]
pub struct Listeners {
    tcp: Vec<TcpListener>,
    unix: Option<(UnixListener, PathBuf)>,
    port: u16,
}

impl Listeners {
    /// Binds every address. Needs a tokio runtime.
    ///
    /// # Errors
    /// Names that do not resolve, addresses that are taken, and those that others could reach unless allowed.
    pub fn bind(options: &ListenOptions) -> Result<Self, ListenError> {
        let mut listeners = Self { tcp: Vec::new(), unix: None, port: options.port };
        for host in &options.hosts {
            listeners.bind_host(host, options)?;
        }
        if let Some(dir) = &options.unix_socket_dir {
            let path = dir.join(format!(".s.PGSQL.{}", listeners.port));
            let socket = bind_unix(&path, options.open_unix_socket)
                .map_err(|source| ListenError::Bind { address: path.display().to_string(), source })?;
            info!(path = %path.display(), "listening on Unix socket");
            listeners.unix = Some((socket, path));
        }
        if listeners.tcp.is_empty() && listeners.unix.is_none() {
            return Err(ListenError::Nowhere);
        }
        Ok(listeners)
    }

    /// None at all: somebody else listens on `port`.
    pub(super) const fn none(port: u16) -> Self {
        Self { tcp: Vec::new(), unix: None, port }
    }

    fn bind_host(&mut self, host: &str, options: &ListenOptions) -> Result<(), ListenError> {
        let name = if host == "*" { "0.0.0.0" } else { host };
        let resolved = (name, self.port)
            .to_socket_addrs()
            .map_err(|source| ListenError::Resolve { host: host.to_owned(), source })?;
        let mut addresses: Vec<SocketAddr> = resolved.collect();
        addresses.dedup();
        let mut bound = 0;
        let mut failure = None;
        for mut address in addresses {
            if !options.allow_remote && !address.ip().is_loopback() {
                return Err(ListenError::Insecure(address));
            }
            // All addresses share the port that the system chose for the first.
            address.set_port(self.port);
            match bind_tcp(address) {
                Ok(listener) => {
                    let local = listener.local_addr().unwrap_or(address);
                    self.port = local.port();
                    info!(address = %local.ip(), port = local.port(), "listening on TCP");
                    self.tcp.push(listener);
                    bound += 1;
                }
                Err(source) => {
                    failure.get_or_insert(ListenError::Bind { address: address.to_string(), source });
                }
            }
        }
        match failure {
            Some(error) if bound == 0 => Err(error),
            // localhost often has an IPv6 address on hosts that have no IPv6.
            Some(error) => {
                warn!("{error}");
                Ok(())
            }
            None => Ok(()),
        }
    }

    /// The port, also of the Unix socket's name.
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// The next client. Cancel-safe.
    ///
    /// # Errors
    /// The system's, for example too many open files: wait a little and try again.
    pub(super) async fn accept(&self) -> io::Result<(Socket, Peer)> {
        let unix = async {
            match &self.unix {
                Some((listener, _)) => listener.accept().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            client = accept_any(&self.tcp) => {
                let (stream, address) = client?;
                stream.set_nodelay(true)?;
                let is_local = address.ip().to_canonical().is_loopback();
                Ok((stream.into(), peer(address.to_string(), is_local)))
            }
            client = unix => Ok((client?.0.into(), peer("[local]".to_owned(), true))),
        }
    }
}

impl Drop for Listeners {
    fn drop(&mut self) {
        if let Some((_, path)) = &self.unix {
            let _gone = fs::remove_file(path);
        }
    }
}

pub(super) const fn peer(address: String, is_local: bool) -> Peer {
    Peer { address, is_local, user: String::new(), application_name: String::new() }
}

async fn accept_any(listeners: &[TcpListener]) -> io::Result<(tokio::net::TcpStream, SocketAddr)> {
    std::future::poll_fn(|cx| {
        let ready = listeners.iter().map(|listener| listener.poll_accept(cx)).find(std::task::Poll::is_ready);
        ready.unwrap_or(std::task::Poll::Pending)
    })
    .await
}

fn bind_tcp(address: SocketAddr) -> io::Result<TcpListener> {
    let family = match address.ip() {
        IpAddr::V4(_) => tokio::net::TcpSocket::new_v4()?,
        IpAddr::V6(_) => tokio::net::TcpSocket::new_v6()?,
    };
    // As PostgreSQL: a restart must not wait for connections of before to be forgotten.
    family.set_reuseaddr(true)?;
    family.bind(address)?;
    family.listen(1024)
}

/// A socket file left behind by a process that is gone is replaced; one that is in use is not.
fn bind_unix(path: &Path, open: bool) -> io::Result<UnixListener> {
    if path.exists() {
        if std::os::unix::net::UnixStream::connect(path).is_ok() {
            return Err(io::ErrorKind::AddrInUse.into());
        }
        fs::remove_file(path)?;
    }
    let listener = UnixListener::bind(path)?;
    fs::set_permissions(path, fs::Permissions::from_mode(if open { 0o777 } else { 0o700 }))?;
    Ok(listener)
}
