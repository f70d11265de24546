//! From texts to statements: of a Query, and of a Parse.
//!
//! What comes again and again in the simple protocol is neither parsed nor planned again: a session remembers the plans of
//! its last texts, and of texts that differ from others in their literals alone.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use sql::parse::{Normalized, Utility, normalize};
use sql::{ParsedStatement, Type, Value};

use super::prepared::Prepared;
use super::session::SqlSession;
use super::{Failure, Result};

/// How many texts of the simple protocol a session remembers.
const CACHED: usize = 64;
/// Longer texts are not remembered, with or without their literals.
const CACHED_TEXT: usize = 4096;
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
        if self.failed {
            return None;
        }
        let normal = normalize(text, &mut self.normalized);
        if self.normalized.text.len() > CACHED_TEXT {
            // Nor is its memory kept for the next.
            self.normalized = Normalized::default();
            return None;
        }
        if !normal || self.normalized.is_empty() {
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
