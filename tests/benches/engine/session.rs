//! A session that is asked the same thing again and again: PostgreSQL's simple query protocol over a Unix socket, as far as
//! timing a statement needs it.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail};

pub struct Session(UnixStream);

impl Session {
    /// Connects to the server at `socket`, which trusts everybody.
    pub fn connect(socket: &Path) -> Result<Self> {
        let stream =
            UnixStream::connect(socket).with_context(|| format!("connect to {}", socket.display()))?;
        stream.set_read_timeout(Some(Duration::from_secs(60)))?;
        let mut session = Self(stream);
        let parameters = b"user\0postgres\0database\0postgres\0\0";
        let mut startup = ((8 + parameters.len()) as u32).to_be_bytes().to_vec();
        startup.extend((3u32 << 16).to_be_bytes());
        startup.extend(parameters);
        session.0.write_all(&startup)?;
        match session.until_ready()? {
            None => Ok(session),
            Some(code) => bail!("refused with SQLSTATE {code}"),
        }
    }

    /// Runs a statement. The SQLSTATE if it fails.
    pub fn execute(&mut self, sql: &str) -> Result<Option<String>> {
        let mut query = vec![b'Q'];
        query.extend((sql.len() as u32 + 5).to_be_bytes());
        query.extend(sql.as_bytes());
        query.push(0);
        self.0.write_all(&query)?;
        self.until_ready()
    }

    /// Reads until the server waits for a statement. The SQLSTATE of an error on the way.
    fn until_ready(&mut self) -> Result<Option<String>> {
        let mut failure = None;
        loop {
            let mut header = [0; 5];
            self.0.read_exact(&mut header)?;
            let [kind, length @ ..] = header;
            let length = u32::from_be_bytes(length).checked_sub(4).context("a message of no length")?;
            let mut body = Vec::new();
            (&mut self.0).take(length.into()).read_to_end(&mut body)?;
            match kind {
                b'Z' => return Ok(failure),
                b'E' => {
                    let fields = body.split(|&byte| byte == 0);
                    let code = fields.filter_map(|field| field.strip_prefix(b"C")).next().unwrap_or(b"?");
                    failure = Some(String::from_utf8_lossy(code).into_owned());
                }
                _ => {}
            }
        }
    }
}
