//! Prepared statements and portals of one connection, under the names that the client gave them.

use std::collections::HashMap;
use std::sync::Arc;

use crate::session::{ResultFormats, Session};

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
