//! A directory of WAL: the interface between the processes of a host.
//!
//! Beside the WAL itself (segments, complete or `.partial`, plain or compressed, and history files) the directory
//! holds our own files, all called `walship.*`, which no WAL file is: [`walship.status`](STATUS_FILE) with the
//! writer's positions, [`walship.followers`](FOLLOWERS_FILE) with the followers', [`walship.slots`](SLOTS_DIR) with
//! what followers must still be able to get, and `walship.lock` ([`disk::DirLock`]) for the one writer.

mod clock;
mod dir;
mod followers;
mod mapping;
mod slots;
mod status;

pub use clock::UnixMicros;
pub use dir::WalDir;
pub use followers::{
    FOLLOWERS_FILE, Follower, FollowerEntry, FollowerState, FollowersError, FollowersReader, watch_followers,
};
pub use slots::{SLOTS_DIR, Slot, SlotError, SlotInfo, SlotName, Slots};
pub use status::{
    Published, STATUS_FILE, Status, StatusReader, StatusWriter, StatusWriterError, WATCH_INTERVAL,
    watch_status,
};
