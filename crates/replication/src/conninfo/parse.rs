//! Connection strings of the form `keyword = value ...`. Source: `conninfo_parse`.

use super::{ConnInfoError, keyword, uri};

/// Keywords and values as somebody gave them, in order; a later one wins.
pub(super) type Settings = Vec<(&'static str, String)>;

/// Takes a connection string or URI apart.
pub(super) fn parse(text: &str) -> Result<Settings, ConnInfoError> {
    if uri::is_uri(text) { uri::parse(text) } else { parse_keywords(text) }
}

fn parse_keywords(text: &str) -> Result<Settings, ConnInfoError> {
    let mut settings = Vec::new();
    let mut rest = text.trim_start();
    while !rest.is_empty() {
        let end = rest.find(|c: char| c == '=' || c.is_ascii_whitespace()).unwrap_or(rest.len());
        let (name, tail) = rest.split_at(end);
        let Some(tail) = tail.trim_start().strip_prefix('=') else {
            return Err(ConnInfoError::Syntax(format!(
                "missing \"=\" after \"{name}\" in connection info string"
            )));
        };
        let (value, tail) = value(tail.trim_start())?;
        settings.push((known(name)?, value));
        rest = tail.trim_start();
    }
    Ok(settings)
}

/// The keyword's own spelling, or libpq's complaint.
pub(super) fn known(name: &str) -> Result<&'static str, ConnInfoError> {
    let found = keyword::find(name).map(|keyword| keyword.name);
    found.ok_or_else(|| ConnInfoError::Syntax(format!("invalid connection option \"{name}\"")))
}

/// A value at the beginning of `text`, bare or in single quotes, and what follows it.
fn value(text: &str) -> Result<(String, &str), ConnInfoError> {
    let (quoted, body) = match text.strip_prefix('\'') {
        Some(body) => (true, body),
        None => (false, text),
    };
    let mut value = String::new();
    let mut characters = body.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '\\' => value.extend(characters.next().map(|(_, escaped)| escaped)),
            '\'' if quoted => return Ok((value, body.get(at + 1..).unwrap_or_default())),
            space if !quoted && space.is_ascii_whitespace() => {
                return Ok((value, body.get(at..).unwrap_or_default()));
            }
            other => value.push(other),
        }
    }
    if quoted {
        let text = "unterminated quoted string in connection info string";
        return Err(ConnInfoError::Syntax(text.to_owned()));
    }
    Ok((value, ""))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ok(text: &str) -> Vec<(&'static str, String)> {
        parse(text).unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    #[test]
    fn keywords_and_values() {
        let expected = [("host", "a b".to_owned()), ("port", "1".to_owned()), ("user", "it's\\".to_owned())];
        assert_eq!(ok("host='a b' port=1 user='it\\'s\\\\'"), expected);
        assert_eq!(ok("  host = 'a b'\tport\n=\n1   user=it\\'s\\\\ "), expected);
        assert_eq!(ok(""), []);
        assert_eq!(ok("password="), [("password", String::new())]);
        assert_eq!(ok("password='' user=a"), [("password", String::new()), ("user", "a".to_owned())]);
        assert_eq!(ok("user=a\\ b"), [("user", "a b".to_owned())]);
    }

    #[test]
    fn complaints_are_libpqs() {
        for (text, complaint) in [
            ("host", "missing \"=\" after \"host\" in connection info string"),
            ("mydb port=1", "missing \"=\" after \"mydb\" in connection info string"),
            ("hots=a", "invalid connection option \"hots\""),
            ("host='a", "unterminated quoted string in connection info string"),
        ] {
            assert_eq!(parse(text).unwrap_err().to_string(), complaint);
        }
    }

    proptest! {
        #[test]
        fn any_text_is_parsed_or_refused(text in "(host|port|user)?[ =]?[ -~é']{0,30}") {
            let _ = parse(&text);
        }
    }
}
