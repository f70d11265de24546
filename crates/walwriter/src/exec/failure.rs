//! What makes a statement fail, wherever it comes from, as the client will be told.

use engine::EngineError;
use replication::error::{ServerError, SqlState};
use sql::SqlError;

use crate::session::SessionError;

/// An error on its way to the client.
#[derive(Debug)]
pub struct Failure(SessionError);

/// A result of executing something.
pub(crate) type Result<T> = std::result::Result<T, Failure>;

impl Failure {
    /// An error with a SQLSTATE.
    #[cold]
    pub fn new(sqlstate: &str, message: impl Into<String>) -> Self {
        Self(Box::new(ServerError::error(code(sqlstate), message)))
    }

    /// The same with a DETAIL.
    #[must_use]
    pub fn detail(mut self, detail: impl Into<String>) -> Self {
        self.0.detail = Some(detail.into());
        self
    }

    /// The same with a HINT.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.0.hint = Some(hint.into());
        self
    }

    /// The same with a CONTEXT.
    #[must_use]
    pub fn context(mut self, context: impl Into<String>) -> Self {
        self.0.context = Some(context.into());
        self
    }

    /// The SQLSTATE.
    pub fn sqlstate(&self) -> &str {
        self.0.code.as_str()
    }

    /// What the server sends.
    pub fn into_error(self) -> SessionError {
        self.0
    }

    /// Writing, where that is not allowed.
    #[cold]
    pub(crate) fn read_only(command: &str) -> Self {
        Self::new("25006", format!("cannot execute {command} in a read-only transaction"))
    }
}

/// A SQLSTATE that is known to be one.
pub(crate) fn code(sqlstate: &str) -> SqlState {
    SqlState::new(sqlstate).unwrap_or(SqlState::INTERNAL_ERROR)
}

impl From<SessionError> for Failure {
    fn from(error: SessionError) -> Self {
        Self(error)
    }
}

impl From<SqlError> for Failure {
    #[cold]
    fn from(error: SqlError) -> Self {
        let mut out = ServerError::error(code(error.sqlstate()), error.message());
        out.detail = error.detail().map(str::to_owned);
        out.hint = error.hint().map(str::to_owned);
        out.position = error.position();
        Self(Box::new(out))
    }
}

impl From<EngineError> for Failure {
    #[cold]
    fn from(error: EngineError) -> Self {
        let (sqlstate, hint) = match &error {
            EngineError::File { .. } if error.is_disk_full() => {
                ("53100", Some("Check free disk space; DROP and TRUNCATE go on, and free some."))
            }
            EngineError::File { .. } => ("58030", None),
            EngineError::Damaged { .. } | EngineError::PageBeyondLog { .. } => ("XX001", None),
            EngineError::SnapshotTooOld(_) => ("72000", None),
            EngineError::Serialization => ("40001", None),
            EngineError::Deadlock => ("40P01", None),
            EngineError::TransactionTooLarge { .. } | EngineError::CommitTooLarge { .. } => {
                ("54000", Some("Write less in one transaction, or raise max_transaction_size."))
            }
            EngineError::KeyTooLong { .. } | EngineError::ValueTooLong { .. } => ("54000", None),
            EngineError::ReadOnly => ("25006", None),
            _ => ("XX000", None),
        };
        let failure = Self::new(sqlstate, error.chain());
        match hint {
            Some(hint) => failure.hint(hint),
            None => failure,
        }
    }
}
