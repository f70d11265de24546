//! From text to statements.
//!
//! Queries and CREATE TABLE go through `sqlparser`; what concerns sessions, transactions and whole tables is read here. A
//! text cannot make the reader fail otherwise than with an error: nesting, chains of operators and the number of tokens
//! are bounded before the parser sees them.

mod amount;
mod normalize;
mod source;
mod statement;
mod table;
#[cfg(test)]
mod tests;
mod tokens;
mod utility;

use sqlparser::tokenizer::Token;

pub use normalize::{Normalized, normalize};
pub use statement::{
    CopySource, CopyStatement, IsolationLevel, Name, ParsedStatement, Statement, TransactionModes, Utility,
};
pub(crate) use tokens::fold;

use crate::error::SqlError;
use source::Source;
use tokens::Tokens;

/// Splits a query text into its statements and reads each. A text of blanks and comments alone is one
/// [`Utility::Empty`].
///
/// # Errors
/// 42601 with the position for what is no SQL, 0A000 for SQL that is not understood here, 54001 for too deep nesting,
/// 54000 for more tokens than memory is given to.
pub fn parse(text: &str) -> Result<Vec<ParsedStatement>, SqlError> {
    let mut statements = Vec::new();
    parse_each(text, |statement| statements.push(statement))?;
    Ok(statements)
}

/// [`parse`], for whoever does not keep all statements as they are read: one takes some ten kilobytes.
///
/// # Errors
/// As [`parse`]; statements that were read before are no good then.
pub fn parse_each(text: &str, mut each: impl FnMut(ParsedStatement)) -> Result<(), SqlError> {
    let source = Source::new(text);
    let tokens = source.tokenize()?;
    let mut is_empty = true;
    for part in tokens.split_inclusive(|t| t.token == Token::SemiColon) {
        let (part, end) = match part.split_last() {
            Some((last, before)) if last.token == Token::SemiColon => (before, Some(last.span.start)),
            _ => (part, None),
        };
        let Some(first) = part.first() else { continue };
        let mut tokens = Tokens::new(&source, part, end);
        is_empty = false;
        each(ParsedStatement {
            text: tokens.rest().to_owned(),
            offset: source.characters(first.span.start).unwrap_or(0),
            kind: statement(&mut tokens)?,
            start: (first.span.start.line, first.span.start.column),
        });
    }
    if is_empty {
        let kind = Statement::Utility(Utility::Empty);
        each(ParsedStatement { text: String::new(), offset: 0, kind, start: (1, 1) });
    }
    Ok(())
}

fn statement(tokens: &mut Tokens<'_>) -> Result<Statement, SqlError> {
    if let Some(utility) = utility::parse(tokens)? {
        return Ok(utility);
    }
    let first = utility::first_word(tokens);
    tokens.back_to_start();
    if let Some(statement) = table::parse(tokens, &first)? {
        return Ok(statement);
    }
    match first.as_str() {
        "select" | "insert" | "update" | "delete" | "values" | "with" | "table" => {}
        "create" if is_create_table(tokens) => {}
        "" if matches!(tokens.peek(), Some(Token::LParen)) => {}
        known if is_known(known) => {
            return Err(SqlError::unsupported(known.to_ascii_uppercase()));
        }
        _ => return Err(tokens.error()),
    }
    tokens.parse_sql(|parser| parser.parse_statement()).map(|ast| Statement::Sql(Box::new(ast)))
}

fn is_create_table(tokens: &Tokens<'_>) -> bool {
    (1..4).any(|at| tokens.is_word_at(at, "table"))
}

/// The first words of PostgreSQL's statements that are not understood here.
fn is_known(word: &str) -> bool {
    matches!(
        word,
        "alter"
            | "call"
            | "close"
            | "cluster"
            | "comment"
            | "create"
            | "declare"
            | "do"
            | "drop"
            | "explain"
            | "fetch"
            | "grant"
            | "import"
            | "listen"
            | "load"
            | "lock"
            | "merge"
            | "move"
            | "notify"
            | "reassign"
            | "refresh"
            | "reindex"
            | "revoke"
            | "security"
    )
}

impl ParsedStatement {
    /// The position of a place in the statement, in characters of the query text from 1.
    pub(crate) fn position(&self, place: sqlparser::tokenizer::Span) -> Option<u32> {
        let (line, column) = self.start;
        let mut at = place.start;
        if at.line < line || at.column == 0 {
            return None;
        }
        if at.line == line {
            at.column = at.column.checked_sub(column)? + 1;
        }
        at.line -= line - 1;
        Some(self.offset + Source::new(&self.text).characters(at)? + 1)
    }
}

/// Reads an expression alone, as column defaults are stored.
///
/// # Errors
/// As [`parse`].
pub(crate) fn parse_expression(text: &str) -> Result<sqlparser::ast::Expr, SqlError> {
    let source = Source::new(text);
    let tokens = source.tokenize()?;
    Tokens::new(&source, &tokens, None).parse_sql(|parser| parser.parse_expr())
}
