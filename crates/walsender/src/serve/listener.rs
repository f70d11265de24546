//! Where clients may connect.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use replication::server::{SocketFile, addresses_of, bind_tcp, bind_unix};
use tokio::net::{TcpListener, UnixListener};

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
    /// A name that does not resolve, an address that is taken or is not one of this host.
    #[error(transparent)]
    Bind(#[from] replication::server::ListenError),
    /// A socket that cannot be waited for.
    #[error("could not wait for clients: {0}")]
    Wait(#[from] io::Error),
    /// An address of this host that others can reach, and nothing to keep strangers out.
    #[error(
        "refusing to listen on \"{0}\", where other hosts could connect, without both TLS (--cert, --key) and \
         passwords (--password-file); --insecure-listen-anywhere overrides this"
    )]
    Insecure(SocketAddr),
    /// Nowhere at all.
    #[error("no address to listen on")]
    Nowhere,
}

/// The sockets that clients connect to.
#[derive(Debug)]
pub struct Listeners {
    tcp: Vec<TcpListener>,
    unix: Option<(UnixListener, SocketFile)>,
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
            let addresses = addresses_of(host, listeners.port)?;
            let remote = addresses.iter().find(|address| !address.ip().is_loopback());
            if let Some(&remote) = remote.filter(|_| !options.allow_remote) {
                return Err(ListenError::Insecure(remote));
            }
            for socket in bind_tcp(addresses, &mut listeners.port)? {
                listeners.tcp.push(TcpListener::from_std(socket)?);
            }
        }
        if let Some(directory) = &options.unix_socket_dir {
            let permissions = if options.open_unix_socket { 0o777 } else { 0o700 };
            let (socket, file) = bind_unix(directory, listeners.port, permissions)?;
            listeners.unix = Some((UnixListener::from_std(socket)?, file));
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

pub(super) fn peer(address: String, is_local: bool) -> Peer {
    let (user, application_name) = (String::new(), String::new());
    Peer { address, is_local, user, application_name, progress: Arc::default() }
}

async fn accept_any(listeners: &[TcpListener]) -> io::Result<(tokio::net::TcpStream, SocketAddr)> {
    std::future::poll_fn(|cx| {
        let ready = listeners.iter().map(|listener| listener.poll_accept(cx)).find(std::task::Poll::is_ready);
        ready.unwrap_or(std::task::Poll::Pending)
    })
    .await
}
