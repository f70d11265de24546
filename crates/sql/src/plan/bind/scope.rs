//! The names that an expression can use.

use std::sync::Arc;

use crate::catalog::{SystemRelation, TableDef};
use crate::types::Type;

/// Where columns come from.
#[derive(Clone, Debug)]
pub(super) enum Relation {
    /// No FROM
    Nothing,
    Table(Arc<TableDef>),
    /// Something whose columns are no table's: a relation of the system, a series, VALUES
    Other,
}

/// One column that can be named.
#[derive(Clone, Debug)]
pub(super) struct ScopeColumn {
    pub(super) name: String,
    pub(super) ty: Type,
}

/// The columns of one relation under the name it has in the statement.
#[derive(Clone, Debug)]
pub(super) struct Scope {
    pub(super) relation: Relation,
    /// The alias, or else the relation's name
    pub(super) name: String,
    pub(super) columns: Vec<ScopeColumn>,
    /// Whether `excluded` names the row that was not inserted
    pub(super) with_excluded: bool,
}

impl Scope {
    pub(super) fn nothing() -> Self {
        Self { relation: Relation::Nothing, name: String::new(), columns: Vec::new(), with_excluded: false }
    }

    pub(super) fn table(table: &Arc<TableDef>, alias: Option<String>) -> Self {
        let columns =
            table.columns().iter().map(|c| ScopeColumn { name: c.name.clone(), ty: c.ty }).collect();
        let name = alias.unwrap_or_else(|| table.name.clone());
        Self { relation: Relation::Table(table.clone()), name, columns, with_excluded: false }
    }

    pub(super) fn system(relation: &Arc<SystemRelation>, alias: Option<String>) -> Self {
        let columns =
            relation.columns.iter().map(|(name, ty)| ScopeColumn { name: name.clone(), ty: *ty }).collect();
        let name = alias.unwrap_or_else(|| relation.name.clone());
        Self { relation: Relation::Other, name, columns, with_excluded: false }
    }

    /// Position of a column; two of one name are told apart by nobody: the first counts.
    pub(super) fn find(&self, name: &str) -> Option<u16> {
        self.columns.iter().position(|c| c.name == name).and_then(|at| u16::try_from(at).ok())
    }

    /// Table and attribute number for the description of a result's column.
    pub(super) fn origin(&self, column: u16) -> (u32, i16) {
        match &self.relation {
            Relation::Table(table) => (table.oid, i16::try_from(column).map_or(0, |c| c + 1)),
            _ => (0, 0),
        }
    }
}
