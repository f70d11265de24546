//! What an aggregate has of a group's rows so far.

use super::{Aggregate, AggregateFunction};
use crate::error::{SqlError, sqlstate};
use crate::types::{Numeric, Type, Value};

/// The state of one aggregate in one group.
#[derive(Clone, Debug)]
pub(super) enum State {
    Count(i64),
    Integers { sum: i128, count: i64 },
    Floats { sum: f64, count: i64 },
    Numerics { sum: Numeric, count: i64 },
    Best(Value<'static>),
    Bool(Option<bool>),
}

impl State {
    pub(super) fn count_row(&mut self) {
        if let Self::Count(count) = self {
            *count += 1;
        }
    }

    pub(super) fn add(&mut self, function: AggregateFunction, value: Value<'_>) -> Result<(), SqlError> {
        match (self, value) {
            (Self::Count(count), _) => *count += 1,
            (Self::Integers { sum, count }, value) => {
                let value = value.as_i64().ok_or_else(|| SqlError::internal("sum of no integer"))?;
                // 2^64 rows of the largest bigint fit.
                *sum += i128::from(value);
                *count += 1;
            }
            (Self::Floats { sum, count }, Value::Float8(value)) => {
                *sum += value;
                *count += 1;
            }
            (Self::Numerics { sum, count }, Value::Numeric(value)) => {
                *sum = sum.checked_add(*value)?;
                *count += 1;
            }
            (Self::Best(best), value) => {
                let better = match value.compare(best) {
                    _ if best.is_null() => true,
                    Some(order) if function == AggregateFunction::Min => order.is_lt(),
                    Some(order) => order.is_gt(),
                    None => return Err(SqlError::internal("minimum of different types")),
                };
                if better {
                    *best = value.into_owned();
                }
            }
            (Self::Bool(state), Value::Bool(value)) => {
                *state = Some(match (function, *state) {
                    (_, None) => value,
                    (AggregateFunction::BoolAnd, Some(before)) => before && value,
                    (_, Some(before)) => before || value,
                });
            }
            _ => return Err(SqlError::internal("aggregate over a value of another type")),
        }
        Ok(())
    }

    pub(super) fn finish(self, aggregate: &Aggregate) -> Result<Value<'static>, SqlError> {
        let average = aggregate.function == AggregateFunction::Avg;
        let quotient = |sum: Numeric, count: i64| {
            sum.checked_div(Numeric::from_integer(i128::from(count))).map(|n| Value::Numeric(Box::new(n)))
        };
        Ok(match self {
            Self::Count(count) => Value::Int8(count),
            Self::Integers { count: 0, .. }
            | Self::Floats { count: 0, .. }
            | Self::Numerics { count: 0, .. } => Value::Null,
            Self::Integers { sum, count } if average => quotient(Numeric::from_integer(sum), count)?,
            Self::Integers { sum, .. } if aggregate.arg_type == Type::Int8 => {
                Value::Numeric(Box::new(Numeric::from_integer(sum)))
            }
            Self::Integers { sum, .. } => {
                Value::Int8(i64::try_from(sum).map_err(|_| {
                    SqlError::new(sqlstate::NUMERIC_VALUE_OUT_OF_RANGE, "bigint out of range")
                })?)
            }
            Self::Floats { sum, count } if average => Value::Float8(sum / count as f64),
            Self::Floats { sum, .. } => Value::Float8(sum),
            Self::Numerics { sum, count } if average => quotient(sum, count)?,
            Self::Numerics { sum, .. } => Value::Numeric(Box::new(sum)),
            Self::Best(value) => value,
            Self::Bool(value) => value.map_or(Value::Null, Value::Bool),
        })
    }
}
