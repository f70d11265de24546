//! Keys as bytes whose order is the order of the values.
//!
//! Integers, timestamps: big endian with the sign bit turned. Doubles: IEEE bits, turned so that they sort, NaN last, one
//! zero. Booleans and uuids: as they are. Text: its bytes and a zero byte, which text never contains, so that `a` is in
//! front of `ab` whatever follows. Bytes: zero bytes followed by FF, the end is two zero bytes. No column of a key is NULL.
//! Columns follow each other without gaps: the key of a prefix of the columns is a prefix of the key.

use std::borrow::Cow;

use crate::error::{SqlError, sqlstate};
use crate::types::{Type, Value};

/// The longest key that the engine's trees take.
pub const MAX_KEY: usize = 2000;

/// Appends one column of a key. `ty` is the column's type; integers of another width are accepted if they fit it.
///
/// Returns false, and appends nothing of use, when no value of the column's type equals this one (NULL, or out of range).
///
/// # Errors
/// XX000 when the value is of another type, which the planner has made sure of.
#[inline]
pub fn encode(value: &Value<'_>, ty: Type, out: &mut Vec<u8>) -> Result<bool, SqlError> {
    match (ty, value) {
        (_, Value::Null) => return Ok(false),
        (Type::Int4, Value::Int4(v)) => out.extend_from_slice(&(*v ^ i32::MIN).to_be_bytes()),
        (Type::Int8, Value::Int8(v)) | (Type::Timestamp | Type::Timestamptz, Value::Timestamp(v)) => {
            out.extend_from_slice(&(*v ^ i64::MIN).to_be_bytes());
        }
        (Type::Int2, Value::Int2(v)) => out.extend_from_slice(&(*v ^ i16::MIN).to_be_bytes()),
        (Type::Int2 | Type::Int4 | Type::Int8, _) => match value.as_i64() {
            Some(v) => return Ok(encode_integer(v, ty, out)),
            None => return Err(mismatch(ty)),
        },
        (Type::Text | Type::Varchar(_) | Type::Char(_), Value::Text(text)) => {
            out.extend_from_slice(text.as_bytes());
            out.push(0);
        }
        (Type::Bytea, Value::Bytes(bytes)) => {
            for byte in bytes.iter() {
                out.push(*byte);
                if *byte == 0 {
                    out.push(0xff);
                }
            }
            out.extend_from_slice(&[0, 0]);
        }
        (Type::Float8, Value::Float8(v)) => out.extend_from_slice(&float_bits(*v).to_be_bytes()),
        (Type::Bool, Value::Bool(v)) => out.push(u8::from(*v)),
        (Type::Uuid, Value::Uuid(v)) => out.extend_from_slice(v),
        _ => return Err(mismatch(ty)),
    }
    Ok(true)
}

/// The key of a row in a table without a primary key.
pub fn encode_rowid(rowid: i64, out: &mut Vec<u8>) {
    out.extend_from_slice(&(rowid ^ i64::MIN).to_be_bytes());
}

/// Reads [`encode_rowid`] back.
///
/// # Errors
/// XX001.
pub fn decode_rowid(key: &[u8]) -> Result<i64, SqlError> {
    let bytes = key.try_into().map_err(|_| SqlError::corrupted("key"))?;
    Ok(i64::from_be_bytes(bytes) ^ i64::MIN)
}

/// Checks the length of a whole key.
///
/// # Errors
/// 54000.
#[inline]
pub fn check_length(length: usize, key_name: &str) -> Result<(), SqlError> {
    if length <= MAX_KEY {
        return Ok(());
    }
    let message = format!("index row size {length} exceeds maximum {MAX_KEY} for index \"{key_name}\"");
    Err(SqlError::new(sqlstate::PROGRAM_LIMIT_EXCEEDED, message))
}

/// Where a value lies that is outside an integer column's range: such bounds of a range are never or always met.
pub(crate) fn integer_outside(value: &Value<'_>, ty: Type) -> Option<std::cmp::Ordering> {
    let v = value.as_i64()?;
    let (min, max) = match ty {
        Type::Int2 => (i64::from(i16::MIN), i64::from(i16::MAX)),
        Type::Int4 => (i64::from(i32::MIN), i64::from(i32::MAX)),
        _ => return None,
    };
    if v < min {
        Some(std::cmp::Ordering::Less)
    } else if v > max {
        Some(std::cmp::Ordering::Greater)
    } else {
        None
    }
}

/// The smallest byte string above all that begin with this one; `None` when there is none.
pub fn successor_of_prefix(prefix: &[u8]) -> Option<Vec<u8>> {
    let last = prefix.iter().rposition(|b| *b != 0xff)?;
    let mut out = prefix[..=last].to_vec();
    out[last] += 1;
    assert!(out.as_slice() > prefix, "what lies above all that begin so lies above the prefix");
    Some(out)
}

/// Reads the first column of a key and moves behind it.
///
/// # Errors
/// XX001 when the bytes are no key.
pub fn decode<'a>(ty: Type, key: &mut &'a [u8]) -> Result<Value<'a>, SqlError> {
    let bad = || SqlError::corrupted("key");
    fn take<'a, const N: usize>(key: &mut &'a [u8]) -> Option<&'a [u8; N]> {
        let (head, rest) = key.split_first_chunk::<N>()?;
        *key = rest;
        Some(head)
    }
    let value = match ty {
        Type::Int2 => take(key).map(|b| Value::Int2(i16::from_be_bytes(*b) ^ i16::MIN)),
        Type::Int4 => take(key).map(|b| Value::Int4(i32::from_be_bytes(*b) ^ i32::MIN)),
        Type::Int8 => take(key).map(|b| Value::Int8(i64::from_be_bytes(*b) ^ i64::MIN)),
        Type::Timestamp | Type::Timestamptz => {
            take(key).map(|b| Value::Timestamp(i64::from_be_bytes(*b) ^ i64::MIN))
        }
        Type::Float8 => take(key).map(|b| Value::Float8(float_from_bits(u64::from_be_bytes(*b)))),
        Type::Bool => take::<1>(key).map(|b| Value::Bool(b[0] != 0)),
        Type::Uuid => take(key).map(|b| Value::Uuid(*b)),
        Type::Text | Type::Varchar(_) | Type::Char(_) => {
            let bytes: &'a [u8] = key;
            let end = bytes.iter().position(|b| *b == 0).ok_or_else(bad)?;
            *key = &bytes[end + 1..];
            std::str::from_utf8(&bytes[..end]).ok().map(|text| Value::Text(Cow::Borrowed(text)))
        }
        Type::Bytea => decode_bytes(key).map(|bytes| Value::Bytes(Cow::Owned(bytes))),
        _ => return Err(mismatch(ty)),
    };
    value.ok_or_else(bad)
}

fn decode_bytes(key: &mut &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    loop {
        match **key {
            [0, 0, ref rest @ ..] => {
                *key = rest;
                return Some(out);
            }
            [0, 0xff, ref rest @ ..] => {
                out.push(0);
                *key = rest;
            }
            [0, ..] | [] => return None,
            [byte, ref rest @ ..] => {
                out.push(byte);
                *key = rest;
            }
        }
    }
}

fn encode_integer(value: i64, ty: Type, out: &mut Vec<u8>) -> bool {
    match ty {
        Type::Int2 => {
            i16::try_from(value).map(|v| out.extend_from_slice(&(v ^ i16::MIN).to_be_bytes())).is_ok()
        }
        Type::Int4 => {
            i32::try_from(value).map(|v| out.extend_from_slice(&(v ^ i32::MIN).to_be_bytes())).is_ok()
        }
        _ => {
            out.extend_from_slice(&(value ^ i64::MIN).to_be_bytes());
            true
        }
    }
}

/// A number whose order is that of the doubles: NaN last, one zero.
pub(crate) fn float_bits(value: f64) -> u64 {
    let canonical = if value.is_nan() {
        f64::NAN.abs()
    } else if value == 0.0 {
        0.0
    } else {
        value
    };
    let bits = canonical.to_bits();
    if bits >> 63 == 0 { bits | 1 << 63 } else { !bits }
}

fn float_from_bits(bits: u64) -> f64 {
    f64::from_bits(if bits >> 63 == 1 { bits & !(1 << 63) } else { !bits })
}

#[cold]
fn mismatch(ty: Type) -> SqlError {
    SqlError::internal(format!("value does not fit a key column of type {}", ty.name()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn pair() -> impl Strategy<Value = (Type, Value<'static>, Value<'static>)> {
        let float = || prop_oneof![any::<f64>(), Just(0.0), Just(-0.0), Just(f64::NAN), Just(f64::INFINITY)];
        let text = || "[a-c\u{1}é]{0,4}";
        let bytes = || proptest::collection::vec(prop_oneof![Just(0u8), Just(0xff), any::<u8>()], 0..5);
        prop_oneof![
            (any::<i16>(), any::<i16>()).prop_map(|(a, b)| (Type::Int2, Value::Int2(a), Value::Int2(b))),
            (any::<i32>(), any::<i32>()).prop_map(|(a, b)| (Type::Int4, Value::Int4(a), Value::Int4(b))),
            (any::<i64>(), any::<i64>()).prop_map(|(a, b)| (Type::Int8, Value::Int8(a), Value::Int8(b))),
            (any::<i64>(), any::<i64>()).prop_map(|(a, b)| (
                Type::Timestamp,
                Value::Timestamp(a),
                Value::Timestamp(b)
            )),
            (float(), float()).prop_map(|(a, b)| (Type::Float8, Value::Float8(a), Value::Float8(b))),
            (any::<bool>(), any::<bool>()).prop_map(|(a, b)| (Type::Bool, Value::Bool(a), Value::Bool(b))),
            (text(), text()).prop_map(|(a, b)| (Type::Text, Value::owned_text(a), Value::owned_text(b))),
            (bytes(), bytes()).prop_map(|(a, b)| (
                Type::Bytea,
                Value::Bytes(Cow::Owned(a)),
                Value::Bytes(Cow::Owned(b))
            )),
        ]
    }

    proptest! {
        #[test]
        fn order_of_keys_is_order_of_values(columns in proptest::collection::vec(pair(), 1..4)) {
            let (mut a, mut b) = (Vec::new(), Vec::new());
            let mut expected = std::cmp::Ordering::Equal;
            for (ty, x, y) in &columns {
                prop_assert!(encode(x, *ty, &mut a).unwrap() && encode(y, *ty, &mut b).unwrap());
                expected = expected.then(x.compare(y).unwrap());
            }
            prop_assert_eq!(a.cmp(&b), expected);
            let mut rest = &a[..];
            for (ty, x, _) in &columns {
                prop_assert_eq!(decode(*ty, &mut rest).unwrap().compare(x), Some(std::cmp::Ordering::Equal));
            }
            prop_assert!(rest.is_empty());
        }

        #[test]
        fn damaged_keys_are_errors_not_panics((ty, _, _) in pair(), bytes in proptest::collection::vec(any::<u8>(), 0..20)) {
            let _either = decode(ty, &mut &bytes[..]);
        }

        #[test]
        fn all_that_begins_with_a_prefix_is_below_its_successor(
            prefix in proptest::collection::vec(prop_oneof![Just(0xffu8), any::<u8>()], 0..4),
            rest in proptest::collection::vec(any::<u8>(), 0..4),
        ) {
            let whole: Vec<u8> = prefix.iter().chain(&rest).copied().collect();
            match successor_of_prefix(&prefix) {
                Some(successor) => prop_assert!(whole < successor && !successor.starts_with(&prefix)),
                None => prop_assert!(prefix.iter().all(|b| *b == 0xff)),
            }
        }
    }

    #[test]
    fn integers_of_another_width_are_found_if_they_fit() {
        let mut key = Vec::new();
        assert!(encode(&Value::Int8(7), Type::Int4, &mut key).unwrap());
        assert_eq!(key, [0x80, 0, 0, 7]);
        assert!(!encode(&Value::Int8(1 << 40), Type::Int4, &mut key).unwrap());
        assert!(!encode(&Value::Null, Type::Int4, &mut key).unwrap());
        assert_eq!(encode(&Value::Bool(true), Type::Int4, &mut key).unwrap_err().sqlstate(), "XX000");
    }

    #[test]
    fn row_ids_sort_and_read_back() {
        let mut keys = Vec::new();
        for id in [i64::MIN, -1, 0, 1, i64::MAX] {
            let mut key = Vec::new();
            encode_rowid(id, &mut key);
            assert_eq!(decode_rowid(&key).unwrap(), id);
            keys.push(key);
        }
        assert!(keys.is_sorted());
    }
}
