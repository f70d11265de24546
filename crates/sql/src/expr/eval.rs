//! Evaluation.

use std::borrow::Cow;
use std::cmp::Ordering;

use super::{BetweenExpr, CompareOp, EvalContext, Expr, LikeExpr, SwitchExpr, arithmetic, cast, like};
use crate::error::SqlError;
use crate::types::Value;

fn not_boolean() -> SqlError {
    SqlError::internal("condition is no boolean")
}

fn compare(a: &Value<'_>, b: &Value<'_>) -> Result<Ordering, SqlError> {
    a.compare(b).ok_or_else(|| SqlError::internal("comparison of values of different types"))
}

impl Expr {
    /// The value over a context.
    ///
    /// # Errors
    /// Those of its operators, conversions and functions (class 22), XX000 for a defect of the planner.
    pub fn eval<'a>(&'a self, context: &EvalContext<'a>) -> Result<Value<'a>, SqlError> {
        match self {
            Self::Column(column) => context.row.get(*column),
            Self::Param(index) => match context.params.get(usize::from(*index)) {
                Some(value) => Ok(value.borrow()),
                None => Err(SqlError::internal(format!("parameter ${} is missing", u32::from(*index) + 1))),
            },
            Self::Const(value) => Ok(value.borrow()),
            Self::Excluded(column) => context.excluded.get(*column),
            Self::Arithmetic(op, a, b) => {
                let (a, b) = (a.eval(context)?, b.eval(context)?);
                if a.is_null() || b.is_null() { Ok(Value::Null) } else { arithmetic::apply(*op, &a, &b) }
            }
            Self::Compare(op, a, b) => {
                let (a, b) = (a.eval(context)?, b.eval(context)?);
                if a.is_null() || b.is_null() {
                    return Ok(Value::Null);
                }
                Ok(Value::Bool(op.accepts(compare(&a, &b)?)))
            }
            Self::And(list) => connect(list, context, false),
            Self::Or(list) => connect(list, context, true),
            Self::Not(a) => match a.eval(context)? {
                Value::Bool(v) => Ok(Value::Bool(!v)),
                Value::Null => Ok(Value::Null),
                _ => Err(not_boolean()),
            },
            Self::Cast(c) => cast::cast(c.arg.eval(context)?, c.from, c.to, c.explicit),
            Self::IsNull(a, negated) => Ok(Value::Bool(a.eval(context)?.is_null() != *negated)),
            Self::IsBool(a, wanted, negated) => {
                Ok(Value::Bool((a.eval(context)? == Value::Bool(*wanted)) != *negated))
            }
            Self::Distinct(a, b, negated) => {
                let (a, b) = (a.eval(context)?, b.eval(context)?);
                let distinct = match (a.is_null(), b.is_null()) {
                    (false, false) => compare(&a, &b)?.is_ne(),
                    (a, b) => a != b,
                };
                Ok(Value::Bool(distinct != *negated))
            }
            _ => self.eval_rare(context),
        }
    }

    /// The rest, kept apart so that the frame of the common cases stays small.
    fn eval_rare<'a>(&'a self, context: &EvalContext<'a>) -> Result<Value<'a>, SqlError> {
        match self {
            Self::Negate(a) => match a.eval(context)? {
                Value::Null => Ok(Value::Null),
                value => arithmetic::negate(&value),
            },
            Self::Concat(a, b) => concat(a.eval(context)?, b.eval(context)?),
            Self::InList(a, list, negated) => in_list(a, list, *negated, context),
            Self::Between(expr) => eval_between(expr, context),
            Self::Like(expr) => eval_like(expr, context),
            Self::Case(arms, rest) => {
                for (when, then) in arms {
                    if when.eval_condition(context)? {
                        return then.eval(context);
                    }
                }
                rest.as_ref().map_or(Ok(Value::Null), |e| e.eval(context))
            }
            Self::Switch(expr) => eval_switch(expr, context),
            Self::Coalesce(list) => {
                for expr in list {
                    let value = expr.eval(context)?;
                    if !value.is_null() {
                        return Ok(value);
                    }
                }
                Ok(Value::Null)
            }
            Self::NullIf(a, b) => {
                let (a, b) = (a.eval(context)?, b.eval(context)?);
                let equal = !a.is_null() && !b.is_null() && compare(&a, &b)?.is_eq();
                Ok(if equal { Value::Null } else { a })
            }
            Self::Extreme(list, greatest) => {
                let mut best = Value::Null;
                for expr in list {
                    let value = expr.eval(context)?;
                    let better = if value.is_null() {
                        false
                    } else if best.is_null() {
                        true
                    } else {
                        let wanted = if *greatest { CompareOp::Greater } else { CompareOp::Less };
                        wanted.accepts(compare(&value, &best)?)
                    };
                    if better {
                        best = value;
                    }
                }
                Ok(best)
            }
            Self::Call(function, args) => {
                let args = arguments(args, context)?;
                if function.is_strict() && args.iter().any(Value::is_null) {
                    return Ok(Value::Null);
                }
                function.call(&args)
            }
            Self::System(function, args) => {
                let args = arguments(args, context)?;
                if args.iter().any(Value::is_null) {
                    return Ok(Value::Null);
                }
                context.server.call(*function, &args)
            }
            _ => Err(SqlError::internal("expression without an evaluation")),
        }
    }

    /// The value of a condition: NULL is false.
    ///
    /// # Errors
    /// As [`Expr::eval`].
    pub fn eval_condition(&self, context: &EvalContext<'_>) -> Result<bool, SqlError> {
        match self.eval(context)? {
            Value::Bool(v) => Ok(v),
            Value::Null => Ok(false),
            _ => Err(not_boolean()),
        }
    }
}

/// AND (`decisive` false) and OR (`decisive` true) with NULLs; stops at the first that decides.
fn connect<'a>(list: &'a [Expr], context: &EvalContext<'a>, decisive: bool) -> Result<Value<'a>, SqlError> {
    let mut unknown = false;
    for expr in list {
        match expr.eval(context)? {
            Value::Bool(v) if v == decisive => return Ok(Value::Bool(decisive)),
            Value::Bool(_) => {}
            Value::Null => unknown = true,
            _ => return Err(not_boolean()),
        }
    }
    Ok(if unknown { Value::Null } else { Value::Bool(!decisive) })
}

/// The arguments of a call, which together are not much longer than each may be.
fn arguments<'a>(args: &'a [Expr], context: &EvalContext<'a>) -> Result<Vec<Value<'a>>, SqlError> {
    let mut length = 0;
    let mut values = Vec::with_capacity(args.len());
    for arg in args {
        let value = arg.eval(context)?;
        length += value.payload_len();
        super::function::check_result(length / 4)?;
        values.push(value);
    }
    Ok(values)
}

/// `||`
fn concat<'a>(a: Value<'a>, b: Value<'a>) -> Result<Value<'a>, SqlError> {
    super::function::check_result(a.payload_len() + b.payload_len())?;
    match (a, b) {
        (Value::Null, _) | (_, Value::Null) => Ok(Value::Null),
        (Value::Text(a), Value::Text(b)) => Ok(Value::Text(Cow::Owned(a.into_owned() + &b))),
        (Value::Bytes(a), Value::Bytes(b)) => {
            let mut joined = a.into_owned();
            joined.extend_from_slice(&b);
            Ok(Value::Bytes(Cow::Owned(joined)))
        }
        _ => Err(SqlError::internal("concatenation of values of other types")),
    }
}

fn in_list<'a>(
    a: &'a Expr,
    list: &'a [Expr],
    negated: bool,
    context: &EvalContext<'a>,
) -> Result<Value<'a>, SqlError> {
    let value = a.eval(context)?;
    if value.is_null() {
        return Ok(Value::Null);
    }
    let mut unknown = false;
    for expr in list {
        let other = expr.eval(context)?;
        if other.is_null() {
            unknown = true;
        } else if compare(&value, &other)?.is_eq() {
            return Ok(Value::Bool(!negated));
        }
    }
    Ok(if unknown { Value::Null } else { Value::Bool(negated) })
}

/// `subject >= low AND subject <= high`, where NULL decides nothing but false decides all.
fn eval_between<'a>(expr: &'a BetweenExpr, context: &EvalContext<'a>) -> Result<Value<'a>, SqlError> {
    let subject = expr.subject.eval(context)?;
    let mut unknown = false;
    for (op, bound) in [(CompareOp::GreaterOrEqual, &expr.low), (CompareOp::LessOrEqual, &expr.high)] {
        let bound = bound.eval(context)?;
        if subject.is_null() || bound.is_null() {
            unknown = true;
        } else if !op.accepts(compare(&subject, &bound)?) {
            return Ok(Value::Bool(expr.negated));
        }
    }
    Ok(if unknown { Value::Null } else { Value::Bool(!expr.negated) })
}

fn eval_switch<'a>(expr: &'a SwitchExpr, context: &EvalContext<'a>) -> Result<Value<'a>, SqlError> {
    let operand = expr.operand.eval(context)?;
    for (when, then) in &expr.arms {
        let when = when.eval(context)?;
        if !operand.is_null() && !when.is_null() && compare(&operand, &when)?.is_eq() {
            return then.eval(context);
        }
    }
    expr.rest.as_ref().map_or(Ok(Value::Null), |rest| rest.eval(context))
}

fn eval_like<'a>(expr: &'a LikeExpr, context: &EvalContext<'a>) -> Result<Value<'a>, SqlError> {
    match (expr.subject.eval(context)?, expr.pattern.eval(context)?) {
        (Value::Null, _) | (_, Value::Null) => Ok(Value::Null),
        (Value::Text(subject), Value::Text(pattern)) => {
            let matched = if expr.ignore_case {
                like::matches(&subject.to_lowercase(), &pattern.to_lowercase(), expr.escape)?
            } else {
                like::matches(&subject, &pattern, expr.escape)?
            };
            Ok(Value::Bool(matched != expr.negated))
        }
        _ => Err(SqlError::internal("LIKE of something else than text")),
    }
}
