//! Values as text: the input and output functions of every type.

use std::borrow::Cow;
use std::io::Write as _;

use super::{Interval, Numeric, Type, Value, bytea, float, json, timestamp, uuid};
use crate::error::{SqlError, sqlstate};

/// Reads a value of a type from its text. Text types borrow it; lengths are not checked here, that is the work of the
/// cast to the column's type.
///
/// # Errors
/// 22P02, 22003, 22007, 22008 as PostgreSQL's input functions have them.
pub fn parse(ty: Type, text: &str) -> Result<Value<'_>, SqlError> {
    Ok(match ty {
        Type::Int4 => Value::Int4(integer(text, ty)?),
        Type::Int8 => Value::Int8(integer(text, ty)?),
        Type::Int2 => Value::Int2(integer(text, ty)?),
        Type::Text | Type::Varchar(_) | Type::Unknown => Value::Text(Cow::Borrowed(text)),
        Type::Char(_) => Value::Text(Cow::Borrowed(text.trim_end_matches(' '))),
        Type::Name => Value::Text(Cow::Borrowed(truncate_name(text))),
        Type::Bool => Value::Bool(boolean(text)?),
        Type::Float8 => Value::Float8(float::parse(text)?),
        Type::Bytea => Value::Bytes(Cow::Owned(bytea::parse(text)?)),
        Type::Timestamp => Value::Timestamp(timestamp::parse(text, false)?),
        Type::Timestamptz => Value::Timestamp(timestamp::parse(text, true)?),
        Type::Uuid => Value::Uuid(uuid::parse(text)?),
        Type::Jsonb => Value::Text(Cow::Owned(json::normalize(text)?)),
        Type::Numeric => {
            Value::Numeric(Box::new(Numeric::parse(text.trim_ascii())?.ok_or_else(|| invalid(ty, text))?))
        }
        Type::Interval => Value::Interval(Box::new(Interval::parse(text)?)),
        Type::Oid => Value::Oid(integer(text, ty)?),
        Type::PgLsn => Value::Lsn(lsn(text)?),
        Type::Void => Value::Void,
    })
}

/// Appends the text of a value that is not NULL, as PostgreSQL shows it.
pub fn write(value: &Value<'_>, ty: Type, out: &mut Vec<u8>) {
    match value {
        Value::Int4(v) => write_integer(i64::from(*v), out),
        Value::Int8(v) => write_integer(*v, out),
        Value::Int2(v) => write_integer(i64::from(*v), out),
        Value::Text(text) => {
            out.extend_from_slice(text.as_bytes());
            pad(text, ty, out);
        }
        Value::Null | Value::Void => {}
        Value::Bool(v) => out.push(if *v { b't' } else { b'f' }),
        Value::Float8(v) => float::write(*v, out),
        Value::Bytes(bytes) => bytea::write(bytes, out),
        Value::Timestamp(v) => timestamp::write(*v, ty == Type::Timestamptz, out),
        Value::Uuid(v) => uuid::write(v, out),
        Value::Numeric(v) => {
            let _infallible = write!(out, "{v}");
        }
        Value::Interval(v) => {
            let _infallible = write!(out, "{v}");
        }
        Value::Oid(v) => write_integer(i64::from(*v), out),
        Value::Lsn(v) => {
            let _infallible = write!(out, "{:X}/{:X}", v >> 32, v & 0xffff_ffff);
        }
    }
}

/// Fills a `char(n)` up with blanks.
pub(super) fn pad(text: &str, ty: Type, out: &mut Vec<u8>) {
    if let Type::Char(Some(length)) = ty {
        let missing = (length as usize).saturating_sub(characters(text));
        out.resize(out.len() + missing, b' ');
    }
}

/// Length in characters.
pub fn characters(text: &str) -> usize {
    if text.is_ascii() { text.len() } else { text.chars().count() }
}

/// Names are cut at 63 bytes, at a character's boundary.
pub fn truncate_name(name: &str) -> &str {
    let mut end = name.len().min(63);
    while !name.is_char_boundary(end) {
        end -= 1;
    }
    &name[..end]
}

/// Appends decimal digits.
pub fn write_integer(value: i64, out: &mut Vec<u8>) {
    let mut digits = [0u8; 20];
    let mut at = digits.len();
    let mut rest = value.unsigned_abs();
    loop {
        at -= 1;
        digits[at] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    if value < 0 {
        out.push(b'-');
    }
    out.extend_from_slice(&digits[at..]);
}

/// The error of an input function.
#[cold]
pub fn invalid(ty: Type, text: &str) -> SqlError {
    let shown: String = text.chars().take(200).collect();
    let message = format!("invalid input syntax for type {}: \"{shown}\"", ty.name());
    SqlError::new(sqlstate::INVALID_TEXT_REPRESENTATION, message)
}

fn integer<T: TryFrom<i64>>(text: &str, ty: Type) -> Result<T, SqlError> {
    let body = text.trim_ascii();
    let (negative, digits) = match body.as_bytes() {
        [b'-', digits @ ..] => (true, digits),
        [b'+', digits @ ..] => (false, digits),
        digits => (false, digits),
    };
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return Err(invalid(ty, text));
    }
    // Counted downwards, because there is one negative number more.
    let mut value = Some(0i64);
    for digit in digits {
        value = value.and_then(|v| v.checked_mul(10)?.checked_sub(i64::from(digit - b'0')));
    }
    let value = if negative { value } else { value.and_then(i64::checked_neg) };
    value.and_then(|v| T::try_from(v).ok()).ok_or_else(|| {
        let message = format!("value \"{body}\" is out of range for type {}", ty.name());
        SqlError::new(sqlstate::NUMERIC_VALUE_OUT_OF_RANGE, message)
    })
}

fn boolean(text: &str) -> Result<bool, SqlError> {
    let word = text.trim_ascii().to_ascii_lowercase();
    let is_prefix = |of: &str, min: usize| word.len() >= min && of.starts_with(&word);
    if is_prefix("true", 1) || is_prefix("yes", 1) || word == "on" || word == "1" {
        Ok(true)
    } else if is_prefix("false", 1) || is_prefix("no", 1) || is_prefix("off", 2) || word == "0" {
        Ok(false)
    } else {
        Err(invalid(Type::Bool, text))
    }
}

fn lsn(text: &str) -> Result<u64, SqlError> {
    let half = |part: &str| {
        let ok = (1..=8).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_hexdigit());
        u64::from_str_radix(part, 16).ok().filter(|_| ok)
    };
    let (high, low) = text.split_once('/').ok_or_else(|| invalid(Type::PgLsn, text))?;
    match (half(high), half(low)) {
        (Some(high), Some(low)) => Ok(high << 32 | low),
        _ => Err(invalid(Type::PgLsn, text)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round(ty: Type, text: &str) -> String {
        let mut out = Vec::new();
        write(&parse(ty, text).unwrap(), ty, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn every_type_prints_what_postgresql_prints() {
        for (ty, input, expected) in [
            (Type::Int2, " -32768 ", "-32768"),
            (Type::Int4, "+7", "7"),
            (Type::Int8, "-9223372036854775808", "-9223372036854775808"),
            (Type::Bool, "tru", "t"),
            (Type::Bool, " YES ", "t"),
            (Type::Bool, "of", "f"),
            (Type::Char(Some(5)), "é  ", "é    "),
            (Type::Char(None), "ab  ", "ab"),
            (Type::Varchar(Some(5)), "ab  ", "ab  "),
            (Type::Numeric, "1.50", "1.50"),
            (Type::PgLsn, "16/b374d848", "16/B374D848"),
            (Type::Jsonb, "[1,2]", "[1, 2]"),
        ] {
            assert_eq!(round(ty, input), expected, "{ty:?} {input}");
        }
    }

    #[test]
    fn wrong_text_has_postgresqls_message_and_code() {
        for (ty, input, code, message) in [
            (Type::Int4, "abc", "22P02", "invalid input syntax for type integer: \"abc\""),
            (Type::Int8, "", "22P02", "invalid input syntax for type bigint: \"\""),
            (Type::Int2, "99999", "22003", "value \"99999\" is out of range for type smallint"),
            (
                Type::Int8,
                "9223372036854775808",
                "22003",
                "value \"9223372036854775808\" is out of range for type bigint",
            ),
            (Type::Bool, "o", "22P02", "invalid input syntax for type boolean: \"o\""),
            (Type::PgLsn, "1/2/3", "22P02", "invalid input syntax for type pg_lsn: \"1/2/3\""),
        ] {
            let error = parse(ty, input).unwrap_err();
            assert_eq!((error.sqlstate(), error.message()), (code, message));
        }
    }
}
