//! A statement's tokens, and the positions they have in the text.

use sqlparser::dialect::PostgreSqlDialect;
use sqlparser::parser::{Parser, ParserError};
use sqlparser::tokenizer::{Location, Token, TokenWithSpan};

use super::Name;
use super::source::Source;
use crate::error::SqlError;
use crate::nesting::{self, MAX_RECURSION};

/// Reads one statement's tokens.
#[derive(Debug)]
pub(super) struct Tokens<'a> {
    pub(super) source: &'a Source<'a>,
    tokens: &'a [TokenWithSpan],
    at: usize,
    /// Where the statement ends
    end: Option<Location>,
}

impl<'a> Tokens<'a> {
    pub(super) fn new(source: &'a Source<'a>, tokens: &'a [TokenWithSpan], end: Option<Location>) -> Self {
        Self { source, tokens, at: 0, end }
    }

    pub(super) fn peek(&self) -> Option<&'a Token> {
        self.tokens.get(self.at).map(|t| &t.token)
    }

    pub(super) fn next(&mut self) -> Option<&'a Token> {
        let token = self.peek();
        self.at += usize::from(token.is_some());
        token
    }

    pub(super) fn is_end(&self) -> bool {
        self.at >= self.tokens.len()
    }

    pub(super) fn back_to_start(&mut self) {
        self.at = 0;
    }

    /// The text from the next token to the statement's end.
    pub(super) fn rest(&self) -> &'a str {
        match self.tokens.get(self.at) {
            Some(token) => self.source.slice(token.span.start, self.end).trim_ascii_end(),
            None => "",
        }
    }

    /// The syntax error at the next token.
    pub(super) fn error(&self) -> SqlError {
        self.error_at(self.at)
    }

    fn error_at(&self, index: usize) -> SqlError {
        let Some(token) = self.tokens.get(index) else {
            return SqlError::syntax("syntax error at end of input").at(self.end_position());
        };
        let next = self.tokens.get(index + 1).map(|t| t.span.start).or(self.end);
        let shown = self.source.slice(token.span.start, next).trim_ascii_end();
        // Quoted and long tokens are shown whole by PostgreSQL too, but a bounded message does.
        let shown: String = shown.split(['\n', '\r']).next().unwrap_or_default().chars().take(80).collect();
        let shown =
            shown.split(" --").next().unwrap_or_default().split("/*").next().unwrap_or_default().trim_end();
        let position = self.source.characters(token.span.start).map(|c| c + 1);
        SqlError::syntax(format!("syntax error at or near \"{shown}\"")).at(position)
    }

    fn end_position(&self) -> Option<u32> {
        let end = self.end.and_then(|end| self.source.characters(end));
        Some(end.unwrap_or_else(|| self.source.length()) + 1)
    }

    /// Whether the word `offset` tokens ahead is this one (lower case), without quotes.
    pub(super) fn is_word_at(&self, offset: usize, word: &str) -> bool {
        matches!(self.tokens.get(self.at + offset).map(|t| &t.token),
            Some(Token::Word(w)) if w.quote_style.is_none() && w.value.eq_ignore_ascii_case(word))
    }

    pub(super) fn is_word(&self, word: &str) -> bool {
        self.is_word_at(0, word)
    }

    pub(super) fn eat_word(&mut self, word: &str) -> bool {
        let found = self.is_word(word);
        self.at += usize::from(found);
        found
    }

    /// Eats all of these words or none.
    pub(super) fn eat_words(&mut self, words: &[&str]) -> bool {
        let found = words.iter().enumerate().all(|(i, word)| self.is_word_at(i, word));
        self.at += if found { words.len() } else { 0 };
        found
    }

    pub(super) fn expect_word(&mut self, word: &str) -> Result<(), SqlError> {
        if self.eat_word(word) { Ok(()) } else { Err(self.error()) }
    }

    pub(super) fn eat(&mut self, token: &Token) -> bool {
        let found = self.peek() == Some(token);
        self.at += usize::from(found);
        found
    }

    pub(super) fn expect(&mut self, token: &Token) -> Result<(), SqlError> {
        if self.eat(token) { Ok(()) } else { Err(self.error()) }
    }

    pub(super) fn expect_end(&self) -> Result<(), SqlError> {
        if self.is_end() { Ok(()) } else { Err(self.error()) }
    }

    /// A name: folded unless it is quoted.
    pub(super) fn identifier(&mut self) -> Result<String, SqlError> {
        match self.peek() {
            Some(Token::Word(word)) => {
                let name = fold(&word.value, word.quote_style.is_some());
                self.at += 1;
                Ok(name)
            }
            _ => Err(self.error()),
        }
    }

    pub(super) fn name(&mut self) -> Result<Name, SqlError> {
        let first = self.identifier()?;
        if self.eat(&Token::Period) {
            return Ok(Name { schema: Some(first), name: self.identifier()? });
        }
        Ok(Name { schema: None, name: first })
    }

    pub(super) fn names(&mut self) -> Result<Vec<Name>, SqlError> {
        let mut names = Vec::new();
        loop {
            let _ = self.eat_word("only");
            names.push(self.name()?);
            let _ = self.eat(&Token::Mul);
            if !self.eat(&Token::Comma) {
                return Ok(names);
            }
        }
    }

    /// `(a, b, c)`
    pub(super) fn column_list(&mut self) -> Result<Vec<String>, SqlError> {
        self.expect(&Token::LParen)?;
        let mut columns = vec![self.identifier()?];
        while self.eat(&Token::Comma) {
            columns.push(self.identifier()?);
        }
        self.expect(&Token::RParen)?;
        Ok(columns)
    }

    /// A string, with whatever quotes.
    pub(super) fn string(&mut self) -> Result<String, SqlError> {
        match self.peek() {
            Some(
                Token::SingleQuotedString(text)
                | Token::EscapedStringLiteral(text)
                | Token::UnicodeStringLiteral(text),
            ) => {
                self.at += 1;
                Ok(text.clone())
            }
            Some(Token::DollarQuotedString(text)) => {
                self.at += 1;
                Ok(text.value.clone())
            }
            _ => Err(self.error()),
        }
    }

    /// Moves behind the parenthesis that closes the one at hand and gives the tokens between.
    pub(super) fn parenthesized(&mut self) -> Result<Tokens<'a>, SqlError> {
        self.expect(&Token::LParen)?;
        let start = self.at;
        let mut depth = 1;
        while let Some(token) = self.next() {
            match token {
                Token::LParen => depth += 1,
                Token::RParen => depth -= 1,
                _ => {}
            }
            if depth == 0 {
                let end = self.tokens.get(self.at - 1).map(|t| t.span.start);
                return Ok(Self::new(self.source, &self.tokens[start..self.at - 1], end));
            }
        }
        Err(self.error())
    }

    /// Gives the tokens from the next one to the end to the SQL parser.
    pub(super) fn parse_sql<T>(
        &mut self,
        read: impl Fn(&mut Parser<'_>) -> Result<T, ParserError>,
    ) -> Result<T, SqlError> {
        let rest = self.tokens.get(self.at..).unwrap_or_default();
        nesting::check(rest)?;
        let read_all = |limit| {
            let dialect = PostgreSqlDialect {};
            let mut parser =
                Parser::new(&dialect).with_recursion_limit(limit).with_tokens_with_locations(rest.to_vec());
            let value = read(&mut parser).map_err(|error| self.explain(&error))?;
            let next = parser.peek_token();
            if next.token != Token::EOF {
                return Err(self.error_at(self.index_of(next.span.start)));
            }
            Ok(value)
        };
        let value = read_all(MAX_RECURSION);
        if let Err(error) = &value
            && rest.len() > MAX_RECURSION
            // The parser may try another reading when it reaches its limit, and report what is wrong with that. An error
            // that moves with the limit is no error of the statement.
            && read_all(MAX_RECURSION / 2).err().as_ref() != Some(error)
        {
            return Err(nesting::too_deep());
        }
        self.at = self.tokens.len();
        value
    }

    fn index_of(&self, location: Location) -> usize {
        self.tokens.iter().position(|t| t.span.start == location).unwrap_or(self.tokens.len())
    }

    /// The error that PostgreSQL would report where the SQL parser gave up.
    fn explain(&self, error: &ParserError) -> SqlError {
        let message = match error {
            ParserError::RecursionLimitExceeded => {
                return nesting::too_deep();
            }
            ParserError::TokenizerError(message) | ParserError::ParserError(message) => message,
        };
        match location_in(message) {
            Some(location) => self.error_at(self.index_of(location)),
            None if message.contains("found: EOF") => self.error_at(self.tokens.len()),
            None => SqlError::syntax(format!("syntax error: {message}")),
        }
    }
}

/// Reads ` at Line: 1, Column: 8` at the end of a message.
fn location_in(message: &str) -> Option<Location> {
    let (_, rest) = message.rsplit_once(" at Line: ")?;
    let (line, column) = rest.split_once(", Column: ")?;
    Some(Location { line: line.parse().ok()?, column: column.trim_end().parse().ok()? })
}

/// Names without quotes are lower case (ASCII), all are cut at 63 bytes.
pub(crate) fn fold(name: &str, quoted: bool) -> String {
    let name = crate::types::text::truncate_name(name);
    if quoted { name.to_owned() } else { name.to_ascii_lowercase() }
}
