//! What the tests share: PostgreSQL servers and this project's programs, as real processes in temp dirs.
//!
//! ```no_run
//! use walship_tests::{Options, Postgres, TempRoot, Tool, Version};
//!
//! let root = TempRoot::new("archive");
//! let leader = Postgres::start_new(&root, "leader", Version::V15, Options::default());
//! let archive = root.dir("archive");
//! let mut receiver = Tool::ours(&root, "walreceiver").args(["-D"]).arg(&archive).args(["-d", &leader.conninfo()]).spawn();
//! leader.pgbench(["-i", "-s", "1"]);
//! receiver.wait_for_stderr("started streaming");
//! ```
//!
//! Rules that everything here keeps:
//! - a [`TempRoot`] owns a directory and whatever was started in it; nothing survives it, not after a panic and not
//!   when the test process itself is killed;
//! - as root, child processes run as user `postgres`, because PostgreSQL refuses root;
//! - waiting is for a condition and has a deadline; when it passes, the test fails and shows the logs;
//! - what cannot go on panics with the whole story (`#[track_caller]`), so a test reads as one linear story.

pub mod archive;
pub mod base_backup;
mod binaries;
pub mod chaos;
mod descendants;
mod failure;
mod faults;
mod guard;
mod options;
pub mod paired;
mod ports;
mod postgres;
mod process;
pub mod proxy;
mod random;
pub mod receiver;
mod root;
mod server;
mod small_disk;
mod standby;
pub mod strace;
pub mod tls;
mod tool;
mod user;
mod version;
mod wait;
mod walsender;
mod walwriter;
pub mod wire;

pub use descendants::{Frozen, descendants_of};
pub use failure::lsns_in;
pub use options::Options;
pub use postgres::Postgres;
pub use process::{Finished, Process};
pub use random::Random;
pub use root::TempRoot;
pub use server::{Server, Shutdown};
pub use small_disk::SmallDisk;
pub use tool::Tool;
pub use version::Version;
pub use wait::{DEADLINE, wait_for, wait_until};
pub use walsender::Walsender;
pub use walwriter::Walwriter;
