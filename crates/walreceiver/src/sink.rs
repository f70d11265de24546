//! Where a background stream puts segments: the seam between receiving and keeping.

mod directory;

use std::path::PathBuf;

use wal::{SegmentNo, SegmentSize, TimelineId};

pub use directory::{DirectoryOptions, DirectorySink};

/// Takes segments one after the other. Every byte handed over has been validated.
///
/// Calls come from one thread, in this order: `history` before the first segment of a timeline (except the first
/// timeline), `begin`, any number of `write`s that follow each other without gaps from offset 0, `end`; then the next
/// segment.
pub trait WalSink: Send + 'static {
    /// A segment starts. Its file is to become exactly `size` bytes long.
    fn begin(&mut self, timeline: TimelineId, segment: SegmentNo, size: SegmentSize)
    -> Result<(), SinkError>;

    /// Bytes of the current segment at `offset`, where the bytes before it ended.
    fn write(&mut self, offset: u32, bytes: &[u8]) -> Result<(), SinkError>;

    /// The current segment ends; `written` bytes of it were received, and fewer than its size only where a stream or
    /// a timeline ends. The rest of the file is zeros.
    fn end(&mut self, written: u32) -> Result<(), SinkError>;

    /// The history file of a timeline, byte for byte as the server has it.
    fn history(&mut self, timeline: TimelineId, content: &[u8]) -> Result<(), SinkError>;

    /// Everything taken so far becomes durable, if the sink is one that makes things durable. Called once, last.
    fn finish(&mut self) -> Result<(), SinkError>;
}

/// A file that could not be written. The stream ends with it; nothing is retried.
#[derive(Debug, thiserror::Error)]
#[error("could not {action} file \"{}\": {source}", path.display())]
pub struct SinkError {
    /// What was attempted: "write", "fsync", ...
    pub action: &'static str,
    /// The file.
    pub path: PathBuf,
    /// What the system said.
    pub source: std::io::Error,
}

impl SinkError {
    /// For `map_err`: the error of doing `action` on `path`.
    pub fn on(action: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self { action, path, source }
    }
}
