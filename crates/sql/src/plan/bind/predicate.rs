//! Conditions, CASE and intervals: expressions with a syntax of their own.

use sqlparser::ast::{self, Expr as Ast};

use super::binder::{Binder, Bound};
use super::coerce::{Context, common, fold};
use super::functions;
use super::operators::no_operator;
use crate::error::{SqlError, sqlstate};
use crate::expr::{BetweenExpr, CompareOp, Expr, LikeExpr, SwitchExpr};
use crate::types::{Type, Value};

impl Binder<'_> {
    pub(super) fn bind_predicate(&mut self, ast: &Ast) -> Result<Bound, SqlError> {
        let condition = |expr| Ok(Bound::new(expr, Type::Bool));
        match ast {
            Ast::IsNull(a) => {
                let arg = self.any_type(a)?;
                condition(Expr::IsNull(Box::new(arg.expr), false))
            }
            Ast::IsNotNull(a) => {
                let arg = self.any_type(a)?;
                condition(Expr::IsNull(Box::new(arg.expr), true))
            }
            Ast::IsTrue(a) => self.is_bool(a, true, false),
            Ast::IsNotTrue(a) => self.is_bool(a, true, true),
            Ast::IsFalse(a) => self.is_bool(a, false, false),
            Ast::IsNotFalse(a) => self.is_bool(a, false, true),
            Ast::IsUnknown(a) | Ast::IsNotUnknown(a) => {
                let bound = self.bind(a)?;
                let arg = self.boolean(bound, "IS UNKNOWN")?;
                condition(Expr::IsNull(Box::new(arg), matches!(ast, Ast::IsNotUnknown(_))))
            }
            Ast::IsDistinctFrom(a, b) | Ast::IsNotDistinctFrom(a, b) => {
                let (a, b) = self.operands(ast, "=", a, b)?;
                let negated = matches!(ast, Ast::IsNotDistinctFrom(..));
                condition(Expr::Distinct(Box::new(a), Box::new(b), negated))
            }
            Ast::Between { expr, negated, low, high } => self.between(ast, expr, low, high, *negated),
            Ast::InList { expr, list, negated } => self.in_list(ast, expr, list, *negated),
            Ast::Like { negated, any: false, expr, pattern, escape_char } => {
                self.like(expr, pattern, escape_char.as_deref(), *negated, false)
            }
            Ast::ILike { negated, any: false, expr, pattern, escape_char } => {
                self.like(expr, pattern, escape_char.as_deref(), *negated, true)
            }
            Ast::Case { operand, conditions, else_result, .. } => {
                self.case(operand.as_deref(), conditions, else_result.as_deref())
            }
            Ast::Interval(interval) => self.interval(interval),
            _ => functions::bind_special(self, ast).map_err(|e| self.located(e, ast)),
        }
    }

    fn is_bool(&mut self, a: &Ast, wanted: bool, negated: bool) -> Result<Bound, SqlError> {
        let bound = self.bind(a)?;
        let clause = if wanted { "IS TRUE" } else { "IS FALSE" };
        let arg = self.boolean(bound, clause)?;
        Ok(Bound::new(Expr::IsBool(Box::new(arg), wanted, negated), Type::Bool))
    }

    fn between(
        &mut self,
        whole: &Ast,
        expr: &Ast,
        low: &Ast,
        high: &Ast,
        negated: bool,
    ) -> Result<Bound, SqlError> {
        let subject = self.bind(expr)?;
        let (low, high) = (self.bind(low)?, self.bind(high)?);
        // What costs nothing to evaluate twice is two comparisons, from which an access path can be made.
        let cast_of_leaf = |expr: &Expr| matches!(expr, Expr::Cast(cast) if cast.arg.is_leaf());
        if subject.expr.is_leaf() || cast_of_leaf(&subject.expr) {
            let (value, lower) =
                self.comparable(">=", subject.clone(), low).map_err(|e| self.located(e, whole))?;
            let mut again = subject;
            if let (Expr::Param(index), Type::Unknown) = (&again.expr, again.ty) {
                again.ty = self.params.get(usize::from(*index)).copied().unwrap_or(Type::Unknown);
            }
            let (again, upper) = self.comparable("<=", again, high).map_err(|e| self.located(e, whole))?;
            let above = Expr::Compare(CompareOp::GreaterOrEqual, Box::new(value), Box::new(lower));
            let below = Expr::Compare(CompareOp::LessOrEqual, Box::new(again), Box::new(upper));
            let within = fold(Expr::And(vec![fold(above), fold(below)]));
            let expr = if negated { Expr::Not(Box::new(within)) } else { within };
            return Ok(Bound::new(expr, Type::Bool));
        }
        let [subject, low, high] = self
            .comparable_list(">=", vec![subject, low, high])
            .map_err(|e| self.located(e, whole))?
            .try_into()
            .map_err(|_| SqlError::internal("BETWEEN without its three operands"))?;
        let between = BetweenExpr { subject, low, high, negated };
        Ok(Bound::new(Expr::Between(Box::new(between)), Type::Bool))
    }

    /// Operands that are all compared with the first, brought to one type.
    fn comparable_list(&mut self, op: &str, all: Vec<Bound>) -> Result<Vec<Expr>, SqlError> {
        let first = all.first().map_or(Type::Unknown, |bound| bound.ty);
        let mut ty = Type::Unknown;
        for other in &all {
            ty = common(ty, other.ty).ok_or_else(|| no_operator(op, first, other.ty))?;
        }
        if ty == Type::Jsonb {
            return Err(SqlError::unsupported("comparison of jsonb values"));
        }
        if ty == Type::Void {
            return Err(no_operator(op, first, first));
        }
        ty = if ty == Type::Unknown { Type::Text } else { ty };
        let mut exprs = Vec::with_capacity(all.len());
        for bound in all {
            let from = bound.ty;
            let bound = self.try_coerce(bound, ty, Context::Implicit)?;
            exprs.push(bound.ok_or_else(|| no_operator(op, ty, from))?.expr);
        }
        Ok(exprs)
    }

    fn in_list(&mut self, whole: &Ast, expr: &Ast, list: &[Ast], negated: bool) -> Result<Bound, SqlError> {
        let mut all = vec![self.bind(expr)?];
        for item in list {
            all.push(self.bind(item)?);
        }
        let mut exprs = self.comparable_list("=", all).map_err(|e| self.located(e, whole))?;
        let value = exprs.remove(0);
        Ok(Bound::new(Expr::InList(Box::new(value), exprs, negated), Type::Bool))
    }

    fn like(
        &mut self,
        expr: &Ast,
        pattern: &Ast,
        escape: Option<&Ast>,
        negated: bool,
        ignore_case: bool,
    ) -> Result<Bound, SqlError> {
        let (a, b) = (self.bind(expr)?, self.bind(pattern)?);
        let no_operator = no_operator(if ignore_case { "~~*" } else { "~~" }, a.ty, b.ty);
        let a = self.try_coerce(a, Type::Text, Context::Implicit)?;
        let b = self.try_coerce(b, Type::Text, Context::Implicit)?;
        let (Some(a), Some(b)) = (a, b) else { return Err(no_operator.at(self.start(expr))) };
        let escape = match escape {
            None => Some('\\'),
            Some(Ast::Value(v)) => match &v.value {
                ast::Value::SingleQuotedString(text) => {
                    let mut chars = text.chars();
                    let first = chars.next();
                    if chars.next().is_some() {
                        let message = "invalid escape string";
                        return Err(SqlError::new(sqlstate::INVALID_ESCAPE_SEQUENCE, message)
                            .with_hint("Escape string must be empty or one character."));
                    }
                    first
                }
                _ => return Err(SqlError::unsupported("an escape that is no literal")),
            },
            Some(_) => return Err(SqlError::unsupported("an escape that is no literal")),
        };
        let like = LikeExpr { subject: a.expr, pattern: b.expr, escape, ignore_case, negated };
        Ok(Bound::new(Expr::Like(Box::new(like)), Type::Bool))
    }

    fn case(
        &mut self,
        operand: Option<&Ast>,
        conditions: &[ast::CaseWhen],
        rest: Option<&Ast>,
    ) -> Result<Bound, SqlError> {
        let mut results = Vec::new();
        let mut whens = match operand {
            Some(operand) => vec![self.bind(operand)?],
            None => Vec::new(),
        };
        for arm in conditions {
            let condition = self.bind(&arm.condition)?;
            whens.push(match operand {
                Some(_) => condition,
                None => Bound { expr: self.boolean(condition, "CASE/WHEN")?, ty: Type::Bool },
            });
            results.push(self.bind(&arm.result)?);
        }
        if let Some(rest) = rest {
            results.push(self.bind(rest)?);
        }
        let (mut results, ty) = self.unify(results, "CASE")?;
        let rest = if rest.is_some() { results.pop() } else { None };
        if operand.is_none() {
            let arms = whens.into_iter().map(|bound| bound.expr).zip(results).collect();
            return Ok(Bound::new(Expr::Case(arms, rest.map(Box::new)), ty));
        }
        let mut whens = self.comparable_list("=", whens)?;
        let operand = whens.remove(0);
        let switch = SwitchExpr { operand, arms: whens.into_iter().zip(results).collect(), rest };
        Ok(Bound::new(Expr::Switch(Box::new(switch)), ty))
    }

    fn interval(&mut self, interval: &ast::Interval) -> Result<Bound, SqlError> {
        let text = match &*interval.value {
            Ast::Value(v) => match &v.value {
                ast::Value::SingleQuotedString(text) => text.clone(),
                _ => return Err(SqlError::unsupported("an interval that is no literal")),
            },
            _ => return Err(SqlError::unsupported("an interval that is no literal")),
        };
        let text = match (&interval.leading_field, &interval.last_field) {
            (None, None) => text,
            (Some(unit), None) => format!("{text} {unit}"),
            _ => return Err(SqlError::unsupported("an interval of several fields")),
        };
        let bound = Bound::literal(Value::owned_text(text), Type::Unknown);
        self.cast_bound(bound, Type::Interval)
    }
}
