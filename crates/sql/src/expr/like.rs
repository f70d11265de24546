//! `LIKE`.

use crate::error::{SqlError, sqlstate};

/// Whether text matches a pattern: `%` is any text, `_` any character, `escape` makes the next character plain.
/// The time is proportional to the product of both lengths at worst.
///
/// # Errors
/// 22025 when the pattern ends in the escape character.
pub(super) fn matches(text: &str, pattern: &str, escape: Option<char>) -> Result<bool, SqlError> {
    let mut tokens = Vec::new();
    let mut chars = pattern.chars();
    while let Some(c) = chars.next() {
        tokens.push(match c {
            c if Some(c) == escape => Token::Plain(chars.next().ok_or_else(|| {
                SqlError::new(
                    sqlstate::INVALID_ESCAPE_SEQUENCE,
                    "LIKE pattern must not end with escape character",
                )
            })?),
            '%' => Token::Any,
            '_' => Token::One,
            c => Token::Plain(c),
        });
    }
    // Backtracking goes to the last `%` only: an earlier one could match nothing that this one cannot.
    let (mut at, mut token) = (0, 0);
    let mut retry = None;
    loop {
        let next = text[at..].chars().next();
        match (tokens.get(token), next) {
            (Some(Token::Any), _) => {
                token += 1;
                if token == tokens.len() {
                    return Ok(true);
                }
                retry = Some((at, token));
                continue;
            }
            (Some(Token::One), Some(c)) => {
                at += c.len_utf8();
                token += 1;
                continue;
            }
            (Some(Token::Plain(p)), Some(c)) if *p == c => {
                at += c.len_utf8();
                token += 1;
                continue;
            }
            (None, None) => return Ok(true),
            _ => {}
        }
        let Some((from, after)) = retry else { return Ok(false) };
        let Some(c) = text[from..].chars().next() else { return Ok(false) };
        at = from + c.len_utf8();
        token = after;
        retry = Some((at, after));
    }
}

enum Token {
    Any,
    One,
    Plain(char),
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn patterns_match_as_in_postgresql() {
        for (text, pattern, expected) in [
            ("abc", "abc", true),
            ("abc", "a%", true),
            ("abc", "_b_", true),
            ("abc", "%b", false),
            ("", "%", true),
            ("", "_", false),
            ("aéb", "a_b", true),
            ("a%b", "a\\%b", true),
            ("axb", "a\\%b", false),
            ("mississippi", "%iss%pi", true),
            ("mississippi", "%iss%ip", false),
        ] {
            assert_eq!(matches(text, pattern, Some('\\')).unwrap(), expected, "{text} {pattern}");
        }
        assert!(matches("a\\b", "a\\b", None).unwrap());
        assert_eq!(matches("a", "a\\", Some('\\')).unwrap_err().sqlstate(), "22025");
    }

    #[test]
    fn many_wildcards_take_no_exponential_time() {
        let text = "a".repeat(2000);
        let pattern = "%a".repeat(500) + "b";
        assert!(!matches(&text, &pattern, None).unwrap());
    }
}
