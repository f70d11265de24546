//! The scalars of `jsonb` as `jsonb_out` writes them.

use crate::error::{SqlError, sqlstate};

/// Digits that a `numeric` has before and behind its point (`NUMERIC_WEIGHT_MAX`, `NUMERIC_DSCALE_MAX`).
const MAX_WHOLE_DIGITS: i64 = 131_072;
const MAX_SCALE: i64 = 16_383;

/// Writes the digits with the point moved by the exponent, as `numeric` prints them.
pub(super) fn write_number(
    negative: bool,
    whole: &str,
    fraction: &str,
    exponent: i64,
    out: &mut String,
) -> Result<(), SqlError> {
    let mut digits = format!("{whole}{fraction}");
    let length = |digits: &str| i64::try_from(digits.len()).unwrap_or(i64::MAX);
    let scale = length(fraction).saturating_sub(exponent).max(0);
    let is_zero = digits.bytes().all(|digit| digit == b'0');
    let point = if is_zero { 1 } else { length(whole).saturating_add(exponent) };
    if point > MAX_WHOLE_DIGITS || scale > MAX_SCALE {
        return Err(SqlError::new(sqlstate::NUMERIC_VALUE_OUT_OF_RANGE, "value overflows numeric format"));
    }
    let scale = scale as usize;
    if point <= 0 {
        digits.insert_str(0, &"0".repeat(point.unsigned_abs() as usize + 1));
    }
    let point = point.max(1) as usize;
    while digits.len() < point + scale {
        digits.push('0');
    }
    let (before, after) = digits.split_at(point);
    let before = before.trim_start_matches('0');
    if negative && !is_zero {
        out.push('-');
    }
    out.push_str(if before.is_empty() { "0" } else { before });
    if scale > 0 {
        out.push('.');
        out.push_str(&after[..scale]);
    }
    Ok(())
}

/// Writes a string with the escapes that `escape_json` uses.
pub(super) fn write_string(text: &str, out: &mut String) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if c < ' ' => out.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => out.push(c),
        }
    }
    out.push('"');
}
