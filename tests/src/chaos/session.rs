//! A client's connection that may break at any moment, which is the client's to judge and no reason to panic.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

use crate::wire::{Wire, field, values};

const PROTOCOL: u32 = 196_608;

/// The rows of one statement, as text.
pub type Rows = Vec<Vec<Option<String>>>;

/// Why there is no answer.
#[derive(Debug)]
pub enum Failure {
    /// The connection is gone, or nothing came for too long: what was asked for may have been done.
    Lost(io::Error),
    /// The server refused, with SQLSTATE and message.
    Refused(String, String),
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Lost(error)
    }
}

/// A connection as `postgres`.
pub struct Session(TcpStream);

impl Session {
    /// Connects; every answer has to begin within `patience`.
    pub fn open(port: u16, patience: Duration) -> Result<Self, Failure> {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let socket = TcpStream::connect_timeout(&address, patience)?;
        socket.set_nodelay(true)?;
        socket.set_read_timeout(Some(patience))?;
        socket.set_write_timeout(Some(patience))?;
        let mut session = Self(socket);
        let parameters = b"user\0postgres\0database\0postgres\0\0";
        let mut packet = (parameters.len() as u32 + 8).to_be_bytes().to_vec();
        packet.extend_from_slice(&PROTOCOL.to_be_bytes());
        packet.extend_from_slice(parameters);
        session.0.write_all(&packet)?;
        session.answer()?;
        Ok(session)
    }

    /// Runs statements as one simple query, and gives the rows of each.
    pub fn run(&mut self, sql: &str) -> Result<Vec<Rows>, Failure> {
        self.0.write_all(&Wire::message(b'Q', &[sql.as_bytes(), b"\0"].concat()))?;
        self.answer()
    }

    /// The single value that a query gives.
    pub fn value(&mut self, sql: &str) -> Result<Option<String>, Failure> {
        let rows = self.run(sql)?;
        Ok(rows.into_iter().flatten().flatten().flatten().next())
    }

    fn answer(&mut self) -> Result<Vec<Rows>, Failure> {
        let (mut statements, mut rows, mut refused) = (Vec::new(), Vec::new(), None);
        loop {
            let (kind, body) = self.receive()?;
            match kind {
                b'D' => rows.push(values(&body)),
                b'C' => statements.push(std::mem::take(&mut rows)),
                b'E' => refused = Some(Failure::Refused(field(&body, b'C'), field(&body, b'M'))),
                b'Z' => return refused.map_or(Ok(statements), Err),
                _ => {}
            }
            // One that ends the connection is followed by nothing.
            if let Some(Failure::Refused(code, _)) = &refused
                && code.starts_with("57P")
            {
                return Err(refused.take().expect("it is there"));
            }
        }
    }

    fn receive(&mut self) -> io::Result<(u8, Vec<u8>)> {
        let mut header = [0; 5];
        self.0.read_exact(&mut header)?;
        let [kind, length @ ..] = header;
        let mut body = vec![0; (u32::from_be_bytes(length) as usize).saturating_sub(4)];
        self.0.read_exact(&mut body)?;
        Ok((kind, body))
    }
}
