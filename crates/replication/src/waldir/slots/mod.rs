//! Replication slots: what followers have, remembered over restarts.
//!
//! Slot `NAME` is a small text file `walship.slots/NAME.slot` ([`state`]), replaced as a whole and durably whenever
//! it changes, and `walship.slots/NAME.lock`, whose lock is held by the connection that uses the slot. In an archive
//! slots hold nothing back: they remember from where a follower will go on. Beside a server that removes WAL they keep it;
//! there a slot's position is claimed ([`WalClaim`], [`Slots::reserve`]).
//!
//! A temporary slot is `NAME.temporary` instead, with the same content, and its owner holds the lock for as long as it lives:
//! a file whose lock nobody holds is what a killed process has left, and is removed by whoever finds it. So every process
//! knows what the slots of all others keep.

mod claim;
mod name;
mod slot;
mod state;
mod store;

pub use claim::WalClaim;
pub use name::SlotName;
pub use slot::Slot;
pub use state::SlotInfo;
pub use store::{SlotError, Slots};

/// The directory of the slots, in the WAL directory. No WAL file is called like this.
pub const SLOTS_DIR: &str = "walship.slots";
