//! Calls: which function a name and its arguments mean.

use sqlparser::ast::{
    self, DateTimeField, DuplicateTreatment, Expr as Ast, FunctionArg, FunctionArgExpr, FunctionArguments,
    TrimWhereField,
};

use super::binder::{AGGREGATE_BASE, Binder, Bound, object_name};
use super::signatures::resolve;
use crate::error::{SqlError, sqlstate};
use crate::expr::{Expr, Function, SystemFunction};
use crate::plan::{Aggregate, AggregateFunction};
use crate::types::{Type, Value};

/// Words that are functions without parentheses.
pub(super) fn word(name: &str) -> Option<Bound> {
    let function = match name {
        "current_timestamp" | "localtimestamp" => SystemFunction::Now,
        "current_user" | "user" | "current_role" => SystemFunction::CurrentUser,
        "session_user" => SystemFunction::SessionUser,
        "current_catalog" => SystemFunction::CurrentDatabase,
        "current_schema" => SystemFunction::CurrentSchema,
        _ => return None,
    };
    let mut bound = Binder::system(function, Vec::new());
    if name == "localtimestamp" {
        bound.ty = Type::Timestamp;
    }
    Some(bound)
}

/// Binds a call.
pub(super) fn bind(binder: &mut Binder<'_>, call: &ast::Function) -> Result<Bound, SqlError> {
    let name = object_name(&call.name)?;
    if name.schema.as_deref().is_some_and(|s| s != "pg_catalog") {
        return Err(no_function(&name.name, &[]));
    }
    let name = name.name;
    if call.over.is_some() {
        return Err(SqlError::unsupported("a window function"));
    }
    if !call.within_group.is_empty()
        || call.null_treatment.is_some()
        || call.parameters != FunctionArguments::None
    {
        return Err(SqlError::unsupported("this form of a function call"));
    }
    let list = match &call.args {
        FunctionArguments::None => {
            return word(&name).ok_or_else(|| no_function(&name, &[]));
        }
        FunctionArguments::Subquery(_) => return Err(SqlError::unsupported("a subquery")),
        FunctionArguments::List(list) => list,
    };
    if !list.clauses.is_empty() {
        return Err(SqlError::unsupported("this form of a function call"));
    }
    if let Some(function) = AggregateFunction::from_name(&name) {
        return aggregate(binder, function, &name, call, list);
    }
    if list.duplicate_treatment.is_some() || call.filter.is_some() {
        let message = format!("DISTINCT or FILTER specified, but {name} is not an aggregate function");
        return Err(SqlError::new(sqlstate::WRONG_OBJECT_TYPE, message));
    }
    let mut args = Vec::with_capacity(list.args.len());
    for arg in &list.args {
        match arg {
            FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => args.push(binder.bind(expr)?),
            _ => return Err(SqlError::unsupported("a named argument")),
        }
    }
    resolve(binder, &name, args)
}

fn aggregate(
    binder: &mut Binder<'_>,
    function: AggregateFunction,
    name: &str,
    call: &ast::Function,
    list: &ast::FunctionArgumentList,
) -> Result<Bound, SqlError> {
    // Aggregates do not nest: there are none within the argument.
    let clause = binder.clause;
    let Some(mut found) = binder.aggregates.take() else {
        let message = format!("aggregate functions are not allowed in {clause}");
        return Err(SqlError::new(sqlstate::GROUPING_ERROR, message));
    };
    binder.clause = "aggregate function calls";
    let arg = match list.args.as_slice() {
        [FunctionArg::Unnamed(FunctionArgExpr::Wildcard)] if function == AggregateFunction::Count => Ok(None),
        [FunctionArg::Unnamed(FunctionArgExpr::Expr(expr))] => {
            let bound = binder.bind(expr)?;
            match (function, bound.ty) {
                (AggregateFunction::BoolAnd | AggregateFunction::BoolOr, Type::Unknown) => {
                    binder.cast_bound(bound, Type::Bool).map(Some)
                }
                _ => binder.settle(bound).map(Some),
            }
        }
        _ => Err(no_function(name, &[])),
    };
    let filter = match &call.filter {
        Some(filter) => {
            let bound = binder.bind(filter)?;
            Some(binder.boolean(bound, "FILTER")?)
        }
        None => None,
    };
    binder.clause = clause;
    let arg = arg?;
    let arg_type = arg.as_ref().map_or(Type::Void, |a| a.ty);
    let result = function.result_type(arg_type).ok_or_else(|| no_function(name, &[arg_type]))?;
    let aggregate = Aggregate {
        function,
        arg: arg.map(|a| a.expr),
        arg_type,
        distinct: list.duplicate_treatment == Some(DuplicateTreatment::Distinct),
        filter,
    };
    let index = found.iter().position(|a| *a == aggregate).unwrap_or_else(|| {
        found.push(aggregate);
        found.len() - 1
    });
    binder.aggregates = Some(found);
    let column = u16::try_from(index)
        .ok()
        .filter(|i| *i < 1000)
        .ok_or_else(|| SqlError::new(sqlstate::TOO_MANY_COLUMNS, "too many aggregates"))?;
    Ok(Bound { expr: Expr::Column(AGGREGATE_BASE + column), ty: result })
}

/// Expressions with a syntax of their own that are functions.
pub(super) fn bind_special(binder: &mut Binder<'_>, ast: &Ast) -> Result<Bound, SqlError> {
    match ast {
        Ast::Substring { expr, substring_from, substring_for, .. } => {
            let mut args = vec![binder.bind(expr)?];
            args.push(match substring_from {
                Some(from) => binder.bind(from)?,
                None => Bound { expr: Expr::Const(Value::Int4(1)), ty: Type::Int4 },
            });
            if let Some(count) = substring_for {
                args.push(binder.bind(count)?);
            }
            resolve(binder, "substring", args)
        }
        Ast::Trim { expr, trim_where, trim_what, trim_characters } => {
            let mut args = vec![binder.bind(expr)?];
            if let Some(what) = trim_what {
                args.push(binder.bind(what)?);
            } else if let Some([what]) = trim_characters.as_deref() {
                args.push(binder.bind(what)?);
            }
            let name = match trim_where {
                Some(TrimWhereField::Leading) => "ltrim",
                Some(TrimWhereField::Trailing) => "rtrim",
                _ => "btrim",
            };
            resolve(binder, name, args)
        }
        Ast::Position { expr, r#in } => {
            let args = vec![binder.bind(r#in)?, binder.bind(expr)?];
            resolve(binder, "strpos", args)
        }
        Ast::Ceil { expr, field: ast::CeilFloorKind::DateTimeField(DateTimeField::NoDateTime) } => {
            let args = vec![binder.bind(expr)?];
            resolve(binder, "ceil", args)
        }
        Ast::Floor { expr, field: ast::CeilFloorKind::DateTimeField(DateTimeField::NoDateTime) } => {
            let args = vec![binder.bind(expr)?];
            resolve(binder, "floor", args)
        }
        Ast::Extract { field: DateTimeField::Epoch, expr, .. } => {
            let arg = binder.bind(expr)?;
            let epoch = resolve(binder, "epoch", vec![arg])?;
            // EXTRACT is numeric since PostgreSQL 14, with six digits.
            let numeric = binder.cast_bound(epoch, Type::Numeric)?;
            let digits = Expr::Const(Value::Int4(6));
            Ok(Bound::new(Expr::Call(Function::Round, vec![numeric.expr, digits]), Type::Numeric))
        }
        Ast::InSubquery { .. } | Ast::Exists { .. } | Ast::Subquery(_) => {
            Err(SqlError::unsupported("a subquery"))
        }
        Ast::AnyOp { .. } | Ast::AllOp { .. } | Ast::Array(_) => Err(SqlError::unsupported("an array")),
        Ast::Tuple(_) => Err(SqlError::unsupported("a row expression")),
        Ast::AtTimeZone { .. } => Err(SqlError::unsupported("AT TIME ZONE")),
        Ast::Collate { expr, collation } => {
            let name = object_name(collation)?.name;
            if matches!(name.as_str(), "C" | "POSIX" | "default") {
                binder.bind(expr)
            } else {
                Err(SqlError::unsupported(format!("collation \"{name}\"")))
            }
        }
        // It is not shown: printing it recurses as binding would.
        _ => Err(SqlError::unsupported("this form of expression")),
    }
}

pub(super) fn no_function(name: &str, args: &[Type]) -> SqlError {
    let types: Vec<&str> = args.iter().map(|ty| ty.name()).collect();
    let message = format!("function {name}({}) does not exist", types.join(", "));
    SqlError::new(sqlstate::UNDEFINED_FUNCTION, message).with_hint(
        "No function matches the given name and argument types. You might need to add explicit type casts.",
    )
}
