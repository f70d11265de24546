//! FROM: the one relation that a query reads.

use sqlparser::ast::{self, SetExpr, TableFactor, TableWithJoins};

use super::binder::{Binder, object_name};
use super::coerce::Context;
use super::scope::{Relation, Scope, ScopeColumn};
use crate::error::{SqlError, sqlstate};
use crate::expr::Expr;
use crate::parse::fold as fold_name;
use crate::plan::{Access, Source};
use crate::types::{Type, Value};

impl Binder<'_> {
    /// The source of a query; names its columns in the scope.
    pub(super) fn from(&mut self, from: &[TableWithJoins]) -> Result<Source, SqlError> {
        let relation = match from {
            [] => {
                self.scope = Scope::nothing();
                return Ok(Source::Nothing);
            }
            [TableWithJoins { relation, joins }] if joins.is_empty() => relation,
            _ => return Err(SqlError::unsupported("a join")),
        };
        match relation {
            TableFactor::Table {
                name,
                alias,
                args,
                with_ordinality: false,
                sample: None,
                version: None,
                ..
            } => {
                let (alias, columns) = alias_of(alias.as_ref());
                if let Some(args) = args {
                    return self.series(name, &args.args, alias, columns);
                }
                let source = self.relation(name, alias)?;
                self.rename(columns)?;
                Ok(source)
            }
            TableFactor::Function { name, args, alias, with_ordinality: false, lateral: false } => {
                let (alias, columns) = alias_of(alias.as_ref());
                self.series(name, args, alias, columns)
            }
            TableFactor::Derived { subquery, alias, lateral: false, sample: None } => match &*subquery.body {
                SetExpr::Values(values) if subquery.order_by.is_none() && subquery.limit_clause.is_none() => {
                    let (plan, output) = self.values(values, subquery)?;
                    let (alias, columns) = alias_of(alias.as_ref());
                    let named = output.into_iter().map(|c| ScopeColumn { name: c.name, ty: c.ty }).collect();
                    self.scope = Scope {
                        relation: Relation::Other,
                        name: alias.unwrap_or_default(),
                        columns: named,
                        with_excluded: false,
                    };
                    self.rename(columns)?;
                    Ok(plan.source)
                }
                _ => Err(SqlError::unsupported("a subquery")),
            },
            _ => Err(SqlError::unsupported("this form of FROM")),
        }
    }

    fn rename(&mut self, columns: Vec<String>) -> Result<(), SqlError> {
        if columns.len() > self.scope.columns.len() {
            let message = format!(
                "table \"{}\" has {} columns available but {} columns specified",
                self.scope.name,
                self.scope.columns.len(),
                columns.len()
            );
            return Err(SqlError::new(sqlstate::INVALID_COLUMN_REFERENCE, message));
        }
        for (column, name) in self.scope.columns.iter_mut().zip(columns) {
            column.name = name;
        }
        Ok(())
    }

    fn relation(&mut self, object: &ast::ObjectName, alias: Option<String>) -> Result<Source, SqlError> {
        let name = object_name(object)?;
        if let Some(table) = self.catalog.table(name.schema.as_deref(), &name.name) {
            self.scope = Scope::table(&table, alias);
            return Ok(Source::Table { table, access: Access::full() });
        }
        if let Some(relation) = self.catalog.system_relation(name.schema.as_deref(), &name.name) {
            self.scope = Scope::system(&relation, alias);
            return Ok(Source::System(relation));
        }
        Err(super::no_relation(&name).at(self.position(object)))
    }

    fn series(
        &mut self,
        name: &ast::ObjectName,
        args: &[ast::FunctionArg],
        alias: Option<String>,
        columns: Vec<String>,
    ) -> Result<Source, SqlError> {
        let function = object_name(name)?;
        if function.name != "generate_series" || !(2..=3).contains(&args.len()) {
            return Err(
                SqlError::unsupported(format!("function {} in FROM", function.name)).at(self.position(name))
            );
        }
        self.scope = Scope::nothing();
        let mut bounds = Vec::new();
        for arg in args {
            match arg {
                ast::FunctionArg::Unnamed(ast::FunctionArgExpr::Expr(expr)) => bounds.push(self.bind(expr)?),
                _ => return Err(SqlError::unsupported("a named argument")),
            }
        }
        let types: Vec<Type> = bounds.iter().map(|b| b.ty).collect();
        let int4 = types.iter().all(|ty| matches!(ty, Type::Int2 | Type::Int4 | Type::Unknown));
        let ty = if int4 { Type::Int4 } else { Type::Int8 };
        let mut exprs = Vec::new();
        for bound in bounds {
            let bound = self.try_coerce(bound, ty, Context::Implicit)?;
            let bound = match bound {
                Some(bound) => self.try_coerce(bound, Type::Int8, Context::Implicit)?,
                None => None,
            };
            exprs.push(bound.ok_or_else(|| super::functions::no_function("generate_series", &types))?.expr);
        }
        let alias = alias.unwrap_or(function.name);
        let column = columns.into_iter().next().unwrap_or_else(|| alias.clone());
        self.scope = Scope {
            relation: Relation::Other,
            name: alias,
            columns: vec![ScopeColumn { name: column, ty }],
            with_excluded: false,
        };
        let step = if exprs.len() == 3 { exprs.pop() } else { None }.unwrap_or(Expr::Const(Value::Int8(1)));
        match (exprs.pop(), exprs.pop()) {
            (Some(stop), Some(start)) => Ok(Source::Series { start, stop, step, int4 }),
            _ => Err(SqlError::internal("series without bounds")),
        }
    }
}

fn alias_of(alias: Option<&ast::TableAlias>) -> (Option<String>, Vec<String>) {
    let folded = |ident: &ast::Ident| fold_name(&ident.value, ident.quote_style.is_some());
    match alias {
        Some(alias) => (Some(folded(&alias.name)), alias.columns.iter().map(|c| folded(&c.name)).collect()),
        None => (None, Vec::new()),
    }
}
