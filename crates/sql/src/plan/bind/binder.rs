//! From the parser's expressions to typed ones.

use sqlparser::ast::{
    self, BinaryOperator, Expr as Ast, Ident, ObjectName, ObjectNamePart, Spanned, UnaryOperator,
};

use super::coerce::{Context, common, fold};
use super::scope::Scope;
use super::{data_type, functions};
use crate::catalog::CatalogView;
use crate::error::{SqlError, sqlstate};
use crate::expr::{ArithmeticOp, CompareOp, Expr, SystemFunction};
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

    fn binary(
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

    fn unary(&mut self, whole: &Ast, op: UnaryOperator, expr: &Ast) -> Result<Bound, SqlError> {
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

    /// A function of the server with its arguments converted already.
    pub(super) fn system(function: SystemFunction, args: Vec<Expr>) -> Bound {
        Bound { expr: Expr::System(function, args), ty: function.result() }
    }
}

pub(super) fn no_operator(op: &str, left: Type, right: Type) -> SqlError {
    let message = format!("operator does not exist: {} {op} {}", left.name(), right.name());
    SqlError::new(sqlstate::UNDEFINED_FUNCTION, message).with_hint(
        "No operator matches the given name and argument types. You might need to add explicit type casts.",
    )
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
