//! Operators: which of them the types of their operands mean.

use sqlparser::ast::{self, BinaryOperator, Expr as Ast, UnaryOperator};

use super::binder::{Binder, Bound, number};
use super::coerce::{Context, common};
use crate::error::{SqlError, sqlstate};
use crate::expr::{ArithmeticOp, CompareOp, Expr};
use crate::types::Type;

impl Binder<'_> {
    /// Two operands brought to one type that can be compared.
    pub(super) fn operands(
        &mut self,
        whole: &Ast,
        op: &str,
        a: &Ast,
        b: &Ast,
    ) -> Result<(Expr, Expr), SqlError> {
        let (a, b) = (self.bind(a)?, self.bind(b)?);
        self.comparable(op, a, b).map_err(|e| self.located(e, whole))
    }

    pub(super) fn comparable(&mut self, op: &str, a: Bound, b: Bound) -> Result<(Expr, Expr), SqlError> {
        let (left, right) = (a.ty, b.ty);
        let no_operator = || no_operator(op, left, right);
        let mut ty = common(left, right).ok_or_else(no_operator)?;
        if ty == Type::Unknown {
            ty = Type::Text;
        }
        if ty == Type::Jsonb {
            return Err(SqlError::unsupported("comparison of jsonb values"));
        }
        if ty == Type::Void {
            return Err(no_operator());
        }
        let a = self.try_coerce(a, ty, Context::Implicit)?.ok_or_else(no_operator)?;
        let b = self.try_coerce(b, ty, Context::Implicit)?.ok_or_else(no_operator)?;
        Ok((a.expr, b.expr))
    }

    pub(super) fn binary(
        &mut self,
        whole: &Ast,
        left: &Ast,
        op: &BinaryOperator,
        right: &Ast,
    ) -> Result<Bound, SqlError> {
        let compare = match op {
            BinaryOperator::And | BinaryOperator::Or => return self.connect(whole, op),
            BinaryOperator::Eq => CompareOp::Equal,
            BinaryOperator::NotEq => CompareOp::NotEqual,
            BinaryOperator::Lt => CompareOp::Less,
            BinaryOperator::LtEq => CompareOp::LessOrEqual,
            BinaryOperator::Gt => CompareOp::Greater,
            BinaryOperator::GtEq => CompareOp::GreaterOrEqual,
            _ => return self.arithmetic(whole, left, op, right),
        };
        let (a, b) = self.operands(whole, &op.to_string(), left, right)?;
        Ok(Bound::new(Expr::Compare(compare, Box::new(a), Box::new(b)), Type::Bool))
    }

    /// AND and OR: a chain of one operator becomes one flat list.
    fn connect(&mut self, whole: &Ast, op: &BinaryOperator) -> Result<Bound, SqlError> {
        let mut parts = Vec::new();
        let mut rest = whole;
        loop {
            match rest {
                Ast::BinaryOp { left, op: inner, right } if inner == op => {
                    parts.push(&**right);
                    rest = left;
                }
                Ast::Nested(inner) if matches!(&**inner, Ast::BinaryOp { op: o, .. } if o == op) => {
                    rest = inner
                }
                other => {
                    parts.push(other);
                    break;
                }
            }
        }
        let clause = if *op == BinaryOperator::And { "AND" } else { "OR" };
        let mut list = Vec::with_capacity(parts.len());
        for part in parts.into_iter().rev() {
            let bound = self.bind(part)?;
            match (self.boolean(bound, clause).map_err(|e| self.located(e, part))?, op) {
                (Expr::And(inner), BinaryOperator::And) | (Expr::Or(inner), BinaryOperator::Or) => {
                    list.extend(inner)
                }
                (expr, _) => list.push(expr),
            }
        }
        let expr = if *op == BinaryOperator::And { Expr::And(list) } else { Expr::Or(list) };
        Ok(Bound::new(expr, Type::Bool))
    }

    fn arithmetic(
        &mut self,
        whole: &Ast,
        left: &Ast,
        op: &BinaryOperator,
        right: &Ast,
    ) -> Result<Bound, SqlError> {
        let (a, b) = (self.bind(left)?, self.bind(right)?);
        let (left, right) = (a.ty, b.ty);
        let result = match op {
            BinaryOperator::Plus => self.arithmetic_bound(ArithmeticOp::Add, "+", a, b),
            BinaryOperator::Minus => self.arithmetic_bound(ArithmeticOp::Subtract, "-", a, b),
            BinaryOperator::Multiply => self.arithmetic_bound(ArithmeticOp::Multiply, "*", a, b),
            BinaryOperator::Divide => self.arithmetic_bound(ArithmeticOp::Divide, "/", a, b),
            BinaryOperator::Modulo => self.arithmetic_bound(ArithmeticOp::Modulo, "%", a, b),
            BinaryOperator::StringConcat => self.concat(a, b),
            other => Err(SqlError::unsupported(format!("operator {} {other} {}", left.name(), right.name()))),
        };
        result.map_err(|e| self.located(e, whole))
    }

    pub(super) fn arithmetic_bound(
        &mut self,
        op: ArithmeticOp,
        symbol: &str,
        a: Bound,
        b: Bound,
    ) -> Result<Bound, SqlError> {
        let (left, right) = (a.ty, b.ty);
        if left == Type::Unknown && right == Type::Unknown {
            let message = format!("operator is not unique: unknown {symbol} unknown");
            return Err(SqlError::new(sqlstate::AMBIGUOUS_FUNCTION, message).with_hint(
                "Could not choose a best candidate operator. You might need to add explicit type casts.",
            ));
        }
        let no_operator = || no_operator(symbol, left, right);
        let time = |ty| matches!(ty, Type::Timestamp | Type::Timestamptz);
        let additive = matches!(op, ArithmeticOp::Add | ArithmeticOp::Subtract);
        let (a_type, b_type, result) = match (left, right) {
            (Type::Interval, Type::Interval) if additive => (left, right, Type::Interval),
            (t, Type::Interval | Type::Unknown) if time(t) && additive && right == Type::Interval => {
                (t, right, t)
            }
            (Type::Interval, t) if time(t) && op == ArithmeticOp::Add => (left, t, t),
            (x, y) if op == ArithmeticOp::Subtract && (time(x) || time(y)) => {
                let ty = common(x, y).ok_or_else(no_operator)?;
                (ty, ty, Type::Interval)
            }
            (Type::PgLsn, Type::PgLsn | Type::Unknown) | (Type::Unknown, Type::PgLsn)
                if op == ArithmeticOp::Subtract =>
            {
                (Type::PgLsn, Type::PgLsn, Type::Numeric)
            }
            (x, y) => {
                let ty = common(x, y).filter(|ty| ty.is_number()).ok_or_else(no_operator)?;
                if ty == Type::Float8 && op == ArithmeticOp::Modulo {
                    return Err(no_operator());
                }
                (ty, ty, ty)
            }
        };
        let a = self.try_coerce(a, a_type, Context::Implicit)?.ok_or_else(no_operator)?;
        let b = self.try_coerce(b, b_type, Context::Implicit)?.ok_or_else(no_operator)?;
        Ok(Bound::new(Expr::Arithmetic(op, Box::new(a.expr), Box::new(b.expr)), result))
    }

    fn concat(&mut self, a: Bound, b: Bound) -> Result<Bound, SqlError> {
        let (left, right) = (a.ty, b.ty);
        let bytes = left == Type::Bytea || right == Type::Bytea;
        let textual = |ty: Type| ty.is_string() || ty == Type::Unknown;
        if !bytes && !textual(left) && !textual(right) || left == Type::Jsonb || right == Type::Jsonb {
            return Err(no_operator("||", left, right));
        }
        let to = if bytes { Type::Bytea } else { Type::Text };
        // Anything can be appended to text.
        let context = if bytes { Context::Implicit } else { Context::Assignment };
        let no_operator = || no_operator("||", left, right);
        let a = self.try_coerce(a, to, context)?.ok_or_else(no_operator)?;
        let b = self.try_coerce(b, to, context)?.ok_or_else(no_operator)?;
        Ok(Bound::new(Expr::Concat(Box::new(a.expr), Box::new(b.expr)), to))
    }

    pub(super) fn unary(&mut self, whole: &Ast, op: UnaryOperator, expr: &Ast) -> Result<Bound, SqlError> {
        match (op, expr) {
            // The sign belongs to the literal, so that the smallest numbers have their own type.
            (UnaryOperator::Minus, Ast::Value(v)) => {
                if let ast::Value::Number(digits, false) = &v.value {
                    return number(&format!("-{digits}"));
                }
            }
            (UnaryOperator::Not, _) => {
                let bound = self.bind(expr)?;
                let arg = self.boolean(bound, "NOT").map_err(|e| self.located(e, expr))?;
                return Ok(Bound::new(Expr::Not(Box::new(arg)), Type::Bool));
            }
            _ => {}
        }
        let bound = self.bind(expr)?;
        let ty = if bound.ty == Type::Unknown { Type::Float8 } else { bound.ty };
        let known = ty.is_number() || (ty == Type::Interval && op == UnaryOperator::Minus);
        if !matches!(op, UnaryOperator::Minus | UnaryOperator::Plus) {
            return Err(SqlError::unsupported(format!("operator {op}")).at(self.start(whole)));
        }
        let bound = if known { self.try_coerce(bound, ty, Context::Implicit)? } else { None };
        let Some(bound) = bound else {
            let message = format!("operator does not exist: {op} {}", ty.name());
            return Err(SqlError::new(sqlstate::UNDEFINED_FUNCTION, message).at(self.start(whole)));
        };
        if op == UnaryOperator::Plus {
            return Ok(bound);
        }
        Ok(Bound::new(Expr::Negate(Box::new(bound.expr)), ty))
    }
}

pub(super) fn no_operator(op: &str, left: Type, right: Type) -> SqlError {
    let message = format!("operator does not exist: {} {op} {}", left.name(), right.name());
    SqlError::new(sqlstate::UNDEFINED_FUNCTION, message).with_hint(
        "No operator matches the given name and argument types. You might need to add explicit type casts.",
    )
}
