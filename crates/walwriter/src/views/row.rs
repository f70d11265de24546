//! Values for the rows of views.

use std::time::SystemTime;

use sql::Value;
use wal::Lsn;

use crate::exec::to_timestamp;

pub(super) fn text(text: impl Into<String>) -> Value<'static> {
    Value::owned_text(text)
}

pub(super) fn text_or_null(value: Option<impl Into<String>>) -> Value<'static> {
    value.map_or(Value::Null, text)
}

pub(super) fn lsn_or_null(lsn: Option<Lsn>) -> Value<'static> {
    lsn.filter(|lsn| lsn.is_valid()).map_or(Value::Null, |lsn| Value::Lsn(lsn.as_u64()))
}

pub(super) fn time_or_null(time: Option<SystemTime>) -> Value<'static> {
    time.map_or(Value::Null, |time| Value::Timestamp(to_timestamp(time)))
}

/// A number that PostgreSQL has as an integer.
pub(super) fn number(number: impl TryInto<i32>) -> Value<'static> {
    Value::Int4(number.try_into().unwrap_or(i32::MAX))
}
