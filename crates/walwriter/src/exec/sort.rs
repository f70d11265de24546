//! Rows put in order before they go out: in memory, and only as many as fit.

use sql::plan::SortKey;
use sql::{EvalContext, Expr, Value};

use super::output::RowFormat;
use super::{Failure, Result};

/// What a row costs beside its bytes and its keys.
const OVERHEAD: usize = 48;

/// Rows in their final form, with what they are sorted by.
#[derive(Debug)]
pub(super) struct Sorter {
    rows: Vec<Row>,
    /// The rows' bytes, in the order in which they came.
    bytes: Vec<u8>,
    /// How many rows of the final order are wanted; those behind are given up as more come.
    wanted: usize,
    /// The most memory to use.
    limit: usize,
    keys_size: usize,
    next: usize,
}

#[derive(Debug)]
struct Row {
    keys: Box<[Value<'static>]>,
    start: usize,
    end: usize,
}

impl Sorter {
    pub(super) fn new(limit: usize, wanted: u64) -> Self {
        let wanted = usize::try_from(wanted).unwrap_or(usize::MAX);
        Self { rows: Vec::new(), bytes: Vec::new(), wanted, limit, keys_size: 0, next: 0 }
    }

    /// Takes in the row at hand.
    pub(super) fn add(
        &mut self,
        order: &[SortKey],
        projection: &[Expr],
        context: &EvalContext<'_>,
        format: RowFormat<'_>,
    ) -> Result<()> {
        let start = self.bytes.len();
        format.append(projection, context, &mut self.bytes)?;
        let mut keys = Vec::with_capacity(order.len());
        for key in order {
            let value = key.expr.eval(context)?;
            self.keys_size += value.payload_len() + size_of::<Value<'_>>();
            keys.push(value.into_owned());
        }
        self.rows.push(Row { keys: keys.into(), start, end: self.bytes.len() });
        if self.rows.len() >= self.wanted.saturating_mul(2).saturating_add(1024) {
            self.give_up_surplus(order);
        }
        check_memory(self.size(), self.limit)
    }

    fn size(&self) -> usize {
        self.bytes.len() + self.keys_size + self.rows.len() * OVERHEAD
    }

    /// Keeps only what can still be among the rows wanted.
    fn give_up_surplus(&mut self, order: &[SortKey]) {
        self.sort(order);
        self.rows.truncate(self.wanted);
        // Rows that come later go behind equal ones when they are sorted again: the sort is stable.
        let mut bytes = Vec::new();
        self.keys_size = 0;
        for row in &mut self.rows {
            let start = bytes.len();
            bytes.extend_from_slice(self.bytes.get(row.start..row.end).unwrap_or_default());
            (row.start, row.end) = (start, bytes.len());
            self.keys_size +=
                row.keys.iter().map(|key| key.payload_len() + size_of::<Value<'_>>()).sum::<usize>();
        }
        self.bytes = bytes;
    }

    /// All rows are there: puts them in order.
    pub(super) fn sort(&mut self, order: &[SortKey]) {
        if order.is_empty() {
            return;
        }
        self.rows.sort_by(|a, b| {
            let keys = order.iter().zip(a.keys.iter().zip(b.keys.iter()));
            keys.map(|(key, (a, b))| key.compare(a, b))
                .find(|order| order.is_ne())
                .unwrap_or(std::cmp::Ordering::Equal)
        });
    }

    /// Leaves out the next row.
    pub(super) fn skip(&mut self, rows: u64) {
        self.next = self.next.saturating_add(usize::try_from(rows).unwrap_or(usize::MAX));
    }

    /// Appends the next row in order; false if there is none.
    pub(super) fn emit(&mut self, out: &mut Vec<u8>) -> bool {
        let Some(row) = self.rows.get(self.next) else { return false };
        out.extend_from_slice(self.bytes.get(row.start..row.end).unwrap_or_default());
        self.next += 1;
        true
    }
}

/// An error if more memory is used than a statement may.
pub(super) fn check_memory(used: usize, limit: usize) -> Result<()> {
    if used <= limit {
        return Ok(());
    }
    Err(Failure::new("53200", format!("statement needs more memory than work_mem ({} kB)", limit / 1024))
        .hint("Rows are sorted and grouped in memory alone: raise work_mem, or ask for fewer rows."))
}
