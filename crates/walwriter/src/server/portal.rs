//! Prepared statements and portals of one connection, under the names that the client gave them.

use std::collections::HashMap;
use std::sync::Arc;

use replication::error::{ServerError, SqlState};

use crate::session::{ResultFormats, Session, SessionError};

/// A bound statement.
pub(super) struct OpenPortal<S: Session> {
    pub(super) prepared: Arc<S::Prepared>,
    /// `None` once it has run to its end.
    pub(super) execution: Option<S::Portal>,
    pub(super) formats: ResultFormats,
}

/// Things by name, of which the one without a name is used most.
pub(super) struct Named<T> {
    unnamed: Option<T>,
    named: HashMap<Box<str>, T>,
}

impl<T> Named<T> {
    pub(super) fn new() -> Self {
        Self { unnamed: None, named: HashMap::new() }
    }

    pub(super) fn get(&self, name: &str) -> Option<&T> {
        if name.is_empty() { self.unnamed.as_ref() } else { self.named.get(name) }
    }

    pub(super) fn put(&mut self, name: &str, value: T) {
        if name.is_empty() {
            self.unnamed = Some(value);
        } else {
            self.named.insert(name.into(), value);
        }
    }

    pub(super) fn take(&mut self, name: &str) -> Option<T> {
        if name.is_empty() { self.unnamed.take() } else { self.named.remove(name) }
    }

    pub(super) fn clear(&mut self) {
        self.unnamed = None;
        if !self.named.is_empty() {
            self.named.clear();
        }
    }
}

/// An error with a SQLSTATE that has no name of its own.
pub(super) fn error(code: &str, message: impl Into<String>) -> SessionError {
    Box::new(ServerError::error(SqlState::new(code).unwrap_or(SqlState::INTERNAL_ERROR), message))
}

pub(super) fn no_statement(name: &str) -> SessionError {
    if name.is_empty() {
        error("26000", "unnamed prepared statement does not exist")
    } else {
        error("26000", format!("prepared statement \"{name}\" does not exist"))
    }
}

pub(super) fn no_portal(name: &str) -> SessionError {
    error("34000", format!("portal \"{name}\" does not exist"))
}
