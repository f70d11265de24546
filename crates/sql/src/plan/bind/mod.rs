//! Name resolution, typing and the choice of access paths.

mod binder;
mod coerce;
mod data_type;
mod ddl;
mod functions;
mod insert;
mod operators;
mod path;
mod predicate;
mod projection;
mod query;
mod scope;
mod signatures;
mod source;
mod write;

use std::sync::Arc;

use sqlparser::ast;

use binder::Binder;
pub use data_type::by_name as type_by_name;

use super::{Access, CopyFromPlan, CopyToPlan, Plan, PlanNode, SelectPlan, Source};
use crate::catalog::{CatalogView, SystemRelation, TableDef};
use crate::error::{SqlError, sqlstate};
use crate::expr::Expr;
use crate::parse::{CopySource, CopyStatement, Name, ParsedStatement, Statement, Utility, parse_expression};
use crate::plan::OutputColumn;
use crate::types::Type;

/// Plans a statement. `params` are the types that the client declared, `Unknown` where it left the choice; the plan says
/// what they turned out to be.
///
/// # Errors
/// Names that do not exist, types that do not fit, what is not supported; positions count in the whole query text.
pub fn plan(
    statement: &ParsedStatement,
    catalog: &dyn CatalogView,
    params: &[Type],
) -> Result<Plan, SqlError> {
    let mut binder = Binder::new(catalog, Some(statement), params);
    let (node, columns) = match &statement.kind {
        Statement::Sql(ast) => binder.sql(ast)?,
        Statement::Copy(copy) => binder.copy(copy)?,
        Statement::DropTables { if_exists, names } => (binder.drop_tables(*if_exists, names)?, Vec::new()),
        Statement::Truncate { names, restart } => {
            let tables = names.iter().map(|n| binder.user_table(n)).collect::<Result<Vec<_>, _>>()?;
            if *restart && tables.iter().any(|table| table.serial_columns().next().is_some()) {
                return Err(SqlError::unsupported("RESTART IDENTITY of a table with a serial column"));
            }
            (PlanNode::Truncate(tables), Vec::new())
        }
        Statement::AddPrimaryKey { if_exists, table, constraint, columns } => {
            let missing = *if_exists && catalog.table(table.schema.as_deref(), &table.name).is_none();
            if missing {
                (PlanNode::Utility(Utility::NoEffect("ALTER TABLE")), Vec::new())
            } else {
                (binder.add_primary_key(table, constraint.as_ref(), columns)?, Vec::new())
            }
        }
        Statement::Maintain { tag, names } => {
            for name in names {
                binder.any_relation(name)?;
            }
            (PlanNode::Utility(Utility::NoEffect(tag)), Vec::new())
        }
        Statement::Utility(utility) => (PlanNode::Utility(utility.clone()), Vec::new()),
    };
    // A parameter whose type nothing tells is text, as a literal would be.
    let mut params = binder.params;
    for ty in &mut params {
        if *ty == Type::Unknown {
            *ty = Type::Text;
        }
    }
    Ok(Plan { params, columns, node })
}

/// Compiles the DEFAULT of a column, given as text.
///
/// # Errors
/// As [`plan`]; 42804 when it cannot be assigned to the column.
pub fn compile_default(text: &str, ty: Type) -> Result<Expr, SqlError> {
    struct Nothing;
    impl CatalogView for Nothing {
        fn table(&self, _: Option<&str>, _: &str) -> Option<Arc<TableDef>> {
            None
        }
        fn system_relation(&self, _: Option<&str>, _: &str) -> Option<Arc<SystemRelation>> {
            None
        }
    }
    let ast = parse_expression(text)?;
    Binder::new(&Nothing, None, &[]).default_expr(&ast, ty, "default")
}

fn no_relation(name: &Name) -> SqlError {
    let full = match &name.schema {
        Some(schema) => format!("{schema}.{}", name.name),
        None => name.name.clone(),
    };
    SqlError::new(sqlstate::UNDEFINED_TABLE, format!("relation \"{full}\" does not exist"))
}

impl Binder<'_> {
    fn sql(&mut self, ast: &ast::Statement) -> Result<(PlanNode, Vec<OutputColumn>), SqlError> {
        Ok(match ast {
            ast::Statement::Query(query) => {
                let (plan, columns) = self.query(query)?;
                (PlanNode::Select(Box::new(plan)), columns)
            }
            ast::Statement::Insert(insert) => {
                let (plan, columns) = self.insert(insert)?;
                (PlanNode::Insert(Box::new(plan)), columns)
            }
            ast::Statement::Update(update) => {
                let (plan, columns) = self.update(update)?;
                (PlanNode::Update(Box::new(plan)), columns)
            }
            ast::Statement::Delete(delete) => {
                let (plan, columns) = self.delete(delete)?;
                (PlanNode::Delete(Box::new(plan)), columns)
            }
            ast::Statement::CreateTable(create) => {
                (PlanNode::CreateTable(self.create_table(create)?), Vec::new())
            }
            _ => return Err(SqlError::unsupported("this statement")),
        })
    }

    /// A user table.
    ///
    /// # Errors
    /// 42P01 if there is none, 42501 for a relation of the system.
    fn user_table(&self, name: &Name) -> Result<Arc<TableDef>, SqlError> {
        if let Some(table) = self.catalog.table(name.schema.as_deref(), &name.name) {
            return Ok(table);
        }
        if self.catalog.system_relation(name.schema.as_deref(), &name.name).is_some() {
            let message = format!("permission denied: \"{}\" is a system catalog", name.name);
            return Err(SqlError::new(sqlstate::INSUFFICIENT_PRIVILEGE, message));
        }
        Err(no_relation(name))
    }

    fn any_relation(&self, name: &Name) -> Result<(), SqlError> {
        let schema = name.schema.as_deref();
        let found = self.catalog.table(schema, &name.name).is_some()
            || self.catalog.system_relation(schema, &name.name).is_some();
        if found { Ok(()) } else { Err(no_relation(name)) }
    }

    fn drop_tables(&self, if_exists: bool, names: &[Name]) -> Result<PlanNode, SqlError> {
        let (mut tables, mut missing) = (Vec::new(), Vec::new());
        for name in names {
            match self.user_table(name) {
                Ok(table) => {
                    if !tables.iter().any(|t: &Arc<TableDef>| t.oid == table.oid) {
                        tables.push(table);
                    }
                }
                Err(e) if if_exists && e.sqlstate() == sqlstate::UNDEFINED_TABLE => {
                    missing.push(name.name.clone())
                }
                Err(e) if e.sqlstate() == sqlstate::UNDEFINED_TABLE => {
                    let message = format!("table \"{}\" does not exist", name.name);
                    return Err(SqlError::new(sqlstate::UNDEFINED_TABLE, message));
                }
                Err(e) => return Err(e),
            }
        }
        Ok(PlanNode::DropTables { tables, missing })
    }

    fn copy(&mut self, copy: &CopyStatement) -> Result<(PlanNode, Vec<OutputColumn>), SqlError> {
        let options = copy.options.clone();
        let (name, columns) = match &copy.source {
            CopySource::Table(name, columns) => (name, columns),
            CopySource::Query(statement) => {
                let ast::Statement::Query(query) = &**statement else {
                    return Err(SqlError::unsupported("COPY of a statement that is no query"));
                };
                let (query, columns) = self.query(query)?;
                return Ok((PlanNode::CopyTo(Box::new(CopyToPlan { query, options })), columns));
            }
        };
        let table = self.user_table(name)?;
        let mut positions: Vec<u16> = Vec::with_capacity(columns.len());
        for column in columns {
            let position = table.column(column).ok_or_else(|| {
                let message = format!("column \"{column}\" of relation \"{}\" does not exist", table.name);
                SqlError::new(sqlstate::UNDEFINED_COLUMN, message)
            })? as u16;
            if positions.contains(&position) {
                let message = format!("column \"{column}\" specified more than once");
                return Err(SqlError::new(sqlstate::DUPLICATE_COLUMN, message));
            }
            positions.push(position);
        }
        if columns.is_empty() {
            positions.extend(0..table.columns().len() as u16);
        }
        if copy.from {
            return Ok((PlanNode::CopyFrom(CopyFromPlan { table, columns: positions, options }), Vec::new()));
        }
        let output = positions
            .iter()
            .filter_map(|p| table.columns().get(usize::from(*p)).map(|c| (p, c)))
            .map(|(p, c)| OutputColumn {
                name: c.name.clone(),
                ty: c.ty,
                table: table.oid,
                attribute: *p as i16 + 1,
            })
            .collect();
        let query = SelectPlan {
            source: Source::Table { table, access: Access::full() },
            filter: None,
            grouping: None,
            projection: positions.into_iter().map(Expr::Column).collect(),
            order_by: Vec::new(),
            limit: None,
            offset: None,
            lock: None,
        };
        Ok((PlanNode::CopyTo(Box::new(CopyToPlan { query, options })), output))
    }
}
