//! Functions of points in time and spans.

use super::Function;
use crate::error::{SqlError, sqlstate};
use crate::types::{Value, timestamp};

impl Function {
    pub(super) fn time(self, args: &[Value<'_>]) -> Result<Value<'static>, SqlError> {
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
