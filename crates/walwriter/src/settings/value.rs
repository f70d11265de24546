//! Values of settings: what is accepted, and how it is shown.

use std::time::Duration;

use super::definitions::{Definition, Kind};
use crate::config::boolean;
use crate::exec::{Failure, Result};

/// The version of PostgreSQL whose behaviour, formats and protocol this server follows.
pub(crate) const VERSION: &str = "15.14";
/// [`VERSION`] as a number.
pub(crate) const VERSION_NUMBER: &str = "150014";

/// The value as it is kept and shown.
pub(super) fn normalize(definition: &Definition, value: &str) -> Result<String> {
    let trimmed = value.trim();
    match definition.kind {
        Kind::Text => Ok(value.to_owned()),
        Kind::Bool => match boolean(trimmed) {
            Some(true) => Ok("on".to_owned()),
            Some(false) => Ok("off".to_owned()),
            None => {
                let name = definition.name;
                Err(Failure::new("22023", format!("parameter \"{name}\" requires a Boolean value")))
            }
        },
        Kind::Fixed(only) => {
            let same = trimmed.eq_ignore_ascii_case(only)
                || (boolean(only).is_some() && boolean(trimmed) == boolean(only));
            if same {
                return Ok(only.to_owned());
            }
            Err(invalid(definition, value).detail(format!("This server knows \"{only}\" alone.")))
        }
        Kind::Enum(values) => {
            let found = values.iter().find(|known| known.eq_ignore_ascii_case(trimmed));
            let as_boolean = || {
                let word = if boolean(trimmed)? { "on" } else { "off" };
                values.iter().find(|known| **known == word)
            };
            found.or_else(as_boolean).map(|known| (*known).to_owned()).ok_or_else(|| {
                let known = values.join(", ");
                invalid(definition, value).hint(format!("Available values: {known}."))
            })
        }
        Kind::Integer { min, max, unit } => {
            let number = unit.parse(trimmed).ok_or_else(|| invalid(definition, value))?;
            if (min..=max).contains(&number) {
                return Ok(number.to_string());
            }
            let name = definition.name;
            Err(Failure::new(
                "22023",
                format!("{number} is outside the valid range for parameter \"{name}\" ({min} .. {max})"),
            ))
        }
        Kind::Real => {
            let number: f64 = trimmed.parse().map_err(|_| invalid(definition, value))?;
            Ok(number.to_string())
        }
        Kind::Encoding => encoding(trimmed).ok_or_else(|| invalid(definition, value)),
        Kind::DateStyle => date_style(trimmed).ok_or_else(|| {
            invalid(definition, value).detail("This server shows dates in the ISO style alone.")
        }),
        // Points in time are shown in UTC, with their offset, whatever zone a client is in.
        Kind::TimeZone if trimmed.is_empty() => Err(invalid(definition, value)),
        Kind::TimeZone => Ok("UTC".to_owned()),
    }
}

fn invalid(definition: &Definition, value: &str) -> Failure {
    let name = definition.name;
    Failure::new("22023", format!("invalid value for parameter \"{name}\": \"{value}\""))
}

/// The value as `SHOW` prints it.
pub(super) fn show(definition: &Definition, value: &str) -> String {
    let Kind::Integer { unit, .. } = definition.kind else { return value.to_owned() };
    let Ok(number) = value.parse::<i64>() else { return value.to_owned() };
    unit.show(number)
}

pub(super) fn duration(milliseconds: &str) -> Option<Duration> {
    match milliseconds.parse() {
        Ok(0) | Err(_) => None,
        Ok(number) => Some(Duration::from_millis(number)),
    }
}

fn encoding(text: &str) -> Option<String> {
    let name: String = text.chars().filter(char::is_ascii_alphanumeric).collect();
    match name.to_ascii_lowercase().as_str() {
        "utf8" | "unicode" => Some("UTF8".to_owned()),
        // No conversion, which is what happens anyway.
        "sqlascii" => Some("SQL_ASCII".to_owned()),
        _ => None,
    }
}

fn date_style(text: &str) -> Option<String> {
    let mut order = "MDY";
    for word in text.split(',').map(str::trim) {
        match word.to_ascii_lowercase().as_str() {
            "iso" | "default" => {}
            "mdy" | "us" | "noneuro" | "noneuropean" => order = "MDY",
            "dmy" | "euro" | "european" => order = "DMY",
            "ymd" => order = "YMD",
            _ => return None,
        }
    }
    Some(format!("ISO, {order}"))
}

#[cfg(test)]
mod tests {
    use super::super::find;
    use super::*;

    fn set(name: &str, value: &str) -> Result<String> {
        let definition = find(name).unwrap();
        normalize(definition, value).map(|value| show(definition, &value))
    }

    #[test]
    fn values_are_shown_as_postgresql_shows_them() {
        for (name, value, shown) in [
            ("statement_timeout", "1500", "1500ms"),
            ("statement_timeout", "2min", "2min"),
            ("statement_timeout", "0", "0"),
            ("work_mem", "8192", "8MB"),
            ("datestyle", "iso, dmy", "ISO, DMY"),
            ("client_encoding", "utf-8", "UTF8"),
            ("default_transaction_read_only", "t", "on"),
            ("synchronous_commit", "true", "on"),
            ("DEFAULT_TRANSACTION_ISOLATION", "Repeatable Read", "repeatable read"),
            ("extra_float_digits", "3", "3"),
        ] {
            assert_eq!(set(name, value).unwrap(), shown, "{name} = {value}");
        }
    }

    #[test]
    fn values_that_make_no_sense_are_refused() {
        for (name, value) in [
            ("statement_timeout", "soon"),
            ("statement_timeout", "-1"),
            ("extra_float_digits", "4"),
            ("client_encoding", "latin1"),
            ("datestyle", "german"),
            ("default_transaction_read_only", "maybe"),
            ("client_min_messages", "loud"),
        ] {
            assert_eq!(set(name, value).unwrap_err().sqlstate(), "22023", "{name} = {value}");
        }
    }
}
