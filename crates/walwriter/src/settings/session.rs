//! What one session has set, and what its transaction would undo.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use super::defaults::Defaults;
use super::definitions::{Access, DEFINITIONS, Definition, find};
use super::value;
use crate::exec::{Failure, Result};

/// Values of settings, as they are kept, by their exact names.
pub(crate) type Values = BTreeMap<&'static str, String>;

/// The settings of a session.
///
/// A change counts at once, and is undone if its transaction (or the part of it since a savepoint) is rolled back; one
/// with LOCAL is undone at the end of the transaction in any case.
#[derive(Debug, Default)]
pub(crate) struct SessionSettings {
    /// What this session has in place of the defaults.
    values: Values,
    /// What the client asked for when it connected: what RESET goes back to.
    initial: Values,
    /// The server's defaults, as they were when this session last looked.
    defaults: Arc<Values>,
    /// The generation of `defaults`.
    defaults_of: u64,
    /// Of names with a dot, which every client may make up.
    custom: BTreeMap<String, String>,
    /// What it was before the transaction's first change.
    before: Option<Box<Saved>>,
    /// What was set with LOCAL.
    local: BTreeSet<String>,
    /// Changed since clients were last told.
    unreported: BTreeSet<&'static str>,
}

/// The settings at one moment.
#[derive(Debug, Clone)]
pub(crate) struct Saved {
    values: Values,
    custom: BTreeMap<String, String>,
}

impl SessionSettings {
    /// Takes the server's defaults as they are now. Cheap if they are the same as before.
    #[inline]
    pub(crate) fn follow(&mut self, defaults: &Defaults) {
        let generation = defaults.generation();
        if generation != self.defaults_of {
            self.take_defaults(defaults.values(), generation);
        }
    }

    fn take_defaults(&mut self, defaults: Arc<Values>, generation: u64) {
        let before = std::mem::replace(&mut self.defaults, defaults);
        self.defaults_of = generation;
        for definition in DEFINITIONS.iter().filter(|definition| definition.report) {
            let changed = before.get(definition.name) != self.defaults.get(definition.name);
            if changed && !self.values.contains_key(definition.name) {
                self.unreported.insert(definition.name);
            }
        }
    }

    /// Takes the settings of the startup packet for the defaults.
    pub(crate) fn set_initial(&mut self, name: &str, value: &str) -> Result<()> {
        let definition = find(name).ok_or_else(|| unknown(name))?;
        check_access(definition)?;
        self.initial.insert(definition.name, value::normalize(definition, value)?);
        self.values.clone_from(&self.initial);
        Ok(())
    }

    /// SET; `None` is DEFAULT.
    pub(crate) fn set(&mut self, name: &str, value: Option<&str>, local: bool) -> Result<()> {
        let Some(definition) = find(name) else { return self.set_custom(name, value, local) };
        check_access(definition)?;
        let value = value.map(|value| value::normalize(definition, value)).transpose()?;
        self.remember();
        if local {
            self.local.insert(definition.name.to_owned());
        } else {
            self.local.remove(definition.name);
        }
        let value = value.or_else(|| self.initial.get(definition.name).cloned());
        self.put(definition, value);
        Ok(())
    }

    fn set_custom(&mut self, name: &str, value: Option<&str>, local: bool) -> Result<()> {
        if !name.contains('.') {
            return Err(unknown(name));
        }
        self.remember();
        if local {
            self.local.insert(name.to_owned());
        } else {
            self.local.remove(name);
        }
        match value {
            Some(value) => self.custom.insert(name.to_owned(), value.to_owned()),
            None => self.custom.remove(name),
        };
        Ok(())
    }

    fn put(&mut self, definition: &'static Definition, value: Option<String>) {
        if definition.report {
            self.unreported.insert(definition.name);
        }
        match value {
            Some(value) => self.values.insert(definition.name, value),
            None => self.values.remove(definition.name),
        };
    }

    /// RESET ALL.
    pub(crate) fn reset_all(&mut self) {
        self.remember();
        let names: BTreeSet<&'static str> = self.values.keys().chain(self.initial.keys()).copied().collect();
        for definition in names.into_iter().filter_map(find) {
            let initial = self.initial.get(definition.name).cloned();
            self.put(definition, initial);
        }
        self.custom.clear();
    }

    /// As SHOW has it; `None` if there is no such setting here.
    pub(crate) fn show(&self, name: &str) -> Option<String> {
        match find(name) {
            Some(definition) => Some(value::show(definition, self.raw(definition))),
            None => self.custom.get(name).cloned(),
        }
    }

    /// The value without a unit.
    pub(crate) fn raw(&self, definition: &'static Definition) -> &str {
        self.overridden(definition.name).unwrap_or(definition.default)
    }

    /// What the session or the server has in place of the built-in default, by the setting's exact name. Cheap.
    pub(crate) fn overridden(&self, name: &'static str) -> Option<&str> {
        self.values.get(name).or_else(|| self.defaults.get(name)).map(String::as_str)
    }

    /// Where the value comes from (`pg_settings.source`).
    pub(crate) fn source(&self, name: &'static str) -> &'static str {
        if self.values.contains_key(name) {
            "session"
        } else if self.defaults.contains_key(name) {
            "configuration file"
        } else {
            "default"
        }
    }

    fn get(&self, name: &'static str) -> &str {
        find(name).map_or("", |definition| self.raw(definition))
    }

    /// A setting of milliseconds; `None` if it is zero.
    pub(crate) fn duration(&self, name: &'static str) -> Option<Duration> {
        // The default of all of them is zero.
        value::duration(self.overridden(name)?)
    }

    /// A setting of kilobytes, in bytes.
    pub(crate) fn bytes(&self, name: &'static str) -> usize {
        self.get(name).parse::<usize>().unwrap_or(0).saturating_mul(1024)
    }

    fn remember(&mut self) {
        if self.before.is_none() {
            self.before = Some(Box::new(self.save()));
        }
    }

    /// The settings as they are, for a savepoint.
    pub(crate) fn save(&self) -> Saved {
        Saved { values: self.values.clone(), custom: self.custom.clone() }
    }

    /// Back to what they were.
    pub(crate) fn restore(&mut self, saved: &Saved) {
        for definition in DEFINITIONS.iter().filter(|definition| definition.report) {
            if self.values.get(definition.name) != saved.values.get(definition.name) {
                self.unreported.insert(definition.name);
            }
        }
        self.values.clone_from(&saved.values);
        self.custom.clone_from(&saved.custom);
    }

    /// The transaction ends.
    pub(crate) fn end_transaction(&mut self, committed: bool) {
        let Some(before) = self.before.take() else { return };
        if !committed {
            self.restore(&before);
        }
        for name in std::mem::take(&mut self.local) {
            match find(&name) {
                Some(definition) => {
                    let value = before.values.get(definition.name).cloned();
                    self.put(definition, value);
                }
                None => {
                    match before.custom.get(&name) {
                        Some(value) => self.custom.insert(name, value.clone()),
                        None => self.custom.remove(&name),
                    };
                }
            }
        }
    }

    /// What has changed and clients are to be told.
    pub(crate) fn take_unreported(&mut self) -> BTreeSet<&'static str> {
        std::mem::take(&mut self.unreported)
    }

    pub(crate) fn has_unreported(&self) -> bool {
        !self.unreported.is_empty()
    }
}

fn check_access(definition: &Definition) -> Result<()> {
    match definition.access {
        Access::User => Ok(()),
        Access::Transaction | Access::Internal => {
            Err(Failure::new("55P02", format!("parameter \"{}\" cannot be changed", definition.name)))
        }
    }
}

/// The error for a name that is no setting's.
pub(crate) fn unknown(name: &str) -> Failure {
    Failure::new("42704", format!("unrecognized configuration parameter \"{name}\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rollback_undoes_what_was_set_and_a_commit_what_was_local() {
        let mut settings = SessionSettings::default();
        settings.set_initial("application_name", "psql").unwrap();
        settings.set("application_name", Some("a"), false).unwrap();
        settings.end_transaction(false);
        assert_eq!(settings.show("application_name").unwrap(), "psql");
        settings.set("application_name", Some("a"), false).unwrap();
        settings.set("my.own", Some("x"), true).unwrap();
        settings.set("statement_timeout", Some("1s"), true).unwrap();
        assert_eq!(settings.show("my.own").unwrap(), "x");
        settings.end_transaction(true);
        assert_eq!(settings.show("application_name").unwrap(), "a");
        assert_eq!(settings.show("my.own"), None);
        assert_eq!(settings.show("statement_timeout").unwrap(), "0");
        settings.set("application_name", None, false).unwrap();
        assert_eq!(settings.show("application_name").unwrap(), "psql");
        assert!(settings.take_unreported().contains("application_name"));
    }

    #[test]
    fn what_is_unknown_or_not_to_be_changed_is_refused() {
        let mut settings = SessionSettings::default();
        assert_eq!(settings.set("no_such", Some("1"), false).unwrap_err().sqlstate(), "42704");
        assert_eq!(settings.set("server_version", Some("1"), false).unwrap_err().sqlstate(), "55P02");
    }
}
