//! Finds the bytes of a chunk: stretches of files where they can be sent as they are, memory where not.

use std::fs;
use std::os::unix::fs::MetadataExt as _;

use bytes::BytesMut;
use replication::error::{ServerError, SqlState};
use replication::sender::Chunk;
use replication::stream::{PgTimestamp, wal_frame_header};
use replication::waldir::{PlainRun, SegmentReader, WalDir, WalDirError};
use wal::{Lsn, SegmentSize, TimelineId};

use super::wire::{FileRun, Outgoing};
use crate::source::Serving;

/// Reads one timeline's WAL for one follower.
#[derive(Debug)]
pub(super) struct WalFeed {
    dir: WalDir,
    timeline: TimelineId,
    segment_size: SegmentSize,
    reader: SegmentReader,
    generation: u64,
    recycles: bool,
}

/// Why a chunk is not to be had.
#[derive(Debug)]
pub(super) enum FeedError {
    /// Not yet: the file is being received anew up to there.
    NotYet,
    /// Never; what to tell the follower.
    Failed(Box<ServerError>),
}

impl WalFeed {
    pub(super) fn new(dir: WalDir, timeline: TimelineId, serving: &Serving) -> Self {
        let reader = SegmentReader::new(dir.clone(), serving.segment_size, serving.history.clone());
        Self {
            dir,
            timeline,
            segment_size: serving.segment_size,
            reader,
            generation: serving.generation,
            recycles: serving.recycles,
        }
    }

    /// Goes by what is served now.
    pub(super) fn follow(&mut self, serving: &Serving) {
        if self.generation != serving.generation || self.recycles != serving.recycles {
            *self = Self::new(self.dir.clone(), self.timeline, serving);
        } else {
            self.reader.set_history(serving.history.clone());
        }
    }

    /// Appends the whole message with `chunk`. With `in_place`, its WAL may stay in the files it is in.
    pub(super) fn put(&mut self, chunk: &Chunk, in_place: bool, out: &mut Outgoing) -> Result<(), FeedError> {
        let length = chunk.length as usize;
        assert!(out.files.is_empty(), "a message that was begun is finished before the next one begins");
        assert!(
            chunk.end() <= chunk.server_end,
            "no byte is sent beyond what the follower is told is durable"
        );
        let header = wal_frame_header(chunk.start, chunk.server_end, PgTimestamp::now(), length)
            .ok_or_else(|| failed("a chunk of WAL is too long"))?;
        // Pages of a file may still wait in the socket's buffer when the file is written to again, so a file that
        // may be recycled is copied.
        if in_place && !self.recycles && self.find_runs(chunk, out)? {
            out.bytes.extend_from_slice(&header);
            let in_files: usize = out.files.iter().map(|run| run.length).sum();
            assert_eq!(in_files, length, "what follows a header is as long as it says");
            return Ok(());
        }
        let begin = out.bytes.len();
        out.bytes.extend_from_slice(&header);
        let copied = self.copy(chunk, &mut out.bytes);
        if copied.is_err() {
            out.bytes.truncate(begin);
        } else {
            let after = out.bytes.len() - begin - header.len();
            assert_eq!(after, length, "what follows a header is as long as it says");
        }
        copied
    }

    /// Whether all of the chunk stands in files as it is, which are then appended.
    fn find_runs(&mut self, chunk: &Chunk, out: &mut Outgoing) -> Result<bool, FeedError> {
        let mut at = chunk.start;
        let begin = out.files.len();
        while at < chunk.end() {
            let left = chunk.end().bytes_since(at);
            let found = self.reader.plain_run(self.timeline, at).map_err(from_waldir);
            let whole = found.and_then(|run| match run {
                Some(run) if holds(&run, left)? => Ok(Some(run)),
                Some(_) => Err(FeedError::NotYet),
                None => Ok(None),
            });
            match whole {
                Ok(Some(run)) => {
                    let length = run.len.min(left);
                    assert!(length > 0, "a stretch of a file has bytes, at {at}");
                    out.files.push_back(FileRun {
                        file: run.file,
                        offset: run.offset,
                        length: length as usize,
                    });
                    at = at.saturating_add(length);
                    assert!(at <= chunk.end(), "a message has the chunk and no more");
                }
                other => {
                    out.files.truncate(begin);
                    return other.map(|_| false);
                }
            }
        }
        Ok(true)
    }

    fn copy(&mut self, chunk: &Chunk, out: &mut BytesMut) -> Result<(), FeedError> {
        let begin = out.len();
        out.resize(begin + chunk.length as usize, 0);
        let mut at = chunk.start;
        while at < chunk.end() {
            let filled = begin + at.bytes_since(chunk.start) as usize;
            let room = out.get_mut(filled..).unwrap_or_default();
            match self.reader.read_at(self.timeline, at, room).map_err(from_waldir)? {
                0 => return Err(FeedError::NotYet),
                count => {
                    self.check_not_recycled(at)?;
                    at = at.saturating_add(count as u64);
                    assert!(at <= chunk.end(), "a message has the chunk and no more");
                }
            }
        }
        Ok(())
    }

    /// After reading: whether the file read still has its name. A server renames a segment before it writes other
    /// WAL into it (`CheckXLogRemoved`).
    fn check_not_recycled(&mut self, at: Lsn) -> Result<(), FeedError> {
        if !self.recycles {
            return Ok(());
        }
        let Some(run) = self.reader.plain_run(self.timeline, at).map_err(from_waldir)? else { return Ok(()) };
        let Some(fd) = run.file.as_fd() else { return Ok(()) };
        let read = rustix::fs::fstat(fd).map_err(|error| failed(&error.to_string()))?;
        let history = self.reader.history();
        let segment = self.segment_size.segment_of(at);
        let timelines = history.entries().iter().map(|entry| entry.timeline).chain([history.timeline()]);
        let still_there = timelines
            .filter(|&timeline| timeline >= self.timeline)
            .map(|timeline| segment.file_name(timeline, self.segment_size))
            .flat_map(|name| [format!("{name}.partial"), name])
            .filter_map(|name| fs::metadata(self.dir.path().join(name)).ok())
            .any(|file| file.ino() == read.st_ino && file.dev() == read.st_dev);
        if still_there {
            return Ok(());
        }
        let name = segment.file_name(self.timeline, self.segment_size);
        Err(from_waldir(WalDirError::MissingSegment { name }))
    }
}

/// Whether a file is as long as it has to be for what is to be sent of it.
fn holds(run: &PlainRun, wanted: u64) -> Result<bool, FeedError> {
    let length = run.file.len().map_err(|error| failed(&format!("could not read WAL segment: {error}")))?;
    Ok(length >= run.offset.saturating_add(run.len.min(wanted)))
}

fn failed(message: &str) -> FeedError {
    FeedError::Failed(Box::new(ServerError::error(SqlState::INTERNAL_ERROR, message)))
}

fn from_waldir(error: WalDirError) -> FeedError {
    let code = match &error {
        WalDirError::MissingSegment { .. } => SqlState::UNDEFINED_FILE,
        _ => SqlState::INTERNAL_ERROR,
    };
    FeedError::Failed(Box::new(ServerError::error(code, error.to_string())))
}
