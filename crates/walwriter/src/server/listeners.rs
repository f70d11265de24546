//! Where clients may connect.

use std::fs;
use std::io;
use std::net::{SocketAddr, TcpListener, ToSocketAddrs as _};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use socket2::{Domain, Socket, Type};
use tracing::{info, warn};

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
    /// The address is taken, or is not one of this host.
    #[error("could not listen on \"{address}\": {source}; is another server running there?")]
    Bind {
        /// The address and port, or the socket's path.
        address: String,
        /// The system's reason.
        source: io::Error,
    },
    /// Nowhere at all.
    #[error("no address to listen on: listen_addresses and unix_socket_directories are both empty")]
    Nowhere,
}

/// The sockets that clients connect to. Unix sockets are removed when this is dropped.
#[derive(Debug)]
pub struct Listeners {
    tcp: Vec<TcpListener>,
    unix: Vec<(UnixListener, PathBuf)>,
    port: u16,
}

impl Listeners {
    /// Binds every address.
    ///
    /// # Errors
    /// Names that do not resolve, addresses that are taken. Of several addresses of a name one must do.
    pub fn bind(options: &ListenOptions) -> Result<Self, ListenError> {
        let mut listeners = Self { tcp: Vec::new(), unix: Vec::new(), port: options.port };
        for host in &options.hosts {
            listeners.bind_host(host)?;
        }
        if listeners.port == 0 && !options.unix_socket_directories.is_empty() {
            // The name of a Unix socket needs a port, and there is none from TCP: one that is free at the moment.
            let address = "127.0.0.1:0".to_owned();
            let free = TcpListener::bind(&address).and_then(|free| free.local_addr());
            listeners.port = free.map_err(|source| ListenError::Bind { address, source })?.port();
        }
        for directory in &options.unix_socket_directories {
            let path = directory.join(format!(".s.PGSQL.{}", listeners.port));
            let socket = bind_unix(&path, options.unix_socket_permissions)
                .map_err(|source| ListenError::Bind { address: path.display().to_string(), source })?;
            info!(path = %path.display(), "listening on Unix socket");
            listeners.unix.push((socket, path));
        }
        if listeners.tcp.is_empty() && listeners.unix.is_empty() {
            return Err(ListenError::Nowhere);
        }
        Ok(listeners)
    }

    fn bind_host(&mut self, host: &str) -> Result<(), ListenError> {
        let resolved: Vec<SocketAddr> = if host == "*" {
            vec![([0u16; 8], self.port).into(), ([0u8; 4], self.port).into()]
        } else {
            let found = (host, self.port).to_socket_addrs();
            found.map_err(|source| ListenError::Resolve { host: host.to_owned(), source })?.collect()
        };
        let mut failure = None;
        let mut bound = false;
        for mut address in resolved {
            // All addresses share the port that the system chose for the first.
            address.set_port(self.port);
            match bind_tcp(address) {
                Ok(listener) => {
                    let local = listener.local_addr().unwrap_or(address);
                    self.port = local.port();
                    info!(address = %local.ip(), port = local.port(), "listening on TCP");
                    self.tcp.push(listener);
                    bound = true;
                }
                Err(source) => {
                    failure.get_or_insert(ListenError::Bind { address: address.to_string(), source });
                }
            }
        }
        match failure {
            Some(error) if !bound => Err(error),
            // localhost often has an IPv6 address on hosts that have no IPv6.
            Some(error) => {
                warn!("{error}");
                Ok(())
            }
            None => Ok(()),
        }
    }

    /// The port, also of the Unix sockets' names.
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// The directory of the first Unix socket.
    pub fn unix_socket_directory(&self) -> Option<&Path> {
        self.unix.first().and_then(|(_, path)| path.parent())
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

impl Drop for Listeners {
    fn drop(&mut self) {
        for (_, path) in &self.unix {
            let _gone = fs::remove_file(path);
        }
    }
}

fn bind_tcp(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    // As PostgreSQL: a restart must not wait for connections of before to be forgotten.
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.bind(&address.into())?;
    socket.listen(1024)?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

/// A socket file left behind by a process that is gone is replaced; one that is in use is not.
fn bind_unix(path: &Path, permissions: u32) -> io::Result<UnixListener> {
    if path.exists() {
        if UnixStream::connect(path).is_ok() {
            return Err(io::ErrorKind::AddrInUse.into());
        }
        fs::remove_file(path)?;
    }
    let listener = UnixListener::bind(path)?;
    fs::set_permissions(path, fs::Permissions::from_mode(permissions))?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}
