//! Cuts a command into tokens as `repl_scanner.l` does: the longest match wins, the earlier rule on a tie.

use wal::Lsn;

use super::CommandError;

/// The longest identifier in bytes (`NAMEDATALEN - 1`); longer ones are cut.
pub(super) const MAX_IDENTIFIER: usize = 63;

/// One token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Token {
    Keyword(Keyword),
    Identifier(String),
    Text(String),
    Integer(u32),
    Lsn(Lsn),
    /// Any other character, punctuation that the grammar knows included.
    Symbol(char),
}

macro_rules! keywords {
    ($($variant:ident $text:literal),+ $(,)?) => {
        /// The reserved words. They are recognised in upper case only.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(super) enum Keyword { $($variant),+ }

        impl Keyword {
            fn from_word(word: &str) -> Option<Self> {
                match word { $($text => Some(Self::$variant),)+ _ => None }
            }

            pub(super) const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text),+ }
            }
        }
    };
}

keywords! {
    AlterReplicationSlot "ALTER_REPLICATION_SLOT",
    BaseBackup "BASE_BACKUP",
    CreateReplicationSlot "CREATE_REPLICATION_SLOT",
    DropReplicationSlot "DROP_REPLICATION_SLOT",
    ExportSnapshot "EXPORT_SNAPSHOT",
    IdentifySystem "IDENTIFY_SYSTEM",
    Logical "LOGICAL",
    NoexportSnapshot "NOEXPORT_SNAPSHOT",
    Physical "PHYSICAL",
    ReadReplicationSlot "READ_REPLICATION_SLOT",
    ReserveWal "RESERVE_WAL",
    Show "SHOW",
    Slot "SLOT",
    StartReplication "START_REPLICATION",
    Temporary "TEMPORARY",
    Timeline "TIMELINE",
    TimelineHistory "TIMELINE_HISTORY",
    TwoPhase "TWO_PHASE",
    UploadManifest "UPLOAD_MANIFEST",
    UseSnapshot "USE_SNAPSHOT",
    Wait "WAIT",
}

impl Keyword {
    /// Whether a command can begin with this word; everything else is SQL to PostgreSQL.
    pub(super) const fn begins_a_command(self) -> bool {
        matches!(
            self,
            Self::AlterReplicationSlot
                | Self::BaseBackup
                | Self::CreateReplicationSlot
                | Self::DropReplicationSlot
                | Self::IdentifySystem
                | Self::ReadReplicationSlot
                | Self::Show
                | Self::StartReplication
                | Self::TimelineHistory
                | Self::UploadManifest
        )
    }
}

/// The rest of a command, not yet cut.
pub(super) struct Lexer<'a> {
    rest: &'a str,
}

impl<'a> Lexer<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self { rest: text }
    }

    /// The next token, `None` at the end.
    pub(super) fn next(&mut self) -> Result<Option<Token>, CommandError> {
        self.rest = self.rest.trim_start_matches([' ', '\t', '\n', '\r', '\x0c', '\x0b']);
        let Some(first) = self.rest.chars().next() else { return Ok(None) };
        let token = match first {
            '\'' => Token::Text(self.quoted('\'')?),
            '"' => Token::Identifier(truncated(self.quoted('"')?)),
            _ => {
                if let Some(position) = self.position()? {
                    position
                } else if first.is_ascii_digit() {
                    self.integer()
                } else if starts_identifier(first) {
                    self.word()
                } else {
                    self.advance(first.len_utf8());
                    Token::Symbol(first)
                }
            }
        };
        Ok(Some(token))
    }

    fn advance(&mut self, bytes: usize) -> &'a str {
        let (taken, rest) = self.rest.split_at(bytes);
        self.rest = rest;
        taken
    }

    /// How many bytes at the front satisfy `wanted`.
    fn run(text: &str, wanted: impl Fn(char) -> bool) -> usize {
        text.find(|c| !wanted(c)).unwrap_or(text.len())
    }

    /// `hex/hex`. PostgreSQL reads each half with `%X`, which wraps on overflow; we refuse more than 32 bits.
    fn position(&mut self) -> Result<Option<Token>, CommandError> {
        let hex = |c: char| c.is_ascii_hexdigit();
        let high = Self::run(self.rest, hex);
        let Some(after) = self.rest.get(high..).and_then(|rest| rest.strip_prefix('/')) else {
            return Ok(None);
        };
        let low = Self::run(after, hex);
        if high == 0 || low == 0 {
            return Ok(None);
        }
        let half = |digits: &str| {
            u32::from_str_radix(digits, 16)
                .map_err(|_| CommandError::syntax("invalid streaming start location"))
        };
        let text = self.advance(high + 1 + low);
        let (high, low) = text.split_at(high);
        let lsn = u64::from(half(high)?) << 32 | u64::from(half(low.trim_start_matches('/'))?);
        Ok(Some(Token::Lsn(Lsn::new(lsn))))
    }

    /// Digits. A number too large for 32 bits becomes the largest one, which no command accepts as a timeline.
    fn integer(&mut self) -> Token {
        let digits = self.advance(Self::run(self.rest, |c| c.is_ascii_digit()));
        Token::Integer(digits.parse().unwrap_or(u32::MAX))
    }

    fn word(&mut self) -> Token {
        let length = Self::run(self.rest, |c| starts_identifier(c) || c.is_ascii_digit() || c == '$');
        let word = self.advance(length);
        match Keyword::from_word(word) {
            Some(keyword) => Token::Keyword(keyword),
            None => Token::Identifier(truncated(word.to_ascii_lowercase())),
        }
    }

    /// The inside of a quoted string or identifier, in which a doubled quote stands for one.
    fn quoted(&mut self, quote: char) -> Result<String, CommandError> {
        let mut inside = String::new();
        self.advance(quote.len_utf8());
        loop {
            let length =
                self.rest.find(quote).ok_or_else(|| CommandError::syntax("unterminated quoted string"))?;
            inside.push_str(self.advance(length));
            self.advance(quote.len_utf8());
            if !self.rest.starts_with(quote) {
                return Ok(inside);
            }
            self.advance(quote.len_utf8());
            inside.push(quote);
        }
    }
}

fn starts_identifier(c: char) -> bool {
    c.is_ascii_alphabetic() || c == '_' || !c.is_ascii()
}

/// Cuts an identifier to [`MAX_IDENTIFIER`] bytes, on a character's boundary (`truncate_identifier`).
fn truncated(mut identifier: String) -> String {
    if identifier.len() > MAX_IDENTIFIER {
        let end = (0..=MAX_IDENTIFIER).rev().find(|&at| identifier.is_char_boundary(at)).unwrap_or(0);
        identifier.truncate(end);
    }
    identifier
}
