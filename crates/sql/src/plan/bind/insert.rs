//! INSERT.

use std::sync::Arc;

use sqlparser::ast::{self, Expr as Ast, OnConflictAction, SetExpr};

use super::binder::{Binder, Bound, object_name};
use super::query::refuse;
use super::scope::Scope;
use super::write::{changes_key, is_default};
use crate::catalog::TableDef;
use crate::error::{SqlError, sqlstate};
use crate::expr::Expr;
use crate::parse::fold as fold_name;
use crate::plan::{ConflictAction, InsertPlan, InsertSource, OnConflict, OutputColumn};
use crate::types::{Type, Value};

impl Binder<'_> {
    /// Plans an INSERT.
    pub(super) fn insert(
        &mut self,
        insert: &ast::Insert,
    ) -> Result<(InsertPlan, Vec<OutputColumn>), SqlError> {
        let foreign = insert.or.is_some()
            || insert.ignore
            || insert.overwrite
            || insert.partitioned.is_some()
            || !insert.after_columns.is_empty()
            || insert.has_table_keyword
            || insert.replace_into
            || insert.priority.is_some()
            || insert.output.is_some()
            || !insert.assignments.is_empty();
        refuse(foreign, "this form of INSERT")?;
        let ast::TableObject::TableName(name) = &insert.table else {
            return Err(SqlError::unsupported("this target of INSERT"));
        };
        let table = self.target(name)?;
        let alias =
            insert.table_alias.as_ref().map(|a| fold_name(&a.alias.value, a.alias.quote_style.is_some()));
        let mut targets = Vec::with_capacity(table.columns().len());
        for column in &insert.columns {
            let position = self.column_of(&table, column)?;
            if targets.contains(&position) {
                let name = &table.columns()[usize::from(position)].name;
                let message = format!("column \"{name}\" specified more than once");
                return Err(SqlError::new(sqlstate::DUPLICATE_COLUMN, message));
            }
            targets.push(position);
        }
        let explicit = !targets.is_empty();
        if !explicit {
            targets.extend(0..table.columns().len() as u16);
        }
        let source = match &insert.source {
            None => InsertSource::Values(vec![self.default_row(&table)]),
            Some(query) => match &*query.body {
                SetExpr::Values(values)
                    if query.order_by.is_none() && query.limit_clause.is_none() && query.with.is_none() =>
                {
                    self.scope = Scope::nothing();
                    self.clause = "VALUES";
                    let mut rows = Vec::with_capacity(values.rows.len());
                    for row in &values.rows {
                        rows.push(self.insert_row(&table, &targets, explicit, &row.content)?);
                    }
                    InsertSource::Values(rows)
                }
                _ => self.insert_query(&table, &targets, explicit, query)?,
            },
        };
        self.scope = Scope::table(&table, alias);
        let conflict = match &insert.on {
            None => None,
            Some(ast::OnInsert::OnConflict(conflict)) => Some(self.on_conflict(&table, conflict)?),
            Some(_) => return Err(SqlError::unsupported("ON DUPLICATE KEY")),
        };
        let (returning, columns) = self.returning(insert.returning.as_ref())?;
        Ok((InsertPlan { table, source, conflict, returning }, columns))
    }

    fn default_row(&self, table: &TableDef) -> Vec<Expr> {
        (0..table.columns().len() as u16).map(|c| Self::default_of(table, c)).collect()
    }

    fn count_error(more_expressions: bool) -> SqlError {
        SqlError::syntax(if more_expressions {
            "INSERT has more expressions than target columns"
        } else {
            "INSERT has more target columns than expressions"
        })
    }

    fn insert_row(
        &mut self,
        table: &TableDef,
        targets: &[u16],
        explicit: bool,
        values: &[Ast],
    ) -> Result<Vec<Expr>, SqlError> {
        if values.len() > targets.len() || (explicit && values.len() < targets.len()) {
            return Err(Self::count_error(values.len() > targets.len()));
        }
        let mut row = self.default_row(table);
        for (value, column) in values.iter().zip(targets) {
            if !is_default(value) {
                row[usize::from(*column)] = self.assign_to(table, *column, value)?;
            }
        }
        Ok(row)
    }

    fn insert_query(
        &mut self,
        table: &TableDef,
        targets: &[u16],
        explicit: bool,
        query: &ast::Query,
    ) -> Result<InsertSource, SqlError> {
        let (plan, mut output) = self.query(query)?;
        if output.len() > targets.len() || (explicit && output.len() < targets.len()) {
            return Err(Self::count_error(output.len() > targets.len()));
        }
        let mut row = self.default_row(table);
        for (position, (column, target)) in output.drain(..).zip(targets).enumerate() {
            // A literal of the select list takes the column's type although it was settled for text.
            let literal = plan.grouping.is_none()
                && column.ty == Type::Text
                && matches!(plan.projection.get(position), Some(Expr::Const(Value::Text(_) | Value::Null)));
            let bound = if literal {
                let expr = plan.projection.get(position).cloned().unwrap_or(Expr::Const(Value::Null));
                Bound { expr, ty: Type::Unknown }
            } else {
                Bound { expr: Expr::Column(position as u16), ty: column.ty }
            };
            row[usize::from(*target)] = self.assign_bound(table, *target, bound)?;
        }
        Ok(InsertSource::Select(Box::new(plan), row))
    }

    fn on_conflict(
        &mut self,
        table: &Arc<TableDef>,
        conflict: &ast::OnConflict,
    ) -> Result<OnConflict, SqlError> {
        let key = table.primary_key.as_ref();
        match &conflict.conflict_target {
            None => {}
            Some(ast::ConflictTarget::Columns(columns)) => {
                let mut named = Vec::new();
                for column in columns {
                    let name = ast::ObjectName::from(vec![column.clone()]);
                    named.push(self.column_of(table, &name)?);
                }
                let matches = key.is_some_and(|key| {
                    named.iter().all(|c| key.columns.contains(c))
                        && key.columns.iter().all(|c| named.contains(c))
                });
                if !matches {
                    let message =
                        "there is no unique or exclusion constraint matching the ON CONFLICT specification";
                    return Err(SqlError::new(sqlstate::INVALID_COLUMN_REFERENCE, message));
                }
            }
            Some(ast::ConflictTarget::OnConstraint(name)) => {
                let name = object_name(name)?.name;
                if key.is_none_or(|key| key.name != name) {
                    let message =
                        format!("constraint \"{name}\" for table \"{}\" does not exist", table.name);
                    return Err(SqlError::new(sqlstate::UNDEFINED_OBJECT, message));
                }
            }
        }
        let action = match &conflict.action {
            OnConflictAction::DoNothing => ConflictAction::Nothing,
            OnConflictAction::DoUpdate(update) => {
                if conflict.conflict_target.is_none() {
                    let message = "ON CONFLICT DO UPDATE requires inference specification or constraint name";
                    return Err(SqlError::syntax(message));
                }
                self.scope.with_excluded = true;
                self.clause = "UPDATE";
                let assignments = self.assignments(table, &update.assignments)?;
                let filter = self.condition(update.selection.as_ref())?;
                self.scope.with_excluded = false;
                let changes_key = changes_key(table, &assignments);
                ConflictAction::Update { assignments, filter, changes_key }
            }
        };
        Ok(OnConflict { action })
    }
}
