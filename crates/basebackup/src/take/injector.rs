//! Rewriting an archive to add files to it: a standby's settings, and on standard output the manifest.
//!
//! As PostgreSQL's `fe_utils/astreamer_inject.c`: settings are appended to `postgresql.auto.conf` if the archive has
//! one and put into a new one at its end otherwise, and `standby.signal` is replaced by an empty one.

use std::io::{BufWriter, Write};
use std::time::{SystemTime, UNIX_EPOCH};

use super::archive::StoredArchive;
use super::error::TakeError;
use super::members::MemberSink;
use super::recovery::{AUTO_CONF, STANDBY_SIGNAL};
use crate::RelativePath;
use crate::compression::Encoder;
use crate::tar::{Header, MemberKind, Owner, TRAILER, padding};

/// The owner that PostgreSQL's tools give files they add.
const OWNER: Owner = Owner { uid: 0o4000, gid: 0o2000 };

/// Members are written through this much memory, so that headers and padding do not cost system calls.
const BUFFER: usize = 256 << 10;

/// An archive being rewritten.
pub(super) struct Injector {
    out: BufWriter<Encoder<StoredArchive>>,
    /// What to append to `postgresql.auto.conf`; `None` if this is about other files.
    settings: Option<String>,
    /// For files that are added.
    file_mode: u32,
    has_auto_conf: bool,
    current: Current,
}

/// What happens to the member being read.
enum Current {
    /// It is passed on, with so much padding after it.
    Pass { padding: usize },
    /// The same, and the settings are appended; it becomes so long.
    Extend { size: u64 },
    /// It is left out.
    Skip,
}

impl Injector {
    pub(super) fn new(out: Encoder<StoredArchive>, settings: Option<String>, file_mode: u32) -> Self {
        let out = BufWriter::with_capacity(BUFFER, out);
        Self { out, settings, file_mode, has_auto_conf: false, current: Current::Skip }
    }

    /// After the last member: adds the files that the archive did not have.
    pub(super) fn finish_members(&mut self) -> Result<(), TakeError> {
        let Some(settings) = self.settings.take() else { return Ok(()) };
        if !self.has_auto_conf {
            self.add_file(AUTO_CONF, settings.as_bytes())?;
        }
        self.add_file(STANDBY_SIGNAL, b"")
    }

    /// Adds a file, after all members.
    pub(super) fn add_file(&mut self, name: &str, contents: &[u8]) -> Result<(), TakeError> {
        let path =
            RelativePath::new(name.as_bytes()).map_err(|error| TakeError::Answer(error.to_string()))?;
        let modified = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let size = contents.len() as u64;
        let header = Header { path, kind: MemberKind::File, mode: self.file_mode, size, modified };
        self.write(&header.encode(OWNER)?)?;
        self.write(contents)?;
        self.pad(padding(size))
    }

    /// Writes the end of the archive.
    pub(super) fn finish(mut self) -> Result<StoredArchive, TakeError> {
        self.write(&TRAILER)?;
        let encoder = self.out.into_inner().map_err(|error| TakeError::writing(error.into_error()))?;
        encoder.finish().map_err(TakeError::writing)
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), TakeError> {
        self.out.write_all(bytes).map_err(TakeError::writing)
    }

    fn pad(&mut self, length: usize) -> Result<(), TakeError> {
        self.write(TRAILER.get(..length).unwrap_or_default())
    }
}

impl MemberSink for Injector {
    fn begin(&mut self, header: &Header, block: &[u8; 512]) -> Result<(), TakeError> {
        self.current = Current::Pass { padding: padding(header.size) };
        if let Some(settings) = &self.settings {
            if header.path.as_bytes() == STANDBY_SIGNAL.as_bytes() {
                self.current = Current::Skip;
                return Ok(());
            }
            if header.path.as_bytes() == AUTO_CONF.as_bytes() && header.kind == MemberKind::File {
                let size = header.size.saturating_add(settings.len() as u64);
                self.has_auto_conf = true;
                self.current = Current::Extend { size };
                return self.write(&Header::resize(block, size));
            }
        }
        self.write(block)
    }

    fn data(&mut self, bytes: &[u8]) -> Result<(), TakeError> {
        if matches!(self.current, Current::Skip) { Ok(()) } else { self.write(bytes) }
    }

    fn end(&mut self) -> Result<(), TakeError> {
        match self.current {
            Current::Skip => Ok(()),
            Current::Pass { padding } => self.pad(padding),
            Current::Extend { size } => {
                let settings = self.settings.clone().unwrap_or_default();
                self.write(settings.as_bytes())?;
                self.pad(padding(size))
            }
        }
    }
}
