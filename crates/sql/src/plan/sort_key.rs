//! ORDER BY: values as bytes in the order that it asks for.

use crate::Value;
use crate::expr::Expr;
use crate::key::float_bits;

/// One column of an ORDER BY.
#[derive(Clone, Debug)]
pub struct SortKey {
    /// What to sort by
    pub expr: Expr,
    /// `DESC`
    pub descending: bool,
    /// NULLs in front
    pub nulls_first: bool,
}

const NULL_IN_FRONT: u8 = 0;
const VALUE: u8 = 1;
const NULL_BEHIND: u8 = 2;

impl SortKey {
    /// Appends a value of this key. What is appended for several keys, one after the other, sorts as the rows do; values
    /// that are equal give equal bytes. Values of one key are of one type.
    pub fn encode(&self, value: &Value<'_>, out: &mut Vec<u8>) {
        if value.is_null() {
            out.push(if self.nulls_first { NULL_IN_FRONT } else { NULL_BEHIND });
            return;
        }
        out.push(VALUE);
        let start = out.len();
        encode_ascending(value, out);
        if self.descending {
            // No value's bytes are the beginning of another's, so that the first difference decides, either way.
            out.iter_mut().skip(start).for_each(|byte| *byte = !*byte);
        }
    }
}

/// As [`Value::compare`] has it.
fn encode_ascending(value: &Value<'_>, out: &mut Vec<u8>) {
    match value {
        Value::Null | Value::Void => {}
        Value::Bool(v) => out.push(u8::from(*v)),
        Value::Int2(v) => out.extend_from_slice(&(v ^ i16::MIN).to_be_bytes()),
        Value::Int4(v) => out.extend_from_slice(&(v ^ i32::MIN).to_be_bytes()),
        Value::Int8(v) | Value::Timestamp(v) => out.extend_from_slice(&(v ^ i64::MIN).to_be_bytes()),
        Value::Float8(v) => out.extend_from_slice(&float_bits(*v).to_be_bytes()),
        Value::Text(v) => encode_bytes(v.as_bytes(), out),
        Value::Bytes(v) => encode_bytes(v, out),
        Value::Uuid(v) => out.extend_from_slice(v),
        Value::Numeric(v) => {
            let (whole, fraction) = v.whole_and_fraction();
            out.extend_from_slice(&(whole ^ i128::MIN).to_be_bytes());
            out.extend_from_slice(&fraction.to_be_bytes());
        }
        Value::Interval(v) => out.extend_from_slice(&(v.span() ^ i128::MIN).to_be_bytes()),
        Value::Oid(v) => out.extend_from_slice(&v.to_be_bytes()),
        Value::Lsn(v) => out.extend_from_slice(&v.to_be_bytes()),
    }
}

/// Zero bytes are followed by FF, the end is two zero bytes.
fn encode_bytes(bytes: &[u8], out: &mut Vec<u8>) {
    for part in bytes.split_inclusive(|byte| *byte == 0) {
        out.extend_from_slice(part);
        if part.ends_with(&[0]) {
            out.push(0xff);
        }
    }
    out.extend_from_slice(&[0, 0]);
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;
    use std::cmp::Ordering;

    use proptest::prelude::*;

    use super::*;
    use crate::types::{Interval, Numeric};

    fn pair() -> impl Strategy<Value = [Value<'static>; 2]> {
        fn two<S: Strategy>(
            one: impl Fn() -> S,
            value: impl Fn(S::Value) -> Value<'static>,
        ) -> impl Strategy<Value = [Value<'static>; 2]> {
            (one(), one()).prop_map(move |(a, b)| [value(a), value(b)])
        }
        let float = || prop_oneof![any::<f64>(), Just(0.0), Just(-0.0), Just(f64::NAN), Just(f64::INFINITY)];
        let bytes = || proptest::collection::vec(prop_oneof![Just(0u8), Just(1), Just(0xff)], 0..5);
        let numeric = || {
            (-2000..2000i128, 0..4u32).prop_map(|(unscaled, scale)| Numeric::new(unscaled, scale).unwrap())
        };
        let interval = || {
            (-3..3i32, -70..70i32, any::<i64>()).prop_map(|(months, days, micros)| Interval {
                months,
                days,
                micros: micros >> 8,
            })
        };
        prop_oneof![
            two(any::<bool>, Value::Bool),
            two(any::<i16>, Value::Int2),
            two(any::<i32>, Value::Int4),
            two(any::<i64>, Value::Int8),
            two(any::<i64>, Value::Timestamp),
            two(float, Value::Float8),
            two(|| "[a-c\u{1}é]{0,4}", Value::owned_text),
            two(bytes, |bytes| Value::Bytes(Cow::Owned(bytes))),
            two(any::<[u8; 16]>, Value::Uuid),
            two(numeric, |v| Value::Numeric(Box::new(v))),
            two(interval, |v| Value::Interval(Box::new(v))),
            two(any::<u32>, Value::Oid),
            two(any::<u64>, Value::Lsn),
        ]
    }

    /// What the bytes are to agree with.
    fn expected(key: &SortKey, a: &Value<'_>, b: &Value<'_>) -> Ordering {
        let null = |in_front| if in_front { Ordering::Less } else { Ordering::Greater };
        match (a.is_null(), b.is_null()) {
            (true, true) => Ordering::Equal,
            (true, false) => null(key.nulls_first),
            (false, true) => null(!key.nulls_first),
            (false, false) if key.descending => b.compare(a).unwrap(),
            (false, false) => a.compare(b).unwrap(),
        }
    }

    proptest! {
        #[test]
        fn bytes_are_in_the_order_of_the_rows(
            columns in proptest::collection::vec(
                (pair(), any::<bool>(), any::<bool>(), any::<bool>(), 0..8u8), 1..4),
        ) {
            let (mut a, mut b) = (Vec::new(), Vec::new());
            let mut order = Ordering::Equal;
            for ([mut x, mut y], descending, nulls_first, same, nulls) in columns {
                if same {
                    y = x.clone();
                }
                if nulls & 6 == 6 {
                    x = Value::Null;
                }
                if nulls & 5 == 5 {
                    y = Value::Null;
                }
                let key = SortKey { expr: Expr::Const(Value::Null), descending, nulls_first };
                key.encode(&x, &mut a);
                key.encode(&y, &mut b);
                order = order.then(expected(&key, &x, &y));
            }
            prop_assert_eq!(a.cmp(&b), order);
        }
    }
}
