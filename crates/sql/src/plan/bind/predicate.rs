//! Conditions, CASE and intervals: expressions with a syntax of their own.

use sqlparser::ast::{self, Expr as Ast};

use super::binder::{Binder, Bound, no_operator};
use super::coerce::{Context, common, fold};
use super::functions;
use crate::error::{SqlError, sqlstate};
use crate::expr::{CompareOp, Expr, LikeExpr};
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
            Ast::Between { expr, negated, low, high } => {
                let (value, lower) = self.operands(ast, ">=", expr, low)?;
                let (value2, upper) = self.operands(ast, "<=", expr, high)?;
                let above = Expr::Compare(CompareOp::GreaterOrEqual, Box::new(value), Box::new(lower));
                let below = Expr::Compare(CompareOp::LessOrEqual, Box::new(value2), Box::new(upper));
                let within = fold(Expr::And(vec![above, below]));
                condition(if *negated { Expr::Not(Box::new(within)) } else { within })
            }
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
            _ => functions::bind_special(self, ast).map_err(|e| e.at(self.position(ast))),
        }
    }

    fn is_bool(&mut self, a: &Ast, wanted: bool, negated: bool) -> Result<Bound, SqlError> {
        let bound = self.bind(a)?;
        let clause = if wanted { "IS TRUE" } else { "IS FALSE" };
        let arg = self.boolean(bound, clause)?;
        Ok(Bound::new(Expr::IsBool(Box::new(arg), wanted, negated), Type::Bool))
    }

    fn in_list(&mut self, whole: &Ast, expr: &Ast, list: &[Ast], negated: bool) -> Result<Bound, SqlError> {
        let mut all = vec![self.bind(expr)?];
        for item in list {
            all.push(self.bind(item)?);
        }
        let types: Vec<Type> = all.iter().map(|b| b.ty).collect();
        let mut ty = Type::Unknown;
        for other in &types {
            ty = common(ty, *other)
                .ok_or_else(|| no_operator("=", types[0], *other).at(self.position(whole)))?;
        }
        if ty == Type::Jsonb {
            return Err(SqlError::unsupported("comparison of jsonb values"));
        }
        ty = if ty == Type::Unknown { Type::Text } else { ty };
        let mut exprs = Vec::with_capacity(all.len());
        for bound in all {
            let from = bound.ty;
            let bound = self.try_coerce(bound, ty, Context::Implicit)?;
            exprs.push(bound.ok_or_else(|| no_operator("=", ty, from).at(self.position(whole)))?.expr);
        }
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
        let (Some(a), Some(b)) = (a, b) else { return Err(no_operator.at(self.position(expr))) };
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
        let (mut whens, mut results) = (Vec::new(), Vec::new());
        for arm in conditions {
            let condition = self.bind(&arm.condition)?;
            whens.push(match operand {
                Some(operand) => {
                    let operand = self.bind(operand)?;
                    let (a, b) = self.comparable("=", operand, condition)?;
                    fold(Expr::Compare(CompareOp::Equal, Box::new(a), Box::new(b)))
                }
                None => self.boolean(condition, "CASE/WHEN")?,
            });
            results.push(self.bind(&arm.result)?);
        }
        if let Some(rest) = rest {
            results.push(self.bind(rest)?);
        }
        let (mut results, ty) = self.unify(results, "CASE")?;
        let rest = if rest.is_some() { results.pop().map(Box::new) } else { None };
        Ok(Bound::new(Expr::Case(whens.into_iter().zip(results).collect(), rest), ty))
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
