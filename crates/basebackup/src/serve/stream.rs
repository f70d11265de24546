//! A backup as the messages of its copy, made a few at a time.
//!
//! Order: `backup_label`, everything else, then the position to replay to is asked for, then `global/pg_control` with that
//! position in it, then the WAL if it was asked for, then the manifest. Invariant: no page is read after the position was
//! asked for, so that no page in the backup is ahead of it.

use std::collections::VecDeque;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::{Bytes, BytesMut};
use engine::page::PAGE_SIZE;
use replication::error::{ServerError, SqlState};
use replication::stream::BackupMessage;
use tracing::warn;

use super::archive::{Archive, Frames};
use super::calendar::utc;
use super::label::backup_label;
use super::{BackupRequest, BackupSource, StartPoint, StopPoint, control, pages, tree, wal_files};
use crate::RelativePath;
use crate::manifest::{FileEntry, Hasher, Manifest, WalRange};
use crate::tar::{Header, MemberKind};

/// How much of a file is read at once: a multiple of the page size.
const CHUNK: usize = 256 << 10;
/// How often the client is told how far the server is.
const PROGRESS_INTERVAL: Duration = Duration::from_secs(1);
/// Damaged pages that are named per file; more are only counted.
const NAMED: u64 = 5;

/// A backup under way.
pub struct BackupStream<S> {
    source: S,
    request: BackupRequest,
    start: StartPoint,
    /// Known once all pages are read.
    stop: Option<StopPoint>,
    members: VecDeque<Header>,
    total: u64,
    stage: Stage,
    file: Option<OpenFile>,
    archive: Option<Archive>,
    frames: Frames,
    files: Vec<FileEntry>,
    read: u64,
    progress_at: Instant,
    damaged: u64,
    buffer: Vec<u8>,
}

/// In their order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Stage {
    Label,
    Members,
    Control,
    Wal,
    Manifest,
    Done,
}

/// A file that is being sent.
struct OpenFile {
    path: PathBuf,
    file: File,
    header: Header,
    /// Bytes sent, at most `header.size`.
    sent: u64,
    hasher: Option<Hasher>,
    first_block: Option<u32>,
    damaged: u64,
    listed: bool,
}

impl<S: BackupSource> BackupStream<S> {
    /// Has a checkpoint found or made, and looks at what there is to send. May take as long as a checkpoint.
    ///
    /// # Errors
    /// The source's, and those of reading the data directory.
    pub fn begin(mut source: S, request: BackupRequest) -> Result<Self, Box<ServerError>> {
        let start = source.start(request.fast)?;
        let root = source.data_directory().to_owned();
        let members = tree::list(&root).map_err(|error| failed("read directory", &root, &error))?;
        let total = members.iter().map(|member| member.size).sum();
        let frames = Frames::new(request.blackhole);
        let archive = Archive::new(request.compression, frames.clone()).map_err(internal)?;
        Ok(Self {
            source,
            start,
            stop: None,
            members: members.into(),
            total,
            stage: Stage::Label,
            file: None,
            archive: Some(archive),
            frames,
            files: Vec::new(),
            read: 0,
            progress_at: Instant::now(),
            damaged: 0,
            buffer: vec![0; CHUNK],
            request,
        })
    }

    /// Where the backup starts.
    pub const fn start(&self) -> &StartPoint {
        &self.start
    }

    /// About how many kB there are to be read, if the client asked for that.
    pub fn kilobytes(&self) -> Option<u64> {
        self.request.progress.then(|| self.total.div_ceil(1024))
    }

    /// Appends some messages to `out`, about 256 KiB of them; `false` once there are no more.
    ///
    /// # Errors
    /// What the client has to be told, after which the backup is of no use.
    pub fn next(&mut self, out: &mut BytesMut) -> Result<bool, Box<ServerError>> {
        while self.stage != Stage::Done && self.frames.len() < CHUNK {
            let before = self.read;
            self.step()?;
            if self.progress_at.elapsed() >= PROGRESS_INTERVAL {
                self.progress();
            }
            // Nothing gathers where everything is thrown away.
            if self.request.blackhole && self.read > before {
                break;
            }
        }
        self.frames.take(out);
        Ok(self.stage != Stage::Done)
    }

    /// Where the backup is complete, once there are no more messages.
    ///
    /// # Errors
    /// Pages whose checksums are wrong: the client has been sent everything, but must not trust it.
    pub fn finish(self) -> Result<StopPoint, Box<ServerError>> {
        if self.damaged > 0 {
            let message = "checksum verification failure during base backup";
            let detail = format!("{} pages have wrong checksums; the server's log names them.", self.damaged);
            return Err(ServerError::error(SqlState::DATA_CORRUPTED, message).detail(detail).into());
        }
        self.stop.ok_or_else(|| internal("the base backup did not end"))
    }

    fn step(&mut self) -> Result<(), Box<ServerError>> {
        if self.file.is_some() {
            return self.send_chunk();
        }
        match self.stage {
            Stage::Label => {
                let suffix = self.request.compression.map_or("", |settings| settings.method.suffix());
                let name = format!("base.tar{suffix}");
                self.frames.message(&BackupMessage::NewArchive { name, tablespace_path: String::new() });
                let now = now();
                let label =
                    backup_label(&self.start, self.source.segment_size(), &self.request.label, now as i64);
                self.send_bytes("backup_label", label.as_bytes(), now)?;
                self.enter_stage(Stage::Members);
            }
            Stage::Members => match self.members.pop_front() {
                Some(header) if header.kind == MemberKind::File => self.open(header)?,
                Some(header) => self.archive()?.begin_member(&header).map_err(internal)?,
                None => self.enter_stage(Stage::Control),
            },
            Stage::Control => {
                let stop = self.source.stop()?;
                if stop.end < self.start.redo {
                    let (end, redo) = (stop.end, self.start.redo);
                    return Err(internal(format!(
                        "the WAL ends at {end}, before the backup's beginning at {redo}"
                    )));
                }
                self.stop = Some(stop);
                let path = self.source.data_directory().join(tree::CONTROL_FILE);
                let file = fs::read(&path).map_err(|error| failed("read file", &path, &error))?;
                let file = control::recover_to(file, &stop).ok_or_else(|| {
                    Box::new(ServerError::error(SqlState::DATA_CORRUPTED, "the control file is damaged"))
                })?;
                self.send_bytes(tree::CONTROL_FILE, &file, now())?;
                if self.request.wal {
                    self.members = wal_files::needed(&self.source, &self.start, &stop)?.into();
                }
                self.enter_stage(Stage::Wal);
            }
            Stage::Wal => match self.members.pop_front() {
                Some(header) => self.open(header)?,
                None => {
                    if let Some(archive) = self.archive.take() {
                        archive.finish().map_err(internal)?;
                    }
                    self.progress();
                    self.enter_stage(Stage::Manifest);
                }
            },
            Stage::Manifest => {
                self.send_manifest();
                self.enter_stage(Stage::Done);
            }
            Stage::Done => {}
        }
        Ok(())
    }

    fn enter_stage(&mut self, next: Stage) {
        assert!(self.stage < next, "a backup goes on from {:?} to {next:?}", self.stage);
        self.stage = next;
    }

    /// Begins to send a file; one that was removed meanwhile is left out, as the WAL removes it too.
    fn open(&mut self, header: Header) -> Result<(), Box<ServerError>> {
        let is_page = self.stage == Stage::Members;
        assert!(!is_page || self.stop.is_none(), "no page is read once the position to replay to is known");
        let path = header.path.below(self.source.data_directory());
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound && self.stage == Stage::Members => {
                return Ok(());
            }
            // Listed as part of the WAL that is needed, but it is an empty file that need not exist.
            Err(error) if error.kind() == io::ErrorKind::NotFound && header.size == 0 => {
                self.archive()?.begin_member(&header).map_err(internal)?;
                return Ok(());
            }
            Err(error) => return Err(failed("open file", &path, &error)),
        };
        self.archive()?.begin_member(&header).map_err(internal)?;
        let listed = self.stage == Stage::Members;
        let first_block = if self.request.verify_checksums { tree::first_block(&header.path) } else { None };
        let hasher = self.hasher().filter(|_| listed);
        self.file = Some(OpenFile { path, file, header, sent: 0, hasher, first_block, damaged: 0, listed });
        Ok(())
    }

    /// Sends the next piece of the open file, exactly as long as its header says: a file that became shorter is filled with
    /// zeros, what was added to it is in the WAL.
    fn send_chunk(&mut self) -> Result<(), Box<ServerError>> {
        let Some(mut open) = self.file.take() else { return Ok(()) };
        let Some(archive) = self.archive.as_mut() else { return Ok(()) };
        let wanted = usize::try_from(open.header.size - open.sent).unwrap_or(CHUNK).min(CHUNK);
        let chunk = self.buffer.get_mut(..wanted).unwrap_or_default();
        let count = read_full(&open.file, chunk, open.sent)
            .map_err(|error| failed("read file", &open.path, &error))?;
        let (read, missing) = chunk.split_at_mut(count);
        missing.fill(0);
        if let Some(first) = open.first_block {
            let block = first.wrapping_add((open.sent / PAGE_SIZE as u64) as u32);
            let damaged = pages::verify(&open.file, open.sent, read, block, self.start.redo)
                .map_err(|error| failed("read file", &open.path, &error))?;
            for block in damaged {
                open.damaged += 1;
                if open.damaged <= NAMED {
                    warn!(file = %open.header.path, block, "checksum verification failed in a base backup");
                }
                self.damaged += 1;
            }
        }
        if let Some(hasher) = &mut open.hasher {
            hasher.update(chunk);
        }
        archive.content(chunk).map_err(internal)?;
        open.sent += wanted as u64;
        self.read += wanted as u64;
        if open.sent < open.header.size {
            self.file = Some(open);
            return Ok(());
        }
        assert_eq!(
            open.sent, open.header.size,
            "\"{}\" is sent as long as its header says",
            open.header.path
        );
        archive.end_member(open.header.size).map_err(internal)?;
        if open.listed {
            self.enter(open.header.path, open.header.size, open.header.modified, open.hasher);
        }
        Ok(())
    }

    fn send_bytes(&mut self, name: &str, bytes: &[u8], modified: u64) -> Result<(), Box<ServerError>> {
        let path = RelativePath::new(name.as_bytes()).map_err(internal)?;
        let size = bytes.len() as u64;
        let header = Header { path, kind: MemberKind::File, mode: 0o600, size, modified };
        let archive = self.archive()?;
        archive.begin_member(&header).and_then(|()| archive.content(bytes)).map_err(internal)?;
        archive.end_member(size).map_err(internal)?;
        self.read += size;
        let mut hasher = self.hasher();
        if let Some(hasher) = &mut hasher {
            hasher.update(bytes);
        }
        self.enter(header.path, size, modified, hasher);
        Ok(())
    }

    fn hasher(&self) -> Option<Hasher> {
        self.request.manifest.and_then(|manifest| manifest.checksums).map(|algorithm| algorithm.hasher())
    }

    /// Lists a file in the manifest.
    fn enter(&mut self, path: RelativePath, size: u64, modified: u64, hasher: Option<Hasher>) {
        if let Some(manifest) = self.request.manifest {
            self.files.push(FileEntry {
                path,
                encoded: manifest.force_encode,
                size,
                last_modified: format!("{} GMT", utc(i64::try_from(modified).unwrap_or(0))),
                checksum: hasher.map(Hasher::finish),
            });
        }
    }

    fn send_manifest(&mut self) {
        let (Some(_), Some(stop)) = (self.request.manifest, self.stop) else { return };
        assert!(self.start.redo <= stop.end, "the WAL that a backup needs ends behind its beginning");
        let range = WalRange { timeline: stop.timeline, start: self.start.redo, end: stop.end };
        let files = std::mem::take(&mut self.files);
        let manifest = Manifest { system_id: None, files, wal_ranges: vec![range] }.to_bytes();
        self.frames.message(&BackupMessage::Manifest);
        let mut rest = Bytes::from(manifest);
        while !rest.is_empty() {
            let piece = rest.split_to(rest.len().min(CHUNK));
            self.frames.message(&BackupMessage::Data(piece));
        }
    }

    fn progress(&mut self) {
        self.progress_at = Instant::now();
        self.frames.message(&BackupMessage::Progress(self.read));
    }

    fn archive(&mut self) -> Result<&mut Archive, Box<ServerError>> {
        self.archive.as_mut().ok_or_else(|| internal("the archive has ended already"))
    }
}

/// Reads until `buffer` is full or the file ends.
fn read_full(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut count = 0;
    while let Some(rest) = buffer.get_mut(count..).filter(|rest| !rest.is_empty()) {
        match file.read_at(rest, offset + count as u64) {
            Ok(0) => break,
            Ok(more) => count += more,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(count)
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

pub(super) fn failed(action: &str, path: &Path, error: &io::Error) -> Box<ServerError> {
    let message = format!("could not {action} \"{}\": {error}", path.display());
    internal(message)
}

fn internal(error: impl std::fmt::Display) -> Box<ServerError> {
    Box::new(ServerError::error(SqlState::INTERNAL_ERROR, error.to_string()))
}
