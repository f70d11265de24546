//! Functions of texts and bytes.

use std::borrow::Cow;

use super::{Function, MAX_RESULT, check_result, out_of_range, too_long};
use crate::error::{SqlError, sqlstate};
use crate::types::{Value, text};

impl Function {
    pub(super) fn measure(self, args: &[Value<'_>]) -> Result<Value<'static>, SqlError> {
        let length = match (self, args) {
            (Self::Length, [Value::Text(t)]) => text::characters(t),
            (Self::OctetLength, [Value::Text(t)]) => t.len(),
            (Self::ByteLength, [Value::Bytes(b)]) => b.len(),
            (Self::Position, [Value::Text(t), Value::Text(part)]) => {
                t.find(&**part).map_or(0, |at| text::characters(&t[..at]) + 1)
            }
            (Self::Ascii, [Value::Text(t)]) => t.chars().next().map_or(0, |c| u32::from(c) as usize),
            _ => return Err(self.wrong()),
        };
        Ok(Value::Int4(i32::try_from(length).map_err(|_| out_of_range("integer"))?))
    }

    pub(super) fn concat(self, args: &[Value<'_>]) -> Result<Value<'static>, SqlError> {
        let (separator, rest) = match (self, args) {
            (Self::ConcatSeparated, [Value::Null, ..]) => return Ok(Value::Null),
            (Self::ConcatSeparated, [Value::Text(separator), rest @ ..]) => (&**separator, rest),
            (_, rest) => ("", rest),
        };
        let parts: Vec<&str> = rest.iter().filter_map(Value::as_str).collect();
        check_result(parts.iter().map(|part| part.len() + separator.len()).sum())?;
        Ok(Value::owned_text(parts.join(separator)))
    }

    pub(super) fn encoding(self, args: &[Value<'_>]) -> Result<Value<'static>, SqlError> {
        let unknown = |format: &str| {
            SqlError::new(sqlstate::INVALID_PARAMETER_VALUE, format!("unrecognized encoding: \"{format}\""))
        };
        match (self, args) {
            (Self::Encode, [Value::Bytes(bytes), Value::Text(format)])
                if format.eq_ignore_ascii_case("hex") =>
            {
                let mut out = Vec::with_capacity(bytes.len() * 2);
                bytes.iter().for_each(|b| crate::types::bytea::push_hex(*b, &mut out));
                Ok(Value::owned_text(String::from_utf8_lossy(&out)))
            }
            (Self::Decode, [Value::Text(t), Value::Text(format)]) if format.eq_ignore_ascii_case("hex") => {
                Ok(Value::Bytes(Cow::Owned(crate::types::bytea::parse(&format!("\\x{t}"))?)))
            }
            (_, [_, Value::Text(format)]) => Err(unknown(format)),
            _ => Err(self.wrong()),
        }
    }

    pub(super) fn text<'a>(self, args: &[Value<'a>]) -> Result<Value<'a>, SqlError> {
        let subject = match args {
            [Value::Text(subject), ..] => subject,
            _ => return self.number_to_text(args),
        };
        let owned = match (self, &args[1..]) {
            (Self::Lower, []) => subject.to_lowercase(),
            (Self::Upper, []) => subject.to_uppercase(),
            (Self::Reverse, []) => subject.chars().rev().collect(),
            (Self::SubstringFrom, [Value::Int4(from)]) => {
                return Ok(slice(subject, i64::from(*from) - 1, i64::MAX));
            }
            (Self::SubstringFor, [Value::Int4(from), Value::Int4(count)]) => {
                if *count < 0 {
                    return Err(SqlError::new(
                        sqlstate::SUBSTRING_ERROR,
                        "negative substring length not allowed",
                    ));
                }
                let start = i64::from(*from) - 1;
                return Ok(slice(subject, start, start + i64::from(*count)));
            }
            (Self::Left, [Value::Int4(n)]) => {
                let length = if *n < 0 { text::characters(subject) as i64 } else { 0 };
                return Ok(slice(subject, 0, length + i64::from(*n)));
            }
            (Self::Right, [Value::Int4(n)]) => {
                let length = if *n < 0 { 0 } else { text::characters(subject) as i64 };
                return Ok(slice(subject, length - i64::from(*n), i64::MAX));
            }
            (Self::TrimBoth | Self::TrimLeft | Self::TrimRight, rest) => {
                let set = match rest {
                    [Value::Text(set)] => set.as_ref(),
                    _ => " ",
                };
                let mut trimmed = &**subject;
                if self != Self::TrimRight {
                    trimmed = trimmed.trim_start_matches(|c| set.contains(c));
                }
                if self != Self::TrimLeft {
                    trimmed = trimmed.trim_end_matches(|c| set.contains(c));
                }
                trimmed.to_owned()
            }
            (Self::Replace, [Value::Text(from), Value::Text(_)]) if from.is_empty() => subject.to_string(),
            (Self::Replace, [Value::Text(from), Value::Text(to)]) => {
                let count = subject.matches(&**from).count();
                if subject.len().saturating_add(count.saturating_mul(to.len())) > MAX_RESULT {
                    return Err(too_long());
                }
                subject.replace(&**from, to)
            }
            (Self::Repeat, [Value::Int4(count)]) => {
                let count = usize::try_from(*count).unwrap_or(0);
                if subject.len().saturating_mul(count) > MAX_RESULT {
                    return Err(too_long());
                }
                subject.repeat(count)
            }
            (Self::PadLeft | Self::PadRight, [Value::Int4(width), rest @ ..]) => {
                let fill = rest.first().and_then(Value::as_str).unwrap_or(" ");
                pad(subject, usize::try_from(*width).unwrap_or(0), fill, self == Self::PadLeft)?
            }
            (Self::QuoteIdent, []) => {
                let plain = subject.starts_with(|c: char| c.is_ascii_lowercase() || c == '_')
                    && subject.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
                if plain { subject.to_string() } else { format!("\"{}\"", subject.replace('"', "\"\"")) }
            }
            (Self::QuoteLiteral, []) => {
                let escape = if subject.contains('\\') { " E" } else { "" };
                format!("{escape}'{}'", subject.replace('\'', "''").replace('\\', "\\\\"))
            }
            _ => return Err(self.wrong()),
        };
        Ok(Value::owned_text(owned))
    }

    fn number_to_text(self, args: &[Value<'_>]) -> Result<Value<'static>, SqlError> {
        match (self, args) {
            (Self::ToHex, [value]) => {
                let value = value.as_i64().ok_or_else(|| self.wrong())?;
                Ok(Value::owned_text(format!("{value:x}")))
            }
            (Self::Chr, [Value::Int4(code)]) => {
                let c = u32::try_from(*code).ok().filter(|c| *c != 0).and_then(char::from_u32);
                let invalid = || {
                    SqlError::new(
                        sqlstate::PROGRAM_LIMIT_EXCEEDED,
                        format!("requested character not valid: {code}"),
                    )
                };
                Ok(Value::owned_text(c.ok_or_else(invalid)?))
            }
            _ => Err(self.wrong()),
        }
    }
}

/// Characters from `start` to before `end`, both counted from 0 and possibly outside the text.
fn slice<'a>(subject: &Cow<'a, str>, start: i64, end: i64) -> Value<'a> {
    let at = |n: i64| -> usize {
        let n = usize::try_from(n.max(0)).unwrap_or(usize::MAX);
        if subject.is_ascii() {
            n.min(subject.len())
        } else {
            subject.char_indices().nth(n).map_or(subject.len(), |(at, _)| at)
        }
    };
    let (start, end) = (at(start), at(end));
    let end = end.max(start);
    match subject {
        Cow::Borrowed(t) => Value::Text(Cow::Borrowed(&t[start..end])),
        Cow::Owned(t) => Value::owned_text(&t[start..end]),
    }
}

fn pad(subject: &str, width: usize, fill: &str, left: bool) -> Result<String, SqlError> {
    if width > MAX_RESULT / 4 {
        return Err(too_long());
    }
    let length = text::characters(subject);
    if length >= width {
        return Ok(subject.chars().take(width).collect());
    }
    let padding: String =
        fill.chars().cycle().take(if fill.is_empty() { 0 } else { width - length }).collect();
    Ok(if left { padding + subject } else { subject.to_owned() + &padding })
}
