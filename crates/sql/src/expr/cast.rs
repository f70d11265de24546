//! Conversion of values between types.
//!
//! Which conversions a statement may use is the planner's decision (`plan::bind::coerce`); here they are done.

use std::borrow::Cow;

use crate::error::{SqlError, sqlstate};
use crate::types::{Numeric, Type, Value, text};

#[cold]
fn out_of_range(ty: Type) -> SqlError {
    SqlError::new(sqlstate::NUMERIC_VALUE_OUT_OF_RANGE, format!("{} out of range", ty.name()))
}

/// Converts a value. `explicit` cuts text that is too long; otherwise it is refused (22001).
pub(crate) fn cast(value: Value<'_>, from: Type, to: Type, explicit: bool) -> Result<Value<'_>, SqlError> {
    if value.is_null() {
        return Ok(Value::Null);
    }
    match to {
        Type::Text | Type::Varchar(_) | Type::Char(_) | Type::Name => to_string(value, from, to, explicit),
        Type::Int2 | Type::Int4 | Type::Int8 | Type::Oid => to_integer(value, to),
        Type::Float8 => match value {
            Value::Float8(_) => Ok(value),
            Value::Numeric(n) => Ok(Value::Float8(n.to_f64())),
            Value::Text(t) => crate::types::float::parse(&t).map(Value::Float8),
            other => other.as_i64().map(|v| Value::Float8(v as f64)).ok_or_else(|| wrong(from, to)),
        },
        Type::Numeric => match value {
            Value::Numeric(_) => Ok(value),
            Value::Float8(v) => Numeric::from_f64(v).map(|n| Value::Numeric(Box::new(n))),
            Value::Text(t) => text::parse(to, &t).map(Value::into_owned),
            other => {
                let integer = other.as_i64().ok_or_else(|| wrong(from, to))?;
                Ok(Value::Numeric(Box::new(Numeric::from_integer(i128::from(integer)))))
            }
        },
        Type::Bool => match value {
            Value::Bool(_) => Ok(value),
            Value::Int4(v) => Ok(Value::Bool(v != 0)),
            Value::Text(t) => text::parse(to, &t).map(Value::into_owned),
            _ => Err(wrong(from, to)),
        },
        _ => match value {
            // Both timestamp types are the same numbers while the time zone is UTC.
            Value::Timestamp(_) if matches!(to, Type::Timestamp | Type::Timestamptz) => Ok(value),
            Value::Text(t) if from != Type::Jsonb || to != Type::Jsonb => {
                text::parse(to, &t).map(Value::into_owned)
            }
            same if from.without_length() == to.without_length() => Ok(same),
            _ => Err(wrong(from, to)),
        },
    }
}

#[cold]
fn wrong(from: Type, to: Type) -> SqlError {
    SqlError::internal(format!("conversion from {} to {}", from.name(), to.name()))
}

fn to_integer(value: Value<'_>, to: Type) -> Result<Value<'_>, SqlError> {
    let integer = match &value {
        Value::Text(t) => return text::parse(to, t).map(Value::into_owned),
        Value::Bool(v) => i64::from(*v),
        Value::Float8(v) => {
            let rounded = v.round_ties_even();
            if !(-9_223_372_036_854_775_808.0..9_223_372_036_854_775_808.0).contains(&rounded) {
                return Err(out_of_range(to));
            }
            rounded as i64
        }
        Value::Numeric(n) => i64::try_from(n.round()).map_err(|_| out_of_range(to))?,
        other => {
            other.as_i64().ok_or_else(|| SqlError::internal("conversion of something else to an integer"))?
        }
    };
    match to {
        Type::Int2 => i16::try_from(integer).map(Value::Int2),
        Type::Int4 => i32::try_from(integer).map(Value::Int4),
        Type::Oid => u32::try_from(integer).map(Value::Oid),
        _ => Ok(Value::Int8(integer)),
    }
    .map_err(|_| out_of_range(to))
}

fn to_string<'a>(value: Value<'a>, from: Type, to: Type, explicit: bool) -> Result<Value<'a>, SqlError> {
    let string: Cow<'a, str> = match value {
        Value::Text(t) => t,
        Value::Bool(v) => Cow::Borrowed(if v { "true" } else { "false" }),
        other => {
            let mut out = Vec::new();
            text::write(&other, from, &mut out);
            Cow::Owned(String::from_utf8(out).map_err(|_| SqlError::internal("value printed as no text"))?)
        }
    };
    match to {
        Type::Varchar(Some(length)) => fit(string, length as usize, to, explicit).map(Value::Text),
        Type::Char(length) => {
            let length = length.map_or(usize::MAX, |n| n as usize);
            // Trailing blanks are not kept: they are not part of the value.
            fit(trim_end(string), length, to, explicit).map(|t| Value::Text(trim_end(t)))
        }
        Type::Name => Ok(Value::Text(Cow::Owned(text::truncate_name(&string).to_owned()))),
        _ => Ok(Value::Text(string)),
    }
}

fn trim_end(text: Cow<'_, str>) -> Cow<'_, str> {
    match text {
        Cow::Borrowed(t) => Cow::Borrowed(t.trim_end_matches(' ')),
        Cow::Owned(mut t) => {
            t.truncate(t.trim_end_matches(' ').len());
            Cow::Owned(t)
        }
    }
}

/// Checks or cuts a text to its length in characters; blanks beyond it are always cut.
fn fit(text: Cow<'_, str>, length: usize, to: Type, explicit: bool) -> Result<Cow<'_, str>, SqlError> {
    if text.len() <= length {
        return Ok(text);
    }
    let Some((end, _)) = text.char_indices().nth(length) else { return Ok(text) };
    if !explicit && !text[end..].bytes().all(|b| b == b' ') {
        let message = format!("value too long for type {}", to.display_name());
        return Err(SqlError::new(sqlstate::STRING_DATA_RIGHT_TRUNCATION, message));
    }
    Ok(match text {
        Cow::Borrowed(t) => Cow::Borrowed(&t[..end]),
        Cow::Owned(mut t) => {
            t.truncate(end);
            Cow::Owned(t)
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text_to(input: &str, to: Type, explicit: bool) -> Result<String, &'static str> {
        cast(Value::text(input), Type::Text, to, explicit)
            .map(|v| v.as_str().unwrap_or_default().to_owned())
            .map_err(|e| e.sqlstate())
    }

    #[test]
    fn lengths_are_checked_on_assignment_and_cut_when_asked() {
        let varchar = Type::Varchar(Some(3));
        assert_eq!(text_to("abc", varchar, false), Ok("abc".into()));
        assert_eq!(text_to("abcd", varchar, false), Err("22001"));
        assert_eq!(text_to("ab   ", varchar, false), Ok("ab ".into()));
        assert_eq!(text_to("abcd", varchar, true), Ok("abc".into()));
        assert_eq!(text_to("äöüx", varchar, true), Ok("äöü".into()));
        assert_eq!(text_to("äöü", varchar, false), Ok("äöü".into()));
        let char = Type::Char(Some(3));
        assert_eq!(text_to("a   ", char, false), Ok("a".into()));
        assert_eq!(text_to("a b c", char, true), Ok("a b".into()));
        assert_eq!(text_to("a  c", char, true), Ok("a".into()));
        assert_eq!(text_to("abcd", char, false), Err("22001"));
    }

    #[test]
    fn numbers_round_and_overflow_as_in_postgresql() {
        let float = |v: f64, to| cast(Value::Float8(v), Type::Float8, to, true);
        assert_eq!(float(2.5, Type::Int4).unwrap(), Value::Int4(2));
        assert_eq!(float(3.5, Type::Int4).unwrap(), Value::Int4(4));
        assert_eq!(float(1e10, Type::Int4).unwrap_err().message(), "integer out of range");
        assert_eq!(float(f64::NAN, Type::Int8).unwrap_err().sqlstate(), "22003");
        let numeric = Value::Numeric(Box::new(Numeric::parse("2.5").unwrap().unwrap()));
        assert_eq!(cast(numeric, Type::Numeric, Type::Int8, true).unwrap(), Value::Int8(3));
        assert_eq!(cast(Value::Int8(1 << 40), Type::Int8, Type::Int4, true).unwrap_err().sqlstate(), "22003");
    }
}
