//! The sockets that clients connect to. Source: `StreamServerPort` in `libpq/pqcomm.c`.

use std::fs;
use std::io;
use std::net::{SocketAddr, TcpListener, ToSocketAddrs as _};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use socket2::{Domain, Socket, Type};
use tracing::{info, warn};

/// Clients that may wait to be accepted.
const BACKLOG: i32 = 1024;

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
    #[error("could not listen on \"{address}\": {source}{}", hint(source))]
    Bind {
        /// The address and port, or the socket's path.
        address: String,
        /// The system's reason.
        source: io::Error,
    },
}

fn hint(error: &io::Error) -> &'static str {
    if error.kind() == io::ErrorKind::AddrInUse { "; is another server running there?" } else { "" }
}

/// The addresses of a host, by name or number; `*` is every address of this one.
///
/// # Errors
/// A name that does not resolve.
pub fn addresses_of(host: &str, port: u16) -> Result<Vec<SocketAddr>, ListenError> {
    if host == "*" {
        return Ok(vec![([0u16; 8], port).into(), ([0u8; 4], port).into()]);
    }
    let found = (host, port).to_socket_addrs();
    let mut addresses: Vec<SocketAddr> =
        found.map_err(|source| ListenError::Resolve { host: host.to_owned(), source })?.collect();
    addresses.dedup();
    Ok(addresses)
}

/// Listens on one host's addresses, without blocking, all on `port`; if that is 0, on the one that the system chooses for
/// the first, which becomes `port`.
///
/// # Errors
/// Addresses that are taken, unless one of them is not.
pub fn bind_tcp(addresses: Vec<SocketAddr>, port: &mut u16) -> Result<Vec<TcpListener>, ListenError> {
    let mut bound = Vec::new();
    let mut failure = None;
    for mut address in addresses {
        address.set_port(*port);
        match bind_address(address) {
            Ok(listener) => {
                let local = listener.local_addr().unwrap_or(address);
                *port = local.port();
                info!(address = %local.ip(), port = local.port(), "listening on TCP");
                bound.push(listener);
            }
            Err(source) => {
                failure.get_or_insert(ListenError::Bind { address: address.to_string(), source });
            }
        }
    }
    match failure {
        Some(error) if bound.is_empty() => return Err(error),
        // localhost often has an IPv6 address on hosts that have no IPv6.
        Some(error) => warn!("{error}"),
        None => {}
    }
    Ok(bound)
}

fn bind_address(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    // As PostgreSQL: a restart must not wait for connections of before to be forgotten.
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

/// The file of a Unix socket. It is removed when this is dropped.
#[derive(Debug)]
pub struct SocketFile(PathBuf);

impl SocketFile {
    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        let _gone = fs::remove_file(&self.0);
    }
}

/// Listens on the Unix socket in `directory` that belongs to `port`, `.s.PGSQL.<port>`, without blocking.
///
/// # Errors
/// A socket that is in use, a directory that cannot be written.
pub fn bind_unix(
    directory: &Path,
    port: u16,
    permissions: u32,
) -> Result<(UnixListener, SocketFile), ListenError> {
    let path = directory.join(format!(".s.PGSQL.{port}"));
    let listener = bind_path(&path, permissions)
        .map_err(|source| ListenError::Bind { address: path.display().to_string(), source })?;
    info!(path = %path.display(), "listening on Unix socket");
    Ok((listener, SocketFile(path)))
}

/// A socket file left behind by a process that is gone is replaced; one that is in use is not.
fn bind_path(path: &Path, permissions: u32) -> io::Result<UnixListener> {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_addresses_share_the_port_that_the_system_chose() {
        let mut port = 0;
        let addresses = vec![([127, 0, 0, 1], 0).into(), ([127, 0, 0, 2], 0).into()];
        let sockets = bind_tcp(addresses.clone(), &mut port).unwrap();
        let ports: Vec<u16> = sockets.iter().map(|socket| socket.local_addr().unwrap().port()).collect();
        assert_eq!(ports, [port, port]);
        let error = bind_tcp(addresses, &mut port).unwrap_err().to_string();
        assert!(error.ends_with("is another server running there?"), "{error}");
    }

    #[test]
    fn a_socket_left_behind_is_replaced_and_one_in_use_is_not() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join(".s.PGSQL.5432");
        drop(UnixListener::bind(&path).unwrap());
        let (_listener, file) = bind_unix(directory.path(), 5432, 0o700).unwrap();
        assert_eq!(file.path(), path);
        bind_unix(directory.path(), 5432, 0o700).expect_err("it is in use");
        drop(file);
        assert!(!path.exists());
    }
}
