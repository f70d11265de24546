//! Where clients may connect.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use replication::server::{SocketFile, addresses_of, bind_tcp, bind_unix};
use socket2::Socket;

use super::mailbox::Newcomer;

/// Where to listen.
#[derive(Debug, Clone)]
pub struct ListenOptions {
    /// Host names and addresses; `*` is every address. Empty: no TCP.
    pub hosts: Vec<String>,
    /// The port; 0 lets the system choose one.
    pub port: u16,
    /// Directories for Unix sockets, `.s.PGSQL.<port>`.
    pub unix_socket_directories: Vec<PathBuf>,
    /// The permissions of the Unix sockets.
    pub unix_socket_permissions: u32,
    /// Whether addresses may be listened on that other hosts can reach.
    pub allow_remote: bool,
}

/// Why nobody can connect.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// A name that does not resolve, an address that is taken or is not one of this host.
    #[error(transparent)]
    Bind(#[from] replication::server::ListenError),
    /// An address that others can reach, and nothing to keep strangers out.
    #[error(
        "refusing to listen on \"{0}\", where other hosts could connect, without passwords (password_file); \
         insecure_listen_anywhere = on overrides this"
    )]
    Insecure(SocketAddr),
    /// The system has no port to give.
    #[error("could not find a free port: {0}")]
    NoPort(#[source] io::Error),
    /// Nowhere at all.
    #[error("no address to listen on: listen_addresses and unix_socket_directories are both empty")]
    Nowhere,
}

/// The sockets that clients connect to.
#[derive(Debug)]
pub struct Listeners {
    tcp: Vec<TcpListener>,
    unix: Vec<(UnixListener, SocketFile)>,
    port: u16,
}

impl Listeners {
    /// Binds every address.
    ///
    /// # Errors
    /// Names that do not resolve, addresses that are taken. Of several addresses of a name one must do.
    pub fn bind(options: &ListenOptions) -> Result<Self, ListenError> {
        let mut listeners = Self { tcp: Vec::new(), unix: Vec::new(), port: options.port };
        if !options.allow_remote {
            refuse_remote(options)?;
        }
        for host in &options.hosts {
            let addresses = addresses_of(host, listeners.port)?;
            listeners.tcp.extend(bind_tcp(addresses, &mut listeners.port)?);
        }
        if listeners.port == 0 && !options.unix_socket_directories.is_empty() {
            // The name of a Unix socket needs a port, and there is none from TCP: one that is free at the moment.
            let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|free| free.local_addr());
            listeners.port = free.map_err(ListenError::NoPort)?.port();
        }
        for directory in &options.unix_socket_directories {
            listeners.unix.push(bind_unix(directory, listeners.port, options.unix_socket_permissions)?);
        }
        if listeners.tcp.is_empty() && listeners.unix.is_empty() {
            return Err(ListenError::Nowhere);
        }
        Ok(listeners)
    }

    /// The port, also of the Unix sockets' names.
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// The directory of the first Unix socket.
    pub fn unix_socket_directory(&self) -> Option<&Path> {
        self.unix.first().and_then(|(_, file)| file.path().parent())
    }

    /// How many sockets there are, for [`Listeners::accept`].
    pub(super) fn sockets(&self) -> Vec<BorrowedFd<'_>> {
        self.tcp.iter().map(AsFd::as_fd).chain(self.unix.iter().map(|(socket, _)| socket.as_fd())).collect()
    }

    /// The next client at the socket with this number; `WouldBlock` if there is none.
    pub(super) fn accept(&self, number: usize) -> io::Result<Newcomer> {
        if let Some(listener) = self.tcp.get(number) {
            let (stream, peer) = listener.accept()?;
            stream.set_nodelay(true)?;
            stream.set_nonblocking(true)?;
            // Finds clients whose host has vanished.
            Socket::from(stream.try_clone()?).set_keepalive(true)?;
            return Ok(Newcomer { socket: OwnedFd::from(stream), peer: Some(peer) });
        }
        let (listener, _) = self.unix.get(number - self.tcp.len()).ok_or(io::ErrorKind::NotFound)?;
        let (stream, _) = listener.accept()?;
        stream.set_nonblocking(true)?;
        Ok(Newcomer { socket: OwnedFd::from(stream), peer: None })
    }
}

/// Refuses addresses that other hosts can reach, before any is listened on.
fn refuse_remote(options: &ListenOptions) -> Result<(), ListenError> {
    for host in &options.hosts {
        let addresses = addresses_of(host, options.port)?;
        let remote = addresses.into_iter().find(|address| !address.ip().to_canonical().is_loopback());
        if let Some(remote) = remote {
            return Err(ListenError::Insecure(remote));
        }
    }
    Ok(())
}
