//! The counters of `serial` columns.
//!
//! As PostgreSQL's sequences, they belong to no transaction: a number that was given out is never given out again, whether
//! the row that it was for is committed or not. The catalog tree has up to where numbers may be given out; it is moved
//! ahead by a transaction of its own, whose record lies before those of all who use the numbers, so that none of them can
//! survive a crash that it does not.

use std::collections::HashMap;
use std::sync::Arc;
use std::task::Waker;

use engine::lock::Locked;
use engine::{Engine, Isolation, TreeId};
use runtime::sync::Mutex;

use crate::exec::{Failure, Result};

/// The first byte of a counter's key in the catalog tree.
const COUNTER: u8 = b'n';
/// How many numbers are made available at once (`SEQ_LOG_VALS` in `sequence.c`).
const AHEAD: i64 = 32;

/// The counters of all `serial` columns that were used since the start, by their table's OID and their position.
#[derive(Debug, Default)]
pub(crate) struct Serials {
    counters: Mutex<HashMap<(u32, u16), Counter>>,
}

#[derive(Debug)]
struct Counter {
    /// The next number to give out. Never ahead of `available`.
    next: i64,
    /// The first number that the catalog tree does not let be given out yet.
    available: i64,
}

/// A counter's key in the catalog tree.
pub(crate) fn key(table: u32, column: u16) -> Vec<u8> {
    let mut key = vec![COUNTER];
    key.extend_from_slice(&table.to_be_bytes());
    key.extend_from_slice(&column.to_be_bytes());
    key
}

impl Serials {
    /// The next number of a column.
    pub(crate) fn next(&self, table: u32, column: u16, engine: &Arc<Engine>) -> Result<i64> {
        let mut counters = self.counters.lock();
        let place = (table, column);
        if let Some(counter) = counters.get_mut(&place)
            && counter.next < counter.available
        {
            counter.next += 1;
            return Ok(counter.next - 1);
        }
        let known = counters.get(&place).map(|counter| counter.next);
        let (next, available) = extend(&key(table, column), known, engine)?;
        counters.insert(place, Counter { next: next + 1, available });
        Ok(next)
    }

    /// Columns of a table that was just created begin with 1, whatever was left behind under its OID.
    pub(crate) fn begin(&self, table: u32, columns: impl Iterator<Item = u16>) {
        let mut counters = self.counters.lock();
        counters.extend(columns.map(|column| ((table, column), Counter { next: 1, available: 1 })));
    }

    /// A table is gone.
    pub(crate) fn forget(&self, table: u32) {
        let mut counters = self.counters.lock();
        counters.retain(|(owner, _), _| *owner != table);
    }
}

/// Makes more numbers available; returns the next one and the end of them. `known`: the next one, if it is known.
fn extend(key: &[u8], known: Option<i64>, engine: &Arc<Engine>) -> Result<(i64, i64)> {
    let mut transaction = engine.begin(Isolation::ReadCommitted, false);
    // Nobody holds this row for longer than this function, and all who call it come one after the other.
    if transaction.lock_row(TreeId::CATALOG, key, Waker::noop())? != Locked::Granted {
        return Err(Failure::new("55P03", "could not lock the counter of a serial column"));
    }
    let next = match known {
        Some(next) => next,
        None => {
            let stored = transaction.get_locked(TreeId::CATALOG, key)?;
            stored.and_then(|bytes| bytes.try_into().ok()).map_or(1, i64::from_le_bytes)
        }
    };
    let Some(available) = next.checked_add(AHEAD) else {
        return Err(Failure::new("2200H", "nextval: reached maximum value of sequence"));
    };
    transaction.put(TreeId::CATALOG, key, &available.to_le_bytes())?;
    transaction.commit()?;
    Ok((next, available))
}
