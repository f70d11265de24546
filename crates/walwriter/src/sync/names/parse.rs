//! Reading the list. Source: `replication/syncrep_gram.y`, `syncrep_scanner.l`.

use super::{Method, SynchronousNames};

/// A list that cannot be understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "invalid value for parameter \"synchronous_standby_names\": \"{text}\"; expected a list of names, or FIRST n (names), or ANY n (names)"
)]
pub struct NamesError {
    text: String,
}

impl SynchronousNames {
    /// Reads the setting; `None` if it names nobody.
    ///
    /// # Errors
    /// Anything that PostgreSQL would not take.
    pub fn parse(text: &str) -> Result<Option<Self>, NamesError> {
        let wrong = || NamesError { text: text.to_owned() };
        let tokens = tokens(text).ok_or_else(wrong)?;
        if tokens.is_empty() {
            return Ok(None);
        }
        Self::of_tokens(&tokens).map(Some).ok_or_else(wrong)
    }

    fn of_tokens(tokens: &[Token]) -> Option<Self> {
        let (method, rest) = match tokens {
            [Token::Word(word), Token::Word(_), Token::Open, ..] if word.eq_ignore_ascii_case("first") => {
                (Method::First, tokens.get(1..)?)
            }
            [Token::Word(word), Token::Word(_), Token::Open, ..] if word.eq_ignore_ascii_case("any") => {
                (Method::Any, tokens.get(1..)?)
            }
            _ => (Method::First, tokens),
        };
        let (count, list) = match rest {
            [Token::Word(number), Token::Open, list @ .., Token::Close] => (number.parse().ok()?, list),
            list if method == Method::First => (1, list),
            _ => return None,
        };
        let names: Option<Vec<String>> = list.chunks(2).map(name_of).collect();
        let names = names.filter(|names| list.len() + 1 == 2 * names.len())?;
        (count > 0).then_some(Self { method, count, names })
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Token {
    Word(String),
    Quoted(String),
    Open,
    Close,
    Comma,
}

fn name_of(pair: &[Token]) -> Option<String> {
    match pair {
        [Token::Word(name) | Token::Quoted(name)]
        | [Token::Word(name) | Token::Quoted(name), Token::Comma] => Some(name.clone()),
        _ => None,
    }
}

fn tokens(text: &str) -> Option<Vec<Token>> {
    let mut tokens = Vec::new();
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        let length = match first {
            '(' => push(&mut tokens, Token::Open, 1),
            ')' => push(&mut tokens, Token::Close, 1),
            ',' => push(&mut tokens, Token::Comma, 1),
            '*' => push(&mut tokens, Token::Word("*".to_owned()), 1),
            '"' => {
                let (name, length) = quoted(rest)?;
                push(&mut tokens, Token::Quoted(name), length)
            }
            _ => {
                let is_part = |c: char| c.is_alphanumeric() || matches!(c, '_' | '$') || !c.is_ascii();
                let length = rest.find(|c| !is_part(c)).unwrap_or(rest.len());
                let (word, _) = rest.split_at(length);
                (length > 0).then(|| push(&mut tokens, Token::Word(word.to_owned()), length))?
            }
        };
        rest = rest.get(length..)?.trim_start();
    }
    Some(tokens)
}

fn push(tokens: &mut Vec<Token>, token: Token, length: usize) -> usize {
    tokens.push(token);
    length
}

/// A name in double quotes, in which two stand for one, and how long it is with them.
fn quoted(text: &str) -> Option<(String, usize)> {
    let mut name = String::new();
    let mut characters = text.char_indices().skip(1).peekable();
    while let Some((at, character)) = characters.next() {
        if character != '"' {
            name.push(character);
        } else if characters.next_if(|&(_, next)| next == '"').is_some() {
            name.push('"');
        } else {
            return (!name.is_empty()).then_some((name, at + 1));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(text: &str) -> SynchronousNames {
        SynchronousNames::parse(text).unwrap().unwrap()
    }

    #[test]
    fn what_postgresql_takes_is_understood() {
        assert_eq!(SynchronousNames::parse(" "), Ok(None));
        let (method, count) = (Method::First, 1);
        let expected =
            SynchronousNames { method, count, names: vec!["a".into(), "b c".into(), "d\"".into()] };
        assert_eq!(names("a, \"b c\",\"d\"\"\""), expected);
        let any = SynchronousNames { method: Method::Any, count: 2, names: vec!["s1".into(), "*".into()] };
        assert_eq!(names("any 2(s1,*)"), any);
        assert_eq!(names("2 (x, y)"), names("FIRST 2 (x, y)"));
        assert_eq!(names("first"), names("\"first\""), "a follower may be called so");
        for wrong in
            ["a b", "a,", ",a", "FIRST 0 (a)", "FIRST (a)", "ANY x (a)", "2 (a", "\"a", "2 ()", "a;b"]
        {
            assert!(SynchronousNames::parse(wrong).is_err(), "{wrong}");
        }
    }
}
