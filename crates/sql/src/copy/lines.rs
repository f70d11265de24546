//! Where the next record of COPY data ends: at a line's end that is not escaped and not within quotes.

use memchr::memchr2;

use super::CopyOptions;

/// A search that goes on where it stopped when more data has come.
pub(super) struct Scan<'a> {
    pub(super) data: &'a [u8],
    /// Up to here there is no end; past the end of `data` by one at most.
    pub(super) at: usize,
    /// Nothing comes behind `data`.
    pub(super) ended: bool,
}

impl Scan<'_> {
    /// The line feed that ends a record in the text format.
    pub(super) fn end_of_text(&mut self) -> Option<usize> {
        loop {
            let found = self.find(b'\n', b'\\')?;
            if self.data[found] == b'\n' {
                return Some(found);
            }
            // The byte behind a backslash is data, a line's end included.
            self.step_over_two(found)?;
        }
    }

    /// The line feed that ends a record in CSV. `quoted`: whether it is within quotes where it stands.
    pub(super) fn end_of_csv(&mut self, options: &CopyOptions, quoted: &mut bool) -> Option<usize> {
        loop {
            let other = if *quoted { options.escape } else { b'\n' };
            let found = self.find(options.quote, other)?;
            if self.data[found] == options.quote {
                *quoted = !*quoted;
                self.at = found + 1;
            } else if *quoted {
                // An escape that is no quote keeps the quote behind it from ending the field.
                self.step_over_two(found)?;
            } else {
                return Some(found);
            }
        }
    }

    /// The next of two bytes; if there is none, the search goes on behind the data.
    fn find(&mut self, one: u8, other: u8) -> Option<usize> {
        let rest = self.data.get(self.at..).unwrap_or_default();
        let found = memchr2(one, other, rest).map(|offset| self.at + offset);
        self.at = found.unwrap_or(self.data.len());
        found
    }

    /// Goes on behind the byte after the one at `found`, if that is there or will never be.
    fn step_over_two(&mut self, found: usize) -> Option<()> {
        if found + 1 == self.data.len() && !self.ended {
            self.at = found;
            return None;
        }
        self.at = found + 2;
        Some(())
    }
}
