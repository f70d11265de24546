//! A server as a process: its data directory, its lock file, signals, and the order in which all starts and stops.

mod claim;
mod descriptors;
mod directory;
mod early;
mod lifecycle;
mod pid_file;
mod signals;
#[cfg(test)]
mod tests;

pub use claim::{ClaimError, is_alive, running_server};
pub use directory::check_data_directory;
pub use early::{Early, EarlyRequests};
pub use lifecycle::{LiveConfig, Node, Opening, ServeOptions, Stopped, serve};
pub use pid_file::{PidFile, PidFileContent};

/// The file whose presence, with SIGUSR1, asks a standby to become a leader.
pub const PROMOTE_FILE: &str = "promote";
/// The file that makes a data directory a standby's.
pub const STANDBY_SIGNAL: &str = "standby.signal";
