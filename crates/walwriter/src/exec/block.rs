//! The transaction that a session has open.

use engine::{Isolation, Savepoint, Transaction, TreeId};
use sql::parse::{IsolationLevel, TransactionModes};

use super::context::now;
use super::session::SqlSession;
use super::{Failure, Result};
use crate::catalog::Changes;
use crate::session::TransactionStatus;
use crate::settings::Saved;

/// A transaction under way.
pub(super) struct Open {
    pub(super) transaction: Transaction,
    /// It ends with the statement, or the Query, that began it.
    pub(super) implicit: bool,
    /// What it has changed of the tables.
    pub(super) changes: Changes,
    /// Trees that it has locked in order to write to them.
    pub(super) writing: Vec<TreeId>,
    pub(super) savepoints: Vec<NamedSavepoint>,
    /// It has executed a statement: too late to change its isolation.
    queried: bool,
}

pub(super) struct NamedSavepoint {
    name: String,
    savepoint: Savepoint,
    changes: Changes,
    writing: usize,
    settings: Saved,
}

/// What a transaction is like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Characteristics {
    pub(super) isolation: Isolation,
    pub(super) read_only: bool,
}

impl Characteristics {
    fn with(self, modes: TransactionModes) -> Result<Self> {
        Ok(Self {
            isolation: match modes.isolation {
                Some(level) => isolation(level)?,
                None => self.isolation,
            },
            read_only: modes.read_only.unwrap_or(self.read_only),
        })
    }
}

fn isolation(level: IsolationLevel) -> Result<Isolation> {
    match level {
        IsolationLevel::ReadCommitted => Ok(Isolation::ReadCommitted),
        IsolationLevel::RepeatableRead => Ok(Isolation::RepeatableRead),
        IsolationLevel::Serializable => Err(no_serializable()),
    }
}

fn no_serializable() -> Failure {
    Failure::new("0A000", "isolation level SERIALIZABLE is not supported")
        .hint("REPEATABLE READ is the strictest level: snapshot isolation.")
}

impl SqlSession {
    /// What a new transaction is like if it does not say.
    pub(super) fn defaults(&self) -> Result<Characteristics> {
        let settings = self.info.settings.borrow();
        let isolation = match settings.overridden("default_transaction_isolation") {
            Some("repeatable read") => Isolation::RepeatableRead,
            Some("serializable") => return Err(no_serializable()),
            _ => Isolation::ReadCommitted,
        };
        let read_only = settings.overridden("default_transaction_read_only") == Some("on");
        Ok(Characteristics { isolation, read_only })
    }

    /// What the open transaction is like, or what the next one will be like.
    pub(super) fn characteristics(&self) -> Result<Characteristics> {
        match &self.open {
            Some(open) => Ok(Characteristics {
                isolation: open.transaction.isolation(),
                read_only: open.transaction.is_read_only(),
            }),
            None => self.defaults(),
        }
    }

    fn begin(&mut self, characteristics: Characteristics, implicit: bool) {
        let Characteristics { isolation, read_only } = characteristics;
        self.info.transaction_start.set(now());
        self.open = Some(Open {
            transaction: self.new_transaction(isolation, read_only),
            implicit,
            changes: Changes::default(),
            writing: Vec::new(),
            savepoints: Vec::new(),
            queried: false,
        });
    }

    /// A statement begins: in the open transaction, or in one of its own.
    pub(super) fn begin_statement(&mut self) -> Result<()> {
        if self.open.is_none() {
            let defaults = self.defaults()?;
            self.begin(defaults, true);
            self.info.statement_start.set(self.info.transaction_start.get());
        } else {
            self.info.statement_start.set(now());
        }
        if let Some(open) = &mut self.open {
            open.queried = true;
            open.transaction.begin_statement();
        }
        Ok(())
    }

    /// BEGIN. True if there is a block already, which the client is warned about.
    pub(super) fn begin_block(&mut self, modes: TransactionModes) -> Result<bool> {
        match &mut self.open {
            Some(open) if open.implicit => open.implicit = false,
            Some(_) => return Ok(true),
            None => {
                let characteristics = self.defaults()?.with(modes)?;
                self.begin(characteristics, false);
                return Ok(false);
            }
        }
        self.set_transaction(modes)?;
        Ok(false)
    }

    /// SET TRANSACTION.
    pub(super) fn set_transaction(&mut self, modes: TransactionModes) -> Result<()> {
        let old = self.characteristics()?;
        let new = old.with(modes)?;
        let Some(open) = &self.open else { return Ok(()) };
        if new == old {
            return Ok(());
        }
        if open.queried || !open.savepoints.is_empty() {
            if new.isolation != old.isolation {
                let message = "SET TRANSACTION ISOLATION LEVEL must be called before any query";
                return Err(Failure::new("25001", message));
            }
            if !new.read_only {
                let message = "transaction read-write mode must be set before any query";
                return Err(Failure::new("25001", message));
            }
            return Err(Failure::new(
                "0A000",
                "a transaction that has begun to read cannot become read-only",
            ));
        }
        if old.read_only && !new.read_only && self.shared.engine.is_read_only() {
            return Err(Failure::new("0A000", "cannot set transaction read-write mode during recovery"));
        }
        let transaction = self.new_transaction(new.isolation, new.read_only);
        if let Some(open) = &mut self.open {
            open.transaction = transaction;
        }
        Ok(())
    }

    /// Rolls the open transaction back, if there is one.
    pub(super) fn rollback(&mut self) {
        self.open = None;
        self.failed = false;
        self.info.settings.get_mut().end_transaction(false);
    }

    /// A statement has failed.
    pub(super) fn statement_failed(&mut self) {
        self.info.awaited.set(None);
        self.info.retry_at.set(None);
        match &mut self.open {
            Some(open) if !open.implicit => {
                self.failed = true;
                match open.savepoints.last() {
                    // What was locked since the savepoint is given back at once.
                    Some(last) => open.transaction.rollback_to(last.savepoint),
                    None => self.open = None,
                }
            }
            Some(_) => self.rollback(),
            None => {}
        }
    }

    pub(super) fn status(&self) -> TransactionStatus {
        match &self.open {
            _ if self.failed => TransactionStatus::Failed,
            Some(open) if !open.implicit => TransactionStatus::InBlock,
            _ => TransactionStatus::Idle,
        }
    }

    fn block(&mut self, what: &str) -> Result<&mut Open> {
        match &mut self.open {
            Some(open) if !open.implicit => Ok(open),
            _ => Err(Failure::new("25P01", format!("{what} can only be used in transaction blocks"))),
        }
    }

    /// SAVEPOINT.
    pub(super) fn savepoint(&mut self, name: &str) -> Result<()> {
        let settings = self.info.settings.borrow().save();
        let open = self.block("SAVEPOINT")?;
        let savepoint = NamedSavepoint {
            name: name.to_owned(),
            savepoint: open.transaction.savepoint(),
            changes: open.changes.clone(),
            writing: open.writing.len(),
            settings,
        };
        open.savepoints.push(savepoint);
        open.check_savepoints();
        Ok(())
    }

    /// ROLLBACK TO: also what makes a failed block whole again.
    pub(super) fn rollback_to(&mut self, name: &str) -> Result<()> {
        if self.failed && self.open.is_none() {
            return Err(no_savepoint(name));
        }
        let open = self.block("ROLLBACK TO SAVEPOINT")?;
        let at = open.savepoints.iter().rposition(|savepoint| savepoint.name == name);
        let at = at.ok_or_else(|| no_savepoint(name))?;
        open.savepoints.truncate(at + 1);
        if let Some(last) = open.savepoints.last() {
            open.transaction.rollback_to(last.savepoint);
            open.check_savepoints();
            open.changes = last.changes.clone();
            open.writing.truncate(last.writing);
            let settings = last.settings.clone();
            self.info.settings.get_mut().restore(&settings);
        }
        self.failed = false;
        self.tables_changed();
        Ok(())
    }

    /// RELEASE.
    pub(super) fn release(&mut self, name: &str) -> Result<()> {
        let open = self.block("RELEASE SAVEPOINT")?;
        let at = open.savepoints.iter().rposition(|savepoint| savepoint.name == name);
        let at = at.ok_or_else(|| no_savepoint(name))?;
        if let Some(released) = open.savepoints.get(at) {
            open.transaction.release(released.savepoint);
        }
        open.savepoints.truncate(at);
        open.check_savepoints();
        Ok(())
    }
}

impl Open {
    /// Each savepoint has a name, and each name stands for one: going back finds the right one.
    fn check_savepoints(&self) {
        let (names, savepoints) = (self.savepoints.len(), self.transaction.savepoints());
        assert_eq!(names, savepoints, "each savepoint of a transaction has a name");
    }
}

fn no_savepoint(name: &str) -> Failure {
    Failure::new("3B001", format!("savepoint \"{name}\" does not exist"))
}
