//! What is configured: `postgresql.conf`, `postgresql.auto.conf` and `-c name=value`, under PostgreSQL's names, in its
//! syntax and with its units.
//!
//! A name that is not in `settings` is an error that says where it stands, and so is a value that a setting cannot
//! have: what was meant to be configured is either in force or refused. Later files and lines win over earlier ones, the
//! command line over all. Source: `utils/misc/guc.c`, `guc-file.l`.

mod file;
mod sample;
mod settings;
#[cfg(test)]
mod tests;
mod unit;
mod value;

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use file::Assignment;
pub use sample::SAMPLE;
pub use settings::{Context, Definition, definition, definitions};
pub use unit::Unit;
pub(crate) use value::boolean;
pub use value::{Kind, Value};

/// The main file's name.
pub const MAIN_FILE: &str = "postgresql.conf";
/// The file that programs write, read after the main one.
pub const AUTO_FILE: &str = "postgresql.auto.conf";

/// Where a setting was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// Nowhere.
    Default,
    /// In a file, at a line counted from 1.
    File(PathBuf, usize),
    /// On the command line.
    CommandLine,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str(""),
            Self::File(path, line) => write!(f, " in file \"{}\" line {line}", path.display()),
            Self::CommandLine => f.write_str(" on the command line"),
        }
    }
}

/// A configuration that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A file cannot be read.
    #[error("could not read configuration file \"{}\": {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// A line that is no setting.
    #[error("syntax error in file \"{}\" line {line}: expected name = value", path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
    },
    /// Not `name=value` on the command line.
    #[error("-c \"{0}\": expected name=value")]
    NotAnAssignment(String),
    /// No such setting.
    #[error("unrecognized configuration parameter \"{name}\"{origin}")]
    Unknown {
        /// The name.
        name: String,
        /// Where.
        origin: Origin,
    },
    /// A value that the setting cannot have.
    #[error("invalid value for parameter \"{name}\": \"{value}\"{origin}; expected {expected}")]
    Invalid {
        /// The setting.
        name: &'static str,
        /// What was given.
        value: String,
        /// Where.
        origin: Origin,
        /// What would do.
        expected: String,
    },
    /// A setting that says what is, not what should be.
    #[error("parameter \"{name}\" cannot be changed{origin}")]
    ReadOnly {
        /// The setting.
        name: &'static str,
        /// Where.
        origin: Origin,
    },
}

/// All settings of a server.
#[derive(Debug, Clone)]
pub struct Config {
    /// By name, in lower case.
    values: BTreeMap<&'static str, (Value, Origin)>,
}

impl Default for Config {
    /// Nothing is configured.
    fn default() -> Self {
        Self { values: BTreeMap::new() }
    }
}

impl Config {
    /// Reads a data directory's files; `overrides` are `name=value`, from the command line. The second file may be
    /// missing.
    ///
    /// # Errors
    /// Whatever is not a setting of this server, or not a value of it, with its place.
    pub fn load(directory: &Path, overrides: &[String]) -> Result<Self, ConfigError> {
        let mut config = Self::default();
        let main = directory.join(MAIN_FILE);
        config.read(&file::read(&main)?, &main)?;
        let auto = directory.join(AUTO_FILE);
        match file::read(&auto) {
            Ok(text) => config.read(&text, &auto)?,
            Err(ConfigError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        for assignment in overrides {
            let (name, value) =
                assignment.split_once('=').ok_or_else(|| ConfigError::NotAnAssignment(assignment.clone()))?;
            config.set(&name.trim().replace('-', "_"), value.trim(), Origin::CommandLine)?;
        }
        Ok(config)
    }

    /// Makes the settings in the text of the file `path`.
    ///
    /// # Errors
    /// As [`Config::load`].
    pub fn read(&mut self, text: &str, path: &Path) -> Result<(), ConfigError> {
        let assignments = file::parse(text, path)?;
        assignments
            .into_iter()
            .try_for_each(|Assignment { name, value, origin }| self.set(&name, &value, origin))
    }

    /// Makes one setting.
    ///
    /// # Errors
    /// An unknown name, a value that it cannot have.
    pub fn set(&mut self, name: &str, value: &str, origin: Origin) -> Result<(), ConfigError> {
        let Some(definition) = definition(name) else {
            return Err(ConfigError::Unknown { name: name.to_owned(), origin });
        };
        if definition.context == Context::Internal {
            return Err(ConfigError::ReadOnly { name: definition.name, origin });
        }
        match definition.kind.parse(value) {
            Ok(value) => {
                self.values.insert(definition.name, (value, origin));
                Ok(())
            }
            Err(expected) => {
                Err(ConfigError::Invalid { name: definition.name, value: value.to_owned(), origin, expected })
            }
        }
    }

    /// Sets what only the server knows, such as `wal_segment_size` or the port that the system chose.
    pub fn set_fact(&mut self, name: &str, value: Value) {
        if let Some(definition) = definition(name) {
            self.values.insert(definition.name, (value, Origin::Default));
        }
    }

    /// A setting as `SHOW` prints it; `None` if there is no such setting.
    pub fn show(&self, name: &str) -> Option<String> {
        let definition = definition(name)?;
        Some(definition.kind.show(&self.value(definition)))
    }

    /// Where a setting was made; `None` if there is no such setting.
    pub fn origin(&self, name: &str) -> Option<&Origin> {
        let definition = definition(name)?;
        Some(self.values.get(definition.name).map_or(&Origin::Default, |(_, origin)| origin))
    }

    /// What sessions begin with: settings of the [`Context::Session`] that were made, as text.
    pub fn session_defaults(&self) -> impl Iterator<Item = (&'static str, String)> {
        self.values.iter().filter_map(|(name, (value, _))| {
            let definition = definition(name).filter(|definition| definition.context == Context::Session)?;
            Some((*name, definition.kind.show(value)))
        })
    }

    /// Names of settings that differ from those of `new` and cannot change while the server runs.
    pub fn needs_restart(&self, new: &Self) -> Vec<&'static str> {
        let differs = |definition: &&Definition| self.value(definition) != new.value(definition);
        let fixed = definitions().iter().filter(|definition| definition.context == Context::Start);
        fixed.filter(differs).map(|definition| definition.name).collect()
    }

    /// These settings, but those that cannot change while the server runs as they are in `running`: they stay what they are,
    /// and are shown as that.
    pub fn keeping_fixed(mut self, running: &Self) -> Self {
        for definition in definitions().iter().filter(|definition| definition.context == Context::Start) {
            match running.values.get(definition.name) {
                Some(made) => self.values.insert(definition.name, made.clone()),
                None => self.values.remove(definition.name),
            };
        }
        self
    }

    fn value(&self, definition: &Definition) -> Value {
        match self.values.get(definition.name) {
            Some((value, _)) => value.clone(),
            None => definition.default_value(),
        }
    }

    fn of(&self, name: &str) -> Value {
        let definition = definition(name);
        assert!(definition.is_some(), "there is no setting {name}");
        definition.map_or(Value::Bool(false), |definition| self.value(definition))
    }

    /// A setting that is on or off.
    pub fn is_on(&self, name: &str) -> bool {
        self.of(name) == Value::Bool(true)
    }

    /// A number in the setting's own unit; -1 usually means "no limit".
    pub fn integer(&self, name: &str) -> i64 {
        if let Value::Integer(number) = self.of(name) { number } else { 0 }
    }

    /// A number with a fraction.
    pub fn real(&self, name: &str) -> f64 {
        if let Value::Real(number) = self.of(name) { number } else { 0.0 }
    }

    /// A text, or the name of one of several choices.
    pub fn text(&self, name: &str) -> String {
        if let Value::Text(text) = self.of(name) { text } else { String::new() }
    }

    /// A size in bytes; `None` for -1.
    pub fn bytes(&self, name: &str) -> Option<u64> {
        let unit = definition(name).map_or(1, |definition| definition.kind.unit_length());
        u64::try_from(self.integer(name)).ok().map(|number| number.saturating_mul(unit))
    }

    /// A duration; `None` for 0 and -1, which turn a timeout off.
    pub fn duration(&self, name: &str) -> Option<Duration> {
        let unit = definition(name).map_or(1, |definition| definition.kind.unit_length());
        let number = u64::try_from(self.integer(name)).ok().filter(|number| *number > 0)?;
        Some(Duration::from_millis(number.saturating_mul(unit)))
    }

    /// The parts of a list of names separated by commas, each possibly in double quotes.
    pub fn list(&self, name: &str) -> Vec<String> {
        let text = self.text(name);
        let parts = text.split(',').map(|part| part.trim().trim_matches('"').to_owned());
        parts.filter(|part| !part.is_empty()).collect()
    }
}
