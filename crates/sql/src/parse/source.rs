//! The text of a query, its tokens, and where in it they are.
//!
//! Invariant: finding a place takes the same time however long the text and its lines are, because every statement of a
//! text asks for some.

use sqlparser::dialect::PostgreSqlDialect;
use sqlparser::tokenizer::{Location, Token, TokenWithSpan, Tokenizer};

use super::amount;
use crate::error::{SqlError, sqlstate};

/// The most tokens of a text. Each takes a few hundred bytes until its statement is planned.
const MAX_TOKENS: usize = 1 << 21;
/// How many characters lie between two places whose offset is noted.
const STRIDE: usize = 256;

/// The text of a query with the offsets of its lines, to turn lines and columns into positions.
#[derive(Debug)]
pub(super) struct Source<'a> {
    text: &'a str,
    /// For every line the characters in front of it.
    lines: Vec<u32>,
    /// For every `STRIDE`th character, and the first, the bytes in front of it.
    marks: Vec<usize>,
    characters: u32,
}

impl<'a> Source<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        let mut lines = vec![0];
        let mut marks = Vec::with_capacity(text.len() / STRIDE + 1);
        let mut characters = 0u32;
        for (at, c) in text.char_indices() {
            if (characters as usize).is_multiple_of(STRIDE) {
                marks.push(at);
            }
            characters = characters.saturating_add(1);
            if c == '\n' {
                lines.push(characters);
            }
        }
        Self { text, lines, marks, characters }
    }

    /// Characters in front of a location.
    pub(super) fn characters(&self, location: Location) -> Option<u32> {
        let line = usize::try_from(location.line).ok()?.checked_sub(1)?;
        let column = u32::try_from(location.column).ok()?.checked_sub(1)?;
        self.lines.get(line)?.checked_add(column)
    }

    /// Bytes in front of a location.
    pub(super) fn bytes(&self, location: Location) -> Option<usize> {
        let characters = self.characters(location)? as usize;
        let Some(&mark) = self.marks.get(characters / STRIDE) else { return Some(self.text.len()) };
        let rest = self.text.get(mark..)?;
        Some(mark + rest.char_indices().nth(characters % STRIDE).map_or(rest.len(), |(at, _)| at))
    }

    /// The text from one location to another.
    pub(super) fn slice(&self, from: Location, to: Option<Location>) -> &'a str {
        let start = self.bytes(from).unwrap_or(self.text.len());
        let end = to.and_then(|to| self.bytes(to)).unwrap_or(self.text.len());
        self.text.get(start..end).unwrap_or_default()
    }

    /// How many characters there are.
    pub(super) fn length(&self) -> u32 {
        self.characters
    }

    /// All tokens but blanks and comments.
    pub(super) fn tokenize(&self) -> Result<Vec<TokenWithSpan>, SqlError> {
        if amount::exceeds(self.text, MAX_TOKENS) {
            let message = format!("query text has more than {MAX_TOKENS} words, numbers and signs");
            return Err(SqlError::new(sqlstate::PROGRAM_LIMIT_EXCEEDED, message)
                .with_hint("Send it in several queries, or use COPY for many rows."));
        }
        let dialect = PostgreSqlDialect {};
        let tokens = Tokenizer::new(&dialect, self.text).tokenize_with_location().map_err(|error| {
            let rest: String = self.slice(error.location, None).chars().take(40).collect();
            let message = if error.message.contains("string literal") {
                format!("unterminated quoted string at or near \"{rest}\"")
            } else {
                format!("syntax error at or near \"{rest}\"")
            };
            SqlError::syntax(message).at(self.characters(error.location).map(|c| c + 1))
        })?;
        let mut tokens = tokens;
        tokens.retain(|t| !matches!(t.token, Token::Whitespace(_) | Token::EOF));
        Ok(tokens)
    }
}
