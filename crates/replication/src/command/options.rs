//! Options in parentheses, `(LABEL 'x', PROGRESS, WAIT 0)`, and what those of slots mean.

use super::CommandError;
use crate::error::{ServerError, SqlState};

/// One option of a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReplicationOption {
    /// The name, in lower case unless it was quoted.
    pub name: String,
    /// The value; none means "true" for a boolean.
    pub value: Option<OptionValue>,
}

/// The value of an option.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OptionValue {
    /// An identifier or a quoted string; PostgreSQL does not tell one from the other afterwards.
    Text(String),
    /// A number without sign.
    Integer(u32),
}

impl ReplicationOption {
    /// An option without a value.
    pub fn flag(name: impl Into<String>) -> Self {
        Self { name: name.into(), value: None }
    }

    /// An option with a text.
    pub fn text(name: impl Into<String>, value: impl Into<String>) -> Self {
        Self { name: name.into(), value: Some(OptionValue::Text(value.into())) }
    }

    /// An option with a number.
    pub fn integer(name: impl Into<String>, value: u32) -> Self {
        Self { name: name.into(), value: Some(OptionValue::Integer(value)) }
    }

    /// The value as a boolean (`defGetBoolean`).
    pub fn boolean(&self) -> Result<bool, CommandError> {
        match &self.value {
            None | Some(OptionValue::Integer(1)) => Ok(true),
            Some(OptionValue::Integer(0)) => Ok(false),
            Some(OptionValue::Text(text))
                if ["true", "on"].iter().any(|yes| text.eq_ignore_ascii_case(yes)) =>
            {
                Ok(true)
            }
            Some(OptionValue::Text(text))
                if ["false", "off"].iter().any(|no| text.eq_ignore_ascii_case(no)) =>
            {
                Ok(false)
            }
            Some(_) => Err(CommandError::syntax(format!("{} requires a Boolean value", self.name))),
        }
    }

    /// The value as a text (`defGetString`).
    pub fn string(&self) -> Result<String, CommandError> {
        match &self.value {
            None => Err(CommandError::syntax(format!("{} requires a parameter", self.name))),
            Some(OptionValue::Text(text)) => Ok(text.clone()),
            Some(OptionValue::Integer(number)) => Ok(number.to_string()),
        }
    }
}

/// What `CREATE_REPLICATION_SLOT` does with the snapshot of a logical slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SnapshotAction {
    /// Export it for other sessions.
    Export,
    /// Keep it to itself.
    Nothing,
    /// Use it in the current transaction.
    Use,
}

/// The options of `CREATE_REPLICATION_SLOT`, checked (`parseCreateReplSlotOptions`).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CreateSlotOptions {
    /// Physical slots: reserve WAL now, not at the first connection.
    pub reserve_wal: bool,
    /// Logical slots: what to do with the snapshot.
    pub snapshot: Option<SnapshotAction>,
    /// Logical slots: decode prepared transactions.
    pub two_phase: bool,
    /// Logical slots: synchronise the slot to standbys (17 and later).
    pub failover: bool,
}

impl CreateSlotOptions {
    /// Checks `options` for a slot that is `logical` or not.
    ///
    /// # Errors
    /// With PostgreSQL's texts: unknown options, options given twice or for the other kind of slot, wrong values.
    pub fn interpret(options: &[ReplicationOption], logical: bool) -> Result<Self, CommandError> {
        let mut result = Self::default();
        let mut seen: Vec<&str> = Vec::new();
        for option in options {
            let for_logical = match option.name.as_str() {
                "reserve_wal" => false,
                "snapshot" | "two_phase" | "failover" => true,
                unknown => {
                    return Err(CommandError {
                        code: SqlState::INTERNAL_ERROR,
                        message: format!("unrecognized option: {unknown}"),
                    });
                }
            };
            if for_logical != logical || seen.contains(&option.name.as_str()) {
                return Err(CommandError::syntax("conflicting or redundant options"));
            }
            seen.push(&option.name);
            match option.name.as_str() {
                "reserve_wal" => result.reserve_wal = option.boolean()?,
                "two_phase" => result.two_phase = option.boolean()?,
                "failover" => result.failover = option.boolean()?,
                _ => result.snapshot = Some(snapshot_action(option)?),
            }
        }
        Ok(result)
    }
}

fn snapshot_action(option: &ReplicationOption) -> Result<SnapshotAction, CommandError> {
    match option.string()?.as_str() {
        "export" => Ok(SnapshotAction::Export),
        "nothing" => Ok(SnapshotAction::Nothing),
        "use" => Ok(SnapshotAction::Use),
        other => Err(CommandError {
            code: SqlState::INVALID_PARAMETER_VALUE,
            message: format!(
                "unrecognized value for CREATE_REPLICATION_SLOT option \"{}\": \"{other}\"",
                option.name
            ),
        }),
    }
}

/// A name that no slot can have.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SlotNameError {
    /// Nothing at all.
    #[error("replication slot name \"{0}\" is too short")]
    TooShort(String),
    /// More than 63 bytes.
    #[error("replication slot name \"{0}\" is too long")]
    TooLong(String),
    /// Something else than lower-case letters, digits and underscores.
    #[error("replication slot name \"{0}\" contains invalid character")]
    InvalidCharacter(String),
}

impl SlotNameError {
    /// The SQLSTATE that PostgreSQL gives: 42622 for a name that is too long, else 42602.
    pub const fn sqlstate(&self) -> SqlState {
        match self {
            Self::TooLong(_) => SqlState::NAME_TOO_LONG,
            Self::TooShort(_) | Self::InvalidCharacter(_) => SqlState::INVALID_NAME,
        }
    }
}

impl From<SlotNameError> for ServerError {
    fn from(error: SlotNameError) -> Self {
        let hint = "Replication slot names may only contain lower case letters, numbers, and the underscore character.";
        let answer = Self::error(error.sqlstate(), error.to_string());
        if matches!(error, SlotNameError::InvalidCharacter(_)) { answer.hint(hint) } else { answer }
    }
}

/// Whether a slot can be called `name` (`ReplicationSlotValidateName`).
///
/// # Errors
/// Names that are empty, longer than 63 bytes, or have other characters than `a-z`, `0-9` and `_`.
pub fn validate_slot_name(name: &str) -> Result<(), SlotNameError> {
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
    if name.is_empty() {
        Err(SlotNameError::TooShort(name.to_owned()))
    } else if name.len() > super::lexer::MAX_IDENTIFIER {
        Err(SlotNameError::TooLong(name.to_owned()))
    } else if !name.bytes().all(allowed) {
        Err(SlotNameError::InvalidCharacter(name.to_owned()))
    } else {
        Ok(())
    }
}
