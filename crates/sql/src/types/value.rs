//! A value of any type, borrowed wherever it was read from.
//!
//! Rows and parameters are read as `Value<'a>` pointing into their bytes; only results of computations own memory. The
//! type of a value is known from its expression: `Timestamp` stands for both timestamp types, `Text` for all strings and
//! jsonb.

use std::borrow::Cow;
use std::cmp::Ordering;

use super::{Interval, Numeric};

/// One value.
#[derive(Clone, Debug, PartialEq, Default)]
pub enum Value<'a> {
    /// NULL of any type
    #[default]
    Null,
    /// `boolean`
    Bool(bool),
    /// `smallint`
    Int2(i16),
    /// `integer`
    Int4(i32),
    /// `bigint`
    Int8(i64),
    /// `double precision`
    Float8(f64),
    /// `text`, `varchar`, `char` (without trailing blanks), `name`, `jsonb` (normalised)
    Text(Cow<'a, str>),
    /// `bytea`
    Bytes(Cow<'a, [u8]>),
    /// Microseconds since 2000-01-01 00:00:00 (UTC for `timestamptz`); `i64::MIN` and `i64::MAX` are the infinities
    Timestamp(i64),
    /// `uuid`
    Uuid([u8; 16]),
    /// `numeric`
    Numeric(Box<Numeric>),
    /// `interval`
    Interval(Box<Interval>),
    /// `oid`
    Oid(u32),
    /// `pg_lsn`
    Lsn(u64),
    /// The result of a function called for its effect; shown as an empty string
    Void,
}

impl<'a> Value<'a> {
    /// Text borrowed from somewhere.
    pub fn text(text: &'a str) -> Self {
        Self::Text(Cow::Borrowed(text))
    }

    /// Text of its own.
    pub fn owned_text(text: impl Into<String>) -> Value<'static> {
        Value::Text(Cow::Owned(text.into()))
    }

    /// Whether this is NULL.
    pub fn is_null(&self) -> bool {
        matches!(self, Self::Null)
    }

    /// The same value pointing into this one: never copies text or bytes.
    pub fn borrow(&self) -> Value<'_> {
        match self {
            Self::Text(t) => Value::Text(Cow::Borrowed(t)),
            Self::Bytes(b) => Value::Bytes(Cow::Borrowed(b)),
            Self::Null => Value::Null,
            Self::Bool(v) => Value::Bool(*v),
            Self::Int2(v) => Value::Int2(*v),
            Self::Int4(v) => Value::Int4(*v),
            Self::Int8(v) => Value::Int8(*v),
            Self::Float8(v) => Value::Float8(*v),
            Self::Timestamp(v) => Value::Timestamp(*v),
            Self::Uuid(v) => Value::Uuid(*v),
            Self::Numeric(v) => Value::Numeric(v.clone()),
            Self::Interval(v) => Value::Interval(v.clone()),
            Self::Oid(v) => Value::Oid(*v),
            Self::Lsn(v) => Value::Lsn(*v),
            Self::Void => Value::Void,
        }
    }

    /// The same value with memory of its own.
    pub fn into_owned(self) -> Value<'static> {
        match self {
            Self::Text(t) => Value::Text(Cow::Owned(t.into_owned())),
            Self::Bytes(b) => Value::Bytes(Cow::Owned(b.into_owned())),
            Self::Null => Value::Null,
            Self::Bool(v) => Value::Bool(v),
            Self::Int2(v) => Value::Int2(v),
            Self::Int4(v) => Value::Int4(v),
            Self::Int8(v) => Value::Int8(v),
            Self::Float8(v) => Value::Float8(v),
            Self::Timestamp(v) => Value::Timestamp(v),
            Self::Uuid(v) => Value::Uuid(v),
            Self::Numeric(v) => Value::Numeric(v),
            Self::Interval(v) => Value::Interval(v),
            Self::Oid(v) => Value::Oid(v),
            Self::Lsn(v) => Value::Lsn(v),
            Self::Void => Value::Void,
        }
    }

    /// The value of an integer of any width.
    pub fn as_i64(&self) -> Option<i64> {
        match self {
            Self::Int2(v) => Some(i64::from(*v)),
            Self::Int4(v) => Some(i64::from(*v)),
            Self::Int8(v) => Some(*v),
            Self::Oid(v) => Some(i64::from(*v)),
            _ => None,
        }
    }

    /// The characters of a string.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::Text(t) => Some(t),
            _ => None,
        }
    }

    /// Heap bytes that this value holds or points to, for memory accounting.
    pub fn payload_len(&self) -> usize {
        match self {
            Self::Text(t) => t.len(),
            Self::Bytes(b) => b.len(),
            _ => 0,
        }
    }

    /// Order of two values of one type, neither NULL, as PostgreSQL's btree operator classes have it (C collation; NaN is
    /// the largest float). `None` when the types differ: the planner never lets that happen.
    pub fn compare(&self, other: &Value<'_>) -> Option<Ordering> {
        Some(match (self, other) {
            (Self::Int4(a), Value::Int4(b)) => a.cmp(b),
            (Self::Int8(a), Value::Int8(b)) => a.cmp(b),
            (Self::Int2(a), Value::Int2(b)) => a.cmp(b),
            (Self::Text(a), Value::Text(b)) => a.as_bytes().cmp(b.as_bytes()),
            (Self::Bytes(a), Value::Bytes(b)) => a.cmp(b),
            (Self::Bool(a), Value::Bool(b)) => a.cmp(b),
            (Self::Float8(a), Value::Float8(b)) => super::float::compare(*a, *b),
            (Self::Timestamp(a), Value::Timestamp(b)) => a.cmp(b),
            (Self::Uuid(a), Value::Uuid(b)) => a.cmp(b),
            (Self::Numeric(a), Value::Numeric(b)) => a.compare(b),
            (Self::Interval(a), Value::Interval(b)) => a.compare(b),
            (Self::Oid(a), Value::Oid(b)) => a.cmp(b),
            (Self::Lsn(a), Value::Lsn(b)) => a.cmp(b),
            (Self::Void, Value::Void) => Ordering::Equal,
            _ => return None,
        })
    }
}
