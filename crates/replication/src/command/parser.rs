//! Recursive descent over the tokens of one command, rule by rule as in `repl_gram.y`.

use wal::{Lsn, TimelineId};

use super::lexer::{Keyword, Lexer, Token};
use super::{CommandError, OptionValue, ReplicationCommand, ReplicationOption, SlotKind};
use crate::error::SqlState;

/// Parses one command. A semicolon may follow it.
///
/// # Errors
/// With the text and SQLSTATE of PostgreSQL: 42601 for a malformed command, and 0A000 for anything that does not
/// begin with a command's keyword, which PostgreSQL takes to be SQL and refuses on a physical connection.
pub fn parse(text: &str) -> Result<ReplicationCommand, CommandError> {
    let mut lexer = Lexer::new(text);
    let keyword = match lexer.next()? {
        Some(Token::Keyword(keyword)) if keyword.begins_a_command() => keyword,
        _ => return Err(sql_is_not_supported()),
    };
    let mut parser = Parser { lexer, ahead: None };
    let command = parser.command(keyword)?;
    parser.accept_symbol(';')?;
    match parser.next()? {
        None => Ok(command),
        Some(_) => Err(syntax_error()),
    }
}

fn sql_is_not_supported() -> CommandError {
    CommandError {
        code: SqlState::FEATURE_NOT_SUPPORTED,
        message: "cannot execute SQL commands in WAL sender for physical replication".to_owned(),
    }
}

fn syntax_error() -> CommandError {
    CommandError::syntax("syntax error")
}

/// The tokens, one of them looked at ahead.
struct Parser<'a> {
    lexer: Lexer<'a>,
    ahead: Option<Token>,
}

impl Parser<'_> {
    fn command(&mut self, keyword: Keyword) -> Result<ReplicationCommand, CommandError> {
        Ok(match keyword {
            Keyword::IdentifySystem => ReplicationCommand::IdentifySystem,
            Keyword::UploadManifest => ReplicationCommand::UploadManifest,
            Keyword::Show => ReplicationCommand::Show(self.variable_name()?),
            Keyword::TimelineHistory => ReplicationCommand::TimelineHistory(self.timeline()?),
            Keyword::ReadReplicationSlot => ReplicationCommand::ReadReplicationSlot(self.identifier()?),
            Keyword::DropReplicationSlot => ReplicationCommand::DropReplicationSlot {
                name: self.identifier()?,
                wait: self.accept(Keyword::Wait)?,
            },
            Keyword::AlterReplicationSlot => {
                let name = self.identifier()?;
                let options = self.options_in_parentheses()?.ok_or_else(syntax_error)?;
                ReplicationCommand::AlterReplicationSlot { name, options }
            }
            Keyword::BaseBackup => {
                ReplicationCommand::BaseBackup { options: self.options_in_parentheses()?.unwrap_or_default() }
            }
            Keyword::CreateReplicationSlot => self.create_slot()?,
            Keyword::StartReplication => self.start_replication()?,
            _ => return Err(syntax_error()),
        })
    }

    fn create_slot(&mut self) -> Result<ReplicationCommand, CommandError> {
        let name = self.identifier()?;
        let temporary = self.accept(Keyword::Temporary)?;
        let kind = match self.next()? {
            Some(Token::Keyword(Keyword::Physical)) => SlotKind::Physical,
            Some(Token::Keyword(Keyword::Logical)) => SlotKind::Logical(self.identifier()?),
            _ => return Err(syntax_error()),
        };
        let options = match self.options_in_parentheses()? {
            Some(options) => options,
            None => self.create_slot_keywords()?,
        };
        Ok(ReplicationCommand::CreateReplicationSlot { name, temporary, kind, options })
    }

    /// The options as they were written before PostgreSQL 15.
    fn create_slot_keywords(&mut self) -> Result<Vec<ReplicationOption>, CommandError> {
        let mut options = Vec::new();
        loop {
            options.push(match self.peek()? {
                Some(Token::Keyword(Keyword::ExportSnapshot)) => {
                    ReplicationOption::text("snapshot", "export")
                }
                Some(Token::Keyword(Keyword::NoexportSnapshot)) => {
                    ReplicationOption::text("snapshot", "nothing")
                }
                Some(Token::Keyword(Keyword::UseSnapshot)) => ReplicationOption::text("snapshot", "use"),
                Some(Token::Keyword(Keyword::ReserveWal)) => ReplicationOption::flag("reserve_wal"),
                Some(Token::Keyword(Keyword::TwoPhase)) => ReplicationOption::flag("two_phase"),
                _ => return Ok(options),
            });
            self.next()?;
        }
    }

    fn start_replication(&mut self) -> Result<ReplicationCommand, CommandError> {
        let slot = if self.accept(Keyword::Slot)? { Some(self.identifier()?) } else { None };
        if let (Some(slot), true) = (&slot, self.accept_if(slot.is_some(), Keyword::Logical)?) {
            let (slot, start) = (slot.clone(), self.position()?);
            return Ok(ReplicationCommand::StartLogical { slot, start, options: self.plugin_options()? });
        }
        self.accept(Keyword::Physical)?;
        let start = self.position()?;
        let timeline = if self.accept(Keyword::Timeline)? { Some(self.timeline()?) } else { None };
        Ok(ReplicationCommand::StartPhysical { slot, start, timeline })
    }

    fn plugin_options(&mut self) -> Result<Vec<(String, Option<String>)>, CommandError> {
        if !self.accept_symbol('(')? {
            return Ok(Vec::new());
        }
        let mut options = Vec::new();
        loop {
            let name = self.identifier()?;
            let value = match self.peek()? {
                Some(Token::Text(text)) => {
                    let text = text.clone();
                    self.next()?;
                    Some(text)
                }
                _ => None,
            };
            options.push((name, value));
            if self.list_ends()? {
                return Ok(options);
            }
        }
    }

    /// `None` if there is no opening parenthesis. An empty list is a syntax error, as in PostgreSQL.
    fn options_in_parentheses(&mut self) -> Result<Option<Vec<ReplicationOption>>, CommandError> {
        if !self.accept_symbol('(')? {
            return Ok(None);
        }
        let mut options = Vec::new();
        loop {
            options.push(self.option()?);
            if self.list_ends()? {
                return Ok(Some(options));
            }
        }
    }

    fn option(&mut self) -> Result<ReplicationOption, CommandError> {
        let name = match self.next()? {
            Some(Token::Identifier(name)) => name,
            Some(Token::Keyword(keyword)) => keyword.as_str().to_ascii_lowercase(),
            _ => return Err(syntax_error()),
        };
        let value = match self.peek()? {
            Some(Token::Identifier(text) | Token::Text(text)) => Some(OptionValue::Text(text.clone())),
            Some(Token::Integer(number)) => Some(OptionValue::Integer(*number)),
            _ => None,
        };
        if value.is_some() {
            self.next()?;
        }
        Ok(ReplicationOption { name, value })
    }

    /// After an item of a list: whether a closing parenthesis follows, not a comma.
    fn list_ends(&mut self) -> Result<bool, CommandError> {
        match self.next()? {
            Some(Token::Symbol(')')) => Ok(true),
            Some(Token::Symbol(',')) => Ok(false),
            _ => Err(syntax_error()),
        }
    }

    fn variable_name(&mut self) -> Result<String, CommandError> {
        let mut name = self.identifier()?;
        while self.accept_symbol('.')? {
            name.push('.');
            name.push_str(&self.identifier()?);
        }
        Ok(name)
    }

    fn identifier(&mut self) -> Result<String, CommandError> {
        match self.next()? {
            Some(Token::Identifier(name)) => Ok(name),
            _ => Err(syntax_error()),
        }
    }

    fn position(&mut self) -> Result<Lsn, CommandError> {
        match self.next()? {
            Some(Token::Lsn(lsn)) => Ok(lsn),
            _ => Err(syntax_error()),
        }
    }

    fn timeline(&mut self) -> Result<TimelineId, CommandError> {
        match self.next()? {
            Some(Token::Integer(0)) => Err(CommandError::syntax("invalid timeline 0")),
            Some(Token::Integer(number)) => Ok(TimelineId::new(number)),
            _ => Err(syntax_error()),
        }
    }

    fn accept(&mut self, keyword: Keyword) -> Result<bool, CommandError> {
        self.accept_token(&Token::Keyword(keyword))
    }

    fn accept_if(&mut self, allowed: bool, keyword: Keyword) -> Result<bool, CommandError> {
        Ok(allowed && self.accept(keyword)?)
    }

    fn accept_symbol(&mut self, symbol: char) -> Result<bool, CommandError> {
        self.accept_token(&Token::Symbol(symbol))
    }

    fn accept_token(&mut self, wanted: &Token) -> Result<bool, CommandError> {
        let matches = self.peek()? == Some(wanted);
        if matches {
            self.ahead = None;
        }
        Ok(matches)
    }

    fn next(&mut self) -> Result<Option<Token>, CommandError> {
        match self.ahead.take() {
            Some(token) => Ok(Some(token)),
            None => self.lexer.next(),
        }
    }

    fn peek(&mut self) -> Result<Option<&Token>, CommandError> {
        if self.ahead.is_none() {
            self.ahead = self.lexer.next()?;
        }
        Ok(self.ahead.as_ref())
    }
}
