//! Arithmetic with PostgreSQL's errors: 22003 on overflow, 22012 on division by zero.

use super::ArithmeticOp;
use crate::error::{SqlError, sqlstate};
use crate::types::{Interval, Value, timestamp};

#[cold]
fn out_of_range(what: &str) -> SqlError {
    SqlError::new(sqlstate::NUMERIC_VALUE_OUT_OF_RANGE, format!("{what} out of range"))
}

#[cold]
fn division_by_zero() -> SqlError {
    SqlError::new(sqlstate::DIVISION_BY_ZERO, "division by zero")
}

#[cold]
fn timestamp_out_of_range() -> SqlError {
    SqlError::new(sqlstate::DATETIME_FIELD_OVERFLOW, "timestamp out of range")
}

macro_rules! integer {
    ($op:expr, $a:expr, $b:expr, $variant:path, $name:literal) => {{
        let (a, b) = (*$a, *$b);
        let result = match $op {
            ArithmeticOp::Add => a.checked_add(b),
            ArithmeticOp::Subtract => a.checked_sub(b),
            ArithmeticOp::Multiply => a.checked_mul(b),
            ArithmeticOp::Divide | ArithmeticOp::Modulo if b == 0 => return Err(division_by_zero()),
            ArithmeticOp::Divide => a.checked_div(b),
            // The smallest number modulo -1 is 0, although its quotient overflows.
            ArithmeticOp::Modulo => Some(a.checked_rem(b).unwrap_or(0)),
        };
        result.map($variant).ok_or_else(|| out_of_range($name))
    }};
}

/// One operation on two values that are not NULL and of fitting types.
pub(super) fn apply(op: ArithmeticOp, a: &Value<'_>, b: &Value<'_>) -> Result<Value<'static>, SqlError> {
    match (a, b) {
        (Value::Int4(a), Value::Int4(b)) => integer!(op, a, b, Value::Int4, "integer"),
        (Value::Int8(a), Value::Int8(b)) => integer!(op, a, b, Value::Int8, "bigint"),
        (Value::Int2(a), Value::Int2(b)) => integer!(op, a, b, Value::Int2, "smallint"),
        (Value::Float8(a), Value::Float8(b)) => float(op, *a, *b),
        (Value::Numeric(a), Value::Numeric(b)) => {
            let result = match op {
                ArithmeticOp::Add => a.checked_add(**b),
                ArithmeticOp::Subtract => a.checked_sub(**b),
                ArithmeticOp::Multiply => a.checked_mul(**b),
                ArithmeticOp::Divide => a.checked_div(**b),
                ArithmeticOp::Modulo => a.checked_rem(**b),
            };
            result.map(|n| Value::Numeric(Box::new(n)))
        }
        (Value::Timestamp(a), Value::Timestamp(b)) if op == ArithmeticOp::Subtract => {
            let finite = |v: i64| v != timestamp::INFINITY && v != timestamp::NEGATIVE_INFINITY;
            if !finite(*a) || !finite(*b) {
                let message = "cannot subtract infinite timestamps";
                return Err(SqlError::new(sqlstate::DATETIME_FIELD_OVERFLOW, message));
            }
            let difference = a.checked_sub(*b).ok_or_else(timestamp_out_of_range)?;
            Ok(Value::Interval(Box::new(Interval::from_difference(difference))))
        }
        (Value::Timestamp(a), Value::Interval(b)) => match op {
            ArithmeticOp::Add => shift(*a, b),
            _ => shift(*a, &b.negate().ok_or_else(|| out_of_range("interval"))?),
        },
        (Value::Interval(a), Value::Timestamp(b)) => shift(*b, a),
        (Value::Interval(a), Value::Interval(b)) => {
            let b = if op == ArithmeticOp::Subtract { b.negate() } else { Some(**b) };
            b.and_then(|b| sum(a, &b))
                .map(|i| Value::Interval(Box::new(i)))
                .ok_or_else(|| out_of_range("interval"))
        }
        (Value::Lsn(a), Value::Lsn(b)) if op == ArithmeticOp::Subtract => {
            let difference = crate::types::Numeric::from_integer(i128::from(*a) - i128::from(*b));
            Ok(Value::Numeric(Box::new(difference)))
        }
        _ => Err(SqlError::internal("arithmetic on values of other types")),
    }
}

fn float(op: ArithmeticOp, a: f64, b: f64) -> Result<Value<'static>, SqlError> {
    let result = match op {
        ArithmeticOp::Add => a + b,
        ArithmeticOp::Subtract => a - b,
        ArithmeticOp::Multiply => a * b,
        ArithmeticOp::Divide if b == 0.0 && !a.is_nan() => return Err(division_by_zero()),
        ArithmeticOp::Divide => a / b,
        ArithmeticOp::Modulo => return Err(SqlError::internal("modulo of doubles")),
    };
    if result.is_infinite() && a.is_finite() && b.is_finite() {
        return Err(SqlError::new(sqlstate::NUMERIC_VALUE_OUT_OF_RANGE, "value out of range: overflow"));
    }
    if result == 0.0
        && a != 0.0
        && matches!(op, ArithmeticOp::Multiply | ArithmeticOp::Divide)
        && b != 0.0
        && b.is_finite()
    {
        return Err(SqlError::new(sqlstate::NUMERIC_VALUE_OUT_OF_RANGE, "value out of range: underflow"));
    }
    Ok(Value::Float8(result))
}

fn shift(at: i64, by: &Interval) -> Result<Value<'static>, SqlError> {
    if at == timestamp::INFINITY || at == timestamp::NEGATIVE_INFINITY {
        return Ok(Value::Timestamp(at));
    }
    let at = if by.months == 0 { Some(at) } else { timestamp::add_months(at, by.months) };
    at.and_then(|at| at.checked_add(i64::from(by.days).checked_mul(86_400_000_000)?))
        .and_then(|at| at.checked_add(by.micros))
        .filter(|at| {
            timestamp::in_range(*at) && *at != timestamp::INFINITY && *at != timestamp::NEGATIVE_INFINITY
        })
        .map(Value::Timestamp)
        .ok_or_else(timestamp_out_of_range)
}

fn sum(a: &Interval, b: &Interval) -> Option<Interval> {
    Some(Interval {
        months: a.months.checked_add(b.months)?,
        days: a.days.checked_add(b.days)?,
        micros: a.micros.checked_add(b.micros)?,
    })
}

/// Change of sign of a value that is not NULL.
pub(super) fn negate(value: &Value<'_>) -> Result<Value<'static>, SqlError> {
    match value {
        Value::Int4(v) => v.checked_neg().map(Value::Int4).ok_or_else(|| out_of_range("integer")),
        Value::Int8(v) => v.checked_neg().map(Value::Int8).ok_or_else(|| out_of_range("bigint")),
        Value::Int2(v) => v.checked_neg().map(Value::Int2).ok_or_else(|| out_of_range("smallint")),
        Value::Float8(v) => Ok(Value::Float8(-v)),
        Value::Numeric(v) => v.negate().map(|n| Value::Numeric(Box::new(n))),
        Value::Interval(v) => {
            v.negate().map(|i| Value::Interval(Box::new(i))).ok_or_else(|| out_of_range("interval"))
        }
        _ => Err(SqlError::internal("change of sign of something else than a number")),
    }
}
