//! Values of settings: how they are read, with PostgreSQL's units, and shown.

/// What a number counts, unless it is given with a unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// Nothing in particular.
    None,
    /// Kibibytes.
    Kilobytes,
    /// Pages of 8 KiB.
    Blocks,
    /// Mebibytes.
    Megabytes,
    /// Milliseconds.
    Milliseconds,
    /// Seconds.
    Seconds,
}

/// Units of memory by their length in bytes, and of time in microseconds; the largest first.
const MEMORY: [(&str, f64); 5] =
    [("TB", 1_099_511_627_776.0), ("GB", 1_073_741_824.0), ("MB", 1_048_576.0), ("kB", 1024.0), ("B", 1.0)];
const TIME: [(&str, f64); 6] = [
    ("d", 86_400_000_000.0),
    ("h", 3_600_000_000.0),
    ("min", 60_000_000.0),
    ("s", 1_000_000.0),
    ("ms", 1000.0),
    ("us", 1.0),
];

impl Unit {
    /// The units that may be given, and the length of this one in the smallest of them.
    const fn table(self) -> Option<(&'static [(&'static str, f64)], f64)> {
        Some(match self {
            Self::None => return None,
            Self::Kilobytes => (&MEMORY, 1024.0),
            Self::Blocks => (&MEMORY, 8192.0),
            Self::Megabytes => (&MEMORY, 1_048_576.0),
            Self::Milliseconds => (&TIME, 1000.0),
            Self::Seconds => (&TIME, 1_000_000.0),
        })
    }
}

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
            Self::Bool => parse_bool(text).map(Value::Bool).ok_or_else(|| "a boolean (on, off)".to_owned()),
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
            Self::Integer { min, max, unit } => integer(text, unit)
                .filter(|number| (min..=max).contains(number))
                .map(Value::Integer)
                .ok_or_else(|| {
                    let show = |number| self.show(&Value::Integer(number));
                    format!("{} from {} to {}", described(unit), show(min), show(max))
                }),
        }
    }

    /// A value as `SHOW` prints it: numbers in the largest unit that divides them.
    pub fn show(self, value: &Value) -> String {
        match (self, value) {
            (_, Value::Bool(on)) => if *on { "on" } else { "off" }.to_owned(),
            (_, Value::Real(number)) => number.to_string(),
            (_, Value::Text(text)) => text.clone(),
            (Self::Octal, Value::Integer(number)) => format!("{number:04o}"),
            (Self::Integer { unit, .. }, Value::Integer(number)) if *number > 0 => {
                let Some((units, base)) = unit.table() else { return number.to_string() };
                let length = *number as f64 * base;
                let fits = |(_, unit): &&(&str, f64)| length % unit == 0.0;
                let found = units.iter().find(fits);
                found.map_or_else(|| number.to_string(), |(name, unit)| format!("{}{name}", length / unit))
            }
            (_, Value::Integer(number)) => number.to_string(),
        }
    }

    /// The length of the setting's unit in bytes or milliseconds.
    pub(super) const fn unit_length(self) -> u64 {
        match self {
            Self::Integer { unit, .. } => match unit {
                Unit::None | Unit::Milliseconds => 1,
                Unit::Kilobytes => 1024,
                Unit::Blocks => 8192,
                Unit::Megabytes => 1 << 20,
                Unit::Seconds => 1000,
            },
            _ => 1,
        }
    }
}

const fn described(unit: Unit) -> &'static str {
    match unit {
        Unit::None => "a number",
        Unit::Kilobytes | Unit::Blocks | Unit::Megabytes => "a size (units are B, kB, MB, GB and TB)",
        Unit::Milliseconds | Unit::Seconds => "a time (units are us, ms, s, min, h and d)",
    }
}

fn choice(text: &str, choices: &[&str]) -> Result<Value, String> {
    let text = text.to_ascii_lowercase();
    // Whoever may choose on or off may also say true or 0.
    let synonym = match parse_bool(&text) {
        Some(true) => "on",
        Some(false) => "off",
        None => "",
    };
    let found = choices.iter().find(|choice| **choice == text || **choice == synonym);
    let found = found.map(|choice| Value::Text((*choice).to_owned()));
    found.ok_or_else(|| format!("one of {}", choices.join(", ")))
}

/// A number with an optional unit, rounded to the setting's own (`parse_int`).
fn integer(text: &str, unit: Unit) -> Option<i64> {
    let text = text.trim();
    let end =
        text.find(|c: char| !(c.is_ascii_digit() || matches!(c, '.' | '-' | '+'))).unwrap_or(text.len());
    let (number, suffix) = text.split_at(end);
    let number: f64 = number.parse().ok()?;
    let scaled = match (suffix.trim(), unit.table()) {
        ("", _) => number,
        (suffix, Some((units, base))) => {
            let (_, length) = units.iter().find(|(name, _)| *name == suffix)?;
            number * length / base
        }
        _ => return None,
    };
    let rounded = scaled.round_ties_even();
    // Beyond this, not every whole number is one.
    (rounded.abs() <= 9.0e15).then_some(rounded as i64)
}

/// A boolean as PostgreSQL reads it: 1, 0, or a beginning of a word that is the beginning of no other
/// (`parse_bool_with_len`).
fn parse_bool(text: &str) -> Option<bool> {
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
