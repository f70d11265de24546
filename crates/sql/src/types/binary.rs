//! Values in the binary format of the wire protocol (the send and receive functions of every type).

use std::borrow::Cow;

use super::{Interval, Numeric, Type, Value, json, text, timestamp};
use crate::error::{SqlError, sqlstate};

fn malformed(ty: Type) -> SqlError {
    let message = format!("incorrect binary data format for type {}", ty.name());
    SqlError::new(sqlstate::INVALID_BINARY_REPRESENTATION, message)
}

fn fixed<const N: usize>(ty: Type, bytes: &[u8]) -> Result<[u8; N], SqlError> {
    bytes.try_into().map_err(|_| malformed(ty))
}

/// Checks that bytes from a client are text: UTF-8 without NUL.
///
/// # Errors
/// 22021.
pub fn utf8(bytes: &[u8]) -> Result<&str, SqlError> {
    let error = |byte: u8| {
        let message = format!("invalid byte sequence for encoding \"UTF8\": 0x{byte:02x}");
        SqlError::new(sqlstate::CHARACTER_NOT_IN_REPERTOIRE, message)
    };
    if bytes.contains(&0) {
        return Err(error(0));
    }
    std::str::from_utf8(bytes).map_err(|e| error(bytes.get(e.valid_up_to()).copied().unwrap_or(0)))
}

/// Reads a parameter in format 0 (text) or 1 (binary).
///
/// # Errors
/// Those of [`parse`] and [`text::parse`].
pub fn parse_format(ty: Type, bytes: &[u8], binary: bool) -> Result<Value<'_>, SqlError> {
    if binary { parse(ty, bytes) } else { text::parse(ty, utf8(bytes)?) }
}

/// Reads a value from its binary form; text and bytes are borrowed.
///
/// # Errors
/// 22P03 for a wrong length or content, 22021 for text that is not UTF-8.
pub fn parse(ty: Type, bytes: &[u8]) -> Result<Value<'_>, SqlError> {
    Ok(match ty {
        Type::Int4 => Value::Int4(i32::from_be_bytes(fixed(ty, bytes)?)),
        Type::Int8 => Value::Int8(i64::from_be_bytes(fixed(ty, bytes)?)),
        Type::Int2 => Value::Int2(i16::from_be_bytes(fixed(ty, bytes)?)),
        Type::Text | Type::Varchar(_) | Type::Unknown => Value::Text(Cow::Borrowed(utf8(bytes)?)),
        Type::Char(_) => Value::Text(Cow::Borrowed(utf8(bytes)?.trim_end_matches(' '))),
        Type::Name => Value::Text(Cow::Borrowed(text::truncate_name(utf8(bytes)?))),
        Type::Bool => Value::Bool(fixed::<1>(ty, bytes)?[0] != 0),
        Type::Float8 => Value::Float8(f64::from_be_bytes(fixed(ty, bytes)?)),
        Type::Bytea => Value::Bytes(Cow::Borrowed(bytes)),
        Type::Timestamp | Type::Timestamptz => {
            let value = i64::from_be_bytes(fixed(ty, bytes)?);
            if !timestamp::in_range(value) {
                return Err(SqlError::new(sqlstate::DATETIME_FIELD_OVERFLOW, "timestamp out of range"));
            }
            Value::Timestamp(value)
        }
        Type::Uuid => Value::Uuid(fixed(ty, bytes)?),
        Type::Jsonb => match bytes {
            [1, body @ ..] => Value::Text(Cow::Owned(json::normalize(utf8(body)?)?)),
            _ => return Err(malformed(ty)),
        },
        Type::Numeric => Value::Numeric(Box::new(numeric(bytes)?)),
        Type::Interval => {
            let [micros @ .., _, _, _, _, _, _, _, _] = fixed::<16>(ty, bytes)?;
            let half = |at: usize| {
                bytes.get(at..at + 4).and_then(|b| b.try_into().ok()).map_or(0, i32::from_be_bytes)
            };
            let (days, months) = (half(8), half(12));
            Value::Interval(Box::new(Interval { months, days, micros: i64::from_be_bytes(micros) }))
        }
        Type::Oid => Value::Oid(u32::from_be_bytes(fixed(ty, bytes)?)),
        Type::PgLsn => Value::Lsn(u64::from_be_bytes(fixed(ty, bytes)?)),
        Type::Void => Value::Void,
    })
}

/// Appends the binary form of a value that is not NULL.
pub fn write(value: &Value<'_>, ty: Type, out: &mut Vec<u8>) {
    match value {
        Value::Int4(v) => out.extend_from_slice(&v.to_be_bytes()),
        Value::Int8(v) | Value::Timestamp(v) => out.extend_from_slice(&v.to_be_bytes()),
        Value::Int2(v) => out.extend_from_slice(&v.to_be_bytes()),
        Value::Text(v) => {
            if ty == Type::Jsonb {
                out.push(1);
            }
            out.extend_from_slice(v.as_bytes());
            text::pad(v, ty, out);
        }
        Value::Null | Value::Void => {}
        Value::Bool(v) => out.push(u8::from(*v)),
        Value::Float8(v) => out.extend_from_slice(&v.to_be_bytes()),
        Value::Bytes(v) => out.extend_from_slice(v),
        Value::Uuid(v) => out.extend_from_slice(v),
        Value::Numeric(v) => write_numeric(v, out),
        Value::Interval(v) => {
            out.extend_from_slice(&v.micros.to_be_bytes());
            out.extend_from_slice(&v.days.to_be_bytes());
            out.extend_from_slice(&v.months.to_be_bytes());
        }
        Value::Oid(v) => out.extend_from_slice(&v.to_be_bytes()),
        Value::Lsn(v) => out.extend_from_slice(&v.to_be_bytes()),
    }
}

/// `numeric_send`: count of digits, weight, sign, scale, digits in base 10000.
fn write_numeric(value: &Numeric, out: &mut Vec<u8>) {
    let (weight, digits) = value.base_10000();
    let sign: u16 = if value.signum() < 0 { 0x4000 } else { 0 };
    out.extend_from_slice(&(digits.len() as u16).to_be_bytes());
    out.extend_from_slice(&weight.to_be_bytes());
    out.extend_from_slice(&sign.to_be_bytes());
    out.extend_from_slice(&(value.scale() as u16).to_be_bytes());
    for digit in digits {
        out.extend_from_slice(&digit.to_be_bytes());
    }
}

fn numeric(bytes: &[u8]) -> Result<Numeric, SqlError> {
    let bad = || malformed(Type::Numeric);
    let overflow = || SqlError::new(sqlstate::NUMERIC_VALUE_OUT_OF_RANGE, "value overflows numeric format");
    if bytes.len() < 8 || !bytes.len().is_multiple_of(2) {
        return Err(bad());
    }
    let mut words = bytes.chunks_exact(2).map(|b| i16::from_be_bytes([b[0], b[1]]));
    let mut word = || words.next().unwrap_or(0);
    let (count, weight, sign, scale) = (word(), word(), word(), word());
    if usize::try_from(count).ok() != Some(bytes.len() / 2 - 4) || !matches!(sign, 0 | 0x4000) {
        return Err(bad());
    }
    let scale = u32::try_from(scale).map_err(|_| bad())?;
    // The last digit counts units of 10000^(weight - count + 1).
    let mut exponent = (i32::from(weight) - i32::from(count) + 1) * 4;
    let mut unscaled = 0i128;
    for (index, digit) in words.enumerate() {
        if !(0..10_000).contains(&digit) {
            return Err(bad());
        }
        let (mut digit, mut base) = (i128::from(digit), 10_000);
        if index + 1 == usize::try_from(count).unwrap_or(0) {
            // Zeros that fill up the last digit behind the point are not among those that have to fit.
            while exponent < 0 && base > 1 && digit % 10 == 0 {
                (digit, base, exponent) = (digit / 10, base / 10, exponent + 1);
            }
        }
        unscaled = unscaled.checked_mul(base).and_then(|v| v.checked_add(digit)).ok_or_else(overflow)?;
    }
    let value = if unscaled == 0 {
        Numeric::from_integer(0)
    } else if exponent >= 0 {
        let factor = 10i128.checked_pow(exponent.unsigned_abs()).ok_or_else(overflow)?;
        Numeric::from_integer(unscaled.checked_mul(factor).ok_or_else(overflow)?)
    } else {
        Numeric::new(unscaled, exponent.unsigned_abs()).ok_or_else(overflow)?
    };
    let value = value.rescale(scale).ok_or_else(overflow)?;
    if sign == 0 { Ok(value) } else { value.negate() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_travel_as_postgresql_sends_them() {
        let value = Numeric::parse("-1234.5").unwrap().unwrap();
        let mut out = Vec::new();
        write_numeric(&value, &mut out);
        assert_eq!(out, [0, 2, 0, 0, 0x40, 0, 0, 1, 0x04, 0xd2, 0x13, 0x88]);
        for text in [
            "0",
            "0.00",
            "1",
            "10000",
            "0.0001",
            "0.00001234",
            "99999999.999",
            "-5000.0000500",
            "-12345.678966666666666666666666666666599",
            "1.2345678901234567890123456789012345678",
        ] {
            let value = Numeric::parse(text).unwrap().unwrap();
            let mut out = Vec::new();
            write_numeric(&value, &mut out);
            assert_eq!(numeric(&out).unwrap().to_string(), text);
        }
    }

    #[test]
    fn numbers_of_too_many_digits_overflow() {
        for weight in [10, 12, i16::MAX] {
            let [high, low] = weight.to_be_bytes();
            let error = numeric(&[0, 1, high, low, 0, 0, 0, 0, 0, 1]).unwrap_err();
            assert_eq!(error.sqlstate(), "22003", "{weight}");
            assert_eq!(numeric(&[0, 0, high, low, 0, 0, 0, 2]).unwrap().to_string(), "0.00");
        }
    }

    #[test]
    fn wrong_bytes_are_refused() {
        assert_eq!(parse(Type::Int4, &[1, 2, 3]).unwrap_err().sqlstate(), "22P03");
        assert_eq!(parse(Type::Text, &[0xff]).unwrap_err().sqlstate(), "22021");
        assert_eq!(parse(Type::Text, b"a\0b").unwrap_err().sqlstate(), "22021");
        assert_eq!(parse(Type::Jsonb, b"{}").unwrap_err().sqlstate(), "22P03");
        assert_eq!(parse(Type::Numeric, &[0, 9, 0, 0, 0, 0, 0, 0]).unwrap_err().sqlstate(), "22P03");
        let out_of_range = (i64::MAX - 1).to_be_bytes();
        assert_eq!(parse(Type::Timestamp, &out_of_range).unwrap_err().sqlstate(), "22008");
    }
}
