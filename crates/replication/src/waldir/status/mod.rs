//! The status file, `walship.status`: what the directory's writer has, for everybody else on the host.
//!
//! Whoever produces WAL in a directory holds a [`StatusWriter`]; whoever serves or watches it a [`StatusReader`] or
//! [`watch_status`]. The file is mapped by all of them and never synced: it is rebuilt when a writer starts, and is
//! worth nothing without its writer. Its words have the machine's byte order.
//!
//! | byte | word | |
//! |---|---|---|
//! | 0 | magic | `WALSTAT` and the layout's version, 1 |
//! | 8 | sequence | odd while the words from 24 on change; even, and another one, after |
//! | 16 | wake | u32, incremented at each change: the futex that readers wait on; 4 bytes unused |
//! | 24 | writer | its process id |
//! | 32 | started | when it started |
//! | 40 | system | the cluster's identifier |
//! | 48 | segment size | in bytes |
//! | 56 | timeline | of the positions below |
//! | 64 | timeline start | where it left its parent; 0 on timeline 1, or unknown |
//! | 72 | write | |
//! | 80 | flush | |
//! | 88 | apply | |
//! | 96 | server end | how far the leader last said it was |
//! | 104 | last byte | when the leader was last heard |
//! | 112 | last durable | when `flush` last moved |
//! | 120 | connected | 1 or 0 |
//! | 128 | connected since | 0 while it is not |
//!
//! Times are microseconds since 1970 UTC and 0 for never; positions are 0 for unknown. The file is 4096 bytes long.
//!
//! Two locks tell what to believe. A writer holds byte 0 from its first moment to its last: there is one at a time.
//! It takes byte 1 once it has replaced what its predecessor left. A reader looks at byte 1 *before* reading: if
//! nobody holds it, the positions are a dead writer's, or not there yet.

mod layout;
mod reader;
mod watch;
mod writer;

pub use layout::Status;
pub use reader::{Published, StatusReader};
pub use watch::{WATCH_INTERVAL, watch_status};
pub use writer::{StatusWriter, StatusWriterError};

/// The status file's name. No WAL file is called like this.
pub const STATUS_FILE: &str = "walship.status";
