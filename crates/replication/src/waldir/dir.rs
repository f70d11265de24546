//! A WAL directory's facts: its listing, histories, segment size, and control file.

use std::io;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use disk::{Disk, OpenMode, OsDisk, read_file};
use wal::page::{LONG_HEADER, PageHeader};
use wal::{SegmentSize, TimelineHistory, TimelineId};

use super::{
    Compression, ControlFile, Listing, SegmentFile, SkippedSegment, StreamingStart, WalDirError,
    find_streaming_start,
};

/// History files are a line per promotion.
const MAX_HISTORY_LEN: usize = 1 << 20;

/// A directory that holds WAL: a receiver's, an archive, or a PostgreSQL server's `pg_wal`. Cheap to clone; nothing is
/// kept open or remembered, every answer is as of the call.
#[derive(Clone, Debug)]
pub struct WalDir {
    path: PathBuf,
    disk: Arc<dyn Disk>,
}

impl WalDir {
    /// The directory `path` on `disk`.
    pub fn new(path: impl Into<PathBuf>, disk: Arc<dyn Disk>) -> Self {
        Self { path: path.into(), disk }
    }

    /// The directory `path` of the operating system.
    pub fn on_os(path: impl Into<PathBuf>) -> Self {
        Self::new(path, Arc::new(OsDisk::new()))
    }

    /// The directory's path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The disk it is on.
    pub fn disk(&self) -> &Arc<dyn Disk> {
        &self.disk
    }

    /// The segments and history files there are, given the cluster's segment size.
    pub fn list(&self, segment_size: SegmentSize) -> Result<Listing, WalDirError> {
        let entries = self.disk.read_dir(&self.path).map_err(WalDirError::io(&self.path))?;
        let files = entries.iter().filter(|entry| !entry.is_dir);
        Ok(Listing::new(files.map(|entry| (entry.name.as_str(), entry.len)), segment_size))
    }

    /// The cluster's segment size: from the control file beside a `pg_wal`, or else the length that most complete segments
    /// have, or else from the first page header of the newest segment that has one, or else from the length of a complete
    /// segment. `None` if nothing tells.
    pub fn segment_size(&self) -> Result<Option<SegmentSize>, WalDirError> {
        if let Some(control) = self.control_file()? {
            return Ok(Some(control.segment_size));
        }
        // Any size will do for finding the files: with the smallest, every well-formed name is a segment's.
        let Ok(smallest) = SegmentSize::new(1 << 20) else { return Ok(None) };
        let listing = self.list(smallest)?;
        // One stray file must not make strangers of all others.
        if let Some(most) = usual_size(&listing) {
            return Ok(Some(most));
        }
        for file in listing.segments.iter().rev() {
            let claimed = self.first_page(file)?.and_then(|header| header.long).map(|long| long.segment_size);
            if let Some(size) = claimed.and_then(|bytes| SegmentSize::new(bytes.into()).ok()) {
                return Ok(Some(size));
            }
        }
        let complete = |file: &&SegmentFile| !file.partial && file.compression == Compression::None;
        Ok(listing.segments.iter().rev().filter(complete).find_map(|file| SegmentSize::new(file.len).ok()))
    }

    /// The first page header in a segment file; `None` if there is none, or the file is gone.
    pub(super) fn first_page(&self, file: &SegmentFile) -> Result<Option<PageHeader>, WalDirError> {
        let path = self.path.join(&file.name);
        let mut head = [0; LONG_HEADER];
        let open = match self.disk.open(&path, OpenMode::Read) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            other => other.map_err(WalDirError::io(&path))?,
        };
        match file.compression.read_head(&*open, &mut head) {
            Ok(count) => Ok(head.get(..count).and_then(|head| PageHeader::decode(head).ok())),
            // A file that cannot be decompressed has no header.
            Err(_) if file.compression != Compression::None => Ok(None),
            Err(error) => Err(WalDirError::io(&path)(error)),
        }
    }

    /// A timeline's ancestry, from its history file; timeline 1 needs none.
    pub fn history(&self, timeline: TimelineId) -> Result<TimelineHistory, WalDirError> {
        let path = self.path.join(timeline.history_file_name());
        match self.history_bytes(timeline)? {
            Some(bytes) => TimelineHistory::parse(timeline, &bytes)
                .map_err(|source| WalDirError::History { path, source }),
            None if timeline == TimelineId::FIRST => Ok(TimelineHistory::root()),
            None => Err(WalDirError::MissingHistory { timeline, path }),
        }
    }

    /// A timeline's history file as it stands, for `TIMELINE_HISTORY`; `None` if there is none.
    pub fn history_bytes(&self, timeline: TimelineId) -> Result<Option<Vec<u8>>, WalDirError> {
        let path = self.path.join(timeline.history_file_name());
        match read_file(&*self.disk, &path, MAX_HISTORY_LEN) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(WalDirError::io(&path)(error)),
        }
    }

    /// The highest timeline that has a segment or a history file here; `None` if there is no WAL.
    pub fn newest_timeline(&self) -> Result<Option<TimelineId>, WalDirError> {
        // Timelines stand in names alike whatever the segment size.
        let entries = self.disk.read_dir(&self.path).map_err(WalDirError::io(&self.path))?;
        let Ok(smallest) = SegmentSize::new(1 << 20) else { return Ok(None) };
        Ok(Listing::new(entries.iter().map(|entry| (entry.name.as_str(), 0)), smallest).newest_timeline())
    }

    /// The control file of the server whose `pg_wal` this is; `None` if it is no server's.
    pub fn control_file(&self) -> Result<Option<ControlFile>, WalDirError> {
        let path = self.control_path();
        let read = ControlFile::read(&*self.disk, &path).map_err(WalDirError::io(&path))?;
        read.transpose().map_err(|source| WalDirError::Control { path, source })
    }

    /// Whether this is a PostgreSQL server's `pg_wal`, where old segments are renamed to become new ones.
    pub fn is_servers(&self) -> Result<bool, WalDirError> {
        let path = self.control_path();
        match self.disk.exists(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotADirectory => Ok(false),
            other => other.map_err(WalDirError::io(&path)),
        }
    }

    fn control_path(&self) -> PathBuf {
        self.data_dir().join("global").join("pg_control")
    }

    /// The directory above, by name: `pg_wal` may be a symbolic link to another disk.
    fn data_dir(&self) -> PathBuf {
        match (self.path.components().next_back(), self.path.parent()) {
            (Some(Component::Normal(_)), Some(parent)) => parent.to_owned(),
            _ => self.path.join(".."),
        }
    }

    /// Where a receiver into this directory goes on ([`find_streaming_start`]).
    pub fn streaming_start(
        &self,
        segment_size: SegmentSize,
    ) -> Result<(Option<StreamingStart>, Vec<SkippedSegment>), WalDirError> {
        let listing = self.list(segment_size)?;
        Ok(find_streaming_start(&listing, |file| match file.compression {
            Compression::None => Ok(file.len),
            compressed => {
                let open = self.disk.open(&self.path.join(&file.name), OpenMode::Read)?;
                compressed.content_len(&*open, segment_size)
            }
        }))
    }
}

/// The length of more than half of the complete segments that are stored as they are, if there are at least three and it
/// can be a segment's.
fn usual_size(listing: &Listing) -> Option<SegmentSize> {
    let complete = |file: &&SegmentFile| !file.partial && file.compression == Compression::None;
    let mut lengths: Vec<u64> = listing.segments.iter().filter(complete).map(|file| file.len).collect();
    lengths.sort_unstable();
    // What more than half have is in the middle.
    let middle = *lengths.get(lengths.len() / 2).filter(|_| lengths.len() >= 3)?;
    let having = lengths.iter().filter(|&&length| length == middle).count();
    (2 * having > lengths.len()).then(|| SegmentSize::new(middle).ok())?
}
