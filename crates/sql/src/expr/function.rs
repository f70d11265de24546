//! Functions of their arguments alone.

use crate::error::{SqlError, sqlstate};
use crate::types::{Numeric, Value, text, timestamp};

use std::borrow::Cow;

/// A function whose arguments are not NULL (but for `concat` and its kin).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Function {
    /// `length(text)`, characters
    Length,
    /// `octet_length(text)`
    OctetLength,
    /// `length(bytea)`, `octet_length(bytea)`
    ByteLength,
    /// `lower(text)`
    Lower,
    /// `upper(text)`
    Upper,
    /// `substr(text, from)`
    SubstringFrom,
    /// `substr(text, from, count)`
    SubstringFor,
    /// `left(text, n)`
    Left,
    /// `right(text, n)`
    Right,
    /// `btrim(text[, characters])`
    TrimBoth,
    /// `ltrim(text[, characters])`
    TrimLeft,
    /// `rtrim(text[, characters])`
    TrimRight,
    /// `replace(text, from, to)`
    Replace,
    /// `repeat(text, count)`
    Repeat,
    /// `reverse(text)`
    Reverse,
    /// `strpos(text, part)`
    Position,
    /// `lpad(text, n[, fill])`
    PadLeft,
    /// `rpad(text, n[, fill])`
    PadRight,
    /// `concat(texts...)`: NULLs are empty
    Concat,
    /// `concat_ws(separator, texts...)`: NULLs are left out
    ConcatSeparated,
    /// `abs(number)`
    Abs,
    /// `sign(double)`
    Sign,
    /// `mod`: see [`super::ArithmeticOp::Modulo`]; here `floor(double or numeric)`
    Floor,
    /// `ceil(double or numeric)`
    Ceil,
    /// `round(double or numeric)`
    Round,
    /// `trunc(double)`
    Trunc,
    /// `sqrt(double)`
    Sqrt,
    /// `power(double, double)`
    Power,
    /// `exp(double)`
    Exp,
    /// `ln(double)`
    Ln,
    /// `ascii(text)`
    Ascii,
    /// `chr(integer)`
    Chr,
    /// `to_hex(bigint)`
    ToHex,
    /// `extract(epoch from timestamp)`, `date_part('epoch', ...)` as double
    EpochTimestamp,
    /// `extract(epoch from interval)`
    EpochInterval,
    /// `date_trunc(unit, timestamp)`
    DateTrunc,
    /// `to_timestamp(double)`: seconds since 1970
    ToTimestamp,
    /// `pg_wal_lsn_diff(lsn, lsn)`
    LsnDifference,
    /// `pg_size_pretty(bigint)`
    SizePretty,
    /// `encode(bytea, format)`
    Encode,
    /// `decode(text, format)`
    Decode,
    /// `quote_ident(text)`
    QuoteIdent,
    /// `quote_literal(text)`
    QuoteLiteral,
}

/// The longest text a function makes (`MaxAllocSize`).
const MAX_RESULT: usize = 64 << 20;

fn too_long() -> SqlError {
    SqlError::new(sqlstate::PROGRAM_LIMIT_EXCEEDED, "requested length too large")
}

/// An error for a length that no result may have.
pub(super) fn check_result(length: usize) -> Result<(), SqlError> {
    if length > MAX_RESULT { Err(too_long()) } else { Ok(()) }
}

fn out_of_range(what: &str) -> SqlError {
    SqlError::new(sqlstate::NUMERIC_VALUE_OUT_OF_RANGE, format!("{what} out of range"))
}

impl Function {
    /// Whether a NULL argument makes the result NULL without a call.
    pub fn is_strict(self) -> bool {
        !matches!(self, Self::Concat | Self::ConcatSeparated)
    }

    /// Calls it.
    pub(super) fn call<'a>(self, args: &[Value<'a>]) -> Result<Value<'a>, SqlError> {
        match self {
            Self::Length | Self::OctetLength | Self::ByteLength | Self::Position | Self::Ascii => {
                self.measure(args)
            }
            Self::Abs | Self::Sign | Self::Floor | Self::Ceil | Self::Round | Self::Trunc => {
                self.rounding(args)
            }
            Self::Sqrt | Self::Power | Self::Exp | Self::Ln => self.analytic(args),
            Self::EpochTimestamp | Self::EpochInterval | Self::DateTrunc | Self::ToTimestamp => {
                self.time(args)
            }
            Self::Concat | Self::ConcatSeparated => self.concat(args),
            Self::LsnDifference => match args {
                [Value::Lsn(a), Value::Lsn(b)] => {
                    let difference = Numeric::from_integer(i128::from(*a) - i128::from(*b));
                    Ok(Value::Numeric(Box::new(difference)))
                }
                _ => Err(self.wrong()),
            },
            Self::SizePretty => match args {
                [size] => Ok(Value::owned_text(size_pretty(size.as_i64().ok_or_else(|| self.wrong())?))),
                _ => Err(self.wrong()),
            },
            Self::Encode | Self::Decode => self.encoding(args),
            _ => self.text(args),
        }
    }

    #[cold]
    fn wrong(self) -> SqlError {
        SqlError::internal(format!("function {self:?} called with other arguments"))
    }

    fn measure(self, args: &[Value<'_>]) -> Result<Value<'static>, SqlError> {
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

    fn rounding(self, args: &[Value<'_>]) -> Result<Value<'static>, SqlError> {
        let numeric = |n: Numeric| Ok(Value::Numeric(Box::new(n)));
        match (self, args) {
            (Self::Abs, [Value::Int2(v)]) => {
                v.checked_abs().map(Value::Int2).ok_or_else(|| out_of_range("smallint"))
            }
            (Self::Abs, [Value::Int4(v)]) => {
                v.checked_abs().map(Value::Int4).ok_or_else(|| out_of_range("integer"))
            }
            (Self::Abs, [Value::Int8(v)]) => {
                v.checked_abs().map(Value::Int8).ok_or_else(|| out_of_range("bigint"))
            }
            (Self::Abs, [Value::Float8(v)]) => Ok(Value::Float8(v.abs())),
            (Self::Abs, [Value::Numeric(v)]) => numeric(if v.signum() < 0 { v.negate()? } else { **v }),
            (Self::Sign, [Value::Float8(v)]) => Ok(Value::Float8(if *v == 0.0 { 0.0 } else { v.signum() })),
            (Self::Floor, [Value::Float8(v)]) => Ok(Value::Float8(v.floor())),
            (Self::Ceil, [Value::Float8(v)]) => Ok(Value::Float8(v.ceil())),
            (Self::Round, [Value::Float8(v)]) => Ok(Value::Float8(v.round_ties_even())),
            (Self::Trunc, [Value::Float8(v)]) => Ok(Value::Float8(v.trunc())),
            (Self::Floor, [Value::Numeric(v)]) => numeric(v.floor(false)),
            (Self::Ceil, [Value::Numeric(v)]) => numeric(v.floor(true)),
            (Self::Round, [Value::Numeric(v)]) => numeric(Numeric::from_integer(v.round())),
            (Self::Round, [Value::Numeric(v), Value::Int4(digits)]) => {
                let digits =
                    u32::try_from(*digits).map_err(|_| SqlError::unsupported("rounding before the point"))?;
                numeric(v.rescale(digits).ok_or_else(|| out_of_range("numeric"))?)
            }
            _ => Err(self.wrong()),
        }
    }

    fn analytic(self, args: &[Value<'_>]) -> Result<Value<'static>, SqlError> {
        let invalid = |code, message: &str| Err(SqlError::new(code, message));
        let (input_finite, result) = match (self, args) {
            (Self::Sqrt, [Value::Float8(v)]) if *v < 0.0 => {
                return invalid("2201F", "cannot take square root of a negative number");
            }
            (Self::Ln, [Value::Float8(v)]) if *v == 0.0 => {
                return invalid("2201E", "cannot take logarithm of zero");
            }
            (Self::Ln, [Value::Float8(v)]) if *v < 0.0 => {
                return invalid("2201E", "cannot take logarithm of a negative number");
            }
            (Self::Power, [Value::Float8(a), Value::Float8(b)]) if *a == 0.0 && *b < 0.0 => {
                return invalid("2201F", "zero raised to a negative power is undefined");
            }
            (Self::Power, [Value::Float8(a), Value::Float8(b)])
                if *a < 0.0 && b.is_finite() && b.fract() != 0.0 =>
            {
                return invalid(
                    "2201F",
                    "a negative number raised to a non-integer power yields a complex result",
                );
            }
            (Self::Sqrt, [Value::Float8(v)]) => (v.is_finite(), v.sqrt()),
            (Self::Ln, [Value::Float8(v)]) => (v.is_finite(), v.ln()),
            (Self::Exp, [Value::Float8(v)]) => (v.is_finite(), v.exp()),
            (Self::Power, [Value::Float8(a), Value::Float8(b)]) => {
                (a.is_finite() && b.is_finite(), a.powf(*b))
            }
            _ => return Err(self.wrong()),
        };
        if input_finite && result.is_infinite() {
            return invalid(sqlstate::NUMERIC_VALUE_OUT_OF_RANGE, "value out of range: overflow");
        }
        Ok(Value::Float8(result))
    }

    fn time(self, args: &[Value<'_>]) -> Result<Value<'static>, SqlError> {
        match (self, args) {
            (Self::EpochTimestamp, [Value::Timestamp(v)]) => Ok(Value::Float8(match *v {
                timestamp::INFINITY => f64::INFINITY,
                timestamp::NEGATIVE_INFINITY => f64::NEG_INFINITY,
                v => (v as f64 - timestamp::from_unix_micros(0) as f64) / 1e6,
            })),
            (Self::EpochInterval, [Value::Interval(v)]) => {
                // A year counts 365.25 days here (`interval_part`).
                let months =
                    f64::from(v.months / 12) * 365.25 * 86_400.0 + f64::from(v.months % 12) * 30.0 * 86_400.0;
                Ok(Value::Float8(months + f64::from(v.days) * 86_400.0 + v.micros as f64 / 1e6))
            }
            (Self::ToTimestamp, [Value::Float8(seconds)]) => to_timestamp(*seconds),
            (Self::DateTrunc, [Value::Text(unit), Value::Timestamp(v)]) => date_trunc(unit, *v),
            _ => Err(self.wrong()),
        }
    }

    fn concat(self, args: &[Value<'_>]) -> Result<Value<'static>, SqlError> {
        let (separator, rest) = match (self, args) {
            (Self::ConcatSeparated, [Value::Null, ..]) => return Ok(Value::Null),
            (Self::ConcatSeparated, [Value::Text(separator), rest @ ..]) => (&**separator, rest),
            (_, rest) => ("", rest),
        };
        let parts: Vec<&str> = rest.iter().filter_map(Value::as_str).collect();
        check_result(parts.iter().map(|part| part.len() + separator.len()).sum())?;
        Ok(Value::owned_text(parts.join(separator)))
    }

    fn encoding(self, args: &[Value<'_>]) -> Result<Value<'static>, SqlError> {
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

    fn text<'a>(self, args: &[Value<'a>]) -> Result<Value<'a>, SqlError> {
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

/// `pg_size_pretty`: the unit grows when the number would reach ten times its size, halves are rounded up.
fn size_pretty(size: i64) -> String {
    if size.unsigned_abs() < 10 * 1024 {
        return format!("{size} bytes");
    }
    // Shifts keep one bit more than shown, for rounding.
    let mut size = i128::from(size) / (1 << 9);
    for unit in ["kB", "MB", "GB", "TB", "PB"] {
        if size.abs() < 20 * 1024 - 1 || unit == "PB" {
            let half_rounded = (size + size.signum()) / 2;
            return format!("{half_rounded} {unit}");
        }
        size /= 1 << 10;
    }
    String::new()
}

/// The point in time this long after 1970; infinities stay what they are.
fn to_timestamp(seconds: f64) -> Result<Value<'static>, SqlError> {
    let at = match (seconds * 1e6).round() {
        _ if seconds == f64::INFINITY => Some(timestamp::INFINITY),
        _ if seconds == f64::NEG_INFINITY => Some(timestamp::NEGATIVE_INFINITY),
        micros if micros.abs() < 9.22e18 => Some(timestamp::from_unix_micros(micros as i64)),
        _ => None,
    };
    at.filter(|at| timestamp::in_range(*at))
        .map(Value::Timestamp)
        .ok_or_else(|| SqlError::new(sqlstate::DATETIME_FIELD_OVERFLOW, "timestamp out of range"))
}

fn date_trunc(unit: &str, value: i64) -> Result<Value<'static>, SqlError> {
    if value == timestamp::INFINITY || value == timestamp::NEGATIVE_INFINITY {
        return Ok(Value::Timestamp(value));
    }
    let mut fields = timestamp::fields(value);
    let micros = match unit.to_ascii_lowercase().as_str() {
        "microseconds" => 1,
        "milliseconds" => 1000,
        "second" => 1_000_000,
        "minute" => 60_000_000,
        "hour" => 3_600_000_000,
        "day" => i64::MAX,
        "month" => {
            fields.day = 1;
            i64::MAX
        }
        "year" => {
            (fields.day, fields.month) = (1, 1);
            i64::MAX
        }
        other => {
            let message = format!("timestamp units \"{other}\" not recognized");
            return Err(SqlError::new(sqlstate::INVALID_PARAMETER_VALUE, message));
        }
    };
    fields.micros = if micros == i64::MAX { 0 } else { fields.micros - fields.micros % micros };
    timestamp::from_fields(fields)
        .map(Value::Timestamp)
        .ok_or_else(|| SqlError::new(sqlstate::DATETIME_FIELD_OVERFLOW, "timestamp out of range"))
}
