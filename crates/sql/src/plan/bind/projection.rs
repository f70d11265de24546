//! Select lists and RETURNING, and ORDER BY, which may name their columns.

use sqlparser::ast::{self, Expr as Ast, OrderByKind, Query, SelectItem, SelectItemQualifiedWildcardKind};

use super::binder::{AGGREGATE_BASE, Binder, Bound, object_name};
use super::query::refuse;
use super::scope::Relation;
use crate::error::{SqlError, sqlstate};
use crate::expr::Expr;
use crate::parse::fold as fold_name;
use crate::plan::{OutputColumn, SortKey};
use crate::types::Type;

impl Binder<'_> {
    /// The columns of a select list or RETURNING.
    pub(super) fn projection(
        &mut self,
        items: &[SelectItem],
    ) -> Result<(Vec<Expr>, Vec<OutputColumn>), SqlError> {
        let (mut exprs, mut output) = (Vec::new(), Vec::new());
        for item in items {
            let (ast, alias) = match item {
                SelectItem::UnnamedExpr(ast) => (ast, None),
                SelectItem::ExprWithAlias { expr, alias } => (expr, Some(alias)),
                SelectItem::Wildcard(options) => {
                    refuse_wildcard_options(options)?;
                    self.wildcard(&mut exprs, &mut output)?;
                    continue;
                }
                SelectItem::QualifiedWildcard(SelectItemQualifiedWildcardKind::ObjectName(name), options) => {
                    refuse_wildcard_options(options)?;
                    let name = object_name(name)?.name;
                    if name != self.scope.name {
                        let message = format!("missing FROM-clause entry for table \"{name}\"");
                        return Err(SqlError::new(sqlstate::UNDEFINED_TABLE, message));
                    }
                    self.wildcard(&mut exprs, &mut output)?;
                    continue;
                }
                _ => return Err(SqlError::unsupported("this form of a select list")),
            };
            let bound = self.any_type(ast)?;
            let (table, attribute) = match bound.expr {
                Expr::Column(column) if column < AGGREGATE_BASE => self.scope.origin(column),
                _ => (0, 0),
            };
            let name = match alias {
                Some(alias) => fold_name(&alias.value, alias.quote_style.is_some()),
                None => output_name(ast).unwrap_or_else(|| "?column?".to_owned()),
            };
            output.push(OutputColumn { name, ty: bound.ty, table, attribute });
            exprs.push(bound.expr);
        }
        if exprs.len() > 1664 {
            return Err(SqlError::new(
                sqlstate::TOO_MANY_COLUMNS,
                "target lists can have at most 1664 entries",
            ));
        }
        Ok((exprs, output))
    }

    fn wildcard(&self, exprs: &mut Vec<Expr>, output: &mut Vec<OutputColumn>) -> Result<(), SqlError> {
        if matches!(self.scope.relation, Relation::Nothing) {
            return Err(SqlError::syntax("SELECT * with no tables specified is not valid"));
        }
        for (position, column) in self.scope.columns.iter().enumerate() {
            let (table, attribute) = self.scope.origin(position as u16);
            output.push(OutputColumn { name: column.name.clone(), ty: column.ty, table, attribute });
            exprs.push(Expr::Column(position as u16));
        }
        Ok(())
    }

    /// The keys of ORDER BY.
    pub(super) fn order_by(
        &mut self,
        query: &Query,
        projection: &[Expr],
        output: &[OutputColumn],
    ) -> Result<Vec<SortKey>, SqlError> {
        let Some(order_by) = &query.order_by else { return Ok(Vec::new()) };
        refuse(order_by.interpolate.is_some(), "INTERPOLATE")?;
        let OrderByKind::Expressions(list) = &order_by.kind else {
            return Err(SqlError::unsupported("ORDER BY ALL"));
        };
        let mut keys = Vec::with_capacity(list.len());
        for item in list {
            refuse(item.with_fill.is_some(), "WITH FILL")?;
            let bound = self.output_or_column(&item.expr, projection, output, true)?;
            if bound.ty == Type::Jsonb {
                return Err(SqlError::unsupported("sorting by jsonb values"));
            }
            let descending = match &item.options.sort {
                None | Some(ast::OrderBySort::Asc) => false,
                Some(ast::OrderBySort::Desc) => true,
                Some(_) => return Err(SqlError::unsupported("ORDER BY ... USING")),
            };
            let nulls_first = item.options.nulls_first.unwrap_or(descending);
            if !bound.expr.is_row_independent() || matches!(bound.expr, Expr::System(..)) {
                keys.push(SortKey { expr: bound.expr, descending, nulls_first });
            }
        }
        Ok(keys)
    }

    /// A number of an output column, the name of one, or an expression over the source.
    pub(super) fn output_or_column(
        &mut self,
        ast: &Ast,
        projection: &[Expr],
        output: &[OutputColumn],
        names_first: bool,
    ) -> Result<Bound, SqlError> {
        let by_position =
            |at: usize| Some(Bound { expr: projection.get(at)?.clone(), ty: output.get(at)?.ty });
        match ast {
            Ast::Value(v) if matches!(v.value, ast::Value::Number(..)) => {
                let ast::Value::Number(digits, _) = &v.value else { return self.any_type(ast) };
                let at = digits.parse::<usize>().ok().and_then(|n| n.checked_sub(1));
                at.and_then(by_position).ok_or_else(|| {
                    let message = format!("{} position {digits} is not in select list", self.clause);
                    SqlError::new(sqlstate::INVALID_COLUMN_REFERENCE, message).at(self.start(ast))
                })
            }
            Ast::Identifier(ident) => {
                let name = fold_name(&ident.value, ident.quote_style.is_some());
                let in_output = || output.iter().position(|c| c.name == name);
                if (names_first || self.scope.find(&name).is_none())
                    && let Some(bound) = in_output().and_then(by_position)
                {
                    return Ok(bound);
                }
                self.any_type(ast)
            }
            _ => self.any_type(ast),
        }
    }
}

fn refuse_wildcard_options(options: &ast::WildcardAdditionalOptions) -> Result<(), SqlError> {
    let any = options.opt_ilike.is_some()
        || options.opt_exclude.is_some()
        || options.opt_except.is_some()
        || options.opt_replace.is_some()
        || options.opt_rename.is_some()
        || options.opt_alias.is_some();
    refuse(any, "an option of *")
}

/// The name that PostgreSQL gives to a column (`FigureColname` in `parse_target.c`).
fn output_name(ast: &Ast) -> Option<String> {
    let folded = |ident: &ast::Ident| fold_name(&ident.value, ident.quote_style.is_some());
    match ast {
        Ast::Identifier(ident) => Some(folded(ident)),
        Ast::CompoundIdentifier(parts) => parts.last().map(folded),
        Ast::Nested(inner) | Ast::Collate { expr: inner, .. } => output_name(inner),
        Ast::Function(function) => object_name(&function.name).ok().map(|n| n.name),
        Ast::Cast { expr, data_type, .. } => output_name(expr)
            .or_else(|| super::data_type::resolve(data_type).ok().map(|ty| ty.typname().to_owned())),
        Ast::TypedString(typed) => {
            super::data_type::resolve(&typed.data_type).ok().map(|ty| ty.typname().to_owned())
        }
        Ast::Interval(_) => Some("interval".to_owned()),
        Ast::Value(v) if matches!(v.value, ast::Value::Boolean(_)) => Some("bool".to_owned()),
        Ast::Case { else_result, .. } => {
            else_result.as_ref().and_then(|e| output_name(e)).or_else(|| Some("case".to_owned()))
        }
        Ast::Extract { .. } => Some("extract".to_owned()),
        Ast::Substring { .. } => Some("substring".to_owned()),
        Ast::Position { .. } => Some("position".to_owned()),
        Ast::Ceil { .. } => Some("ceil".to_owned()),
        Ast::Floor { .. } => Some("floor".to_owned()),
        Ast::Trim { trim_where, .. } => Some(
            match trim_where {
                Some(ast::TrimWhereField::Leading) => "ltrim",
                Some(ast::TrimWhereField::Trailing) => "rtrim",
                _ => "btrim",
            }
            .to_owned(),
        ),
        Ast::Exists { .. } => Some("exists".to_owned()),
        _ => None,
    }
}
