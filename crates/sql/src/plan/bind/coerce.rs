//! Which types become which, and the types that operators agree on.

use super::binder::{Binder, Bound};
use crate::error::{SqlError, sqlstate};
use crate::expr::{CastExpr, EvalContext, Expr, NoServer};
use crate::types::{Type, Value, text};

/// How much a conversion may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Context {
    /// Within an expression, unasked
    Implicit,
    /// Into a column
    Assignment,
    /// Written in the statement
    Explicit,
}

/// Numbers by rank: of two, the lower becomes the higher.
fn rank(ty: Type) -> Option<u8> {
    Some(match ty {
        Type::Int2 => 0,
        Type::Int4 => 1,
        Type::Int8 => 2,
        Type::Numeric => 3,
        Type::Float8 => 4,
        _ => return None,
    })
}

/// Whether a conversion exists in a context (`pg_cast`, and casts through text).
pub(super) fn allowed(from: Type, to: Type, context: Context) -> bool {
    if from.without_length() == to.without_length() || from == Type::Unknown {
        return true;
    }
    let least = match (from, to) {
        _ if from.is_string() && to.is_string() && to != Type::Name => Context::Implicit,
        _ if from.is_string() && to == Type::Name => Context::Implicit,
        (Type::Timestamp, Type::Timestamptz) => Context::Implicit,
        (Type::Timestamptz, Type::Timestamp) => Context::Assignment,
        (Type::Int2 | Type::Int4 | Type::Int8, Type::Oid) => Context::Implicit,
        (Type::Oid, Type::Int4 | Type::Int8) => Context::Assignment,
        (Type::Int4, Type::Bool) | (Type::Bool, Type::Int4) => Context::Explicit,
        _ => match (rank(from), rank(to)) {
            (Some(a), Some(b)) if a < b => Context::Implicit,
            (Some(_), Some(_)) => Context::Assignment,
            // Everything can be printed and assigned to text; everything can be read from text when asked to.
            _ if to.is_string() => Context::Assignment,
            _ if from.is_string() && to != Type::Void => Context::Explicit,
            _ => return false,
        },
    };
    match context {
        Context::Implicit => least == Context::Implicit,
        Context::Assignment => least != Context::Explicit,
        Context::Explicit => true,
    }
}

/// Whether values of both types are the same in memory, so that no conversion is needed.
fn is_relabel(from: Type, to: Type) -> bool {
    let string = |ty: Type| matches!(ty, Type::Text | Type::Varchar(_) | Type::Char(_) | Type::Name);
    match to {
        Type::Text | Type::Varchar(None) => string(from),
        Type::Char(None) => matches!(from, Type::Char(_)),
        Type::Timestamp | Type::Timestamptz => matches!(from, Type::Timestamp | Type::Timestamptz),
        _ => from == to,
    }
}

/// The type that two operands are brought to; `None` when there is none.
pub(super) fn common(a: Type, b: Type) -> Option<Type> {
    let (a, b) = (a.without_length(), b.without_length());
    if a == b || b == Type::Unknown {
        return Some(a);
    }
    match (a, b) {
        (Type::Unknown, _) => Some(b),
        (Type::Timestamp | Type::Timestamptz, Type::Timestamp | Type::Timestamptz) => Some(Type::Timestamptz),
        (Type::Oid, _) if b.is_integer() => Some(Type::Oid),
        (_, Type::Oid) if a.is_integer() => Some(Type::Oid),
        _ if a.is_string() && b.is_string() => Some(Type::Text),
        _ => match (rank(a), rank(b)) {
            (Some(x), Some(y)) => Some(if x < y { b } else { a }),
            _ => None,
        },
    }
}

/// The longest value that a plan keeps in place of what makes it, unless that is as long itself.
const MAX_FOLDED: usize = 4096;

/// Evaluates what needs neither row, parameter nor server; what fails is left to fail when it is executed. Its operands
/// were folded before, so it looks no deeper than at them.
pub(super) fn fold(expr: Expr) -> Expr {
    let needs_others = expr.is_leaf() || matches!(expr, Expr::System(..));
    if needs_others || !expr.all_operands(&mut |operand| matches!(operand, Expr::Const(_))) {
        return expr;
    }
    let value = expr.eval(&EvalContext::new(&[], &NoServer)).map(Value::into_owned);
    match value {
        Ok(value) if value.payload_len() <= MAX_FOLDED || matches!(expr, Expr::Cast(_)) => Expr::Const(value),
        _ => expr,
    }
}

impl Binder<'_> {
    /// Converts an expression; `Ok(None)` when there is no such conversion in this context.
    ///
    /// # Errors
    /// Those of a literal that is no value of the type.
    pub(super) fn try_coerce(
        &mut self,
        bound: Bound,
        to: Type,
        context: Context,
    ) -> Result<Option<Bound>, SqlError> {
        let from = bound.ty;
        if from == to {
            return Ok(Some(bound));
        }
        if from == Type::Unknown {
            return self.coerce_unknown(bound.expr, to, context).map(Some);
        }
        if !allowed(from, to, context) {
            return Ok(None);
        }
        if is_relabel(from, to) {
            return Ok(Some(Bound { expr: bound.expr, ty: to }));
        }
        let cast = CastExpr { arg: bound.expr, from, to, explicit: context == Context::Explicit };
        Ok(Some(Bound { expr: fold(Expr::Cast(Box::new(cast))), ty: to }))
    }

    fn coerce_unknown(&mut self, expr: Expr, to: Type, context: Context) -> Result<Bound, SqlError> {
        let base = to.without_length();
        let expr = match expr {
            Expr::Const(Value::Text(literal)) => Expr::Const(text::parse(base, &literal)?.into_owned()),
            Expr::Param(index) => {
                self.set_param(index, base);
                Expr::Param(index)
            }
            other => other,
        };
        if base == to {
            return Ok(Bound { expr, ty: to });
        }
        // The literal's length is checked when the row is made, as for any other value.
        let cast = CastExpr { arg: expr, from: base, to, explicit: context == Context::Explicit };
        Ok(Bound { expr: fold(Expr::Cast(Box::new(cast))), ty: to })
    }

    /// Converts into a column.
    ///
    /// # Errors
    /// 42804 when the types do not fit.
    pub(super) fn assign(&mut self, bound: Bound, to: Type, column: &str) -> Result<Expr, SqlError> {
        let from = bound.ty;
        match self.try_coerce(bound, to, Context::Assignment)? {
            Some(bound) => Ok(bound.expr),
            None => {
                let message = format!(
                    "column \"{column}\" is of type {} but expression is of type {}",
                    to.name(),
                    from.name()
                );
                Err(SqlError::new(sqlstate::DATATYPE_MISMATCH, message)
                    .with_hint("You will need to rewrite or cast the expression."))
            }
        }
    }

    /// A condition.
    ///
    /// # Errors
    /// 42804 when it is no boolean.
    pub(super) fn boolean(&mut self, bound: Bound, clause: &str) -> Result<Expr, SqlError> {
        let from = bound.ty;
        self.try_coerce(bound, Type::Bool, Context::Implicit)?.map(|b| b.expr).ok_or_else(|| {
            let message = format!("argument of {clause} must be type boolean, not type {}", from.name());
            SqlError::new(sqlstate::DATATYPE_MISMATCH, message)
        })
    }

    /// Brings expressions to one type.
    ///
    /// # Errors
    /// 42804 when there is none.
    pub(super) fn unify(&mut self, list: Vec<Bound>, what: &str) -> Result<(Vec<Expr>, Type), SqlError> {
        let mut ty = Type::Unknown;
        let mut first = true;
        for bound in &list {
            // Lengths survive only if all agree.
            let same = bound.ty == ty || first;
            let mismatch = || {
                let message = format!("{what} types {} and {} cannot be matched", ty.name(), bound.ty.name());
                SqlError::new(sqlstate::DATATYPE_MISMATCH, message)
            };
            ty = if same { bound.ty } else { common(ty, bound.ty).ok_or_else(mismatch)? };
            first = false;
        }
        if ty == Type::Unknown {
            ty = Type::Text;
        }
        let mut exprs = Vec::with_capacity(list.len());
        for bound in list {
            let from = bound.ty;
            let bound = self.try_coerce(bound, ty, Context::Implicit)?.ok_or_else(|| {
                let message = format!("{what} types {} and {} cannot be matched", ty.name(), from.name());
                SqlError::new(sqlstate::DATATYPE_MISMATCH, message)
            })?;
            exprs.push(bound.expr);
        }
        Ok((exprs, ty))
    }
}
