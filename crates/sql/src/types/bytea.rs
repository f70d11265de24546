//! `bytea` in text: hexadecimal out, hexadecimal or the old escape form in.

use crate::error::{SqlError, sqlstate};

/// Appends two lower-case hexadecimal digits.
pub fn push_hex(byte: u8, out: &mut Vec<u8>) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    out.push(DIGITS[usize::from(byte >> 4)]);
    out.push(DIGITS[usize::from(byte & 15)]);
}

/// Writes `\x` and the digits.
pub fn write(bytes: &[u8], out: &mut Vec<u8>) {
    out.reserve(2 + bytes.len() * 2);
    out.extend_from_slice(b"\\x");
    for byte in bytes {
        push_hex(*byte, out);
    }
}

/// Reads `\x...` (blanks between bytes allowed) or text with `\\` and `\ooo` escapes.
///
/// # Errors
/// 22023 for a wrong digit (as PostgreSQL has it), 22P02 for a wrong escape.
pub fn parse(text: &str) -> Result<Vec<u8>, SqlError> {
    match text.strip_prefix("\\x") {
        Some(hex) => parse_hex(hex),
        None => parse_escape(text.as_bytes()),
    }
}

fn parse_hex(hex: &str) -> Result<Vec<u8>, SqlError> {
    let mut out = Vec::with_capacity(hex.len() / 2);
    let mut chars = hex.chars();
    let digit = |c: char| {
        c.to_digit(16).ok_or_else(|| {
            SqlError::new(sqlstate::INVALID_PARAMETER_VALUE, format!("invalid hexadecimal digit: \"{c}\""))
        })
    };
    while let Some(c) = chars.next() {
        if matches!(c, ' ' | '\n' | '\t' | '\r') {
            continue;
        }
        let high = digit(c)?;
        let low = chars.next().ok_or_else(|| {
            SqlError::new(sqlstate::INVALID_PARAMETER_VALUE, "invalid hexadecimal data: odd number of digits")
        })?;
        out.push((high * 16 + digit(low)?) as u8);
    }
    Ok(out)
}

fn parse_escape(mut text: &[u8]) -> Result<Vec<u8>, SqlError> {
    let octal = |b: u8, max: u8| (b'0'..=b'0' + max).contains(&b);
    let mut out = Vec::with_capacity(text.len());
    loop {
        match text {
            [] => return Ok(out),
            [b'\\', b'\\', rest @ ..] => {
                out.push(b'\\');
                text = rest;
            }
            [b'\\', a, b, c, rest @ ..] if octal(*a, 3) && octal(*b, 7) && octal(*c, 7) => {
                out.push((a - b'0') * 64 + (b - b'0') * 8 + (c - b'0'));
                text = rest;
            }
            [b'\\', ..] => {
                return Err(SqlError::new(
                    sqlstate::INVALID_TEXT_REPRESENTATION,
                    "invalid input syntax for type bytea",
                ));
            }
            [byte, rest @ ..] => {
                out.push(*byte);
                text = rest;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_are_read_and_hex_is_written() {
        assert_eq!(parse("\\xDEad be ef").unwrap(), [0xde, 0xad, 0xbe, 0xef]);
        assert_eq!(parse("a\\\\b\\001").unwrap(), b"a\\b\x01");
        let mut out = Vec::new();
        write(&[0, 255], &mut out);
        assert_eq!(out, b"\\x00ff");
    }

    #[test]
    fn wrong_text_is_refused() {
        assert_eq!(parse("\\xabc").unwrap_err().sqlstate(), "22023");
        assert_eq!(parse("\\xzz").unwrap_err().sqlstate(), "22023");
        assert_eq!(parse("a\\9").unwrap_err().sqlstate(), "22P02");
        assert_eq!(parse("\\x\u{e9}1").unwrap_err().sqlstate(), "22023");
    }
}
