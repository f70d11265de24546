//! Functions of numbers.

use super::{Function, out_of_range};
use crate::error::{SqlError, sqlstate};
use crate::types::{Numeric, Value};

impl Function {
    pub(super) fn rounding(self, args: &[Value<'_>]) -> Result<Value<'static>, SqlError> {
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

    pub(super) fn analytic(self, args: &[Value<'_>]) -> Result<Value<'static>, SqlError> {
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
}

/// `pg_size_pretty`: the unit grows when the number would reach ten times its size, halves are rounded up.
pub(super) fn size_pretty(size: i64) -> String {
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
