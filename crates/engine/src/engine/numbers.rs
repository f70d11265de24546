//! Numbers for transactions and trees.

use wal::record::Xid;

use crate::TreeId;

/// The next transaction's number and the next tree's. Part of the writer's state.
///
/// `next_tree <= logged_tree`: a number is given out only after a record in the log says that recovery must not give it
/// out again. Both only move forward.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Numbers {
    /// With its epoch in the high half.
    next_xid: u64,
    next_tree: u32,
    /// Recovery goes on at or after this tree.
    logged_tree: u32,
}

/// How many tree numbers are logged at once (`VAR_OID_PREFETCH`).
const PREFETCH: u32 = 8192;

/// The first number that is a transaction's (`FirstNormalTransactionId`).
const FIRST_XID: u32 = 3;

impl Numbers {
    /// As a checkpoint record has them.
    pub(crate) fn new(next_xid: u64, next_tree: u32) -> Self {
        let next_tree = next_tree.max(TreeId::FIRST_CREATED);
        Self { next_xid: skip_special(next_xid), next_tree, logged_tree: next_tree }
    }

    /// The next transaction's number, with its epoch.
    pub(crate) fn next_xid(&self) -> u64 {
        self.next_xid
    }

    /// What a checkpoint record says the next tree's number is.
    pub(crate) fn logged_tree(&self) -> u32 {
        self.logged_tree
    }

    /// A new transaction's number.
    pub(crate) fn take_xid(&mut self) -> Xid {
        let xid = Xid::new(self.next_xid as u32);
        self.next_xid = skip_special(self.next_xid + 1);
        assert!(xid.as_u32() >= FIRST_XID, "a transaction has none of the special numbers");
        xid
    }

    /// A new tree's number, and what to log before it is used, if anything is.
    pub(crate) fn take_tree(&mut self) -> (TreeId, Option<u32>) {
        let tree = TreeId::new(self.next_tree);
        // After the last number comes the first: by then its tree is long gone, or the directory is full of trees.
        self.next_tree = self.next_tree.checked_add(1).unwrap_or(TreeId::FIRST_CREATED);
        let to_log = (tree.as_u32() >= self.logged_tree).then(|| tree.as_u32().saturating_add(PREFETCH));
        self.logged_tree = to_log.unwrap_or(self.logged_tree);
        assert!(self.next_tree <= self.logged_tree, "tree {tree} is not given out again by recovery");
        (tree, to_log)
    }

    /// Replay has met a record of transaction `xid`.
    pub(crate) fn saw_xid(&mut self, xid: Xid) {
        if xid.as_u32() < FIRST_XID {
            return;
        }
        // The distance modulo 2^32, as a signed number: which of the two is ahead.
        let ahead = xid.as_u32().wrapping_sub(self.next_xid as u32) as i32;
        if ahead >= 0 {
            self.next_xid = skip_special(self.next_xid + ahead as u64 + 1);
        }
    }

    /// Replay has met a record that says where tree numbers go on.
    pub(crate) fn saw_tree_limit(&mut self, limit: u32) {
        self.next_tree = self.next_tree.max(limit);
        self.logged_tree = self.next_tree;
    }
}

fn skip_special(xid: u64) -> u64 {
    let low = xid as u32;
    if low < FIRST_XID { xid + u64::from(FIRST_XID - low) } else { xid }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn xids_skip_the_special_ones_when_an_epoch_begins() {
        let mut numbers = Numbers::new(u64::from(u32::MAX), 0);
        assert_eq!(numbers.take_xid(), Xid::new(u32::MAX));
        assert_eq!(numbers.take_xid(), Xid::new(3));
        assert_eq!(numbers.next_xid(), (1 << 32) + 4);
    }

    #[test]
    fn replay_goes_on_after_the_newest_xid_over_an_epochs_end() {
        let mut numbers = Numbers::new(u64::from(u32::MAX) - 1, 0);
        numbers.saw_xid(Xid::new(5));
        assert_eq!(numbers.next_xid(), (1 << 32) + 6);
        numbers.saw_xid(Xid::new(u32::MAX));
        assert_eq!(numbers.next_xid(), (1 << 32) + 6, "older ones change nothing");
    }

    #[test]
    fn a_trees_number_is_logged_before_it_is_given_out() {
        let mut numbers = Numbers::new(3, 0);
        assert_eq!(numbers.take_tree(), (TreeId::new(16384), Some(16384 + 8192)));
        assert_eq!(numbers.take_tree(), (TreeId::new(16385), None));
        let recovered = Numbers::new(3, numbers.logged_tree());
        assert_eq!(recovered.next_tree, 16384 + 8192);
    }
}
