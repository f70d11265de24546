//! Statements about the session, the transaction and the server: read by hand, because their syntax is PostgreSQL's own.

use sqlparser::tokenizer::Token;

use super::tokens::Tokens;
use super::{IsolationLevel, Statement, TransactionModes, Utility};
use crate::error::SqlError;

/// Reads the statement if it is of this kind.
pub(super) fn parse(tokens: &mut Tokens<'_>) -> Result<Option<Statement>, SqlError> {
    let utility = match first_word(tokens).as_str() {
        "" if tokens.is_end() => Utility::Empty,
        "begin" => {
            let _ = tokens.next();
            skip_work(tokens);
            Utility::Begin(modes(tokens)?, false)
        }
        "start" => {
            let _ = tokens.next();
            tokens.expect_word("transaction")?;
            Utility::Begin(modes(tokens)?, true)
        }
        "commit" | "end" => {
            let _ = tokens.next();
            refuse_prepared(tokens)?;
            Utility::Commit { chain: chain(tokens)? }
        }
        "rollback" | "abort" => rollback(tokens)?,
        "savepoint" => {
            let _ = tokens.next();
            Utility::Savepoint(tokens.identifier()?)
        }
        "release" => {
            let _ = tokens.next();
            let _ = tokens.eat_word("savepoint");
            Utility::Release(tokens.identifier()?)
        }
        "set" => set(tokens)?,
        "show" => {
            let _ = tokens.next();
            Utility::Show(setting_name(tokens)?)
        }
        "reset" => {
            let _ = tokens.next();
            Utility::Reset(setting_name(tokens)?)
        }
        "discard" => discard(tokens)?,
        "checkpoint" => {
            let _ = tokens.next();
            Utility::Checkpoint
        }
        "prepare" => prepare(tokens)?,
        "execute" => execute(tokens)?,
        "deallocate" => {
            let _ = tokens.next();
            let _ = tokens.eat_word("prepare");
            if tokens.eat_word("all") {
                Utility::Deallocate(None)
            } else {
                Utility::Deallocate(Some(tokens.identifier()?))
            }
        }
        "vacuum" | "analyze" | "analyse" => return maintain(tokens).map(Some),
        "unlisten" => {
            let _ = tokens.next();
            if !tokens.eat(&Token::Mul) {
                tokens.identifier()?;
            }
            Utility::NoEffect("UNLISTEN")
        }
        "close" if tokens.is_word_at(1, "all") => {
            let _ = tokens.eat_words(&["close", "all"]);
            Utility::NoEffect("CLOSE CURSOR ALL")
        }
        _ => return Ok(None),
    };
    tokens.expect_end()?;
    Ok(Some(Statement::Utility(utility)))
}

/// The first word in lower case.
pub(super) fn first_word(tokens: &Tokens<'_>) -> String {
    match tokens.peek() {
        Some(Token::Word(word)) if word.quote_style.is_none() => word.value.to_ascii_lowercase(),
        _ => String::new(),
    }
}

fn skip_work(tokens: &mut Tokens<'_>) {
    let _ = tokens.eat_word("work") || tokens.eat_word("transaction");
}

fn refuse_prepared(tokens: &Tokens<'_>) -> Result<(), SqlError> {
    if tokens.is_word("prepared") { Err(SqlError::unsupported("two-phase commit")) } else { Ok(()) }
}

fn chain(tokens: &mut Tokens<'_>) -> Result<bool, SqlError> {
    skip_work(tokens);
    if !tokens.eat_word("and") {
        return Ok(false);
    }
    let no = tokens.eat_word("no");
    tokens.expect_word("chain")?;
    Ok(!no)
}

fn rollback(tokens: &mut Tokens<'_>) -> Result<Utility, SqlError> {
    let _ = tokens.next();
    refuse_prepared(tokens)?;
    skip_work(tokens);
    if tokens.eat_word("to") {
        let _ = tokens.eat_word("savepoint");
        return Ok(Utility::RollbackTo(tokens.identifier()?));
    }
    Ok(Utility::Rollback { chain: chain(tokens)? })
}

fn modes(tokens: &mut Tokens<'_>) -> Result<TransactionModes, SqlError> {
    let mut modes = TransactionModes::default();
    while !tokens.is_end() {
        if tokens.eat_words(&["isolation", "level"]) {
            modes.isolation = Some(isolation(tokens)?);
        } else if tokens.eat_words(&["read", "only"]) {
            modes.read_only = Some(true);
        } else if tokens.eat_words(&["read", "write"]) {
            modes.read_only = Some(false);
        } else if tokens.eat_word("deferrable") {
            modes.deferrable = Some(true);
        } else if tokens.eat_words(&["not", "deferrable"]) {
            modes.deferrable = Some(false);
        } else {
            return Err(tokens.error());
        }
        if tokens.eat(&Token::Comma) && tokens.is_end() {
            return Err(tokens.error());
        }
    }
    Ok(modes)
}

fn isolation(tokens: &mut Tokens<'_>) -> Result<IsolationLevel, SqlError> {
    if tokens.eat_words(&["read", "committed"]) || tokens.eat_words(&["read", "uncommitted"]) {
        Ok(IsolationLevel::ReadCommitted)
    } else if tokens.eat_words(&["repeatable", "read"]) {
        Ok(IsolationLevel::RepeatableRead)
    } else if tokens.eat_word("serializable") {
        Ok(IsolationLevel::Serializable)
    } else {
        Err(tokens.error())
    }
}

fn set(tokens: &mut Tokens<'_>) -> Result<Utility, SqlError> {
    let _ = tokens.next();
    if tokens.eat_words(&["session", "characteristics", "as", "transaction"]) {
        return Ok(Utility::SetCharacteristics(modes(tokens)?));
    }
    if tokens.eat_word("transaction") {
        if tokens.is_word("snapshot") {
            return Err(SqlError::unsupported("SET TRANSACTION SNAPSHOT"));
        }
        return Ok(Utility::SetTransaction(modes(tokens)?));
    }
    let local = tokens.eat_word("local");
    if !local && tokens.is_word("session") && !tokens.is_word_at(1, "authorization") {
        let _ = tokens.next();
    }
    let name = if tokens.eat_words(&["time", "zone"]) {
        let value = if tokens.eat_word("local") { None } else { set_value(tokens)? };
        return Ok(Utility::Set { name: "timezone".to_owned(), value, local });
    } else if tokens.eat_words(&["session", "authorization"]) {
        "session_authorization".to_owned()
    } else if tokens.eat_word("role") {
        "role".to_owned()
    } else if tokens.eat_word("names") {
        "client_encoding".to_owned()
    } else {
        let name = setting_name(tokens)?;
        if !tokens.eat(&Token::Eq) {
            tokens.expect_word("to")?;
        }
        name
    };
    Ok(Utility::Set { name, value: set_value(tokens)?, local })
}

fn set_value(tokens: &mut Tokens<'_>) -> Result<Option<String>, SqlError> {
    if tokens.eat_word("default") {
        return Ok(None);
    }
    let mut values = vec![set_item(tokens)?];
    while tokens.eat(&Token::Comma) {
        values.push(set_item(tokens)?);
    }
    Ok(Some(values.join(", ")))
}

fn set_item(tokens: &mut Tokens<'_>) -> Result<String, SqlError> {
    let sign = if tokens.eat(&Token::Minus) {
        "-"
    } else {
        let _ = tokens.eat(&Token::Plus);
        ""
    };
    match tokens.peek() {
        Some(Token::Number(number, _)) => {
            let _ = tokens.next();
            Ok(format!("{sign}{number}"))
        }
        _ if !sign.is_empty() => Err(tokens.error()),
        Some(Token::Word(_)) => tokens.identifier(),
        _ => tokens.string(),
    }
}

fn setting_name(tokens: &mut Tokens<'_>) -> Result<String, SqlError> {
    for (words, name) in [
        (&["time", "zone"][..], "timezone"),
        (&["transaction", "isolation", "level"], "transaction_isolation"),
        (&["session", "authorization"], "session_authorization"),
    ] {
        if tokens.eat_words(words) {
            return Ok(name.to_owned());
        }
    }
    let mut name = tokens.identifier()?;
    while tokens.eat(&Token::Period) {
        name.push('.');
        name.push_str(&tokens.identifier()?);
    }
    Ok(name.to_ascii_lowercase())
}

fn discard(tokens: &mut Tokens<'_>) -> Result<Utility, SqlError> {
    let _ = tokens.next();
    let what = first_word(tokens);
    if !matches!(what.as_str(), "all" | "plans" | "temp" | "temporary" | "sequences") {
        return Err(tokens.error());
    }
    let _ = tokens.next();
    Ok(Utility::Discard(what))
}

fn prepare(tokens: &mut Tokens<'_>) -> Result<Utility, SqlError> {
    let _ = tokens.next();
    if tokens.is_word("transaction") {
        return Err(SqlError::unsupported("two-phase commit"));
    }
    let name = tokens.identifier()?;
    let mut types = Vec::new();
    if matches!(tokens.peek(), Some(Token::LParen)) {
        types = split_list(&mut tokens.parenthesized()?);
    }
    tokens.expect_word("as")?;
    let text = tokens.rest().to_owned();
    if text.is_empty() {
        return Err(tokens.error());
    }
    while tokens.next().is_some() {}
    Ok(Utility::Prepare(name, types, text))
}

fn execute(tokens: &mut Tokens<'_>) -> Result<Utility, SqlError> {
    let _ = tokens.next();
    let name = tokens.identifier()?;
    let mut args = Vec::new();
    if matches!(tokens.peek(), Some(Token::LParen)) {
        args = split_list(&mut tokens.parenthesized()?);
    }
    Ok(Utility::Execute(name, args))
}

/// The texts between the commas.
fn split_list(tokens: &mut Tokens<'_>) -> Vec<String> {
    let mut parts = Vec::new();
    let mut depth = 0;
    let mut rest = tokens.rest();
    while let Some(token) = tokens.next() {
        match token {
            Token::LParen => depth += 1,
            Token::RParen => depth -= 1,
            Token::Comma if depth == 0 => {
                let after = tokens.rest();
                let part = rest[..rest.len() - after.len()].trim_ascii_end();
                parts.push(part.strip_suffix(',').unwrap_or(part).trim_ascii_end().to_owned());
                rest = after;
            }
            _ => {}
        }
    }
    if !rest.is_empty() {
        parts.push(rest.to_owned());
    }
    parts
}

/// VACUUM and ANALYZE have nothing to do here: names are kept so that the planner refuses tables that do not exist.
fn maintain(tokens: &mut Tokens<'_>) -> Result<Statement, SqlError> {
    let tag = if tokens.is_word("vacuum") { "VACUUM" } else { "ANALYZE" };
    let _ = tokens.next();
    if matches!(tokens.peek(), Some(Token::LParen)) {
        let _options = tokens.parenthesized()?;
    }
    while ["full", "freeze", "verbose", "analyze", "analyse"].iter().any(|word| tokens.eat_word(word)) {}
    let mut names = Vec::new();
    while !tokens.is_end() {
        names.push(tokens.name()?);
        if matches!(tokens.peek(), Some(Token::LParen)) {
            let _columns = tokens.column_list()?;
        }
        if !tokens.eat(&Token::Comma) {
            tokens.expect_end()?;
        } else if tokens.is_end() {
            return Err(tokens.error());
        }
    }
    Ok(Statement::Maintain { tag, names })
}
