//! Statements analysed, and their plans.

use std::sync::Arc;

use runtime::sync::Mutex;
use sql::plan::OutputColumn;
use sql::{ParsedStatement, Plan, Type};

use super::{Failure, Result};
use crate::session::{Column, Description};

/// A statement as a session keeps it: what it says, what clients were told about it, and its newest plan.
#[derive(Debug)]
pub struct Prepared {
    pub(super) statement: Arc<ParsedStatement>,
    pub(super) description: Description,
    /// Its parameters stand for the literals of a text, and clients know nothing of them.
    pub(super) has_literals: bool,
    /// Replaced when tables have changed since it was made. Parameters and columns of all plans are the same.
    plan: Mutex<Arc<Planned>>,
}

/// A plan, and the tables that it is for.
#[derive(Debug)]
pub(crate) struct Planned {
    pub(super) plan: Plan,
    /// The generation of the tables; [`crate::catalog::NO_GENERATION`] if it is for one execution.
    pub(super) generation: u64,
    /// Whether it shows what transactions have made.
    pub(super) shows_tables: bool,
}

impl Prepared {
    pub(super) fn new(
        statement: Arc<ParsedStatement>,
        planned: Planned,
        columns: Option<Vec<Column>>,
    ) -> Self {
        let types = planned.plan.params.iter().map(|ty| ty.oid()).collect();
        let description = Description::new(types, columns);
        Self { statement, description, has_literals: false, plan: Mutex::new(Arc::new(planned)) }
    }

    /// The same for a text whose literals its parameters stand for.
    pub(super) fn with_literals(self) -> Self {
        let columns = self.description.columns().map(<[Column]>::to_vec);
        Self { description: Description::new(Vec::new(), columns), has_literals: true, ..self }
    }

    /// The newest plan.
    pub(super) fn planned(&self) -> Arc<Planned> {
        Arc::clone(&self.plan.lock())
    }

    /// Replaces the plan, if clients would not notice.
    pub(super) fn replace(&self, planned: Planned) -> Result<Arc<Planned>> {
        let mut plan = self.plan.lock();
        let old = &plan.plan;
        let same = old.params == planned.plan.params && same_columns(&old.columns, &planned.plan.columns);
        if !same {
            return Err(Failure::new("0A000", "cached plan must not change result type"));
        }
        *plan = Arc::new(planned);
        Ok(Arc::clone(&plan))
    }
}

fn same_columns(old: &[OutputColumn], new: &[OutputColumn]) -> bool {
    old.len() == new.len() && old.iter().zip(new).all(|(old, new)| (&old.name, old.ty) == (&new.name, new.ty))
}

/// Columns as clients are told about them.
pub(super) fn describe(columns: &[OutputColumn]) -> Vec<Column> {
    columns
        .iter()
        .map(|column| Column {
            name: column.name.clone(),
            table: column.table,
            attribute: column.attribute,
            type_oid: column.ty.oid(),
            type_size: column.ty.typlen(),
            type_modifier: column.ty.typmod(),
        })
        .collect()
}

/// A column of text that comes from no table.
pub(super) fn text_column(name: &str) -> Column {
    let ty = Type::Text;
    Column {
        name: name.to_owned(),
        table: 0,
        attribute: 0,
        type_oid: ty.oid(),
        type_size: ty.typlen(),
        type_modifier: ty.typmod(),
    }
}
