//! From flushes to confirmations.

use std::sync::{Arc, OnceLock};

use wal::Lsn;

use super::visibility::Visibility;

type Rule = Box<dyn Fn(Lsn) + Send + Sync>;

/// Decides what a flush confirms: all of it, or what the embedder's rule says.
pub(crate) struct Durability {
    rule: OnceLock<Rule>,
    /// Whether a flush confirms as long as there is no rule.
    confirms: bool,
    visibility: Arc<Visibility>,
}

impl Durability {
    pub(crate) fn new(visibility: Arc<Visibility>, confirms: bool) -> Self {
        Self { rule: OnceLock::new(), confirms, visibility }
    }

    /// Sets the rule, once: a later one is ignored, since positions may have been confirmed by the first.
    pub(crate) fn set_rule(&self, rule: Rule) {
        let _ = self.rule.set(rule);
    }

    /// The log is durable here up to `lsn`.
    pub(crate) fn flushed(&self, lsn: Lsn) {
        match self.rule.get() {
            Some(rule) => rule(lsn),
            None if self.confirms => self.visibility.confirm(lsn),
            None => {}
        }
    }
}
