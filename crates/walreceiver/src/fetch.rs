//! One file out of an archive, for a server's `restore_command`.
//!
//! A server takes "no such file" for the end of the archive: it ends recovery there, or turns to streaming. So only
//! a file past which nothing is known of its line of history may look like that ([`Fetched::Absent`]); everything else is
//! an error, which has to stop the server ([`FATAL_EXIT_CODE`]), lest it silently leave out what the archive holds but
//! could not give. A file that the server has itself, where it would look next, is no loss either.
//!
//! What is handed out has been validated, together with the segment before it, so that a record that goes on from
//! there is checked too. Of an unfinished segment the valid part is handed out, up to what its receiver calls
//! durable, and zeros after it. For the numbers of timelines that were skipped a history is made ([`Holdings`]).

mod segment;
#[cfg(test)]
mod tests;

use std::io;
use std::path::{Path, PathBuf};

use disk::{Disk, OpenMode};
use replication::waldir::{Evidence, HistoryAnswer, Holdings, WalDir, WalDirError};
use wal::{Lsn, SegmentSize, TimelineId, WalError, WalFileName};

use segment::{Asked, server_has};

/// What `walreceiver fetch` exits with for every error: above 125 a server stops recovery instead of taking the file
/// for absent (`RestoreArchivedFile` in `xlogarchive.c`), and none of the codes that stand for a signal.
pub const FATAL_EXIT_CODE: u8 = 200;

/// What became of a request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fetched {
    /// The target holds the file, durably.
    Copied,
    /// The archive has no such file, finished or not, and nothing that would come after it; or the server has it itself.
    Absent,
}

/// Why a file that is there, or ought to be, could not be handed out.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// The archive could not be read.
    #[error(transparent)]
    Directory(#[from] WalDirError),
    /// The segment is damaged.
    #[error("segment \"{}\" is damaged: {error}", path.display())]
    Damaged {
        /// The segment.
        path: PathBuf,
        /// What is wrong with it.
        error: WalError,
    },
    /// A finished segment has another length than a segment.
    #[error("segment \"{}\" has {found} bytes instead of {expected}", path.display())]
    WrongSize {
        /// The segment.
        path: PathBuf,
        /// Its length, unpacked.
        found: u64,
        /// A segment's.
        expected: u32,
    },
    /// Nothing has the segment, or not to its end, and the archive goes on after it.
    #[error(
        "hole in the archive: nothing here has timeline {timeline} from {from} on, but {evidence}; put back segment \
         \"{file}\", lest recovery end before what the archive holds"
    )]
    Hole {
        /// The timeline.
        timeline: TimelineId,
        /// What is missing.
        file: String,
        /// Where the hole begins.
        from: Lsn,
        /// How it is known that the archive goes on.
        evidence: Evidence,
    },
    /// The history says that the timeline began in the middle of a record.
    #[error("history of timeline {timeline} is wrong: no record of \"{}\" ends at {begin}, where it says that the timeline began", path.display())]
    Begin {
        /// Whose history.
        timeline: TimelineId,
        /// Where it says that the timeline began.
        begin: Lsn,
        /// The segment.
        path: PathBuf,
    },
    /// A history that makes no sense or contradicts another.
    #[error("history of timeline {timeline} is of no use: {reason}")]
    History {
        /// Whose.
        timeline: TimelineId,
        /// What is wrong with it.
        reason: String,
    },
    /// The history of a timeline that has WAL here is not here.
    #[error(
        "history file \"{file}\" is missing, but \"{segment}\" is there; put it back, lest recovery end before what the \
         archive holds"
    )]
    LostHistory {
        /// The history file.
        file: String,
        /// A segment that cannot do without it.
        segment: String,
    },
    /// The target could not be written.
    #[error("could not write file \"{}\": {source}", path.display())]
    Target {
        /// The target.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// Copies `file` (a segment's or history file's name, as `%f` gives it) from `dir` to `target`.
///
/// # Errors
/// Everything but a copy and the certainty that nothing of that line of history comes after what is missing.
pub fn fetch(dir: &WalDir, file: &str, target: &Path) -> Result<Fetched, FetchError> {
    // A directory that is gone (not mounted?) must not pass for one that lacks a file.
    let unreadable = |source| WalDirError::Io { path: dir.path().to_owned(), source };
    if !dir.disk().metadata(dir.path()).map_err(unreadable)?.is_dir {
        return Err(unreadable(io::ErrorKind::NotADirectory.into()).into());
    }
    let size = dir.segment_size()?.unwrap_or(SegmentSize::DEFAULT);
    let content = match WalFileName::parse(file, size) {
        Some(WalFileName::History(timeline)) => history(dir, timeline, size, target)?,
        Some(WalFileName::Segment(timeline, segment)) => {
            let look = || -> Result<_, FetchError> {
                let holdings = Holdings::read(dir, size)?;
                Asked { dir, holdings: &holdings, timeline, segment }.content()
            };
            match look() {
                // A name may be missed while it is changed from a partial segment's to a finished one's: look again.
                Err(FetchError::Hole { .. }) => match look() {
                    Err(FetchError::Hole { from, .. })
                        if server_has(dir, target, (timeline, segment), size) =>
                    {
                        tracing::info!("the archive lacks {from}, but the server has it itself");
                        None
                    }
                    again => again?,
                },
                other => other?,
            }
        }
        Some(WalFileName::Partial(..)) | None => None,
    };
    let Some(content) = content else { return Ok(Fetched::Absent) };
    write_target(&**dir.disk(), target, &content)
        .map_err(|source| FetchError::Target { path: target.to_owned(), source })?;
    Ok(Fetched::Copied)
}

/// A history file, or what is made for one.
fn history(
    dir: &WalDir,
    timeline: TimelineId,
    size: SegmentSize,
    target: &Path,
) -> Result<Option<Vec<u8>>, FetchError> {
    let holdings = Holdings::read(dir, size)?;
    let file = timeline.history_file_name();
    match holdings.history_answer(timeline) {
        HistoryAnswer::File => {
            let broken = holdings.broken(timeline).map(ToString::to_string);
            if let Some(reason) = broken.or_else(|| holdings.contradiction(timeline)) {
                return Err(FetchError::History { timeline, reason });
            }
            Ok(dir.history_bytes(timeline)?)
        }
        HistoryAnswer::Made(history) => Ok(Some(history.to_bytes())),
        HistoryAnswer::Absent => Ok(None),
        HistoryAnswer::Lost(_) if beside(target, &file).is_some_and(|path| path.exists()) => Ok(None),
        HistoryAnswer::Lost(segment) => Err(FetchError::LostHistory { file, segment }),
    }
}

/// A file's path in the directory of `target`, which is the server's `pg_wal`: there it looks for what is not in the
/// archive.
fn beside(target: &Path, name: &str) -> Option<PathBuf> {
    target
        .parent()
        .map(|parent| if parent.as_os_str().is_empty() { Path::new(".") } else { parent }.join(name))
}

/// A temporary file, synced, renamed, and the directory synced: a power cut leaves no half of a segment.
fn write_target(disk: &dyn Disk, target: &Path, content: &[u8]) -> io::Result<()> {
    let mut temporary = target.as_os_str().to_owned();
    temporary.push(".walreceiver");
    let temporary = PathBuf::from(temporary);
    let write = || {
        let file = disk.open(&temporary, OpenMode::Create)?;
        file.set_len(0)?;
        file.write_all_at(content, 0)?;
        file.sync_all()?;
        disk.rename(&temporary, target)?;
        let parent = target.parent().filter(|parent| !parent.as_os_str().is_empty());
        disk.sync_dir(parent.unwrap_or(Path::new(".")))
    };
    write().inspect_err(|_| {
        let _ = disk.remove_file(&temporary);
    })
}
