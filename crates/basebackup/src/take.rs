//! Taking a base backup.
//!
//! One thread talks to the server (`session`), another unpacks or stores what arrives (`receiver`), a few more
//! wait for the disk (`durability`), and one streams WAL on a connection of its own (`walreceiver::stream`). Whatever
//! goes wrong in any of them, all of them end before the directories are given back (`claim`).

mod archive;
mod claim;
mod command;
mod direct;
mod durability;
mod error;
mod feed;
mod fetched_wal;
mod finish;
mod injector;
mod inspection;
mod ledger;
mod members;
mod options;
mod patience;
mod progress;
mod receiver;
mod recovery;
mod session;
mod tablespace;
mod tree;
mod wal_archive;

pub use error::TakeError;
pub use ledger::Difference;
pub use options::{Destination, Format, InvalidOptions, ManifestRequest, Options, Slot, WalMethod};
pub use session::take;
pub(crate) use tree::CONTROL_FILE;
