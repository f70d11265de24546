//! Rows that a statement that changes rows has returned (RETURNING), and that nobody has asked for yet.
//!
//! Such a statement runs to its end at once, as in PostgreSQL, however few rows its client wants at first.

/// DataRow messages that are kept back.
#[derive(Debug, Default)]
pub(super) struct Held {
    pub(super) bytes: Vec<u8>,
    /// Where in `bytes` the next message begins: those before it were given out.
    next: usize,
}

impl Held {
    /// Appends as many rows as are asked for. True if none are left.
    pub(super) fn emit(&mut self, out: &mut Vec<u8>, rows_left: &mut u64) -> bool {
        loop {
            let rest = self.bytes.get(self.next..).unwrap_or_default();
            let Some(length) = rest.get(1..5).and_then(|length| length.first_chunk()) else { return true };
            if *rows_left == 0 {
                return false;
            }
            let end = 1 + u32::from_be_bytes(*length) as usize;
            out.extend_from_slice(rest.get(..end).unwrap_or_default());
            self.next += end;
            *rows_left -= 1;
        }
    }
}
