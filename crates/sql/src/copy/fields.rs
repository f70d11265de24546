//! One record of COPY data taken apart: fields without their escapes and quotes. What lies between these is copied in runs.

use memchr::memchr2;

use super::{CopyOptions, CopyRecord};
use crate::error::{SqlError, sqlstate};

/// A line of the text format.
pub(super) fn text(line: &[u8], options: &CopyOptions, record: &mut CopyRecord) -> Result<(), SqlError> {
    // A backslash at the end is nothing.
    let escapes = line.iter().rev().take_while(|byte| **byte == b'\\').count();
    let line = &line[..line.len() - escapes % 2];
    let mut i = 0;
    loop {
        let raw_start = i;
        let start = record.data.len();
        loop {
            let rest = &line[i..];
            let run = memchr2(options.delimiter, b'\\', rest).unwrap_or(rest.len());
            record.data.extend_from_slice(&rest[..run]);
            i += run;
            match line.get(i) {
                Some(&byte) if byte != options.delimiter => i += 1,
                _ => break,
            }
            record.data.push(escaped(line, &mut i));
        }
        let null = line[raw_start..i] == options.null[..];
        if !record.push(start, null) || i >= line.len() {
            return Ok(());
        }
        i += 1;
    }
}

/// What the bytes behind a backslash stand for, of which there is at least one.
fn escaped(line: &[u8], at: &mut usize) -> u8 {
    let escaped = line.get(*at).copied().unwrap_or(b'\\');
    *at += 1;
    match escaped {
        b'b' => 8,
        b'f' => 12,
        b'n' => b'\n',
        b'r' => b'\r',
        b't' => b'\t',
        b'v' => 11,
        b'0'..=b'7' => digits(line, at, escaped - b'0', 8, 2),
        b'x' if line.get(*at).is_some_and(u8::is_ascii_hexdigit) => digits(line, at, 0, 16, 2),
        other => other,
    }
}

/// Reads up to `max` more digits of a byte given in octal or hexadecimal.
fn digits(line: &[u8], at: &mut usize, first: u8, base: u32, max: usize) -> u8 {
    let mut value = u32::from(first);
    for _ in 0..max {
        let Some(digit) = line.get(*at).and_then(|b| char::from(*b).to_digit(base)) else { break };
        value = value * base + digit;
        *at += 1;
    }
    (value & 0xff) as u8
}

/// A record of CSV.
pub(super) fn csv(line: &[u8], options: &CopyOptions, record: &mut CopyRecord) -> Result<(), SqlError> {
    let (quote, escape) = (options.quote, options.escape);
    let mut i = 0;
    loop {
        let raw_start = i;
        let start = record.data.len();
        let (mut quoted, mut saw_quote) = (false, false);
        loop {
            let rest = &line[i..];
            let other = if quoted { escape } else { options.delimiter };
            let run = memchr2(quote, other, rest).unwrap_or(rest.len());
            record.data.extend_from_slice(&rest[..run]);
            i += run;
            let Some(&byte) = line.get(i) else { break };
            if !quoted && byte == options.delimiter {
                break;
            }
            i += 1;
            let next = line.get(i).copied().filter(|next| *next == escape || *next == quote);
            if let (true, Some(next)) = (quoted && byte == escape, next) {
                record.data.push(next);
                i += 1;
            } else if byte == quote {
                quoted = !quoted;
                saw_quote = true;
            } else {
                record.data.push(byte);
            }
        }
        if quoted {
            return Err(SqlError::new(sqlstate::BAD_COPY_FILE_FORMAT, "unterminated CSV quoted field"));
        }
        let null = !saw_quote && line[raw_start..i] == options.null[..];
        if !record.push(start, null) || i >= line.len() {
            return Ok(());
        }
        i += 1;
    }
}
