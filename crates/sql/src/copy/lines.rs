//! Where records of COPY data end: at the end of a line that is not escaped and not within quotes.
//!
//! The first line's end says what all of them are, a line feed, a carriage return or both; another kind is an error, as it
//! means that something in the data should have been escaped. `\.` ends the data. Source: `CopyReadLineText` in
//! `copyfromparse.c`.

use memchr::{memchr2, memchr3};

use super::CopyOptions;
use crate::error::{SqlError, sqlstate};

/// How lines end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum LineEnd {
    LineFeed,
    CarriageReturn,
    Both,
}

/// What a search has found. Positions are from the record's beginning.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Found {
    /// The record's end, and where the next begins.
    Record { end: usize, next: usize },
    /// `\.`, and so the end of the last record, if there is anything before it.
    Marker { end: usize },
    /// The data ends before the record does; it goes on where the search stopped when more has come.
    Nothing,
}

/// The search for records' ends.
#[derive(Debug, Default)]
pub(super) struct Lines {
    /// How lines end, once one has.
    style: Option<LineEnd>,
    /// How far the search has come in the record, which it may be ahead of by one byte.
    scanned: usize,
    /// Whether it stands within quotes.
    quoted: bool,
}

/// Whether a backslash begins the marker at the end of the data.
enum Marker {
    Is,
    IsNot,
    /// That depends on what comes.
    Unknown,
}

/// What is looked at: from a record's beginning on.
struct Data<'a> {
    bytes: &'a [u8],
    /// Nothing comes behind them.
    ended: bool,
    csv: bool,
}

impl Data<'_> {
    fn get(&self, at: usize) -> Option<u8> {
        self.bytes.get(at).copied()
    }

    /// Whether what stands there is not known yet.
    fn lacks(&self, at: usize) -> bool {
        at >= self.bytes.len() && !self.ended
    }
}

impl Lines {
    /// Looks for the end of the record that `bytes` begin with. Nothing comes behind them if they have `ended`.
    ///
    /// # Errors
    /// 22P04 for lines that end in different ways, and for what looks like the marker at the end and is not.
    pub(super) fn find(
        &mut self,
        bytes: &[u8],
        ended: bool,
        options: &CopyOptions,
    ) -> Result<Found, SqlError> {
        let data = Data { bytes, ended, csv: options.csv };
        let found = if data.csv { self.find_in_csv(&data, options)? } else { self.find_in_text(&data)? };
        if let Found::Record { end, next } = found {
            assert!(end < next && next <= bytes.len(), "a record ends before the next begins");
        }
        if found != Found::Nothing {
            (self.scanned, self.quoted) = (0, false);
        }
        Ok(found)
    }

    fn find_in_text(&mut self, data: &Data<'_>) -> Result<Found, SqlError> {
        loop {
            let rest = data.bytes.get(self.scanned..).unwrap_or_default();
            let Some(offset) = memchr3(b'\n', b'\r', b'\\', rest) else { return Ok(self.nothing(data)) };
            self.scanned += offset;
            if data.get(self.scanned) != Some(b'\\') {
                return self.end_of_line(data);
            }
            match self.marker(data)? {
                Marker::Is => return Ok(Found::Marker { end: self.scanned }),
                // The byte behind a backslash is data, a line's end included.
                Marker::IsNot => self.scanned += 2,
                Marker::Unknown => return Ok(Found::Nothing),
            }
        }
    }

    fn find_in_csv(&mut self, data: &Data<'_>, options: &CopyOptions) -> Result<Found, SqlError> {
        // Elsewhere than at the beginning of a record it is data.
        if self.scanned == 0 && data.get(0) == Some(b'\\') {
            match self.marker(data)? {
                Marker::Is => return Ok(Found::Marker { end: 0 }),
                Marker::Unknown => return Ok(Found::Nothing),
                Marker::IsNot => {}
            }
        }
        let (quote, escape) = (options.quote, options.escape);
        loop {
            let rest = data.bytes.get(self.scanned..).unwrap_or_default();
            let found = match self.quoted {
                true => memchr2(quote, escape, rest),
                false => memchr3(quote, b'\n', b'\r', rest),
            };
            let Some(offset) = found else { return Ok(self.nothing(data)) };
            self.scanned += offset;
            if data.get(self.scanned) == Some(quote) {
                self.quoted = !self.quoted;
                self.scanned += 1;
            } else if !self.quoted {
                return self.end_of_line(data);
            } else if data.lacks(self.scanned + 1) {
                return Ok(Found::Nothing);
            } else {
                // An escape that is no quote keeps the quote behind it from ending the field.
                self.scanned += 2;
            }
        }
    }

    fn nothing(&mut self, data: &Data<'_>) -> Found {
        self.scanned = self.scanned.max(data.bytes.len());
        Found::Nothing
    }

    /// The search has come to a line feed or a carriage return.
    fn end_of_line(&mut self, data: &Data<'_>) -> Result<Found, SqlError> {
        let end = self.scanned;
        let is_feed = data.get(end) == Some(b'\n');
        let (style, length) = match self.style {
            None | Some(LineEnd::LineFeed) if is_feed => (LineEnd::LineFeed, 1),
            Some(LineEnd::CarriageReturn) if !is_feed => (LineEnd::CarriageReturn, 1),
            None | Some(LineEnd::Both) if !is_feed => {
                if data.lacks(end + 1) {
                    return Ok(Found::Nothing);
                }
                match data.get(end + 1) {
                    Some(b'\n') => (LineEnd::Both, 2),
                    _ if self.style.is_none() => (LineEnd::CarriageReturn, 1),
                    _ => return Err(unescaped(false, data.csv)),
                }
            }
            _ => return Err(unescaped(is_feed, data.csv)),
        };
        self.style = Some(style);
        Ok(Found::Record { end, next: end + length })
    }

    /// The search has come to a backslash.
    fn marker(&self, data: &Data<'_>) -> Result<Marker, SqlError> {
        let otherwise = |error: &'static str| match data.csv {
            true => Ok(Marker::IsNot),
            false => Err(SqlError::new(sqlstate::BAD_COPY_FILE_FORMAT, error)),
        };
        const CORRUPT: &str = "end-of-copy marker corrupt";
        const OTHER_STYLE: &str = "end-of-copy marker does not match previous newline style";
        let mut at = self.scanned + 1;
        if data.lacks(at) {
            return Ok(Marker::Unknown);
        }
        if data.get(at) != Some(b'.') {
            return Ok(Marker::IsNot);
        }
        at += 1;
        if self.style == Some(LineEnd::Both) {
            match data.get(at) {
                _ if data.lacks(at) => return Ok(Marker::Unknown),
                Some(b'\n') => return otherwise(OTHER_STYLE),
                Some(b'\r') => at += 1,
                _ => return otherwise(CORRUPT),
            }
        }
        let last = match data.get(at) {
            _ if data.lacks(at) => return Ok(Marker::Unknown),
            Some(last @ (b'\r' | b'\n')) => last,
            _ => return otherwise(CORRUPT),
        };
        match self.style {
            Some(style) if (style == LineEnd::CarriageReturn) != (last == b'\r') => {
                Err(SqlError::new(sqlstate::BAD_COPY_FILE_FORMAT, OTHER_STYLE))
            }
            _ => Ok(Marker::Is),
        }
    }
}

/// A line feed, or a carriage return, where lines end otherwise.
fn unescaped(is_feed: bool, csv: bool) -> SqlError {
    let (name, escape) = if is_feed { ("newline", "\\n") } else { ("carriage return", "\\r") };
    let (message, hint) = match csv {
        true => {
            (format!("unquoted {name} found in data"), format!("Use quoted CSV field to represent {name}."))
        }
        false => (format!("literal {name} found in data"), format!("Use \"{escape}\" to represent {name}.")),
    };
    SqlError::new(sqlstate::BAD_COPY_FILE_FORMAT, message).with_hint(&hint)
}
