//! The error a user sees: SQLSTATE, message, and where in the statement.
//!
//! Messages and codes follow PostgreSQL's, so that drivers and tests that look at them find what they expect.

use std::fmt;

/// SQLSTATE codes used by this crate (`src/backend/utils/errcodes.txt`).
pub mod sqlstate {
    /// A feature that exists in PostgreSQL and not here.
    pub const FEATURE_NOT_SUPPORTED: &str = "0A000";
    /// Wrong number of columns in a record of COPY, wrong quoting, and the like.
    pub const BAD_COPY_FILE_FORMAT: &str = "22P04";
    /// A value is longer than its type allows.
    pub const STRING_DATA_RIGHT_TRUNCATION: &str = "22001";
    /// A number does not fit its type.
    pub const NUMERIC_VALUE_OUT_OF_RANGE: &str = "22003";
    /// Text that looks like a date but is none, in form.
    pub const INVALID_DATETIME_FORMAT: &str = "22007";
    /// A date or time outside what exists or can be stored.
    pub const DATETIME_FIELD_OVERFLOW: &str = "22008";
    /// Division by zero.
    pub const DIVISION_BY_ZERO: &str = "22012";
    /// A negative length for substring.
    pub const SUBSTRING_ERROR: &str = "22011";
    /// Bytes that are no valid text in UTF-8.
    pub const CHARACTER_NOT_IN_REPERTOIRE: &str = "22021";
    /// A parameter value that a function refuses.
    pub const INVALID_PARAMETER_VALUE: &str = "22023";
    /// A LIKE pattern that ends with its escape character.
    pub const INVALID_ESCAPE_SEQUENCE: &str = "22025";
    /// An escape of more than one character.
    pub const INVALID_ESCAPE_CHARACTER: &str = "22019";
    /// A negative LIMIT.
    pub const INVALID_ROW_COUNT_IN_LIMIT: &str = "2201W";
    /// A negative OFFSET.
    pub const INVALID_ROW_COUNT_IN_OFFSET: &str = "2201X";
    /// Text that is no value of the type asked for.
    pub const INVALID_TEXT_REPRESENTATION: &str = "22P02";
    /// Bytes that are no value of the type asked for.
    pub const INVALID_BINARY_REPRESENTATION: &str = "22P03";
    /// NULL in a column that takes none.
    pub const NOT_NULL_VIOLATION: &str = "23502";
    /// Two rows with one key.
    pub const UNIQUE_VIOLATION: &str = "23505";
    /// ON CONFLICT would change one row twice in a statement.
    pub const CARDINALITY_VIOLATION: &str = "21000";
    /// Text that is no SQL.
    pub const SYNTAX_ERROR: &str = "42601";
    /// An aggregate where none may be, or a column that is not grouped.
    pub const GROUPING_ERROR: &str = "42803";
    /// An operand of the wrong type.
    pub const DATATYPE_MISMATCH: &str = "42804";
    /// A value that cannot become the type asked for.
    pub const CANNOT_COERCE: &str = "42846";
    /// A function or operator that does not exist.
    pub const UNDEFINED_FUNCTION: &str = "42883";
    /// An operator that might be one of several.
    pub const AMBIGUOUS_FUNCTION: &str = "42725";
    /// A table that does not exist.
    pub const UNDEFINED_TABLE: &str = "42P01";
    /// A column that does not exist.
    pub const UNDEFINED_COLUMN: &str = "42703";
    /// A type or other object that does not exist.
    pub const UNDEFINED_OBJECT: &str = "42704";
    /// A parameter that does not exist.
    pub const UNDEFINED_PARAMETER: &str = "42P02";
    /// A column name that appears twice.
    pub const DUPLICATE_COLUMN: &str = "42701";
    /// A table that exists already.
    pub const DUPLICATE_TABLE: &str = "42P07";
    /// More than one primary key.
    pub const INVALID_TABLE_DEFINITION: &str = "42P16";
    /// A name that may stand for several columns.
    pub const AMBIGUOUS_COLUMN: &str = "42702";
    /// A reference that is invalid where it stands.
    pub const INVALID_COLUMN_REFERENCE: &str = "42P10";
    /// A parameter whose type nothing tells.
    pub const INDETERMINATE_DATATYPE: &str = "42P18";
    /// A schema that does not exist.
    pub const INVALID_SCHEMA_NAME: &str = "3F000";
    /// An object of another kind than the statement needs.
    pub const WRONG_OBJECT_TYPE: &str = "42809";
    /// A system relation was to be changed.
    pub const INSUFFICIENT_PRIVILEGE: &str = "42501";
    /// Something is larger than this server takes.
    pub const PROGRAM_LIMIT_EXCEEDED: &str = "54000";
    /// A statement is nested too deeply.
    pub const STATEMENT_TOO_COMPLEX: &str = "54001";
    /// Too many columns.
    pub const TOO_MANY_COLUMNS: &str = "54011";
    /// Stored bytes that are not what this crate wrote.
    pub const DATA_CORRUPTED: &str = "XX001";
    /// A defect of this program.
    pub const INTERNAL_ERROR: &str = "XX000";
}

/// An error as the protocol reports it. One word wide, so that a `Result` stays small on the hot path.
#[derive(Clone, PartialEq, Eq)]
pub struct SqlError(Box<Fields>);

#[derive(Clone, PartialEq, Eq)]
struct Fields {
    sqlstate: &'static str,
    message: String,
    detail: Option<String>,
    hint: Option<String>,
    position: Option<u32>,
}

impl SqlError {
    /// An error with its code (see [`sqlstate`]) and its primary message.
    #[cold]
    pub fn new(sqlstate: &'static str, message: impl Into<String>) -> Self {
        Self(Box::new(Fields { sqlstate, message: message.into(), detail: None, hint: None, position: None }))
    }

    /// Something that PostgreSQL has and this server has not (0A000).
    #[cold]
    pub fn unsupported(what: impl fmt::Display) -> Self {
        Self::new(sqlstate::FEATURE_NOT_SUPPORTED, format!("{what} is not supported"))
    }

    /// A syntax error (42601).
    #[cold]
    pub fn syntax(message: impl Into<String>) -> Self {
        Self::new(sqlstate::SYNTAX_ERROR, message)
    }

    /// Stored bytes that cannot be read (XX001).
    #[cold]
    pub fn corrupted(what: impl fmt::Display) -> Self {
        Self::new(sqlstate::DATA_CORRUPTED, format!("stored {what} cannot be decoded"))
    }

    /// A state this program must not reach (XX000): reported, never a panic.
    #[cold]
    pub fn internal(what: impl Into<String>) -> Self {
        Self::new(sqlstate::INTERNAL_ERROR, what)
    }

    /// Adds the detail line.
    #[must_use]
    pub fn with_detail(mut self, detail: impl Into<String>) -> Self {
        self.0.detail = Some(detail.into());
        self
    }

    /// Adds the hint line.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.0.hint = Some(hint.into());
        self
    }

    /// Says where in the statement's text, in characters from 1; a position that is already known stays.
    #[must_use]
    pub fn at(mut self, position: Option<u32>) -> Self {
        self.0.position = self.0.position.or(position);
        self
    }

    /// Moves the position by the characters in front of the statement in its query text.
    #[must_use]
    pub fn shifted(mut self, characters: u32) -> Self {
        self.0.position = self.0.position.map(|p| p.saturating_add(characters));
        self
    }

    /// The five characters of the SQLSTATE.
    pub fn sqlstate(&self) -> &'static str {
        self.0.sqlstate
    }

    /// The primary message.
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// The detail line.
    pub fn detail(&self) -> Option<&str> {
        self.0.detail.as_deref()
    }

    /// The hint line.
    pub fn hint(&self) -> Option<&str> {
        self.0.hint.as_deref()
    }

    /// Where in the query text, in characters from 1.
    pub fn position(&self) -> Option<u32> {
        self.0.position
    }
}

impl fmt::Display for SqlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (SQLSTATE {})", self.0.message, self.0.sqlstate)
    }
}

impl fmt::Debug for SqlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqlError")
            .field("sqlstate", &self.0.sqlstate)
            .field("message", &self.0.message)
            .field("detail", &self.0.detail)
            .field("hint", &self.0.hint)
            .field("position", &self.0.position)
            .finish()
    }
}

impl std::error::Error for SqlError {}
