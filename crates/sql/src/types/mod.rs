//! The types of the language: what PostgreSQL calls them on the wire, and how wide they are.

pub mod binary;
pub mod bytea;
pub mod float;
pub mod interval;
pub mod json;
pub mod numeric;
pub mod text;
pub mod timestamp;
pub mod uuid;
pub mod value;

pub use interval::Interval;
pub use numeric::Numeric;
pub use value::Value;

/// The longest `char(n)` and `varchar(n)` (`MaxAttrSize` in `htup_details.h`).
pub const MAX_CHAR_LENGTH: u32 = 10_485_760;

/// A type of a column, a parameter or an expression.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Type {
    /// `boolean`
    Bool,
    /// `smallint`
    Int2,
    /// `integer`
    Int4,
    /// `bigint`
    Int8,
    /// `double precision`
    Float8,
    /// `text`
    Text,
    /// `varchar` or `varchar(n)`, n in characters
    Varchar(Option<u32>),
    /// `char(n)`, n in characters; `None` is `bpchar` without a length, which only expressions have. Values are held
    /// without their trailing blanks and padded when they are shown.
    Char(Option<u32>),
    /// `bytea`
    Bytea,
    /// `timestamp without time zone`
    Timestamp,
    /// `timestamp with time zone`
    Timestamptz,
    /// `uuid`
    Uuid,
    /// `jsonb`, held as PostgreSQL's normalised text
    Jsonb,
    /// `name`, in results only
    Name,
    /// `oid`, in results only
    Oid,
    /// `pg_lsn`, in results only
    PgLsn,
    /// `numeric`, in results and literals only
    Numeric,
    /// `interval`, in results and expressions only
    Interval,
    /// A literal or parameter whose type its context has yet to tell
    Unknown,
    /// The result of functions called for their effect
    Void,
}

impl Type {
    /// The OID in `pg_type`.
    pub fn oid(self) -> u32 {
        match self {
            Self::Bool => 16,
            Self::Bytea => 17,
            Self::Name => 19,
            Self::Int8 => 20,
            Self::Int2 => 21,
            Self::Int4 => 23,
            Self::Text => 25,
            Self::Oid => 26,
            Self::Float8 => 701,
            Self::Unknown => 705,
            Self::Char(_) => 1042,
            Self::Varchar(_) => 1043,
            Self::Timestamp => 1114,
            Self::Timestamptz => 1184,
            Self::Interval => 1186,
            Self::Numeric => 1700,
            Self::Void => 2278,
            Self::Uuid => 2950,
            Self::PgLsn => 3220,
            Self::Jsonb => 3802,
        }
    }

    /// The type with this OID and type modifier (-1 = none), as far as it is known here.
    pub fn from_oid(oid: u32, typmod: i32) -> Option<Self> {
        let length = u32::try_from(typmod.saturating_sub(4)).ok().filter(|_| typmod > 4);
        Some(match oid {
            16 => Self::Bool,
            17 => Self::Bytea,
            19 => Self::Name,
            20 => Self::Int8,
            21 => Self::Int2,
            23 => Self::Int4,
            25 => Self::Text,
            26 => Self::Oid,
            701 => Self::Float8,
            705 => Self::Unknown,
            1042 => Self::Char(length),
            1043 => Self::Varchar(length),
            1114 => Self::Timestamp,
            1184 => Self::Timestamptz,
            1186 => Self::Interval,
            1700 => Self::Numeric,
            2278 => Self::Void,
            2950 => Self::Uuid,
            3220 => Self::PgLsn,
            3802 => Self::Jsonb,
            _ => return None,
        })
    }

    /// `atttypmod`: the length plus 4 for `char(n)` and `varchar(n)`, else -1.
    pub fn typmod(self) -> i32 {
        match self {
            Self::Char(Some(n)) | Self::Varchar(Some(n)) => i32::try_from(n).unwrap_or(i32::MAX - 4) + 4,
            _ => -1,
        }
    }

    /// `typlen`: bytes of a value of fixed size, -1 for variable ones, -2 for C strings.
    pub fn typlen(self) -> i16 {
        match self {
            Self::Bool => 1,
            Self::Int2 => 2,
            Self::Int4 | Self::Oid | Self::Void => 4,
            Self::Int8 | Self::Float8 | Self::Timestamp | Self::Timestamptz | Self::PgLsn => 8,
            Self::Uuid | Self::Interval => 16,
            Self::Name => 64,
            Self::Unknown => -2,
            Self::Text | Self::Varchar(_) | Self::Char(_) | Self::Bytea | Self::Jsonb | Self::Numeric => -1,
        }
    }

    /// The name in error messages and `format_type`, without a length.
    pub fn name(self) -> &'static str {
        match self {
            Self::Bool => "boolean",
            Self::Int2 => "smallint",
            Self::Int4 => "integer",
            Self::Int8 => "bigint",
            Self::Float8 => "double precision",
            Self::Text => "text",
            Self::Varchar(_) => "character varying",
            Self::Char(_) => "character",
            Self::Bytea => "bytea",
            Self::Timestamp => "timestamp without time zone",
            Self::Timestamptz => "timestamp with time zone",
            Self::Uuid => "uuid",
            Self::Jsonb => "jsonb",
            Self::Name => "name",
            Self::Oid => "oid",
            Self::PgLsn => "pg_lsn",
            Self::Numeric => "numeric",
            Self::Interval => "interval",
            Self::Unknown => "unknown",
            Self::Void => "void",
        }
    }

    /// `pg_type.typname` (`int4`, not `integer`).
    pub fn typname(self) -> &'static str {
        match self {
            Self::Bool => "bool",
            Self::Int2 => "int2",
            Self::Int4 => "int4",
            Self::Int8 => "int8",
            Self::Float8 => "float8",
            Self::Varchar(_) => "varchar",
            Self::Char(_) => "bpchar",
            Self::Timestamp => "timestamp",
            Self::Timestamptz => "timestamptz",
            other => other.name(),
        }
    }

    /// `format_type`: the name with its length, as `\d` shows it.
    pub fn display_name(self) -> String {
        match self {
            Self::Varchar(Some(n)) | Self::Char(Some(n)) => format!("{}({n})", self.name()),
            Self::Char(None) => "bpchar".to_owned(),
            other => other.name().to_owned(),
        }
    }

    /// The same type without its length.
    #[must_use]
    pub fn without_length(self) -> Self {
        match self {
            Self::Varchar(_) => Self::Varchar(None),
            Self::Char(_) => Self::Char(None),
            other => other,
        }
    }

    /// `smallint`, `integer`, `bigint`.
    pub fn is_integer(self) -> bool {
        matches!(self, Self::Int2 | Self::Int4 | Self::Int8)
    }

    /// A type that arithmetic works on.
    pub fn is_number(self) -> bool {
        self.is_integer() || matches!(self, Self::Float8 | Self::Numeric)
    }

    /// A type whose values are character strings.
    pub fn is_string(self) -> bool {
        matches!(self, Self::Text | Self::Varchar(_) | Self::Char(_) | Self::Name)
    }

    /// Whether a column of a table can have this type.
    pub fn is_storable(self) -> bool {
        self.is_integer()
            || matches!(
                self,
                Self::Bool
                    | Self::Float8
                    | Self::Text
                    | Self::Varchar(_)
                    | Self::Char(Some(_))
                    | Self::Bytea
                    | Self::Timestamp
                    | Self::Timestamptz
                    | Self::Uuid
                    | Self::Jsonb
            )
    }

    /// Whether a primary key column can have this type: its key bytes must sort as its values do.
    pub fn is_key(self) -> bool {
        self.is_storable() && self != Self::Jsonb
    }
}
