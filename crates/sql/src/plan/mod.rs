//! Plans: statements with every name resolved, every type decided and the way to the rows chosen.
//!
//! A plan holds the definitions of its tables; whoever caches plans drops them when the catalog changes. It holds no
//! parameter values and can be executed any number of times.

pub mod access;
pub mod aggregate;
mod bind;
mod insert;
mod select;
mod sort_key;
#[cfg(test)]
mod tests;
mod update;

use std::sync::Arc;

pub use access::{Access, KeyBounds};
pub use aggregate::{Aggregate, AggregateFunction, Aggregation, Grouping};
pub use bind::{compile_default, plan, type_by_name};
pub use insert::{
    ConflictAction, InsertPlan, InsertSource, OnConflict, encode_key, not_null_violation, unique_violation,
};
pub use select::{LockWait, RowLock, SelectPlan, Source};
pub use sort_key::SortKey;
pub use update::{DeletePlan, UpdatePlan, apply_assignments};

use crate::catalog::{ColumnDef, TableDef};
use crate::copy::CopyOptions;
use crate::parse::Utility;
use crate::types::Type;

/// A planned statement.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The types of the parameters `$1`, `$2`, ...: parameters are to be decoded to exactly these
    pub params: Vec<Type>,
    /// The columns of the result; empty when the statement returns no rows
    pub columns: Vec<OutputColumn>,
    /// What to do
    pub node: PlanNode,
}

/// A column of a result, as RowDescription describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutputColumn {
    /// Its name
    pub name: String,
    /// Its type
    pub ty: Type,
    /// OID of the table it comes from, 0 for an expression
    pub table: u32,
    /// Its number in that table from 1, 0 for an expression
    pub attribute: i16,
}

/// What a statement does.
#[derive(Clone, Debug)]
pub enum PlanNode {
    /// SELECT or VALUES
    Select(Box<SelectPlan>),
    /// INSERT
    Insert(Box<InsertPlan>),
    /// UPDATE
    Update(Box<UpdatePlan>),
    /// DELETE
    Delete(Box<DeletePlan>),
    /// COPY table FROM STDIN
    CopyFrom(CopyFromPlan),
    /// COPY table or query TO STDOUT; the plan's columns are those of the query
    CopyTo(Box<CopyToPlan>),
    /// CREATE TABLE
    CreateTable(CreateTablePlan),
    /// DROP TABLE; what did not exist is named for the notice
    DropTables {
        /// The tables to drop
        tables: Vec<Arc<TableDef>>,
        /// Names of tables that did not exist, with IF EXISTS
        missing: Vec<String>,
    },
    /// TRUNCATE
    Truncate(Vec<Arc<TableDef>>),
    /// ALTER TABLE ... ADD PRIMARY KEY
    AddPrimaryKey {
        /// The table, which has none yet
        table: Arc<TableDef>,
        /// The constraint's name
        name: String,
        /// Positions of the key columns; they become NOT NULL
        columns: Vec<u16>,
    },
    /// Everything that concerns the session or the server
    Utility(Utility),
}

/// A table to create.
#[derive(Clone, Debug)]
pub struct CreateTablePlan {
    /// Its name
    pub name: String,
    /// Its columns; those of the key are NOT NULL
    pub columns: Vec<ColumnDef>,
    /// Name and column positions of its primary key
    pub primary_key: Option<crate::catalog::PrimaryKey>,
    /// IF NOT EXISTS was given and a relation of the name exists: nothing to do but a notice
    pub exists: bool,
    /// TEMPORARY: for this session alone
    pub temporary: bool,
    /// ON COMMIT DROP: for this transaction alone
    pub drop_on_commit: bool,
}

/// Rows to load.
#[derive(Clone, Debug)]
pub struct CopyFromPlan {
    /// Where to
    pub table: Arc<TableDef>,
    /// Positions of the columns in the order of the data; the others get their defaults
    pub columns: Vec<u16>,
    /// How the data is written
    pub options: CopyOptions,
}

/// Rows to show.
#[derive(Clone, Debug)]
pub struct CopyToPlan {
    /// Which
    pub query: SelectPlan,
    /// How to write them
    pub options: CopyOptions,
}
