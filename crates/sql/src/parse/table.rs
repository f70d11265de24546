//! DROP, TRUNCATE, ALTER TABLE, COPY: read by hand.

use sqlparser::tokenizer::Token;

use super::tokens::Tokens;
use super::{CopySource, CopyStatement, Statement};
use crate::copy::CopyOptions;
use crate::error::{SqlError, sqlstate};

/// Reads the statement if it is of this kind.
pub(super) fn parse(tokens: &mut Tokens<'_>, first: &str) -> Result<Option<Statement>, SqlError> {
    let statement = match first {
        "drop" if tokens.is_word_at(1, "table") => drop_tables(tokens)?,
        "truncate" => truncate(tokens)?,
        "alter" if tokens.is_word_at(1, "table") => alter_table(tokens)?,
        "copy" => Statement::Copy(Box::new(copy(tokens)?)),
        _ => return Ok(None),
    };
    tokens.expect_end()?;
    Ok(Some(statement))
}

fn drop_tables(tokens: &mut Tokens<'_>) -> Result<Statement, SqlError> {
    let _ = tokens.eat_words(&["drop", "table"]);
    let if_exists = tokens.eat_words(&["if", "exists"]);
    let names = tokens.names()?;
    let _ = tokens.eat_word("cascade") || tokens.eat_word("restrict");
    Ok(Statement::DropTables { if_exists, names })
}

fn truncate(tokens: &mut Tokens<'_>) -> Result<Statement, SqlError> {
    let _ = tokens.eat_word("truncate");
    let _ = tokens.eat_word("table");
    let names = tokens.names()?;
    let restart = tokens.eat_words(&["restart", "identity"]);
    let _ = restart || tokens.eat_words(&["continue", "identity"]);
    let _ = tokens.eat_word("cascade") || tokens.eat_word("restrict");
    Ok(Statement::Truncate { names, restart })
}

fn alter_table(tokens: &mut Tokens<'_>) -> Result<Statement, SqlError> {
    let _ = tokens.eat_words(&["alter", "table"]);
    let if_exists = tokens.eat_words(&["if", "exists"]);
    let _ = tokens.eat_word("only");
    let table = tokens.name()?;
    if !tokens.eat_word("add") {
        return Err(SqlError::unsupported("this form of ALTER TABLE"));
    }
    let constraint = if tokens.eat_word("constraint") { Some(tokens.identifier()?) } else { None };
    if !tokens.eat_words(&["primary", "key"]) {
        for (word, what) in [("foreign", "FOREIGN KEY"), ("unique", "UNIQUE"), ("check", "CHECK")] {
            if tokens.is_word(word) {
                return Err(SqlError::unsupported(what));
            }
        }
        return Err(SqlError::unsupported("this form of ALTER TABLE"));
    }
    let columns = tokens.column_list()?;
    if tokens.eat_word("with") {
        let _storage_parameters = tokens.parenthesized()?;
    }
    Ok(Statement::AddPrimaryKey { if_exists, table, constraint, columns })
}

fn copy(tokens: &mut Tokens<'_>) -> Result<CopyStatement, SqlError> {
    let _ = tokens.eat_word("copy");
    let source = if matches!(tokens.peek(), Some(Token::LParen)) {
        let statement = tokens.parenthesized()?.parse_sql(|parser| parser.parse_statement())?;
        CopySource::Query(Box::new(statement))
    } else {
        let name = tokens.name()?;
        let columns =
            if matches!(tokens.peek(), Some(Token::LParen)) { tokens.column_list()? } else { Vec::new() };
        CopySource::Table(name, columns)
    };
    let from = tokens.eat_word("from");
    if !from {
        tokens.expect_word("to")?;
    }
    if from && matches!(source, CopySource::Query(_)) {
        return Err(SqlError::syntax("COPY query FROM is not allowed"));
    }
    // PostgreSQL takes either word for either direction, and drivers mix them up.
    if !(tokens.eat_word("stdin") || tokens.eat_word("stdout")) {
        return Err(match tokens.peek() {
            Some(Token::SingleQuotedString(_) | Token::EscapedStringLiteral(_)) => {
                SqlError::unsupported("COPY to or from a file of the server")
                    .with_hint("Use STDIN or STDOUT, or psql's \\copy.")
            }
            _ if tokens.is_word("program") => SqlError::unsupported("COPY to or from a program"),
            _ => tokens.error(),
        });
    }
    let _ = tokens.eat_word("with");
    let mut given = Given::default();
    if matches!(tokens.peek(), Some(Token::LParen)) {
        option_list(&mut tokens.parenthesized()?, &mut given)?;
    } else {
        while !tokens.is_end() && !tokens.is_word("where") {
            legacy_option(tokens, &mut given)?;
        }
    }
    if tokens.is_word("where") {
        return Err(SqlError::unsupported("COPY FROM ... WHERE"));
    }
    Ok(CopyStatement { source, from, options: given.options(from)? })
}

#[derive(Default)]
struct Given {
    csv: bool,
    binary: bool,
    delimiter: Option<String>,
    null: Option<String>,
    header: bool,
    quote: Option<String>,
    escape: Option<String>,
    freeze: bool,
}

fn format(name: &str, given: &mut Given) -> Result<(), SqlError> {
    match name.to_ascii_lowercase().as_str() {
        "text" => (given.csv, given.binary) = (false, false),
        "csv" => (given.csv, given.binary) = (true, false),
        "binary" => (given.csv, given.binary) = (false, true),
        other => {
            let message = format!("COPY format \"{other}\" not recognized");
            return Err(SqlError::new(sqlstate::INVALID_PARAMETER_VALUE, message));
        }
    }
    Ok(())
}

fn option_list(tokens: &mut Tokens<'_>, given: &mut Given) -> Result<(), SqlError> {
    loop {
        let name = tokens.identifier()?;
        match name.as_str() {
            "format" => {
                let name = if matches!(tokens.peek(), Some(Token::Word(_))) {
                    tokens.identifier()
                } else {
                    tokens.string()
                };
                format(&name?, given)?;
            }
            "freeze" => given.freeze = flag(tokens, "freeze")?,
            "header" => given.header = flag(tokens, "header")?,
            "delimiter" => given.delimiter = Some(tokens.string()?),
            "null" => given.null = Some(tokens.string()?),
            "quote" => given.quote = Some(tokens.string()?),
            "escape" => given.escape = Some(tokens.string()?),
            "encoding" => encoding(&tokens.string()?)?,
            "force_quote" | "force_null" | "force_not_null" => {
                return Err(SqlError::unsupported(format!("COPY option {}", name.to_ascii_uppercase())));
            }
            _ => return Err(SqlError::syntax(format!("option \"{name}\" not recognized"))),
        }
        if !tokens.eat(&Token::Comma) {
            return tokens.expect_end();
        }
    }
}

fn flag(tokens: &mut Tokens<'_>, option: &str) -> Result<bool, SqlError> {
    let text = match tokens.peek() {
        None | Some(Token::Comma) => return Ok(true),
        Some(Token::Number(number, _)) => {
            let _ = tokens.next();
            number.clone()
        }
        Some(Token::Word(_)) => tokens.identifier()?,
        _ => tokens.string()?,
    };
    match text.to_ascii_lowercase().as_str() {
        "true" | "on" | "1" => Ok(true),
        "false" | "off" | "0" => Ok(false),
        "match" if option == "header" => Err(SqlError::unsupported("COPY option HEADER MATCH")),
        _ => Err(SqlError::syntax(format!("{option} requires a Boolean value"))),
    }
}

/// The options as they were before lists: `CSV HEADER DELIMITER AS ','`.
fn legacy_option(tokens: &mut Tokens<'_>, given: &mut Given) -> Result<(), SqlError> {
    let Ok(name) = tokens.identifier() else { return Err(tokens.error()) };
    let string = |tokens: &mut Tokens<'_>| {
        let _ = tokens.eat_word("as");
        tokens.string().map(Some)
    };
    match name.as_str() {
        "csv" => given.csv = true,
        "binary" => format("binary", given)?,
        "header" => given.header = true,
        "freeze" => given.freeze = true,
        "delimiter" | "delimiters" => given.delimiter = string(tokens)?,
        "null" => given.null = string(tokens)?,
        "quote" => given.quote = string(tokens)?,
        "escape" => given.escape = string(tokens)?,
        "encoding" => encoding(&tokens.string()?)?,
        "force" => return Err(SqlError::unsupported("COPY option FORCE")),
        _ => return Err(SqlError::syntax(format!("syntax error at or near \"{name}\""))),
    }
    Ok(())
}

fn encoding(name: &str) -> Result<(), SqlError> {
    if name.eq_ignore_ascii_case("utf8") || name.eq_ignore_ascii_case("utf-8") {
        Ok(())
    } else {
        Err(SqlError::unsupported(format!("encoding \"{name}\"")))
    }
}

impl Given {
    /// Checks what was given as `ProcessCopyOptions` does.
    fn options(self, from: bool) -> Result<CopyOptions, SqlError> {
        let mut options = if self.csv { CopyOptions::csv() } else { CopyOptions::default() };
        let invalid = |message: &str| SqlError::new(sqlstate::INVALID_PARAMETER_VALUE, message);
        options.binary = self.binary;
        for (given, name) in [(self.delimiter.is_some(), "DELIMITER"), (self.null.is_some(), "NULL")] {
            if self.binary && given {
                return Err(SqlError::syntax(format!("cannot specify {name} in BINARY mode")));
            }
        }
        if self.binary && self.header {
            let message = "cannot specify HEADER in BINARY mode";
            return Err(SqlError::new(sqlstate::FEATURE_NOT_SUPPORTED, message));
        }
        let single = |text: String, what: &str| match text.as_bytes() {
            [byte] if *byte < 0x80 => Ok(*byte),
            _ => Err(SqlError::new(
                sqlstate::FEATURE_NOT_SUPPORTED,
                format!("COPY {what} must be a single one-byte character"),
            )),
        };
        if let Some(delimiter) = self.delimiter {
            options.delimiter = single(delimiter, "delimiter")?;
        }
        if let Some(null) = self.null {
            options.null = null.into_bytes();
        }
        if !self.csv && (self.quote.is_some() || self.escape.is_some()) {
            let which = if self.quote.is_some() { "quote" } else { "escape" };
            return Err(SqlError::new(
                sqlstate::FEATURE_NOT_SUPPORTED,
                format!("COPY {which} available only in CSV mode"),
            ));
        }
        if let Some(quote) = self.quote {
            options.quote = single(quote, "quote")?;
        }
        options.escape = match self.escape {
            Some(escape) => single(escape, "escape")?,
            None => options.quote,
        };
        options.header = self.header;
        if matches!(options.delimiter, b'\r' | b'\n') {
            return Err(invalid("COPY delimiter cannot be newline or carriage return"));
        }
        if options.null.iter().any(|b| matches!(b, b'\r' | b'\n')) {
            return Err(invalid("COPY null representation cannot use newline or carriage return"));
        }
        if !self.csv && b"\\.abcdefghijklmnopqrstuvwxyz0123456789".contains(&options.delimiter) {
            return Err(invalid(&format!("COPY delimiter cannot be \"{}\"", char::from(options.delimiter))));
        }
        if self.csv && options.delimiter == options.quote {
            return Err(invalid("COPY delimiter and quote must be different"));
        }
        if options.null.contains(&options.delimiter) {
            return Err(invalid("COPY delimiter must not appear in the NULL specification"));
        }
        if self.csv && options.null.contains(&options.quote) {
            return Err(invalid("CSV quote character must not appear in the NULL specification"));
        }
        options.freeze = self.freeze && from;
        Ok(options)
    }
}
