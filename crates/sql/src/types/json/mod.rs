//! `jsonb`: text checked and brought to the form PostgreSQL prints.
//!
//! Keys of an object are ordered by length, then by bytes, the last of equal keys wins; numbers are written out as
//! `numeric` prints them; blanks follow `jsonb_out`.

#[cfg(test)]
mod tests;
mod write;

use std::ops::Range;

use crate::error::{SqlError, sqlstate};
use write::{write_number, write_string};

/// Deeper nesting is refused instead of using up the stack.
const MAX_DEPTH: usize = 256;
/// More text than this is refused: exponents make long numbers out of short ones.
const MAX_LENGTH: usize = 64 << 20;

/// Checks JSON text and gives its normalised form.
///
/// # Errors
/// 22P02 for text that is no JSON, 22P05 for `\u0000`, 54001 for nesting that is too deep.
pub fn normalize(text: &str) -> Result<String, SqlError> {
    let mut parser = Parser { text, at: 0, out: String::with_capacity(text.len() + text.len() / 8) };
    parser.value(0)?;
    parser.blanks();
    if parser.at < text.len() {
        return Err(parser.invalid());
    }
    Ok(parser.out)
}

struct Parser<'a> {
    text: &'a str,
    at: usize,
    out: String,
}

impl Parser<'_> {
    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn blanks(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    fn eat(&mut self, byte: u8) -> bool {
        self.blanks();
        let found = self.peek() == Some(byte);
        self.at += usize::from(found);
        found
    }

    fn expect(&mut self, byte: u8) -> Result<(), SqlError> {
        if self.eat(byte) { Ok(()) } else { Err(self.invalid()) }
    }

    fn invalid(&self) -> SqlError {
        let rest = &self.text[self.at..];
        let detail = match rest.chars().next() {
            None => "The input string ended unexpectedly.".to_owned(),
            Some(c) if c.is_alphanumeric() => {
                let end = rest.find(|c: char| !c.is_alphanumeric()).unwrap_or(rest.len());
                format!("Token \"{}\" is invalid.", rest[..end].chars().take(60).collect::<String>())
            }
            Some(c) => format!("Expected JSON value, but found \"{c}\"."),
        };
        SqlError::new(sqlstate::INVALID_TEXT_REPRESENTATION, "invalid input syntax for type json")
            .with_detail(detail)
    }

    fn value(&mut self, depth: usize) -> Result<(), SqlError> {
        if depth > MAX_DEPTH {
            return Err(SqlError::new(sqlstate::STATEMENT_TOO_COMPLEX, "JSON value is nested too deeply"));
        }
        if self.out.len() > MAX_LENGTH {
            return Err(SqlError::new(sqlstate::PROGRAM_LIMIT_EXCEEDED, "JSON value is too long"));
        }
        self.blanks();
        match self.peek() {
            Some(b'{') => self.object(depth),
            Some(b'[') => self.array(depth),
            Some(b'"') => {
                let string = self.string()?;
                write_string(&string, &mut self.out);
                Ok(())
            }
            Some(b'-' | b'0'..=b'9') => self.number(),
            _ => self.word(),
        }
    }

    fn word(&mut self) -> Result<(), SqlError> {
        for word in ["true", "false", "null"] {
            if let Some(after) = self.text[self.at..].strip_prefix(word)
                && !after.starts_with(|c: char| c.is_alphanumeric() || c == '_')
            {
                self.at += word.len();
                self.out.push_str(word);
                return Ok(());
            }
        }
        Err(self.invalid())
    }

    fn array(&mut self, depth: usize) -> Result<(), SqlError> {
        self.at += 1;
        self.out.push('[');
        if !self.eat(b']') {
            self.value(depth + 1)?;
            while self.eat(b',') {
                self.out.push_str(", ");
                self.value(depth + 1)?;
            }
            self.expect(b']')?;
        }
        self.out.push(']');
        Ok(())
    }

    fn object(&mut self, depth: usize) -> Result<(), SqlError> {
        self.at += 1;
        let start = self.out.len();
        // Keys, and where their values are in the text behind `start`, in the order of the input.
        let mut members: Vec<(String, Range<usize>)> = Vec::new();
        if !self.eat(b'}') {
            loop {
                self.blanks();
                if self.peek() != Some(b'"') {
                    return Err(self.invalid());
                }
                let key = self.string()?;
                self.expect(b':')?;
                let value = self.out.len() - start;
                self.value(depth + 1)?;
                members.push((key, value..self.out.len() - start));
                if !self.eat(b',') {
                    break;
                }
            }
            self.expect(b'}')?;
        }
        // The sort is stable, so the last of equal keys is the one to keep.
        members.sort_by(|(a, _), (b, _)| a.len().cmp(&b.len()).then_with(|| a.cmp(b)));
        members.reverse();
        members.dedup_by(|later, earlier| later.0 == earlier.0);
        let values = self.out.split_off(start);
        self.out.push('{');
        for (i, (key, value)) in members.iter().rev().enumerate() {
            if i > 0 {
                self.out.push_str(", ");
            }
            write_string(key, &mut self.out);
            self.out.push_str(": ");
            self.out.push_str(&values[value.clone()]);
        }
        self.out.push('}');
        Ok(())
    }

    fn string(&mut self) -> Result<String, SqlError> {
        self.at += 1;
        let mut out = String::new();
        loop {
            let rest = &self.text[self.at..];
            let plain =
                rest.find(|c: char| c == '"' || c == '\\' || c < ' ').ok_or_else(|| self.invalid())?;
            out.push_str(&rest[..plain]);
            self.at += plain;
            match self.peek() {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(out);
                }
                Some(b'\\') => {
                    self.at += 1;
                    out.push(self.escape()?);
                }
                _ => return Err(self.invalid()),
            }
        }
    }

    fn escape(&mut self) -> Result<char, SqlError> {
        let escaped = self.peek().ok_or_else(|| self.invalid())?;
        let plain = match escaped {
            b'"' | b'\\' | b'/' => char::from(escaped),
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => {
                self.at += 1;
                return self.unicode();
            }
            _ => return Err(self.invalid()),
        };
        self.at += 1;
        Ok(plain)
    }

    fn unicode(&mut self) -> Result<char, SqlError> {
        let mut code = self.four_digits()?;
        if (0xd800..0xdc00).contains(&code) {
            if !self.text[self.at..].starts_with("\\u") {
                return Err(self.invalid());
            }
            self.at += 2;
            let low = self.four_digits()?;
            if !(0xdc00..0xe000).contains(&low) {
                return Err(self.invalid());
            }
            code = 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
        }
        if code == 0 {
            return Err(SqlError::new("22P05", "unsupported Unicode escape sequence")
                .with_detail("\\u0000 cannot be converted to text."));
        }
        char::from_u32(code).ok_or_else(|| self.invalid())
    }

    fn four_digits(&mut self) -> Result<u32, SqlError> {
        let digits = self.text.get(self.at..self.at + 4).filter(|d| d.bytes().all(|b| b.is_ascii_hexdigit()));
        let code = digits.and_then(|d| u32::from_str_radix(d, 16).ok()).ok_or_else(|| self.invalid())?;
        self.at += 4;
        Ok(code)
    }

    fn digits(&mut self) -> Result<&str, SqlError> {
        let start = self.at;
        while self.peek().is_some_and(|b| b.is_ascii_digit()) {
            self.at += 1;
        }
        if start == self.at { Err(self.invalid()) } else { Ok(&self.text[start..self.at]) }
    }

    fn number(&mut self) -> Result<(), SqlError> {
        let start = self.at;
        let negative = self.peek() == Some(b'-');
        self.at += usize::from(negative);
        let whole = self.digits()?.to_owned();
        let mut fraction = String::new();
        if self.peek() == Some(b'.') {
            self.at += 1;
            fraction = self.digits()?.to_owned();
        }
        let mut exponent = 0i64;
        if matches!(self.peek(), Some(b'e' | b'E')) {
            self.at += 1;
            let sign = if self.peek() == Some(b'-') { -1 } else { 1 };
            self.at += usize::from(matches!(self.peek(), Some(b'-' | b'+')));
            exponent = sign * self.digits()?.parse::<i64>().unwrap_or(i64::MAX);
        }
        let ends = !self.peek().is_some_and(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'.');
        if (whole.len() > 1 && whole.starts_with('0')) || !ends {
            self.at = start;
            return Err(self.invalid());
        }
        write_number(negative, &whole, &fraction, exponent, &mut self.out)
    }
}
