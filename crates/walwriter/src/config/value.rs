//! Values of settings: how they are read and shown.

use super::Unit;

/// What a setting's values are.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Kind {
    /// On or off.
    Bool,
    /// A whole number.
    Integer {
        /// The least.
        min: i64,
        /// The most.
        max: i64,
        /// What it counts.
        unit: Unit,
    },
    /// A whole number that is written in octal.
    Octal,
    /// A number from 0 to 1.
    Fraction,
    /// One of these, in lower case.
    Choice(&'static [&'static str]),
    /// Any text.
    Text,
}

/// A value.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// On or off.
    Bool(bool),
    /// In the setting's unit.
    Integer(i64),
    /// With a fraction.
    Real(f64),
    /// Also the choice of several.
    Text(String),
}

impl Kind {
    /// Reads a value.
    ///
    /// # Errors
    /// What was expected.
    pub fn parse(self, text: &str) -> Result<Value, String> {
        match self {
            Self::Bool => boolean(text).map(Value::Bool).ok_or_else(|| "a boolean (on, off)".to_owned()),
            Self::Text => Ok(Value::Text(text.to_owned())),
            Self::Fraction => {
                let number = text.parse::<f64>().ok().filter(|number| (0.0..=1.0).contains(number));
                number.map(Value::Real).ok_or_else(|| "a number from 0 to 1".to_owned())
            }
            Self::Octal => {
                let number = i64::from_str_radix(text, 8).ok().filter(|mode| (0..=0o777).contains(mode));
                number.map(Value::Integer).ok_or_else(|| "permissions such as 0777".to_owned())
            }
            Self::Choice(choices) => choice(text, choices),
            Self::Integer { min, max, unit } => {
                unit.parse(text).filter(|number| (min..=max).contains(number)).map(Value::Integer).ok_or_else(
                    || {
                        let show = |number| self.show(&Value::Integer(number));
                        format!("{} from {} to {}", unit.describe(), show(min), show(max))
                    },
                )
            }
        }
    }

    /// A value as `SHOW` prints it: numbers in the largest unit that divides them.
    pub fn show(self, value: &Value) -> String {
        match (self, value) {
            (_, Value::Bool(on)) => if *on { "on" } else { "off" }.to_owned(),
            (_, Value::Real(number)) => number.to_string(),
            (_, Value::Text(text)) => text.clone(),
            (Self::Octal, Value::Integer(number)) => format!("{number:04o}"),
            (Self::Integer { unit, .. }, Value::Integer(number)) => unit.show(*number),
            (_, Value::Integer(number)) => number.to_string(),
        }
    }

    /// The length of the setting's unit in bytes or milliseconds.
    pub(super) const fn unit_length(self) -> u64 {
        match self {
            Self::Integer { unit, .. } => unit.length(),
            _ => 1,
        }
    }
}

fn choice(text: &str, choices: &[&str]) -> Result<Value, String> {
    let text = text.to_ascii_lowercase();
    // Whoever may choose on or off may also say true or 0.
    let synonym = match boolean(&text) {
        Some(true) => "on",
        Some(false) => "off",
        None => "",
    };
    let found = choices.iter().find(|choice| **choice == text || **choice == synonym);
    let found = found.map(|choice| Value::Text((*choice).to_owned()));
    found.ok_or_else(|| format!("one of {}", choices.join(", ")))
}

/// A boolean as PostgreSQL reads it: 1, 0, or a beginning of a word that is the beginning of no other
/// (`parse_bool_with_len`).
pub(crate) fn boolean(text: &str) -> Option<bool> {
    let text = text.to_ascii_lowercase();
    let begins = |word: &str, least: usize| text.len() >= least && word.starts_with(&text);
    if begins("true", 1) || begins("yes", 1) || begins("on", 2) || text == "1" {
        Some(true)
    } else if begins("false", 1) || begins("no", 1) || begins("off", 2) || text == "0" {
        Some(false)
    } else {
        None
    }
}
