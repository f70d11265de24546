//! What sessions find in place of the built-in defaults: the server's configuration, as it is now.
//!
//! Reading the configuration again reaches sessions that are open, as in PostgreSQL: each takes the new defaults before
//! the next thing that its client asks for (`ProcessConfigFile` in `PostgresMain`).

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use runtime::sync::RwLock;

use super::definitions::DEFINITIONS;
use super::session::Values;
use super::value;

/// The defaults of all sessions.
#[derive(Debug, Default)]
pub(crate) struct Defaults {
    /// Counts the readings of the configuration. Moves after `values` have been replaced.
    generation: AtomicU64,
    values: RwLock<Arc<Values>>,
}

impl Defaults {
    /// Takes what the configuration says of each setting; what is no value of it stays as it was, and is told in the log.
    pub(crate) fn configure(&self, configured: impl Fn(&'static str) -> Option<String>) {
        let before = self.values();
        let mut values = Values::new();
        for definition in DEFINITIONS {
            let Some(text) = configured(definition.name) else { continue };
            let value = value::normalize(definition, &text).map_err(|failure| {
                tracing::warn!(
                    name = definition.name,
                    "setting not changed: {}",
                    failure.into_error().message
                );
                before.get(definition.name)
            });
            if let Some(value) = value.map_or_else(|before| before.cloned(), Some) {
                values.insert(definition.name, value);
            }
        }
        *self.values.write() = Arc::new(values);
        self.generation.fetch_add(1, Ordering::Release);
    }

    /// How often the configuration was read.
    pub(crate) fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    pub(crate) fn values(&self) -> Arc<Values> {
        Arc::clone(&self.values.read())
    }
}
