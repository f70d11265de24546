//! A client without manners: PostgreSQL's protocol over a socket, message by message, so that tests can stop anywhere.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::time::Duration;

use crate::wait::DEADLINE;

const PROTOCOL: u32 = 196_608;
const CANCEL: u32 = 80_877_102;

/// A connection to a server's TCP port. Dropping it closes the socket without a word.
pub struct Wire {
    socket: TcpStream,
    port: u16,
    /// The connection's number and its secret, for a cancel request.
    key: Vec<u8>,
}

/// What a client knows that may cancel its own statements.
pub struct Canceller {
    port: u16,
    key: Vec<u8>,
}

impl Canceller {
    /// Asks, on a connection of its own, for what runs to be cancelled.
    #[track_caller]
    pub fn cancel(&self) {
        let mut other = Wire::silent(self.port);
        other.raw(&[&16u32.to_be_bytes(), &CANCEL.to_be_bytes(), &self.key[..]].concat());
        // The server closes once it has looked at the request.
        let _ = other.socket.read(&mut [0]);
    }
}

/// The answers to one request, up to ReadyForQuery.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Answer {
    /// Rows: values as text, `None` for NULL.
    pub rows: Vec<Vec<Option<String>>>,
    /// The SQLSTATE and text of the error, if there was one.
    pub error: Option<(String, String)>,
    /// The transaction status of ReadyForQuery; 0 if the server closed the connection instead.
    pub status: u8,
}

impl Wire {
    /// Connects, and says nothing yet.
    #[track_caller]
    pub fn silent(port: u16) -> Self {
        let socket = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
        socket.set_nodelay(true).unwrap();
        socket.set_read_timeout(Some(DEADLINE)).unwrap();
        socket.set_write_timeout(Some(DEADLINE)).unwrap();
        Self { socket, port, key: Vec::new() }
    }

    /// Connects as `postgres`, and is let in.
    #[track_caller]
    pub fn connect(port: u16) -> Self {
        Self::try_connect(port).unwrap_or_else(|(code, message)| panic!("not let in: {code}: {message}"))
    }

    /// Connects as `postgres`; the error if the server refuses.
    #[track_caller]
    pub fn try_connect(port: u16) -> Result<Self, (String, String)> {
        Self::try_connect_with(port, b"user\0postgres\0database\0postgres\0\0")
    }

    /// Connects as a follower does, which gives replication commands.
    #[track_caller]
    pub fn replication(port: u16) -> Self {
        let connected = Self::try_connect_with(port, b"user\0postgres\0replication\0true\0\0");
        connected.unwrap_or_else(|(code, message)| panic!("not let in: {code}: {message}"))
    }

    fn try_connect_with(port: u16, parameters: &[u8]) -> Result<Self, (String, String)> {
        let mut wire = Self::silent(port);
        let mut packet = (parameters.len() as u32 + 8).to_be_bytes().to_vec();
        packet.extend_from_slice(&PROTOCOL.to_be_bytes());
        packet.extend_from_slice(parameters);
        wire.raw(&packet);
        match wire.answer().error {
            Some(error) => Err(error),
            None => Ok(wire),
        }
    }

    /// Sends these bytes; whether the server still takes them is of no concern.
    pub fn raw(&mut self, bytes: &[u8]) {
        let _ = self.socket.write_all(bytes);
    }

    /// A message of that type.
    pub fn message(kind: u8, body: &[u8]) -> Vec<u8> {
        let mut bytes = vec![kind];
        bytes.extend_from_slice(&(body.len() as u32 + 4).to_be_bytes());
        bytes.extend_from_slice(body);
        bytes
    }

    /// Sends a message.
    pub fn send(&mut self, kind: u8, body: &[u8]) {
        self.raw(&Self::message(kind, body));
    }

    /// Sends a Query, and does not wait for its answer.
    pub fn ask(&mut self, sql: &str) {
        self.send(b'Q', &[sql.as_bytes(), b"\0"].concat());
    }

    /// Sends a Query and reads its answer.
    #[track_caller]
    pub fn query(&mut self, sql: &str) -> Answer {
        self.ask(sql);
        self.answer()
    }

    /// Runs a Query that has to succeed, and gives its first value.
    #[track_caller]
    pub fn value(&mut self, sql: &str) -> String {
        let answer = self.query(sql);
        assert_eq!(answer.error, None, "{sql}");
        answer.rows.into_iter().flatten().flatten().next().unwrap_or_default()
    }

    /// The SQLSTATE of a Query that has to fail.
    #[track_caller]
    pub fn code(&mut self, sql: &str) -> String {
        let shown: String = sql.chars().take(80).collect();
        self.query(sql).error.unwrap_or_else(|| panic!("no error: {shown}")).0
    }

    /// Parse, Bind and Execute without names, with parameters as text, and Sync.
    #[track_caller]
    pub fn extended(&mut self, sql: &str, parameters: &[String]) -> Answer {
        let mut bind = vec![0, 0, 0, 0];
        bind.extend_from_slice(&(parameters.len() as u16).to_be_bytes());
        for parameter in parameters {
            bind.extend_from_slice(&(parameter.len() as u32).to_be_bytes());
            bind.extend_from_slice(parameter.as_bytes());
        }
        bind.extend_from_slice(&[0, 0]);
        self.send(b'P', &[b"\0", sql.as_bytes(), b"\0\0\0"].concat());
        self.send(b'B', &bind);
        self.send(b'E', &[0; 5]);
        self.send(b'S', &[]);
        self.answer()
    }

    /// Reads messages up to ReadyForQuery, to CopyInResponse, or to the end of the connection.
    #[track_caller]
    pub fn answer(&mut self) -> Answer {
        let mut answer = Answer::default();
        while let Some((kind, body)) = self.receive() {
            match kind {
                b'D' => answer.rows.push(values(&body)),
                b'E' => answer.error = Some((field(&body, b'C'), field(&body, b'M'))),
                b'K' => self.key = body,
                b'G' => return answer,
                b'Z' => {
                    answer.status = body.first().copied().unwrap_or_default();
                    return answer;
                }
                _ => {}
            }
        }
        answer
    }

    /// The next message; `None` once the server has closed the connection.
    #[track_caller]
    pub fn receive(&mut self) -> Option<(u8, Vec<u8>)> {
        let mut header = [0; 5];
        self.fill(&mut header)?;
        let [kind, length @ ..] = header;
        let mut body = vec![0; (u32::from_be_bytes(length) as usize).saturating_sub(4)];
        self.fill(&mut body)?;
        Some((kind, body))
    }

    #[track_caller]
    fn fill(&mut self, bytes: &mut [u8]) -> Option<()> {
        match self.socket.read_exact(bytes) {
            Ok(()) => Some(()),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                panic!("the server does not answer")
            }
            Err(_) => None,
        }
    }

    /// Waits until there is something to read, and does not read it.
    #[track_caller]
    pub fn wait_for_bytes(&self) {
        assert_ne!(self.socket.peek(&mut [0]).unwrap(), 0, "the server has closed the connection");
    }

    /// Sends `bytes` again and again until the server takes no more for a while; says how often it did.
    pub fn flood(&mut self, bytes: &[u8], most: usize) -> usize {
        self.socket.set_write_timeout(Some(Duration::from_millis(500))).unwrap();
        (0..most).take_while(|_| self.socket.write_all(bytes).is_ok()).count()
    }

    /// What cancels whatever runs here.
    pub fn canceller(&self) -> Canceller {
        Canceller { port: self.port, key: self.key.clone() }
    }

    /// Says that nothing more will come, and goes on listening.
    pub fn close_own_side(&self) -> io::Result<()> {
        self.socket.shutdown(std::net::Shutdown::Write)
    }
}

pub(crate) fn field(body: &[u8], wanted: u8) -> String {
    let fields = body.split(|byte| *byte == 0);
    let found = fields.filter_map(<[u8]>::split_first).find(|(letter, _)| **letter == wanted);
    found.map(|(_, text)| String::from_utf8_lossy(text).into_owned()).unwrap_or_default()
}

pub(crate) fn values(body: &[u8]) -> Vec<Option<String>> {
    let mut rest = body.get(2..).unwrap_or_default();
    let mut values = Vec::new();
    while let Some((length, after)) = rest.split_first_chunk::<4>() {
        let length = usize::try_from(i32::from_be_bytes(*length)).ok();
        let (value, after) = after.split_at(length.unwrap_or(0).min(after.len()));
        values.push(length.map(|_| String::from_utf8_lossy(value).into_owned()));
        rest = after;
    }
    values
}
