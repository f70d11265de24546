//! Finished segments, compressed behind the stream.
//!
//! A segment is received uncompressed, so that it can be read, compared and gone on with like any other; once it is
//! finished and durable it is compressed beside the stream and replaced by `NAME.gz` or `NAME.lz4`. At any moment at
//! least one of the two is there and durable.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{self, JoinHandle};

use disk::{Disk, DiskFile, OpenMode};
use runtime::sync::Mutex;

/// How many finished segments may wait to be compressed before receiving does.
const WAITING: usize = 4;
const CHUNK: usize = 256 << 10;

/// What becomes of finished segments (`-Z`).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Compress {
    /// They stay as they are.
    #[default]
    None,
    /// gzip, at a level from 1 to 9.
    Gzip(u32),
    /// The LZ4 frame format.
    Lz4,
}

impl FromStr for Compress {
    type Err = String;

    /// `none`, `gzip[:LEVEL]`, `lz4`, or as PostgreSQL 15 has it a number: a gzip level, 0 for none.
    fn from_str(text: &str) -> Result<Self, String> {
        if let Ok(level) = text.parse::<u32>() {
            return if level == 0 { Ok(Self::None) } else { gzip(level) };
        }
        let (method, detail) = match text.split_once(':') {
            Some((method, detail)) => (method, Some(detail)),
            None => (text, None),
        };
        match (method, detail) {
            ("none", None) => Ok(Self::None),
            ("lz4", None) => Ok(Self::Lz4),
            ("gzip", None) => gzip(6),
            ("gzip", Some(detail)) => {
                let level = detail.strip_prefix("level=").unwrap_or(detail);
                level.parse().map_err(|_| format!("invalid gzip level \"{level}\"")).and_then(gzip)
            }
            ("none" | "lz4", Some(_)) => Err(format!("compression method \"{method}\" takes no detail")),
            _ => Err(format!("unrecognized compression method \"{method}\"")),
        }
    }
}

fn gzip(level: u32) -> Result<Compress, String> {
    if (1..=9).contains(&level) {
        Ok(Compress::Gzip(level))
    } else {
        Err(format!("gzip level {level} must be between 1 and 9"))
    }
}

impl Compress {
    const fn suffix(self) -> Option<&'static str> {
        match self {
            Self::None => None,
            Self::Gzip(_) => Some(".gz"),
            Self::Lz4 => Some(".lz4"),
        }
    }
}

/// Compresses in a thread of its own.
#[derive(Debug)]
pub(crate) struct Compressor {
    queue: Option<SyncSender<PathBuf>>,
    thread: Option<JoinHandle<()>>,
    failure: Arc<Mutex<Option<(PathBuf, String)>>>,
}

impl Compressor {
    /// `None` where nothing is to be compressed.
    pub(crate) fn start(disk: Arc<dyn Disk>, how: Compress, sync: bool) -> io::Result<Option<Arc<Self>>> {
        let Some(suffix) = how.suffix() else { return Ok(None) };
        let (queue, segments) = sync_channel(WAITING);
        let failure = Arc::new(Mutex::new(None));
        let latch = Arc::clone(&failure);
        let thread = thread::Builder::new()
            .name("wal-compress".to_owned())
            .spawn(move || run(&*disk, how, suffix, sync, &segments, &latch))?;
        Ok(Some(Arc::new(Self { queue: Some(queue), thread: Some(thread), failure })))
    }

    /// Takes a finished segment; waits if too many wait already.
    pub(crate) fn push(&self, segment: &Path) {
        if let Some(queue) = &self.queue {
            // The thread ends early only after a failure, which `check` tells.
            let _ = queue.send(segment.to_owned());
        }
    }

    /// The first failure: which segment, and why.
    pub(crate) fn check(&self) -> Result<(), (PathBuf, String)> {
        self.failure.lock().clone().map_or(Ok(()), Err)
    }
}

impl Drop for Compressor {
    /// Waits until what was taken is compressed.
    fn drop(&mut self) {
        self.queue = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn run(
    disk: &dyn Disk,
    how: Compress,
    suffix: &str,
    sync: bool,
    segments: &Receiver<PathBuf>,
    failure: &Mutex<Option<(PathBuf, String)>>,
) {
    for segment in segments {
        if let Err(error) = compress(disk, how, suffix, sync, &segment) {
            *failure.lock() = Some((segment, error.to_string()));
            return;
        }
    }
}

fn compress(disk: &dyn Disk, how: Compress, suffix: &str, sync: bool, segment: &Path) -> io::Result<()> {
    let with = |more: &str| {
        let mut name = segment.as_os_str().to_owned();
        name.push(more);
        PathBuf::from(name)
    };
    let temporary = with(&format!("{suffix}.tmp"));
    let source = disk.open(segment, OpenMode::Read)?;
    let target = disk.open(&temporary, OpenMode::Create)?;
    target.set_len(0)?;
    let out = io::BufWriter::with_capacity(CHUNK, Appender { file: &*target, offset: 0 });
    match how {
        Compress::None => return Ok(()),
        Compress::Gzip(level) => {
            let mut encoder = flate2::write::GzEncoder::new(out, flate2::Compression::new(level));
            copy(&*source, &mut encoder)?;
            encoder.finish()?.flush()?;
        }
        Compress::Lz4 => {
            let mut encoder = lz4_flex::frame::FrameEncoder::new(out);
            copy(&*source, &mut encoder)?;
            encoder.finish().map_err(io::Error::other)?.flush()?;
        }
    }
    // The compressed file is complete and durable under its name before the other one goes.
    if sync {
        target.sync_all()?;
    }
    disk.rename(&temporary, &with(suffix))?;
    let dir = segment.parent().unwrap_or(Path::new("."));
    if sync {
        disk.sync_dir(dir)?;
    }
    disk.remove_file(segment)
}

fn copy(source: &dyn DiskFile, out: &mut impl Write) -> io::Result<()> {
    let mut buffer = vec![0; CHUNK];
    let mut offset = 0;
    loop {
        let count = source.read_at(&mut buffer, offset)?;
        if count == 0 {
            return Ok(());
        }
        out.write_all(buffer.split_at(count).0)?;
        offset += count as u64;
    }
}

struct Appender<'a> {
    file: &'a dyn DiskFile,
    offset: u64,
}

impl Write for Appender<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write_all_at(bytes, self.offset)?;
        self.offset += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use disk::{CrashChoices, SimDisk};
    use std::io::Read;

    use super::*;

    #[test]
    fn options_read_as_pg_receivewal_reads_them() {
        for (text, how) in [
            ("0", Compress::None),
            ("none", Compress::None),
            ("3", Compress::Gzip(3)),
            ("gzip", Compress::Gzip(6)),
            ("gzip:9", Compress::Gzip(9)),
            ("gzip:level=2", Compress::Gzip(2)),
            ("lz4", Compress::Lz4),
        ] {
            assert_eq!(text.parse(), Ok(how), "{text}");
        }
        for text in ["", "10", "gzip:0", "gzip:x", "zstd", "lz4:3", "none:1"] {
            assert!(text.parse::<Compress>().is_err(), "{text}");
        }
    }

    #[test]
    fn one_of_the_two_files_is_always_there_and_whole() {
        let content: Vec<u8> = (0..60_000u32).flat_map(|at| (at / 7).to_le_bytes()).collect();
        let disk = SimDisk::new();
        let plain = Path::new("SEG");
        let file = disk.open(plain, OpenMode::Create).unwrap();
        file.write_all_at(&content, 0).unwrap();
        file.sync_all().unwrap();
        disk.sync_dir(Path::new("")).unwrap();
        let before = disk.operations();
        compress(&disk, Compress::Gzip(1), ".gz", true, plain).unwrap();
        assert!(!disk.exists(plain).unwrap());
        for after in before..=disk.operations() {
            for state in disk.crash_states(after, CrashChoices::default()) {
                let found = if state.exists(plain).unwrap() {
                    disk::read_file(&state, plain, 1 << 20).unwrap()
                } else {
                    let packed = disk::read_file(&state, Path::new("SEG.gz"), 1 << 20).unwrap();
                    let mut unpacked = Vec::new();
                    flate2::read::GzDecoder::new(&packed[..]).read_to_end(&mut unpacked).unwrap();
                    unpacked
                };
                assert!(found == content, "after operation {after}");
            }
        }
    }
}
