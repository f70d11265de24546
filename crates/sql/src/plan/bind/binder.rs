//! From the parser's expressions to typed ones.

use sqlparser::ast::{self, Expr as Ast, Ident, ObjectName, ObjectNamePart, Spanned};

use super::coerce::{Context, fold};
use super::scope::Scope;
use super::{data_type, functions};
use crate::catalog::CatalogView;
use crate::error::{SqlError, sqlstate};
use crate::expr::{Expr, SystemFunction};
use crate::parse::{Name, ParsedStatement, fold as fold_name};
use crate::plan::Aggregate;
use crate::types::{Numeric, Type, Value};

/// Columns from here on stand for aggregates until the grouping is known.
pub(super) const AGGREGATE_BASE: u16 = 0x8000;

/// An expression and its type.
#[derive(Clone, Debug)]
pub(super) struct Bound {
    pub(super) expr: Expr,
    pub(super) ty: Type,
}

impl Bound {
    pub(super) fn new(expr: Expr, ty: Type) -> Self {
        Self { expr: fold(expr), ty }
    }

    pub(super) fn literal(value: Value<'static>, ty: Type) -> Self {
        Self { expr: Expr::Const(value), ty }
    }
}

/// Binds the expressions of one statement.
pub(super) struct Binder<'a> {
    pub(super) catalog: &'a dyn CatalogView,
    pub(super) statement: Option<&'a ParsedStatement>,
    /// The parameters' types as far as they are known
    pub(super) params: Vec<Type>,
    pub(super) scope: Scope,
    /// Where aggregates are allowed: those found so far
    pub(super) aggregates: Option<Vec<Aggregate>>,
    /// The clause at hand, for messages
    pub(super) clause: &'static str,
}

impl<'a> Binder<'a> {
    pub(super) fn new(
        catalog: &'a dyn CatalogView,
        statement: Option<&'a ParsedStatement>,
        params: &[Type],
    ) -> Self {
        let params = params.to_vec();
        Self { catalog, statement, params, scope: Scope::nothing(), aggregates: None, clause: "SELECT" }
    }

    pub(super) fn position(&self, place: &impl Spanned) -> Option<u32> {
        self.statement?.position(place.span())
    }

    /// An error that has no place yet is at this expression. Looks for the place only then: expressions within
    /// expressions would look for it at every level.
    pub(super) fn located(&self, error: SqlError, ast: &Ast) -> SqlError {
        if error.position().is_some() { error } else { error.at(self.start(ast)) }
    }

    /// Where an expression begins: where the first operand of its chain does.
    pub(super) fn start(&self, ast: &Ast) -> Option<u32> {
        let mut first = ast;
        loop {
            first = match first {
                Ast::BinaryOp { left: inner, .. }
                | Ast::IsDistinctFrom(inner, _)
                | Ast::IsNotDistinctFrom(inner, _)
                | Ast::IsNull(inner)
                | Ast::IsNotNull(inner)
                | Ast::IsTrue(inner)
                | Ast::IsNotTrue(inner)
                | Ast::IsFalse(inner)
                | Ast::IsNotFalse(inner)
                | Ast::Between { expr: inner, .. }
                | Ast::InList { expr: inner, .. }
                | Ast::Like { expr: inner, .. }
                | Ast::ILike { expr: inner, .. }
                | Ast::SimilarTo { expr: inner, .. }
                | Ast::RLike { expr: inner, .. }
                | Ast::AtTimeZone { timestamp: inner, .. }
                | Ast::Collate { expr: inner, .. }
                | Ast::CompoundFieldAccess { root: inner, .. }
                | Ast::Cast { kind: ast::CastKind::DoubleColon, expr: inner, .. } => inner,
                other => return self.position(other),
            };
        }
    }

    pub(super) fn place(&self, ident: &Ident) -> Option<u32> {
        self.statement?.position(ident.span)
    }

    pub(super) fn set_param(&mut self, index: u16, ty: Type) {
        if let Some(slot) = self.params.get_mut(usize::from(index))
            && *slot == Type::Unknown
        {
            *slot = ty;
        }
    }

    /// Types one expression; literals and parameters may remain `Unknown`.
    pub(super) fn bind(&mut self, ast: &Ast) -> Result<Bound, SqlError> {
        match ast {
            Ast::Identifier(ident) => self.column(None, ident),
            Ast::CompoundIdentifier(parts) => match parts.as_slice() {
                [relation, column] => self.column(Some(relation), column),
                [_schema, relation, column] => self.column(Some(relation), column),
                _ => Err(SqlError::unsupported("a name of so many parts").at(self.start(ast))),
            },
            Ast::Value(value) => self.value(&value.value).map_err(|e| self.located(e, ast)),
            Ast::BinaryOp { left, op, right } => self.binary(ast, left, op, right),
            Ast::UnaryOp { op, expr } => self.unary(ast, *op, expr),
            Ast::Nested(inner) => self.bind(inner),
            Ast::Cast {
                kind: ast::CastKind::Cast | ast::CastKind::DoubleColon,
                expr,
                data_type,
                format: None,
            } => {
                let to = data_type::resolve(data_type)?;
                self.explicit_cast(expr, to).map_err(|e| self.located(e, ast))
            }
            Ast::TypedString(typed) => {
                let to = data_type::resolve(&typed.data_type)?;
                let bound = self.value(&typed.value.value)?;
                self.cast_bound(bound, to).map_err(|e| self.located(e, ast))
            }
            Ast::Function(function) => functions::bind(self, function).map_err(|e| self.located(e, ast)),
            _ => self.bind_predicate(ast),
        }
    }

    /// Binds what may have any type: unknown literals and parameters are text.
    pub(super) fn any_type(&mut self, ast: &Ast) -> Result<Bound, SqlError> {
        let bound = self.bind(ast)?;
        self.settle(bound)
    }

    /// Decides for text where nothing else decides.
    pub(super) fn settle(&mut self, bound: Bound) -> Result<Bound, SqlError> {
        if bound.ty != Type::Unknown {
            return Ok(bound);
        }
        let null = Bound { expr: Expr::Const(Value::Null), ty: Type::Text };
        Ok(self.try_coerce(bound, Type::Text, Context::Implicit)?.unwrap_or(null))
    }

    fn column(&mut self, relation: Option<&Ident>, ident: &Ident) -> Result<Bound, SqlError> {
        let name = fold_name(&ident.value, ident.quote_style.is_some());
        if let Some(relation) = relation {
            let relation_name = fold_name(&relation.value, relation.quote_style.is_some());
            if self.scope.with_excluded && relation_name == "excluded" {
                let column =
                    self.scope.find(&name).ok_or_else(|| self.no_column(Some("excluded"), &name, ident))?;
                let ty = self.scope.columns[usize::from(column)].ty;
                return Ok(Bound { expr: Expr::Excluded(column), ty });
            }
            if relation_name != self.scope.name {
                let message = format!("missing FROM-clause entry for table \"{relation_name}\"");
                return Err(SqlError::new(sqlstate::UNDEFINED_TABLE, message).at(self.place(relation)));
            }
            let column =
                self.scope.find(&name).ok_or_else(|| self.no_column(Some(&relation_name), &name, ident))?;
            return Ok(Bound { expr: Expr::Column(column), ty: self.scope.columns[usize::from(column)].ty });
        }
        if let Some(column) = self.scope.find(&name) {
            return Ok(Bound { expr: Expr::Column(column), ty: self.scope.columns[usize::from(column)].ty });
        }
        if ident.quote_style.is_none()
            && let Some(function) = functions::word(&name)
        {
            return Ok(function);
        }
        Err(self.no_column(None, &name, ident))
    }

    fn no_column(&self, relation: Option<&str>, name: &str, ident: &Ident) -> SqlError {
        let message = match relation {
            Some(relation) => format!("column {relation}.{name} does not exist"),
            None => format!("column \"{name}\" does not exist"),
        };
        SqlError::new(sqlstate::UNDEFINED_COLUMN, message).at(self.place(ident))
    }

    pub(super) fn value(&mut self, value: &ast::Value) -> Result<Bound, SqlError> {
        Ok(match value {
            ast::Value::Number(digits, false) => number(digits)?,
            ast::Value::SingleQuotedString(text)
            | ast::Value::EscapedStringLiteral(text)
            | ast::Value::UnicodeStringLiteral(text) => string(text)?,
            ast::Value::DollarQuotedString(text) => string(&text.value)?,
            ast::Value::Boolean(v) => Bound::literal(Value::Bool(*v), Type::Bool),
            ast::Value::Null => Bound::literal(Value::Null, Type::Unknown),
            ast::Value::Placeholder(name) => self.param(name)?,
            other => return Err(SqlError::unsupported(format!("literal {other}"))),
        })
    }

    fn param(&mut self, name: &str) -> Result<Bound, SqlError> {
        let no_such =
            || SqlError::new(sqlstate::UNDEFINED_PARAMETER, format!("there is no parameter {name}"));
        let number: u16 = name.strip_prefix('$').and_then(|n| n.parse().ok()).ok_or_else(no_such)?;
        let index = number.checked_sub(1).ok_or_else(no_such)?;
        if self.params.len() <= usize::from(index) {
            self.params.resize(usize::from(index) + 1, Type::Unknown);
        }
        Ok(Bound { expr: Expr::Param(index), ty: self.params[usize::from(index)] })
    }

    fn explicit_cast(&mut self, expr: &Ast, to: Type) -> Result<Bound, SqlError> {
        let bound = self.bind(expr)?;
        self.cast_bound(bound, to)
    }

    pub(super) fn cast_bound(&mut self, bound: Bound, to: Type) -> Result<Bound, SqlError> {
        let from = bound.ty;
        self.try_coerce(bound, to, Context::Explicit)?.ok_or_else(|| {
            let message = format!("cannot cast type {} to {}", from.name(), to.name());
            SqlError::new(sqlstate::CANNOT_COERCE, message)
        })
    }

    /// A function of the server with its arguments converted already.
    pub(super) fn system(function: SystemFunction, args: Vec<Expr>) -> Bound {
        Bound { expr: Expr::System(function, args), ty: function.result() }
    }
}

fn string(text: &str) -> Result<Bound, SqlError> {
    if text.contains('\0') {
        let message = "invalid byte sequence for encoding \"UTF8\": 0x00";
        return Err(SqlError::new(sqlstate::CHARACTER_NOT_IN_REPERTOIRE, message));
    }
    Ok(Bound::literal(Value::owned_text(text), Type::Unknown))
}

/// A number: integer, bigint or numeric, whichever holds it.
pub(super) fn number(digits: &str) -> Result<Bound, SqlError> {
    if let Ok(value) = digits.parse::<i32>() {
        return Ok(Bound::literal(Value::Int4(value), Type::Int4));
    }
    if let Ok(value) = digits.parse::<i64>() {
        return Ok(Bound::literal(Value::Int8(value), Type::Int8));
    }
    match Numeric::parse(digits) {
        Ok(Some(value)) => Ok(Bound::literal(Value::Numeric(Box::new(value)), Type::Numeric)),
        Ok(None) => Err(SqlError::syntax(format!("syntax error at or near \"{digits}\""))),
        // More digits than `numeric` has here: a double is the nearest there is.
        Err(error) => match digits.parse::<f64>() {
            Ok(value) if value.is_finite() => Ok(Bound::literal(Value::Float8(value), Type::Float8)),
            _ => Err(error),
        },
    }
}

/// A name of one or two parts, folded.
pub(super) fn object_name(name: &ObjectName) -> Result<Name, SqlError> {
    let part = |part: &ObjectNamePart| match part {
        ObjectNamePart::Identifier(ident) => Ok(fold_name(&ident.value, ident.quote_style.is_some())),
        ObjectNamePart::Function(_) => Err(SqlError::unsupported("a computed name")),
    };
    match name.0.as_slice() {
        [name] => Ok(Name { schema: None, name: part(name)? }),
        [schema, name] => Ok(Name { schema: Some(part(schema)?), name: part(name)? }),
        _ => Err(SqlError::unsupported("reference to another database")),
    }
}
