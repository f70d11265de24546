//! The SQL that walwriter understands.
//!
//! Text becomes statements, statements become plans over a catalog that the caller shows, expressions are typed and
//! evaluated here, and rows and keys become the bytes that the engine stores. Nothing here touches a page, a file or a
//! socket.

pub mod error;
pub mod types;

pub use error::SqlError;
pub use types::{Type, Value};

pub mod catalog;
pub mod copy;
pub mod expr;
pub mod key;
pub mod nesting;
pub mod parse;
pub mod plan;
pub mod row;

pub use catalog::{CatalogView, ColumnDef, PrimaryKey, SystemRelation, TableDef};
pub use expr::{EvalContext, Expr, RowRef, ServerFunctions, SystemFunction};
pub use parse::{ParsedStatement, parse};
pub use plan::{Plan, PlanNode, plan};
