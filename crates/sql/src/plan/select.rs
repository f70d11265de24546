//! The plan of a query over one relation.

use std::sync::Arc;

use super::SortKey;
use super::access::Access;
use super::aggregate::Grouping;
use crate::catalog::{SystemRelation, TableDef};
use crate::expr::Expr;

/// Rows of a source: those that pass the filter, grouped if need be, sorted, cut, projected.
///
/// `projection`, `order_by` and `having` are evaluated over the source's row, or over the row of a group (keys, then
/// results of the aggregates) when `grouping` is there.
#[derive(Clone, Debug)]
pub struct SelectPlan {
    /// Where the rows come from
    pub source: Source,
    /// What a row must satisfy, after the access path
    pub filter: Option<Expr>,
    /// GROUP BY, aggregates, DISTINCT
    pub grouping: Option<Grouping>,
    /// The columns of the result
    pub projection: Vec<Expr>,
    /// The order to sort by; empty when there is none or the access path delivers it
    pub order_by: Vec<SortKey>,
    /// How many rows at most; a bigint
    pub limit: Option<Expr>,
    /// How many rows to skip first; a bigint
    pub offset: Option<Expr>,
    /// FOR UPDATE and its kin
    pub lock: Option<RowLock>,
}

/// Where rows come from.
#[derive(Clone, Debug)]
pub enum Source {
    /// No FROM: one row without columns
    Nothing,
    /// A table
    Table {
        /// Which
        table: Arc<TableDef>,
        /// How to find the rows
        access: Access,
    },
    /// A relation of the server
    System(Arc<SystemRelation>),
    /// `generate_series(start, stop, step)`: one bigint column, or integer if `int4`
    Series {
        /// The first value
        start: Expr,
        /// The last value
        stop: Expr,
        /// The distance
        step: Expr,
        /// Whether the values are integers rather than bigints
        int4: bool,
    },
    /// `VALUES`: rows of expressions
    Values(Vec<Vec<Expr>>),
}

/// Locks that a query takes on its rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RowLock {
    /// `FOR UPDATE`, `FOR NO KEY UPDATE`; else `FOR SHARE`, `FOR KEY SHARE`
    pub exclusive: bool,
    /// What to do about a row that is locked
    pub wait: LockWait,
}

/// What to do about a row that somebody else has locked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LockWait {
    /// Wait
    Block,
    /// `NOWAIT`: fail (55P03)
    Fail,
    /// `SKIP LOCKED`: leave it out
    Skip,
}
