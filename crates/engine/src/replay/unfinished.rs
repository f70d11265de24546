//! The records of a run whose COMMIT has not come yet.

use wal::Lsn;
use wal::record::Xid;

/// Records kept in memory up to here, in bytes; those of a longer run are read again from the log once it has committed.
pub(crate) const MEMORY: usize = 32 << 20;

/// A run under way.
#[derive(Debug, Default)]
pub(super) struct UnfinishedRun {
    xid: Xid,
    /// Where its first record is. 0/0 if there is no run.
    start: Lsn,
    /// Its records one after the other, unless they are too many.
    bytes: Vec<u8>,
    /// Where each record ends in `bytes`, and in the log.
    ends: Vec<(usize, Lsn)>,
    too_long: bool,
}

impl UnfinishedRun {
    /// The transaction whose run it is, if there is one.
    pub(super) fn xid(&self) -> Option<Xid> {
        self.start.is_valid().then_some(self.xid)
    }

    /// Where its first record is.
    pub(super) fn start(&self) -> Lsn {
        self.start
    }

    /// Adds a record of transaction `xid`, which begins at `start` and ends at `end`; another transaction's run is forgotten.
    pub(super) fn add(&mut self, xid: Xid, start: Lsn, end: Lsn, record: &[u8]) {
        if self.xid() != Some(xid) {
            self.clear();
            (self.xid, self.start) = (xid, start);
        }
        let last = self.ends.last().map_or(self.start, |&(_, last)| last);
        assert!(
            last <= start && start < end,
            "a run is gathered in the log's order: {start} to {end} after {last}"
        );
        if self.too_long || self.bytes.len() + record.len() > MEMORY {
            self.too_long = true;
            (self.bytes, self.ends) = (Vec::new(), Vec::new());
            return;
        }
        self.bytes.extend_from_slice(record);
        self.ends.push((self.bytes.len(), end));
    }

    /// Its records with their ends in the log; `None` if they were too many to keep.
    pub(super) fn records(&self) -> Option<impl Iterator<Item = (Lsn, &[u8])>> {
        let mut start = 0;
        (!self.too_long).then(|| {
            self.ends.iter().map(move |&(end, lsn)| {
                let record = self.bytes.get(start..end).unwrap_or_default();
                start = end;
                (lsn, record)
            })
        })
    }

    /// There is no run.
    pub(super) fn clear(&mut self) {
        self.start = Lsn::INVALID;
        self.bytes.clear();
        self.bytes.shrink_to(MEMORY / 8);
        self.ends.clear();
        self.too_long = false;
    }
}
