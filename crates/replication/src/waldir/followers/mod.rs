//! The followers' table, `walship.followers`: who is being served from the directory, and what they have.
//!
//! Every connection of every `walsender` process has an entry while it streams ([`FollowerEntry`]); whoever waits
//! for followers, or tells people about them, reads the table ([`FollowersReader`], [`watch_followers`]). Mapped by
//! all, never synced, worth nothing without the processes behind it. Words have the machine's byte order.
//!
//! | byte | | |
//! |---|---|---|
//! | 0 | magic | `WALFOLL` and the layout's version, 2 |
//! | 8 | | unused |
//! | 16 | wake | u32, incremented at each change of any entry: the futex that readers wait on; 4 bytes unused |
//! | 4096 | entries | 128 of 512 bytes each |
//!
//! An entry: a sequence word that is odd while the entry changes, then process id, state, timeline, connected at,
//! sent, write, flush, apply, last reply at, the lags of write, flush and apply in microseconds and one more (one word
//! each), then user, application name, peer and slot (64 bytes each, UTF-8, padded with zeros).
//!
//! Two locks per entry tell what to believe, as in the status file: byte *i* of the file is held by the owner of
//! entry *i*, byte 128 + *i* once that owner has replaced what was in it. A reader looks at the second one before
//! reading, so that what a dead process left is never shown.

mod entry;
mod layout;
mod table;

pub use entry::{FollowerEntry, FollowersError};
pub use layout::{Follower, FollowerState};
pub use table::{FollowersReader, watch_followers};

/// The followers' table's name. No WAL file is called like this.
pub const FOLLOWERS_FILE: &str = "walship.followers";
