//! `double precision`: PostgreSQL's order, text in and text out.

use std::cmp::Ordering;
use std::io::Write as _;

use crate::error::{SqlError, sqlstate};

/// PostgreSQL's order of doubles: NaN equals itself and is above all, both zeros are equal (`float8_cmp_internal`).
pub fn compare(a: f64, b: f64) -> Ordering {
    a.partial_cmp(&b).unwrap_or_else(|| a.is_nan().cmp(&b.is_nan()))
}

/// Reads a double.
///
/// # Errors
/// 22P02 when it is none, 22003 when it is too large or too small.
pub fn parse(text: &str) -> Result<f64, SqlError> {
    let trimmed = text.trim_ascii();
    let Ok(value) = trimmed.parse::<f64>() else {
        let message = format!("invalid input syntax for type double precision: \"{text}\"");
        return Err(SqlError::new(sqlstate::INVALID_TEXT_REPRESENTATION, message));
    };
    let named_infinity = || trimmed.trim_start_matches(['-', '+']).starts_with(['i', 'I']);
    let mantissa = || trimmed.split(['e', 'E']).next().unwrap_or_default();
    let overflowed = value.is_infinite() && !named_infinity();
    let underflowed = value == 0.0 && mantissa().bytes().any(|b| (b'1'..=b'9').contains(&b));
    if overflowed || underflowed {
        let message = format!("\"{trimmed}\" is out of range for type double precision");
        return Err(SqlError::new(sqlstate::NUMERIC_VALUE_OUT_OF_RANGE, message));
    }
    Ok(value)
}

/// Writes the shortest text that reads back as the same double (`extra_float_digits` at its default of 1): plain between
/// 1e-4 and 1e15, with a two-digit exponent elsewhere.
pub fn write(value: f64, out: &mut Vec<u8>) {
    if value.is_nan() {
        out.extend_from_slice(b"NaN");
        return;
    }
    if value.is_infinite() {
        out.extend_from_slice(if value > 0.0 { b"Infinity" } else { b"-Infinity" });
        return;
    }
    let mut scientific = [0u8; 40];
    let mut rest = &mut scientific[..];
    if write!(rest, "{value:e}").is_err() {
        return;
    }
    let left = rest.len();
    let used = &scientific[..40 - left];
    let at = used.iter().position(|b| *b == b'e').unwrap_or(used.len());
    let exponent: i32 =
        std::str::from_utf8(&used[(at + 1).min(used.len())..]).ok().and_then(|t| t.parse().ok()).unwrap_or(0);
    if (-4..15).contains(&exponent) {
        // `Display` of a double is its shortest digits written out plainly.
        let _infallible = write!(out, "{value}");
    } else {
        out.extend_from_slice(&used[..at]);
        let _infallible =
            write!(out, "e{}{:02}", if exponent < 0 { '-' } else { '+' }, exponent.unsigned_abs());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prints_what_postgresql_prints() {
        for (value, expected) in [
            (0.1, "0.1"),
            (1.0, "1"),
            (-0.0, "-0"),
            (1e14, "100000000000000"),
            (1e15, "1e+15"),
            (123_456_789_012_345_680.0, "1.2345678901234568e+17"),
            (1e-4, "0.0001"),
            (1e-5, "1e-05"),
            (1.5e300, "1.5e+300"),
            (5e-324, "5e-324"),
            (f64::NAN, "NaN"),
            (f64::NEG_INFINITY, "-Infinity"),
        ] {
            let mut out = Vec::new();
            write(value, &mut out);
            assert_eq!(String::from_utf8(out).unwrap(), expected);
        }
    }

    #[test]
    fn reads_and_refuses_as_postgresql_does() {
        assert_eq!(parse(" 1.5 ").unwrap(), 1.5);
        assert_eq!(parse("-inf").unwrap(), f64::NEG_INFINITY);
        assert!(parse("nan").unwrap().is_nan());
        assert_eq!(parse("1e400").unwrap_err().sqlstate(), "22003");
        assert_eq!(parse("1e-400").unwrap_err().sqlstate(), "22003");
        assert_eq!(parse("0e-400").unwrap(), 0.0);
        assert_eq!(parse("").unwrap_err().sqlstate(), "22P02");
        assert_eq!(parse("1x").unwrap_err().sqlstate(), "22P02");
    }
}
