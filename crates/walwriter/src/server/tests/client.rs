//! A client that says exactly what a test wants it to say.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use crate::protocol::backend::{message, put_text};

pub(super) struct Client {
    pub(super) stream: TcpStream,
    pub(super) process_id: u32,
    pub(super) secret: Vec<u8>,
}

impl Client {
    pub(super) fn raw(port: u16) -> Self {
        let stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        Self { stream, process_id: 0, secret: Vec::new() }
    }

    pub(super) fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).unwrap();
    }

    pub(super) fn start_up(&mut self, parameters: &[(&str, &str)]) {
        let mut body = 196_608u32.to_be_bytes().to_vec();
        for (name, value) in [("user", "tester")].iter().chain(parameters) {
            put_text(&mut body, name);
            put_text(&mut body, value);
        }
        body.push(0);
        let mut packet = (body.len() as u32 + 4).to_be_bytes().to_vec();
        packet.extend(body);
        self.send(&packet);
    }

    /// The next message; `None` at the end of the stream.
    pub(super) fn receive(&mut self) -> Option<(u8, Vec<u8>)> {
        let mut header = [0; 5];
        match self.stream.read_exact(&mut header) {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => return None,
            Err(error) if error.kind() == ErrorKind::ConnectionReset => return None,
            Err(error) => panic!("{error}"),
        }
        let [tag, length @ ..] = header;
        let mut body = vec![0; u32::from_be_bytes(length) as usize - 4];
        self.stream.read_exact(&mut body).unwrap();
        if tag == b'K' {
            self.process_id = u32::from_be_bytes(body[..4].try_into().unwrap());
            self.secret = body[4..].to_vec();
        }
        Some((tag, body))
    }

    /// The tags up to and including ReadyForQuery, without ParameterStatus; errors and notices with their SQLSTATE.
    pub(super) fn tags(&mut self) -> String {
        let mut tags = String::new();
        loop {
            let Some((tag, body)) = self.receive() else {
                tags.push('.');
                return tags;
            };
            match tag {
                b'S' => {}
                b'E' | b'N' => {
                    tags.push(tag as char);
                    tags.push_str(&format!("({})", field(&body, b'C')));
                }
                b'Z' => {
                    tags.push('Z');
                    tags.push(body[0] as char);
                    return tags;
                }
                tag => tags.push(tag as char),
            }
        }
    }

    pub(super) fn expect_ready(&mut self, status: u8) {
        loop {
            match self.receive() {
                Some((b'Z', body)) => return assert_eq!(body, [status]),
                Some((b'E', body)) => panic!("{}", String::from_utf8_lossy(&body)),
                Some(_) => {}
                None => panic!("the connection was closed"),
            }
        }
    }

    pub(super) fn query(&mut self, text: &str) -> String {
        self.send(&query(text));
        self.tags()
    }

    /// Whether nothing arrives for a little while.
    pub(super) fn hears_nothing(&mut self) -> bool {
        self.stream.set_read_timeout(Some(Duration::from_millis(30))).unwrap();
        let heard = self.stream.peek(&mut [0]);
        self.stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        heard.is_err_and(|error| matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut))
    }

    pub(super) fn is_closed(&mut self) -> bool {
        self.receive().is_none()
    }
}

pub(super) fn field(body: &[u8], letter: u8) -> String {
    let mut fields = body.split(|byte| *byte == 0);
    let found = fields.find(|field| field.first() == Some(&letter)).unwrap_or_default();
    String::from_utf8_lossy(found.get(1..).unwrap_or_default()).into_owned()
}

pub(super) fn query(text: &str) -> Vec<u8> {
    let mut out = Vec::new();
    message(&mut out, b'Q', |out| put_text(out, text));
    out
}

pub(super) fn parse(name: &str, text: &str) -> Vec<u8> {
    let mut out = Vec::new();
    message(&mut out, b'P', |out| {
        put_text(out, name);
        put_text(out, text);
        out.extend([0, 0]);
    });
    out
}

pub(super) fn bind(portal: &str, statement: &str, arguments: &[&[u8]]) -> Vec<u8> {
    let mut out = Vec::new();
    message(&mut out, b'B', |out| {
        put_text(out, portal);
        put_text(out, statement);
        out.extend([0, 0]);
        out.extend((arguments.len() as u16).to_be_bytes());
        for argument in arguments {
            out.extend((argument.len() as u32).to_be_bytes());
            out.extend_from_slice(argument);
        }
        out.extend([0, 0]);
    });
    out
}

pub(super) fn execute(portal: &str, rows: u32) -> Vec<u8> {
    let mut out = Vec::new();
    message(&mut out, b'E', |out| {
        put_text(out, portal);
        out.extend(rows.to_be_bytes());
    });
    out
}

pub(super) fn describe(kind: u8, name: &str) -> Vec<u8> {
    let mut out = Vec::new();
    message(&mut out, b'D', |out| {
        out.push(kind);
        put_text(out, name);
    });
    out
}

pub(super) fn bare(tag: u8) -> Vec<u8> {
    vec![tag, 0, 0, 0, 4]
}

pub(super) fn copy_data(data: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    message(&mut out, b'd', |out| out.extend_from_slice(data));
    out
}

/// Asks for what `whom` executes to be cancelled, and waits until that was heard.
pub(super) fn cancel(server: &super::Running, whom: &Client) {
    let mut client = Client::raw(server.port);
    send_cancel(&mut client, whom);
    assert!(client.is_closed());
}

pub(super) fn send_cancel(client: &mut Client, whom: &Client) {
    let packet = [
        &16u32.to_be_bytes()[..],
        &80_877_102u32.to_be_bytes(),
        &whom.process_id.to_be_bytes(),
        &whom.secret,
    ];
    client.send(&packet.concat());
}
