//! The syntax of configuration files (`guc-file.l`): `name = value`, `name value`, `#` begins a comment, values with
//! anything but letters, digits and a few signs in them are quoted.

use std::fs;
use std::path::Path;

use super::{ConfigError, Origin};

/// A setting as a file makes it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Assignment {
    pub(super) name: String,
    pub(super) value: String,
    pub(super) origin: Origin,
}

/// The text of a file.
pub(super) fn read(path: &Path) -> Result<String, ConfigError> {
    fs::read_to_string(path).map_err(|source| ConfigError::Io { path: path.to_owned(), source })
}

/// The settings in the text of the file `path`, in its order.
pub(super) fn parse(text: &str, path: &Path) -> Result<Vec<Assignment>, ConfigError> {
    let mut assignments = Vec::new();
    for (line, number) in text.lines().zip(1..) {
        match parse_line(line) {
            Ok(None) => {}
            Ok(Some((name, value))) => {
                assignments.push(Assignment { name, value, origin: Origin::File(path.to_owned(), number) });
            }
            Err(()) => return Err(ConfigError::Syntax { path: path.to_owned(), line: number }),
        }
    }
    Ok(assignments)
}

/// The name and value on a line; `None` if it is empty or a comment.
pub(super) fn parse_line(line: &str) -> Result<Option<(String, String)>, ()> {
    let line = line.trim();
    if line.is_empty() || line.starts_with('#') {
        return Ok(None);
    }
    let end = line.find(|c: char| !(c.is_alphanumeric() || c == '_' || c == '.')).unwrap_or(line.len());
    let (name, rest) = line.split_at(end);
    let after_name = rest.trim_start();
    let rest = match after_name.strip_prefix('=') {
        Some(rest) => rest.trim_start(),
        None if after_name.len() < rest.len() => after_name,
        None => return Err(()),
    };
    if name.is_empty() {
        return Err(());
    }
    let (value, rest) = match rest.strip_prefix('\'') {
        Some(quoted) => quoted_value(quoted)?,
        None => {
            let end = rest.find(|c: char| c.is_whitespace() || c == '#').unwrap_or(rest.len());
            let (value, rest) = rest.split_at(end);
            let plain = |c: char| c.is_alphanumeric() || "_-.:/+$*".contains(c);
            if value.is_empty() || !value.chars().all(plain) {
                return Err(());
            }
            (value.to_owned(), rest)
        }
    };
    let rest = rest.trim_start();
    if rest.is_empty() || rest.starts_with('#') { Ok(Some((name.to_owned(), value))) } else { Err(()) }
}

/// A value up to its closing quote, and what follows that. Two quotes are one, and a backslash takes the next character
/// (`DeescapeQuotedString`).
fn quoted_value(text: &str) -> Result<(String, &str), ()> {
    let mut value = String::new();
    let mut characters = text.char_indices().peekable();
    while let Some((at, character)) = characters.next() {
        match character {
            '\'' => match characters.next_if(|(_, next)| *next == '\'') {
                Some(_) => value.push('\''),
                None => return Ok((value, text.get(at + 1..).unwrap_or_default())),
            },
            '\\' => match characters.next().ok_or(())?.1 {
                'n' => value.push('\n'),
                't' => value.push('\t'),
                'r' => value.push('\r'),
                'b' => value.push('\u{8}'),
                'f' => value.push('\u{c}'),
                other => value.push(other),
            },
            other => value.push(other),
        }
    }
    Err(())
}
