//! A directory of WAL: the interface between the processes of a host.
//!
//! [`WalDir`] tells what is there (segments, complete or `.partial`, plain or compressed, and history files),
//! [`Holdings`] which files stand for which segment of which line of history, [`LineWalk`] what they are worth,
//! [`find_streaming_start`] where a receiver goes on, [`find_end_of_wal`] how far it is valid, and [`SegmentReader`] reads it by position.
//!
//! Beside the WAL itself the directory holds our own files, all called `walship.*`, which no WAL file is:
//! [`walship.status`](STATUS_FILE) with the writer's positions, [`walship.followers`](FOLLOWERS_FILE) with the
//! followers', [`walship.slots`](SLOTS_DIR) with what followers have told, and `walship.lock` ([`disk::DirLock`]) for
//! the one writer.

mod clock;
mod compression;
mod control;
mod control_read;
mod dir;
mod end_of_wal;
mod error;
mod followers;
mod holdings;
mod line_walk;
mod listing;
mod mapping;
mod owner;
mod reader;
mod resume;
mod segment;
mod segment_answer;
mod slots;
mod status;
#[cfg(test)]
mod tests;

pub use clock::UnixMicros;
pub use compression::Compression;
pub use control::{ClusterState, ControlFile, ControlFileError};
pub use dir::WalDir;
pub use end_of_wal::{EndOfWal, find_end_of_wal};
pub use error::WalDirError;
pub use followers::{
    FOLLOWERS_FILE, Follower, FollowerEntry, FollowerState, FollowersError, FollowersReader, watch_followers,
};
pub use holdings::{HistoryAnswer, Holdings};
pub use line_walk::{Form, Halt, LineWalk, Worth, page_at_fault};
pub use listing::{Listing, SegmentFile};
pub use owner::{
    CATALOG_VERSION, EARLIER_CATALOG_VERSION, FORMAT, Owner, OwnerError, owner_of, require_walwriters,
    unknown_format,
};
pub use reader::{PlainRun, SegmentReader};
pub use resume::{SkippedSegment, StreamingStart, find_streaming_start};
pub use segment_answer::{Content, Evidence, Reach, SegmentAnswer, Stand};
pub use slots::{SLOTS_DIR, Slot, SlotError, SlotInfo, SlotName, Slots, WalClaim};
pub use status::{
    Published, STATUS_FILE, Status, StatusReader, StatusWriter, StatusWriterError, WATCH_INTERVAL,
    watch_status,
};
