//! CREATE TABLE and ALTER TABLE ADD PRIMARY KEY.

use sqlparser::ast::{self, ColumnOption, OnCommit, TableConstraint};

use super::binder::{Binder, object_name};
use super::data_type;
use super::query::refuse;
use crate::catalog::{ColumnDef, PG_TEMP, PUBLIC, PrimaryKey};
use crate::error::{SqlError, sqlstate};
use crate::parse::{Name, fold as fold_name};
use crate::plan::{CreateTablePlan, PlanNode};
use crate::row::MOST_COLUMNS;

fn key_column(column: &ast::IndexColumn) -> Result<String, SqlError> {
    match &column.column.expr {
        ast::Expr::Identifier(ident) => Ok(fold_name(&ident.value, ident.quote_style.is_some())),
        _ => Err(SqlError::syntax("a primary key consists of columns")),
    }
}

/// Finds the key's columns and makes them NOT NULL.
fn make_key(
    table: &str,
    constraint: Option<String>,
    names: &[String],
    columns: &mut [ColumnDef],
) -> Result<PrimaryKey, SqlError> {
    let mut positions = Vec::with_capacity(names.len());
    for name in names {
        let position = columns.iter().position(|c| c.name == *name).ok_or_else(|| {
            let message = format!("column \"{name}\" named in key does not exist");
            SqlError::new(sqlstate::UNDEFINED_COLUMN, message)
        })?;
        let column = &mut columns[position];
        if !column.ty.is_key() {
            return Err(SqlError::unsupported(format!("a key column of type {}", column.ty.name())));
        }
        column.not_null = true;
        let position = position as u16;
        if positions.contains(&position) {
            let message = format!("column \"{name}\" appears twice in primary key constraint");
            return Err(SqlError::new(sqlstate::DUPLICATE_COLUMN, message));
        }
        positions.push(position);
    }
    let name = constraint.unwrap_or_else(|| {
        let stem: String =
            table.char_indices().take_while(|(at, c)| at + c.len_utf8() <= 58).map(|(_, c)| c).collect();
        format!("{stem}_pkey")
    });
    Ok(PrimaryKey { name, columns: positions })
}

impl Binder<'_> {
    /// Plans a CREATE TABLE.
    pub(super) fn create_table(&mut self, create: &ast::CreateTable) -> Result<CreateTablePlan, SqlError> {
        refuse(create.unlogged, "an unlogged table")?;
        refuse(create.query.is_some(), "CREATE TABLE AS")?;
        refuse(create.like.is_some(), "CREATE TABLE ... LIKE")?;
        refuse(create.inherits.is_some(), "INHERITS")?;
        refuse(create.partition_of.is_some() || create.partition_by.is_some(), "a partitioned table")?;
        let foreign = create.or_replace
            || create.external
            || create.dynamic
            || create.transient
            || create.volatile
            || create.iceberg
            || create.without_rowid
            || create.clone.is_some()
            || create.file_format.is_some()
            || create.location.is_some()
            || create.primary_key.is_some()
            || create.order_by.is_some()
            || create.cluster_by.is_some()
            || create.clustered_by.is_some()
            || create.comment.is_some()
            || create.strict;
        refuse(foreign, "this form of CREATE TABLE")?;
        let name = object_name(&create.name)?;
        let temporary = check_schema(&name, create.temporary)?;
        if !temporary && create.on_commit.is_some() {
            let message = "ON COMMIT can only be used on temporary tables";
            return Err(SqlError::new(sqlstate::INVALID_TABLE_DEFINITION, message));
        }
        refuse(create.global.is_some() && !temporary, "this form of CREATE TABLE")?;
        refuse(matches!(create.on_commit, Some(OnCommit::DeleteRows)), "ON COMMIT DELETE ROWS")?;
        let drop_on_commit = matches!(create.on_commit, Some(OnCommit::Drop));
        let schema = if temporary { PG_TEMP } else { PUBLIC };
        let exists = self.catalog.table(Some(schema), &name.name).is_some();
        if exists && !create.if_not_exists {
            let message = format!("relation \"{}\" already exists", name.name);
            return Err(SqlError::new(sqlstate::DUPLICATE_TABLE, message));
        }
        let mut columns = Vec::with_capacity(create.columns.len());
        let mut key: Option<(Option<String>, Vec<String>)> = None;
        let mut add_key = |constraint: Option<String>, names: Vec<String>| {
            if key.is_some() {
                let message = format!("multiple primary keys for table \"{}\" are not allowed", name.name);
                return Err(SqlError::new(sqlstate::INVALID_TABLE_DEFINITION, message));
            }
            key = Some((constraint, names));
            Ok(())
        };
        for column in &create.columns {
            let (def, constraint) = self.column_def(column)?;
            if columns.iter().any(|c: &ColumnDef| c.name == def.name) {
                let message = format!("column \"{}\" specified more than once", def.name);
                return Err(SqlError::new(sqlstate::DUPLICATE_COLUMN, message));
            }
            if let Some(constraint) = constraint {
                add_key(constraint, vec![def.name.clone()])?;
            }
            columns.push(def);
        }
        if columns.len() > MOST_COLUMNS {
            let message = format!("tables can have at most {MOST_COLUMNS} columns");
            return Err(SqlError::new(sqlstate::TOO_MANY_COLUMNS, message));
        }
        for constraint in &create.constraints {
            match constraint {
                TableConstraint::PrimaryKey(constraint) => {
                    let names = constraint.columns.iter().map(key_column).collect::<Result<Vec<_>, _>>()?;
                    refuse(!constraint.include.is_empty(), "INCLUDE")?;
                    let given =
                        constraint.name.as_ref().map(|n| fold_name(&n.value, n.quote_style.is_some()));
                    add_key(given, names)?;
                }
                TableConstraint::ForeignKey(_) => return Err(SqlError::unsupported("FOREIGN KEY")),
                TableConstraint::Unique(_) => return Err(SqlError::unsupported("UNIQUE")),
                TableConstraint::Check(_) => return Err(SqlError::unsupported("CHECK")),
                _ => return Err(SqlError::unsupported("this constraint")),
            }
        }
        let primary_key = match key {
            Some((constraint, names)) => Some(make_key(&name.name, constraint, &names, &mut columns)?),
            None => None,
        };
        Ok(CreateTablePlan { name: name.name, columns, primary_key, exists, temporary, drop_on_commit })
    }

    fn column_def(
        &mut self,
        column: &ast::ColumnDef,
    ) -> Result<(ColumnDef, Option<Option<String>>), SqlError> {
        let name = fold_name(&column.name.value, column.name.quote_style.is_some());
        let counted = data_type::serial(&column.data_type);
        let ty = match counted {
            Some(ty) => ty,
            None => data_type::resolve(&column.data_type).map_err(|e| e.at(self.place(&column.name)))?,
        };
        if !ty.is_storable() {
            return Err(SqlError::unsupported(format!("a column of type {}", ty.name())));
        }
        let serial = counted.is_some();
        let mut def = ColumnDef { name, ty, not_null: serial, default: None, serial };
        let mut key = None;
        for option in &column.options {
            match &option.option {
                ColumnOption::Null if serial => {
                    let message =
                        format!("conflicting NULL/NOT NULL declarations for column \"{}\"", def.name);
                    return Err(SqlError::syntax(message));
                }
                ColumnOption::Null => {}
                ColumnOption::NotNull => def.not_null = true,
                ColumnOption::Default(_) if serial => {
                    let message = format!("multiple default values specified for column \"{}\"", def.name);
                    return Err(SqlError::syntax(message));
                }
                ColumnOption::Default(expr) => {
                    self.default_expr(expr, ty, &def.name)?;
                    def.default = Some(expr.to_string());
                }
                ColumnOption::PrimaryKey(_) => {
                    key = Some(option.name.as_ref().map(|n| fold_name(&n.value, n.quote_style.is_some())));
                }
                ColumnOption::ForeignKey(_) => return Err(SqlError::unsupported("FOREIGN KEY")),
                ColumnOption::Unique(_) => return Err(SqlError::unsupported("UNIQUE")),
                ColumnOption::Check(_) => return Err(SqlError::unsupported("CHECK")),
                ColumnOption::Generated { .. } | ColumnOption::Identity(_) => {
                    return Err(SqlError::unsupported("a generated column"));
                }
                ColumnOption::Collation(name)
                    if matches!(object_name(name)?.name.as_str(), "C" | "POSIX") => {}
                ColumnOption::Collation(_) => return Err(SqlError::unsupported("this collation")),
                _ => return Err(SqlError::unsupported("this option of a column")),
            }
        }
        Ok((def, key))
    }

    /// Plans an ALTER TABLE ... ADD PRIMARY KEY.
    pub(super) fn add_primary_key(
        &mut self,
        table: &Name,
        constraint: Option<&String>,
        columns: &[String],
    ) -> Result<PlanNode, SqlError> {
        let table = self.user_table(table)?;
        if table.primary_key.is_some() {
            let message = format!("multiple primary keys for table \"{}\" are not allowed", table.name);
            return Err(SqlError::new(sqlstate::INVALID_TABLE_DEFINITION, message));
        }
        let mut defs = table.columns().to_vec();
        let key = make_key(&table.name, constraint.cloned(), columns, &mut defs)?;
        Ok(PlanNode::AddPrimaryKey { table, name: key.name, columns: key.columns })
    }
}

/// Whether the table is a temporary one, and may have its name.
fn check_schema(name: &Name, temporary: bool) -> Result<bool, SqlError> {
    match name.schema.as_deref() {
        Some(PG_TEMP) => Ok(true),
        Some(_) if temporary => {
            let message = "cannot create temporary relation in non-temporary schema";
            Err(SqlError::new(sqlstate::INVALID_TABLE_DEFINITION, message))
        }
        None | Some(PUBLIC) => Ok(temporary),
        Some("pg_catalog" | "information_schema") => {
            let message = format!("permission denied to create \"{}\"", name.name);
            Err(SqlError::new(sqlstate::INSUFFICIENT_PRIVILEGE, message))
        }
        Some(other) => {
            Err(SqlError::new(sqlstate::INVALID_SCHEMA_NAME, format!("schema \"{other}\" does not exist")))
        }
    }
}
