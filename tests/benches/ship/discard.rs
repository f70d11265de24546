//! A follower that throws away what it is sent: the load for measuring senders alone.
//!
//! A bare socket and the few messages it takes, so that no client library's cost is measured along.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use wal::{Lsn, TimelineId};

use crate::measure::{Sample, cpu_of, mb_per_s};

/// A physical replication connection to a server that trusts loopback.
pub struct Discarder {
    socket: TcpStream,
    /// The process that serves this connection, as its BackendKeyData says.
    pub backend_pid: u32,
}

impl Discarder {
    pub fn connect(port: u16, user: &str) -> Result<Self> {
        let mut socket = TcpStream::connect(("127.0.0.1", port))?;
        let mut startup = 196_608i32.to_be_bytes().to_vec();
        for text in ["user", user, "database", "replication", "replication", "true", ""] {
            startup.extend_from_slice(text.as_bytes());
            startup.push(0);
        }
        socket.write_all(&(startup.len() as i32 + 4).to_be_bytes())?;
        socket.write_all(&startup)?;
        let mut backend_pid = 0;
        loop {
            let (tag, body) = message(&mut socket)?;
            match tag {
                b'K' => backend_pid = u32::from_be_bytes(body[..4].try_into()?),
                b'Z' => return Ok(Self { socket, backend_pid }),
                b'E' => bail!("the server refused: {}", String::from_utf8_lossy(&body)),
                _ => {}
            }
        }
    }

    /// Streams from `start` until at least `bytes` of messages have come, and says how fast. The CPU is what
    /// `server_pid` used meanwhile.
    pub fn drain(mut self, start: Lsn, timeline: TimelineId, bytes: u64, server_pid: u32) -> Result<Sample> {
        let command = format!("START_REPLICATION PHYSICAL {start} TIMELINE {timeline}\0");
        self.socket.write_all(b"Q")?;
        self.socket.write_all(&(command.len() as i32 + 4).to_be_bytes())?;
        self.socket.write_all(command.as_bytes())?;
        let (tag, body) = message(&mut self.socket)?;
        if tag != b'W' {
            bail!(
                "START_REPLICATION was answered with {:?}: {}",
                tag as char,
                String::from_utf8_lossy(&body)
            );
        }
        let cpu_before = cpu_of(server_pid)?;
        let started = Instant::now();
        let mut buffer = vec![0u8; 256 << 10];
        let mut received = 0;
        while received < bytes {
            match self.socket.read(&mut buffer).context("the stream broke off")? {
                0 => bail!("the stream ended after {received} bytes"),
                count => received += count as u64,
            }
        }
        let wall = started.elapsed();
        Ok(Sample { rate: mb_per_s(received, wall), cpu: Some(cpu_of(server_pid)? - cpu_before) })
    }
}

fn message(socket: &mut TcpStream) -> Result<(u8, Vec<u8>)> {
    let mut header = [0u8; 5];
    socket.read_exact(&mut header)?;
    let length = u32::from_be_bytes(header[1..].try_into()?);
    let mut body = vec![0; length.saturating_sub(4).min(1 << 20) as usize];
    socket.read_exact(&mut body)?;
    Ok((header[0], body))
}
