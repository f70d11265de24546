//! Values of settings: what is accepted, and how it is shown.

use std::time::Duration;

use super::definitions::{Definition, Kind, Unit};
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
            let number = integer(trimmed, unit).ok_or_else(|| invalid(definition, value))?;
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

/// `parse_bool`: words may be cut short.
pub(crate) fn boolean(text: &str) -> Option<bool> {
    let word = text.to_ascii_lowercase();
    let is = |full: &str, least: usize| word.len() >= least && full.starts_with(word.as_str());
    if is("true", 1) || is("yes", 1) || is("on", 2) || word == "1" {
        Some(true)
    } else if is("false", 1) || is("no", 1) || is("off", 2) || word == "0" {
        Some(false)
    } else {
        None
    }
}

/// A number with its unit, in the setting's own unit.
fn integer(text: &str, unit: Unit) -> Option<i64> {
    let split = text.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(text.len());
    let (number, suffix) = text.split_at(split);
    let number: f64 = number.trim().parse().ok()?;
    let factor = match (unit, suffix.trim()) {
        (_, "") => 1.0,
        (Unit::Milliseconds, "us") => 0.001,
        (Unit::Milliseconds, "ms") => 1.0,
        (Unit::Milliseconds, "s") => 1e3,
        (Unit::Milliseconds, "min") => 60e3,
        (Unit::Milliseconds, "h") => 3600e3,
        (Unit::Milliseconds, "d") => 86_400e3,
        (Unit::Kilobytes, "B") => 1.0 / 1024.0,
        (Unit::Kilobytes, "kB") => 1.0,
        (Unit::Kilobytes, "MB") => 1024.0,
        (Unit::Kilobytes, "GB") => 1024.0 * 1024.0,
        (Unit::Kilobytes, "TB") => 1024.0 * 1024.0 * 1024.0,
        _ => return None,
    };
    let value = (number * factor).round_ties_even();
    (value.is_finite() && value.abs() < 1e18).then_some(value as i64)
}

/// A number with the largest unit that divides it, as SHOW has it.
pub(super) fn show(definition: &Definition, value: &str) -> String {
    let Kind::Integer { unit, .. } = definition.kind else { return value.to_owned() };
    let Ok(number) = value.parse::<i64>() else { return value.to_owned() };
    let units: &[(i64, &str)] = match unit {
        Unit::None => &[],
        Unit::Milliseconds => &[(86_400_000, "d"), (3_600_000, "h"), (60_000, "min"), (1000, "s"), (1, "ms")],
        Unit::Kilobytes => &[(1 << 30, "TB"), (1 << 20, "GB"), (1 << 10, "MB"), (1, "kB")],
    };
    match units.iter().find(|(size, _)| number > 0 && number % size == 0) {
        Some((size, name)) => format!("{}{name}", number / size),
        None => value.to_owned(),
    }
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
