//! Opening sockets: name look-up, TCP options, Unix sockets.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::ffi::OsStrExt as _;

use socket2::{SockRef, TcpKeepalive};
use tokio::net::{TcpStream, UnixStream};

use super::error::AttemptError;
use super::transport::Transport;
use crate::conninfo::{ConnInfo, Host, HostName};

/// One address of a host.
#[derive(Clone, Debug)]
pub(super) enum Address {
    Tcp(SocketAddr),
    /// The socket's path; one that starts with `@` is in the abstract namespace.
    Unix(std::path::PathBuf),
}

/// Every address of `host`, in the resolver's order.
pub(super) async fn addresses(host: &Host) -> Result<Vec<Address>, AttemptError> {
    match (&host.name, host.address) {
        (HostName::Unix(_), _) => Ok(host.socket_path().into_iter().map(Address::Unix).collect()),
        (HostName::Tcp(_), Some(address)) => Ok(vec![Address::Tcp(SocketAddr::new(address, host.port))]),
        (HostName::Tcp(name), None) => {
            let failed = |source| AttemptError::Resolve { host: name.clone(), source };
            let found = tokio::net::lookup_host((name.as_str(), host.port)).await.map_err(failed)?;
            let addresses: Vec<Address> = found.map(Address::Tcp).collect();
            if addresses.is_empty() {
                return Err(failed(io::Error::new(io::ErrorKind::NotFound, "the name has no address")));
            }
            Ok(addresses)
        }
    }
}

impl Host {
    /// Where it is, in libpq's words, as far as that is known without looking its name up.
    pub fn describe(&self) -> String {
        describe(self, None)
    }
}

/// Where an address is, in libpq's words.
pub(super) fn describe(host: &Host, address: Option<&Address>) -> String {
    match (&host.name, address) {
        (HostName::Unix(_), _) => {
            let path = host.socket_path().unwrap_or_default();
            format!("server on socket \"{}\"", path.display())
        }
        (HostName::Tcp(name), Some(Address::Tcp(address))) => {
            let ip = address.ip().to_string();
            if name.is_empty() || *name == ip {
                format!("server at \"{ip}\", port {}", host.port)
            } else {
                format!("server at \"{name}\" ({ip}), port {}", host.port)
            }
        }
        (HostName::Tcp(name), _) => format!("server at \"{name}\", port {}", host.port),
    }
}

/// The name that a certificate must be for, and that SNI may send.
pub(super) fn tls_name(host: &Host) -> String {
    match (&host.name, host.address) {
        (HostName::Tcp(name), _) if !name.is_empty() => name.clone(),
        (_, Some(address)) => IpAddr::to_string(&address),
        _ => String::new(),
    }
}

pub(super) async fn open(address: &Address, info: &ConnInfo) -> Result<Transport, AttemptError> {
    match address {
        Address::Tcp(address) => {
            let stream = TcpStream::connect(address).await.map_err(AttemptError::Connect)?;
            set_options(&stream, info).map_err(AttemptError::Connect)?;
            Ok(Transport::Tcp(stream))
        }
        Address::Unix(path) => {
            let bytes = path.as_os_str().as_bytes();
            let address = match bytes.strip_prefix(b"@") {
                Some(name) => std::os::unix::net::SocketAddr::from_abstract_name(name),
                None => std::os::unix::net::SocketAddr::from_pathname(path),
            };
            // Connecting a Unix socket does not wait, unless the server's queue is full; then it is overloaded anyway.
            let stream = address.and_then(|address| std::os::unix::net::UnixStream::connect_addr(&address));
            let stream = stream.and_then(|stream| {
                stream.set_nonblocking(true)?;
                UnixStream::from_std(stream)
            });
            stream.map(Transport::Unix).map_err(AttemptError::Connect)
        }
    }
}

fn set_options(stream: &TcpStream, info: &ConnInfo) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let socket = SockRef::from(stream);
    let keepalives = &info.keepalives;
    if keepalives.enabled {
        let mut keepalive = TcpKeepalive::new();
        if let Some(idle) = keepalives.idle {
            keepalive = keepalive.with_time(idle);
        }
        if let Some(interval) = keepalives.interval {
            keepalive = keepalive.with_interval(interval);
        }
        if let Some(count) = keepalives.count {
            keepalive = keepalive.with_retries(count);
        }
        socket.set_keepalive(true)?;
        socket.set_tcp_keepalive(&keepalive)?;
    }
    if let Some(timeout) = info.tcp_user_timeout {
        socket.set_tcp_user_timeout(Some(timeout))?;
    }
    Ok(())
}
