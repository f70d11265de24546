//! Free TCP ports, as the system gives them.

use std::net::{Ipv4Addr, TcpListener};

/// A port on the loopback interface on which nobody listened just now. Somebody else may take it before it is used:
/// whoever starts a server on it must be able to say so.
pub(crate) fn free() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    listener.local_addr().unwrap().port()
}
