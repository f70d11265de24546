//! From text to plans, and how long plans are good for.

use std::cell::Cell;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use engine::Isolation;
use sql::parse::{Utility, normalize};
use sql::{ParsedStatement, PlanNode, Type, Value};

use super::prepared::{Planned, Prepared, describe, text_column};
use super::session::SqlSession;
use super::{Failure, Result};
use crate::catalog::PlannerView;
use crate::session::Column;

/// Generations of tables that only one transaction sees are counted from here.
const OWN: u64 = 1 << 62;
static NEXT_OWN: AtomicU64 = AtomicU64::new(OWN);

/// How many texts of the simple protocol a session remembers.
const CACHED: usize = 64;
/// Longer texts are not remembered.
const CACHED_TEXT: usize = 1024;
/// How many statements of one text are kept as they were read; those behind them are read again at their turn.
const READ_AHEAD: usize = 64;

/// A statement of a Query.
#[derive(Debug)]
pub enum Statement {
    /// Its text was met before.
    Known(Arc<Prepared>),
    /// A text that differs from it in its literals alone was met before: the literals, and the text.
    Literals(Arc<Prepared>, Vec<Value<'static>>, Box<str>),
    /// It is new.
    Parsed(Box<ParsedStatement>, Option<Box<str>>),
    /// It is far behind others of its text: its own text, and the characters in front of that.
    Later(Box<str>, u32),
}

/// Statements by their text; forgets everything when it is full.
#[derive(Debug, Default)]
pub(super) struct StatementCache(HashMap<Box<str>, Arc<Prepared>>);

impl StatementCache {
    fn put(&mut self, text: Box<str>, prepared: &Arc<Prepared>) {
        if self.0.len() >= CACHED {
            self.0.clear();
        }
        self.0.insert(text, Arc::clone(prepared));
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }
}

impl SqlSession {
    pub(super) fn parse_text(&mut self, text: &str, statements: &mut VecDeque<Statement>) -> Result<()> {
        if let Some(known) = self.cache.0.get(text) {
            statements.push_back(Statement::Known(Arc::clone(known)));
            return Ok(());
        }
        if let Some((prepared, literals)) = self.parse_literals(text) {
            statements.push_back(Statement::Literals(prepared, literals, text.into()));
            return Ok(());
        }
        let before = statements.len();
        let take = |statement: ParsedStatement| {
            statements.push_back(if statements.len() - before < READ_AHEAD {
                Statement::Parsed(Box::new(statement), None)
            } else {
                Statement::Later(statement.text.into(), statement.offset)
            });
        };
        if let Err(error) = parse_each(text, take) {
            statements.truncate(before);
            return Err(error);
        }
        if statements.len() == before + 1
            && text.len() <= CACHED_TEXT
            && let Some(Statement::Parsed(_, known_as)) = statements.back_mut()
        {
            *known_as = Some(text.into());
        }
        Ok(())
    }

    /// The plan that a text shares with those that differ from it in literals alone, and its own literals. Whatever does
    /// not fit takes the usual way, for its result or for its error.
    fn parse_literals(&mut self, text: &str) -> Option<(Arc<Prepared>, Vec<Value<'static>>)> {
        if self.failed || !normalize(text, &mut self.normalized) || self.normalized.is_empty() {
            return None;
        }
        let prepared = match self.cache.0.get(self.normalized.text.as_str()) {
            Some(known) => Arc::clone(known),
            None => {
                let normalized = self.normalized.text.clone();
                let types = self.normalized.types.clone();
                let statement = sql::parse(&normalized).ok()?.pop()?;
                let prepared = self.prepare_statement(Arc::new(statement), &types).ok()?;
                let prepared = Arc::new(prepared.with_literals());
                self.cache.put(normalized.into(), &prepared);
                prepared
            }
        };
        let planned = prepared.planned();
        let mut literals = Vec::with_capacity(self.normalized.len());
        for (number, ty) in planned.plan.params.iter().enumerate() {
            literals.push(self.normalized.value(number, text, *ty).ok()?.into_owned());
        }
        Some((prepared, literals))
    }

    pub(super) fn analyse_statement(&mut self, statement: Statement) -> Result<Arc<Prepared>> {
        match statement {
            Statement::Known(prepared) => {
                self.check_block(utility(&prepared.statement))?;
                // Not the client's statement: what it returns may change with the tables.
                match self.plan_again(&prepared) {
                    Ok(_) => Ok(prepared),
                    Err(_) => self.prepare_statement(Arc::clone(&prepared.statement), &[]).map(Arc::new),
                }
            }
            Statement::Literals(prepared, literals, text) => {
                self.check_block(None)?;
                if self.plan_again(&prepared).is_ok() {
                    self.begin_activity(&text);
                    self.literals = literals;
                    return Ok(prepared);
                }
                let statement = parse(&text)?.pop().ok_or_else(no_statement)?;
                self.prepare_statement(Arc::new(statement), &[]).map(Arc::new)
            }
            Statement::Later(text, offset) => {
                let mut parsed = sql::parse(&text)?.pop().ok_or_else(no_statement)?;
                parsed.offset += offset;
                self.analyse_statement(Statement::Parsed(Box::new(parsed), None))
            }
            Statement::Parsed(parsed, text) => {
                let parsed = Arc::new(*parsed);
                self.check_block(utility(&parsed))?;
                let prepared = Arc::new(self.prepare_statement(parsed, &[])?);
                if let Some(text) = text {
                    self.cache.put(text, &prepared);
                }
                Ok(prepared)
            }
        }
    }

    pub(super) fn prepare_text(&mut self, text: &str, parameter_types: &[u32]) -> Result<Arc<Prepared>> {
        let mut parsed = parse(text)?;
        let statement = match (parsed.pop(), parsed.is_empty()) {
            (Some(statement), true) => Arc::new(statement),
            (None, _) => return Err(no_statement()),
            _ => {
                let message = "cannot insert multiple commands into a prepared statement";
                return Err(Failure::new("42601", message));
            }
        };
        self.check_block(utility(&statement))?;
        let types = parameter_types.iter().map(|&oid| match oid {
            0 => Ok(Type::Unknown),
            oid => Type::from_oid(oid, -1).ok_or_else(|| {
                Failure::new("42704", format!("type with OID {oid} is not supported for a parameter"))
            }),
        });
        let types = types.collect::<Result<Vec<_>>>()?;
        self.prepare_statement(statement, &types).map(Arc::new)
    }

    /// Plans a statement for the first time.
    pub(super) fn prepare_statement(
        &mut self,
        statement: Arc<ParsedStatement>,
        types: &[Type],
    ) -> Result<Prepared> {
        let planned = self.plan(&statement, types)?;
        let columns = self.result_columns(&planned)?;
        Ok(Prepared::new(statement, planned, columns))
    }

    fn plan(&mut self, statement: &ParsedStatement, types: &[Type]) -> Result<Planned> {
        if utility(statement).is_none() {
            self.refresh_tables()?;
        }
        let none = crate::catalog::Changes::default();
        let changes = self.open.as_ref().map_or(&none, |open| &open.changes);
        let temporary = self.info.temporary.schema();
        let view = PlannerView { tables: &self.tables, changes, temporary, shows_tables: Cell::new(false) };
        let plan = sql::plan(statement, &view, types);
        let shows_tables = view.shows_tables.get();
        if shows_tables {
            self.await_recovered();
        }
        Ok(Planned { plan: plan?, generation: self.generation(), shows_tables })
    }

    /// Names the state of the tables that statements are planned with.
    pub(super) fn generation(&self) -> u64 {
        match &self.open {
            Some(open) if !open.changes.is_empty() => self.own_generation,
            _ => self.tables.generation(),
        }
    }

    /// The transaction has changed tables: plans made before are not for it.
    pub(super) fn tables_changed(&mut self) {
        self.own_generation = NEXT_OWN.fetch_add(1, Ordering::Relaxed);
    }

    /// Brings the tables up to the newest that a statement beginning now would see.
    fn refresh_tables(&mut self) -> Result<()> {
        match &mut self.open {
            Some(open) => {
                open.transaction.begin_statement();
                self.reread_tables()?;
            }
            None => {
                let transaction = self.new_transaction(Isolation::ReadCommitted, true);
                if !self.shared.catalog.is_current(&self.tables, &transaction) {
                    self.tables = self.shared.catalog.tables(&transaction, false)?;
                }
            }
        }
        Ok(())
    }

    /// Brings the tables up to the open transaction's snapshot.
    #[inline]
    fn reread_tables(&mut self) -> Result<()> {
        let Some(open) = &self.open else { return Ok(()) };
        if self.shared.catalog.is_current(&self.tables, &open.transaction) {
            return Ok(());
        }
        let changes = !open.changes.is_empty();
        self.tables = self.shared.catalog.tables(&open.transaction, changes)?;
        if changes {
            self.tables_changed();
        }
        Ok(())
    }

    /// The plan of a statement for the snapshot that was just taken.
    #[inline]
    pub(super) fn current_plan(&mut self, prepared: &Prepared) -> Result<Arc<Planned>> {
        let planned = prepared.planned();
        if matches!(planned.plan.node, PlanNode::Utility(_)) {
            return Ok(planned);
        }
        if let Some(open) = &self.open {
            // First the snapshot, then the look at what tables are the newest.
            open.transaction.snapshot_lsn();
            self.reread_tables()?;
        }
        if planned.generation == self.generation() && planned.generation != crate::catalog::NO_GENERATION {
            return Ok(planned);
        }
        self.plan_again(prepared)
    }

    /// Plans anew, if the tables are others than before.
    fn plan_again(&mut self, prepared: &Prepared) -> Result<Arc<Planned>> {
        let planned = prepared.planned();
        if matches!(planned.plan.node, PlanNode::Utility(_)) {
            return Ok(planned);
        }
        self.refresh_tables()?;
        if planned.generation == self.generation() && planned.generation != crate::catalog::NO_GENERATION {
            return Ok(planned);
        }
        let types = planned.plan.params.clone();
        let planned = self.plan(&prepared.statement, &types)?;
        prepared.replace(planned)
    }

    fn result_columns(&self, planned: &Planned) -> Result<Option<Vec<Column>>> {
        Ok(match &planned.plan.node {
            PlanNode::Utility(Utility::Show(name)) if name == "all" => {
                Some(["name", "setting", "description"].map(text_column).into())
            }
            PlanNode::Utility(Utility::Show(name)) => Some(vec![text_column(&self.shown_name(name))]),
            PlanNode::Utility(Utility::Execute(name, _)) => match self.named.get(name) {
                Some(prepared) => prepared.description.columns().map(<[Column]>::to_vec),
                None => return Err(super::named::no_prepared(name)),
            },
            PlanNode::CopyTo(_) => None,
            PlanNode::Select(_) => Some(describe(&planned.plan.columns)),
            _ if planned.plan.columns.is_empty() => None,
            _ => Some(describe(&planned.plan.columns)),
        })
    }
}

/// Parses a text, or what is known to be meant by it.
fn parse(text: &str) -> Result<Vec<ParsedStatement>> {
    let mut statements = Vec::new();
    parse_each(text, |statement| statements.push(statement))?;
    Ok(statements)
}

fn parse_each(text: &str, each: impl FnMut(ParsedStatement)) -> Result<()> {
    match crate::views::probes::rewrite(text) {
        Some(meant) => Ok(sql::parse::parse_each(&meant, each)?),
        None => Ok(sql::parse::parse_each(text, each)?),
    }
}

fn no_statement() -> Failure {
    Failure::new("XX000", "text without any statement")
}

/// The utility statement that this is, if it is one.
pub(super) fn utility(statement: &ParsedStatement) -> Option<&Utility> {
    match &statement.kind {
        sql::parse::Statement::Utility(utility) => Some(utility),
        _ => None,
    }
}
