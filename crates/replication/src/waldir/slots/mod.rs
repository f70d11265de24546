//! Replication slots: what followers have, remembered over restarts.
//!
//! Slot `NAME` is a small text file `walship.slots/NAME.slot` ([`state`]), replaced as a whole and durably whenever
//! it changes, and `walship.slots/NAME.lock`, whose lock is held by the connection that uses the slot. Slots here
//! hold nothing back: they remember from where a follower will go on.

mod name;
mod slot;
mod state;
mod store;

pub use name::SlotName;
pub use slot::Slot;
pub use state::SlotInfo;
pub use store::{SlotError, Slots};

/// The directory of the slots, in the WAL directory. No WAL file is called like this.
pub const SLOTS_DIR: &str = "walship.slots";
