//! SELECT and VALUES.

use sqlparser::ast::{self, Distinct, Expr as Ast, GroupByExpr, LimitClause, Query, Select, SetExpr};

use super::binder::{AGGREGATE_BASE, Binder, Bound};
use super::coerce::Context;
use super::path;
use super::scope::Scope;
use crate::error::{SqlError, sqlstate};
use crate::expr::Expr;
use crate::plan::{Grouping, LockWait, OutputColumn, RowLock, SelectPlan, Source};
use crate::types::{Type, Value};

/// Refuses a clause that is there.
pub(super) fn refuse(present: bool, what: &str) -> Result<(), SqlError> {
    if present { Err(SqlError::unsupported(what)) } else { Ok(()) }
}

impl Binder<'_> {
    /// Plans a query.
    pub(super) fn query(&mut self, query: &Query) -> Result<(SelectPlan, Vec<OutputColumn>), SqlError> {
        refuse(query.with.is_some(), "WITH")?;
        refuse(!query.pipe_operators.is_empty() || query.for_clause.is_some(), "this form of a query")?;
        refuse(query.settings.is_some() || query.format_clause.is_some(), "this form of a query")?;
        let (mut plan, columns) = match &*query.body {
            SetExpr::Select(select) => self.select(select, query)?,
            SetExpr::Values(values) => self.values(values, query)?,
            SetExpr::Query(inner) => {
                refuse(
                    query.order_by.is_some() || query.limit_clause.is_some(),
                    "a query in parentheses with clauses",
                )?;
                self.query(inner)?
            }
            SetExpr::SetOperation { op, .. } => return Err(SqlError::unsupported(op)),
            SetExpr::Table(_) => return Err(SqlError::unsupported("TABLE")),
            _ => return Err(SqlError::unsupported("a statement within a query")),
        };
        self.limits(query, &mut plan)?;
        plan.lock = row_lock(query)?;
        if plan.lock.is_some() && plan.grouping.is_some() {
            return Err(SqlError::unsupported("FOR UPDATE with aggregates, GROUP BY or DISTINCT"));
        }
        Ok((plan, columns))
    }

    fn limits(&mut self, query: &Query, plan: &mut SelectPlan) -> Result<(), SqlError> {
        self.scope = Scope::nothing();
        self.clause = "LIMIT";
        match &query.limit_clause {
            None => {}
            Some(LimitClause::LimitOffset { limit, offset, limit_by }) => {
                refuse(!limit_by.is_empty(), "LIMIT BY")?;
                plan.limit = limit.as_ref().map(|e| self.bigint(e)).transpose()?;
                plan.offset = offset.as_ref().map(|o| self.bigint(&o.value)).transpose()?;
            }
            Some(LimitClause::OffsetCommaLimit { .. }) => {
                return Err(SqlError::syntax("LIMIT #,# syntax is not supported")
                    .with_hint("Use separate LIMIT and OFFSET clauses."));
            }
        }
        if let Some(fetch) = &query.fetch {
            refuse(fetch.with_ties || fetch.percent, "FETCH ... WITH TIES or PERCENT")?;
            plan.limit = Some(match &fetch.quantity {
                Some(quantity) => self.bigint(quantity)?,
                None => Expr::Const(Value::Int8(1)),
            });
        }
        Ok(())
    }

    fn bigint(&mut self, ast: &Ast) -> Result<Expr, SqlError> {
        let bound = self.bind(ast)?;
        let from = bound.ty;
        // PostgreSQL rounds a double here, as in an assignment.
        self.try_coerce(bound, Type::Int8, Context::Assignment)?.map(|b| b.expr).ok_or_else(|| {
            let message = format!("argument of LIMIT must be type bigint, not type {}", from.name());
            SqlError::new(sqlstate::DATATYPE_MISMATCH, message).at(self.start(ast))
        })
    }

    pub(super) fn values(
        &mut self,
        values: &ast::Values,
        query: &Query,
    ) -> Result<(SelectPlan, Vec<OutputColumn>), SqlError> {
        refuse(query.order_by.is_some(), "ORDER BY of VALUES")?;
        let width = values.rows.first().map_or(0, |row| row.content.len());
        let mut columns: Vec<Vec<Bound>> = (0..width).map(|_| Vec::new()).collect();
        for row in &values.rows {
            if row.content.len() != width {
                return Err(SqlError::syntax("VALUES lists must all be the same length"));
            }
            for (expr, column) in row.content.iter().zip(&mut columns) {
                column.push(self.bind(expr)?);
            }
        }
        let mut rows = vec![Vec::with_capacity(width); values.rows.len()];
        let mut output = Vec::with_capacity(width);
        for (position, column) in columns.into_iter().enumerate() {
            let (exprs, ty) = self.unify(column, "VALUES")?;
            for (row, expr) in rows.iter_mut().zip(exprs) {
                row.push(expr);
            }
            output.push(OutputColumn { name: format!("column{}", position + 1), ty, table: 0, attribute: 0 });
        }
        let projection = (0..width).map(|c| Expr::Column(c as u16)).collect();
        Ok((simple(Source::Values(rows), projection), output))
    }

    fn select(
        &mut self,
        select: &Select,
        query: &Query,
    ) -> Result<(SelectPlan, Vec<OutputColumn>), SqlError> {
        refuse_foreign_clauses(select)?;
        let source = self.from(&select.from)?;
        self.clause = "WHERE";
        let filter = match &select.selection {
            Some(condition) => {
                let bound = self.bind(condition)?;
                Some(self.boolean(bound, "WHERE").map_err(|e| self.located(e, condition))?)
            }
            None => None,
        };
        self.clause = "GROUP BY";
        self.aggregates = Some(Vec::new());
        let (mut projection, output) = self.projection(&select.projection)?;
        let group_by = match &select.group_by {
            GroupByExpr::Expressions(list, modifiers) => {
                refuse(!modifiers.is_empty(), "GROUP BY with modifiers")?;
                list
            }
            GroupByExpr::All(_) => return Err(SqlError::unsupported("GROUP BY ALL")),
        };
        let found = self.aggregates.take();
        let mut keys = Vec::new();
        for key in group_by {
            keys.push(self.output_or_column(key, &projection, &output, false)?);
        }
        self.aggregates = found;
        self.clause = "HAVING";
        let mut having = match &select.having {
            Some(condition) => {
                let bound = self.bind(condition)?;
                Some(self.boolean(bound, "HAVING")?)
            }
            None => None,
        };
        self.clause = "ORDER BY";
        let mut order_by = self.order_by(query, &projection, &output)?;
        let aggregates = self.aggregates.take().unwrap_or_default();
        let distinct = match &select.distinct {
            None | Some(Distinct::All) => false,
            Some(Distinct::Distinct) => true,
            Some(Distinct::On(_)) => return Err(SqlError::unsupported("DISTINCT ON")),
        };
        let grouped = !keys.is_empty() || !aggregates.is_empty() || having.is_some();
        let mut grouping = None;
        if grouped {
            refuse(distinct, "DISTINCT with aggregates or GROUP BY")?;
            let (keys, key_types): (Vec<Expr>, Vec<Type>) = keys.into_iter().map(|b| (b.expr, b.ty)).unzip();
            for expr in
                projection.iter_mut().chain(having.as_mut()).chain(order_by.iter_mut().map(|k| &mut k.expr))
            {
                self.over_groups(expr, &keys)?;
            }
            grouping = Some(Grouping { keys, key_types, aggregates, having });
        } else if distinct {
            let key_types = output.iter().map(|c| c.ty).collect();
            for sort in &mut order_by {
                let position = projection.iter().position(|e| *e == sort.expr).ok_or_else(|| {
                    let message = "for SELECT DISTINCT, ORDER BY expressions must appear in select list";
                    SqlError::new(sqlstate::INVALID_COLUMN_REFERENCE, message)
                })?;
                sort.expr = Expr::Column(position as u16);
            }
            let columns = (0..projection.len()).map(|c| Expr::Column(c as u16)).collect();
            let keys = std::mem::replace(&mut projection, columns);
            grouping = Some(Grouping { keys, key_types, aggregates, having: None });
        }
        let mut plan = simple(source, projection);
        plan.filter = filter;
        if let Source::Table { table, access } = &mut plan.source {
            (*access, plan.filter) = path::choose(table, plan.filter.take());
            if grouping.is_none() && !order_by.is_empty() && path::delivers(table, access, &order_by) {
                order_by.clear();
            }
        }
        plan.grouping = grouping;
        plan.order_by = order_by;
        Ok((plan, output))
    }

    /// Replaces keys and aggregates in an expression by the columns of a group's row.
    fn over_groups(&self, expr: &mut Expr, keys: &[Expr]) -> Result<(), SqlError> {
        let scope = &self.scope;
        expr.rewrite(&mut |e| {
            if let Some(position) = keys.iter().position(|key| key == e) {
                *e = Expr::Column(position as u16);
                return Ok(true);
            }
            match e {
                Expr::Column(c) if *c >= AGGREGATE_BASE => {
                    *c = *c - AGGREGATE_BASE + keys.len() as u16;
                    Ok(true)
                }
                Expr::Column(c) => {
                    let column = scope.columns.get(usize::from(*c)).map_or("?", |c| &c.name);
                    let message = format!(
                        "column \"{}.{column}\" must appear in the GROUP BY clause or be used in an aggregate function",
                        scope.name
                    );
                    Err(SqlError::new(sqlstate::GROUPING_ERROR, message))
                }
                _ => Ok(false),
            }
        })
    }
}

fn simple(source: Source, projection: Vec<Expr>) -> SelectPlan {
    SelectPlan {
        source,
        filter: None,
        grouping: None,
        projection,
        order_by: Vec::new(),
        limit: None,
        offset: None,
        lock: None,
    }
}

fn row_lock(query: &Query) -> Result<Option<RowLock>, SqlError> {
    let Some(first) = query.locks.first() else { return Ok(None) };
    let mut lock = RowLock { exclusive: false, wait: LockWait::Block };
    for clause in &query.locks {
        lock.exclusive |= clause.lock_type == ast::LockType::Update;
    }
    lock.wait = match first.nonblock {
        None => LockWait::Block,
        Some(ast::NonBlock::Nowait) => LockWait::Fail,
        Some(ast::NonBlock::SkipLocked) => LockWait::Skip,
    };
    Ok(Some(lock))
}

fn refuse_foreign_clauses(select: &Select) -> Result<(), SqlError> {
    refuse(select.into.is_some(), "SELECT INTO")?;
    refuse(!select.named_window.is_empty(), "WINDOW")?;
    let foreign = select.top.is_some()
        || select.exclude.is_some()
        || select.select_modifiers.is_some()
        || !select.lateral_views.is_empty()
        || select.prewhere.is_some()
        || !select.connect_by.is_empty()
        || !select.cluster_by.is_empty()
        || !select.distribute_by.is_empty()
        || !select.sort_by.is_empty()
        || select.qualify.is_some()
        || select.value_table_mode.is_some()
        || select.flavor != ast::SelectFlavor::Standard;
    refuse(foreign, "this form of SELECT")
}
