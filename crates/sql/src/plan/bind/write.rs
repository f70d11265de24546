//! UPDATE, DELETE, and what they share with INSERT: targets, assignments, RETURNING.

use std::sync::Arc;

use sqlparser::ast::{self, AssignmentTarget, Expr as Ast, FromTable, TableFactor};

use super::binder::{Binder, Bound, object_name};
use super::coerce::Context;
use super::path;
use super::query::refuse;
use super::scope::Scope;
use crate::catalog::TableDef;
use crate::error::{SqlError, sqlstate};
use crate::expr::Expr;
use crate::parse::fold as fold_name;
use crate::plan::{DeletePlan, OutputColumn, UpdatePlan};
use crate::types::{Type, Value};

type Returning = Option<Vec<Expr>>;

impl Binder<'_> {
    /// A table that is to be changed.
    pub(super) fn target(&self, name: &ast::ObjectName) -> Result<Arc<TableDef>, SqlError> {
        let folded = object_name(name)?;
        self.user_table(&folded).map_err(|e| e.at(self.position(name)))
    }

    pub(super) fn returning(
        &mut self,
        items: Option<&Vec<ast::SelectItem>>,
    ) -> Result<(Returning, Vec<OutputColumn>), SqlError> {
        self.clause = "RETURNING";
        match items {
            None => Ok((None, Vec::new())),
            Some(items) => self.projection(items).map(|(exprs, columns)| (Some(exprs), columns)),
        }
    }

    pub(super) fn column_of(&self, table: &TableDef, name: &ast::ObjectName) -> Result<u16, SqlError> {
        let folded = object_name(name)?.name;
        let position = table.column(&folded).and_then(|c| u16::try_from(c).ok());
        position.ok_or_else(|| {
            let message = format!("column \"{folded}\" of relation \"{}\" does not exist", table.name);
            SqlError::new(sqlstate::UNDEFINED_COLUMN, message).at(self.position(name))
        })
    }

    pub(super) fn default_of(table: &TableDef, column: u16) -> Expr {
        table.default(usize::from(column)).cloned().unwrap_or(Expr::Const(Value::Null))
    }

    pub(super) fn assign_to(&mut self, table: &TableDef, column: u16, ast: &Ast) -> Result<Expr, SqlError> {
        let bound = self.bind(ast)?;
        self.assign_bound(table, column, bound).map_err(|e| self.located(e, ast))
    }

    pub(super) fn assign_bound(
        &mut self,
        table: &TableDef,
        column: u16,
        bound: Bound,
    ) -> Result<Expr, SqlError> {
        match table.columns().get(usize::from(column)) {
            Some(def) => self.assign(bound, def.ty, &def.name),
            None => Err(SqlError::internal("assignment to no column")),
        }
    }

    pub(super) fn condition(&mut self, condition: Option<&Ast>) -> Result<Option<Expr>, SqlError> {
        self.clause = "WHERE";
        match condition {
            None => Ok(None),
            Some(ast) => {
                let bound = self.bind(ast)?;
                self.boolean(bound, "WHERE").map(Some).map_err(|e| self.located(e, ast))
            }
        }
    }

    pub(super) fn assignments(
        &mut self,
        table: &TableDef,
        list: &[ast::Assignment],
    ) -> Result<Vec<(u16, Expr)>, SqlError> {
        let mut assigned: Vec<(u16, Expr)> = Vec::with_capacity(list.len());
        let mut add = |binder: &mut Self, name: &ast::ObjectName, value: &Ast| {
            if name.0.len() > 1 {
                // As PostgreSQL reads it: a field of a column of that name.
                let first = ast::ObjectName(name.0.iter().take(1).cloned().collect());
                binder.column_of(table, &first)?;
                return Err(SqlError::unsupported("assignment to a field of a column"));
            }
            let column = binder.column_of(table, name)?;
            if assigned.iter().any(|(c, _)| *c == column) {
                let name = &table.columns()[usize::from(column)].name;
                return Err(SqlError::syntax(format!("multiple assignments to same column \"{name}\"")));
            }
            let expr = if is_default(value) {
                Self::default_of(table, column)
            } else {
                binder.assign_to(table, column, value)?
            };
            assigned.push((column, expr));
            Ok(())
        };
        for assignment in list {
            match (&assignment.target, &assignment.value) {
                (AssignmentTarget::ColumnName(name), value) => add(self, name, value)?,
                (AssignmentTarget::Tuple(names), Ast::Tuple(values)) => {
                    if names.len() != values.len() {
                        return Err(SqlError::syntax("number of columns does not match number of values"));
                    }
                    for (name, value) in names.iter().zip(values) {
                        add(self, name, value)?;
                    }
                }
                (AssignmentTarget::Tuple(names), Ast::Nested(value)) if names.len() == 1 => {
                    add(self, &names[0], value)?
                }
                _ => return Err(SqlError::unsupported("this form of SET")),
            }
        }
        assigned.sort_by_key(|(column, _)| *column);
        Ok(assigned)
    }

    fn one_table(&mut self, from: &ast::TableWithJoins) -> Result<Arc<TableDef>, SqlError> {
        refuse(!from.joins.is_empty(), "a join")?;
        let TableFactor::Table { name, alias, args: None, .. } = &from.relation else {
            return Err(SqlError::unsupported("this form of a table"));
        };
        let table = self.target(name)?;
        let alias = alias.as_ref().map(|a| fold_name(&a.name.value, a.name.quote_style.is_some()));
        self.scope = Scope::table(&table, alias);
        Ok(table)
    }

    /// Plans an UPDATE.
    pub(super) fn update(
        &mut self,
        update: &ast::Update,
    ) -> Result<(UpdatePlan, Vec<OutputColumn>), SqlError> {
        refuse(update.from.is_some(), "UPDATE ... FROM")?;
        let foreign = update.or.is_some()
            || !update.order_by.is_empty()
            || update.limit.is_some()
            || update.output.is_some();
        refuse(foreign, "this form of UPDATE")?;
        let table = self.one_table(&update.table)?;
        self.clause = "UPDATE";
        let assignments = self.assignments(&table, &update.assignments)?;
        let condition = self.condition(update.selection.as_ref())?;
        let (access, filter) = path::choose(&table, condition);
        let (returning, columns) = self.returning(update.returning.as_ref())?;
        let changes_key = changes_key(&table, &assignments);
        Ok((UpdatePlan { table, access, filter, assignments, changes_key, returning }, columns))
    }

    /// Plans a DELETE.
    pub(super) fn delete(
        &mut self,
        delete: &ast::Delete,
    ) -> Result<(DeletePlan, Vec<OutputColumn>), SqlError> {
        refuse(delete.using.is_some(), "DELETE ... USING")?;
        let foreign = !delete.tables.is_empty()
            || !delete.order_by.is_empty()
            || delete.limit.is_some()
            || delete.output.is_some();
        refuse(foreign, "this form of DELETE")?;
        let (FromTable::WithFromKeyword(from) | FromTable::WithoutKeyword(from)) = &delete.from;
        let [from] = from.as_slice() else { return Err(SqlError::unsupported("a join")) };
        let table = self.one_table(from)?;
        let condition = self.condition(delete.selection.as_ref())?;
        let (access, filter) = path::choose(&table, condition);
        let (returning, columns) = self.returning(delete.returning.as_ref())?;
        Ok((DeletePlan { table, access, filter, returning }, columns))
    }

    /// A DEFAULT for a column of a type.
    pub(super) fn default_expr(&mut self, ast: &Ast, ty: Type, column: &str) -> Result<Expr, SqlError> {
        self.clause = "DEFAULT expressions";
        let bound = self.bind(ast)?;
        if self.params.iter().any(|_| true) {
            return Err(SqlError::new(sqlstate::UNDEFINED_PARAMETER, "there is no parameter $1"));
        }
        let from = bound.ty;
        self.try_coerce(bound, ty, Context::Assignment)?.map(|b| b.expr).ok_or_else(|| {
            let message = format!(
                "column \"{column}\" is of type {} but default expression is of type {}",
                ty.name(),
                from.name()
            );
            SqlError::new(sqlstate::DATATYPE_MISMATCH, message)
        })
    }
}

/// Whether a value is the word DEFAULT.
pub(super) fn is_default(ast: &Ast) -> bool {
    matches!(ast, Ast::Identifier(i) if i.quote_style.is_none() && i.value.eq_ignore_ascii_case("default"))
}

/// Whether an assignment changes a column of the primary key.
pub(super) fn changes_key(table: &TableDef, assignments: &[(u16, Expr)]) -> bool {
    assignments.iter().any(|(column, _)| table.key_columns().contains(column))
}
