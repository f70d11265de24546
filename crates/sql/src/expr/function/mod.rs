//! Functions of their arguments alone.

mod number;
mod text;
mod time;

use number::size_pretty;

use crate::error::{SqlError, sqlstate};
use crate::types::{Numeric, Value};

/// A function whose arguments are not NULL (but for `concat` and its kin).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Function {
    /// `length(text)`, characters
    Length,
    /// `octet_length(text)`
    OctetLength,
    /// `length(bytea)`, `octet_length(bytea)`
    ByteLength,
    /// `lower(text)`
    Lower,
    /// `upper(text)`
    Upper,
    /// `substr(text, from)`
    SubstringFrom,
    /// `substr(text, from, count)`
    SubstringFor,
    /// `left(text, n)`
    Left,
    /// `right(text, n)`
    Right,
    /// `btrim(text[, characters])`
    TrimBoth,
    /// `ltrim(text[, characters])`
    TrimLeft,
    /// `rtrim(text[, characters])`
    TrimRight,
    /// `replace(text, from, to)`
    Replace,
    /// `repeat(text, count)`
    Repeat,
    /// `reverse(text)`
    Reverse,
    /// `strpos(text, part)`
    Position,
    /// `lpad(text, n[, fill])`
    PadLeft,
    /// `rpad(text, n[, fill])`
    PadRight,
    /// `concat(texts...)`: NULLs are empty
    Concat,
    /// `concat_ws(separator, texts...)`: NULLs are left out
    ConcatSeparated,
    /// `abs(number)`
    Abs,
    /// `sign(double)`
    Sign,
    /// `mod`: see [`super::ArithmeticOp::Modulo`]; here `floor(double or numeric)`
    Floor,
    /// `ceil(double or numeric)`
    Ceil,
    /// `round(double or numeric)`
    Round,
    /// `trunc(double)`
    Trunc,
    /// `sqrt(double)`
    Sqrt,
    /// `power(double, double)`
    Power,
    /// `exp(double)`
    Exp,
    /// `ln(double)`
    Ln,
    /// `ascii(text)`
    Ascii,
    /// `chr(integer)`
    Chr,
    /// `to_hex(bigint)`
    ToHex,
    /// `extract(epoch from timestamp)`, `date_part('epoch', ...)` as double
    EpochTimestamp,
    /// `extract(epoch from interval)`
    EpochInterval,
    /// `date_trunc(unit, timestamp)`
    DateTrunc,
    /// `to_timestamp(double)`: seconds since 1970
    ToTimestamp,
    /// `pg_wal_lsn_diff(lsn, lsn)`
    LsnDifference,
    /// `pg_size_pretty(bigint)`
    SizePretty,
    /// `encode(bytea, format)`
    Encode,
    /// `decode(text, format)`
    Decode,
    /// `quote_ident(text)`
    QuoteIdent,
    /// `quote_literal(text)`
    QuoteLiteral,
}

/// The longest text a function makes (`MaxAllocSize`).
const MAX_RESULT: usize = 64 << 20;

fn too_long() -> SqlError {
    SqlError::new(sqlstate::PROGRAM_LIMIT_EXCEEDED, "requested length too large")
}

/// An error for a length that no result may have.
pub(super) fn check_result(length: usize) -> Result<(), SqlError> {
    if length > MAX_RESULT { Err(too_long()) } else { Ok(()) }
}

fn out_of_range(what: &str) -> SqlError {
    SqlError::new(sqlstate::NUMERIC_VALUE_OUT_OF_RANGE, format!("{what} out of range"))
}

impl Function {
    /// Whether a NULL argument makes the result NULL without a call.
    pub fn is_strict(self) -> bool {
        !matches!(self, Self::Concat | Self::ConcatSeparated)
    }

    /// Calls it.
    pub(super) fn call<'a>(self, args: &[Value<'a>]) -> Result<Value<'a>, SqlError> {
        match self {
            Self::Length | Self::OctetLength | Self::ByteLength | Self::Position | Self::Ascii => {
                self.measure(args)
            }
            Self::Abs | Self::Sign | Self::Floor | Self::Ceil | Self::Round | Self::Trunc => {
                self.rounding(args)
            }
            Self::Sqrt | Self::Power | Self::Exp | Self::Ln => self.analytic(args),
            Self::EpochTimestamp | Self::EpochInterval | Self::DateTrunc | Self::ToTimestamp => {
                self.time(args)
            }
            Self::Concat | Self::ConcatSeparated => self.concat(args),
            Self::LsnDifference => match args {
                [Value::Lsn(a), Value::Lsn(b)] => {
                    let difference = Numeric::from_integer(i128::from(*a) - i128::from(*b));
                    Ok(Value::Numeric(Box::new(difference)))
                }
                _ => Err(self.wrong()),
            },
            Self::SizePretty => match args {
                [size] => Ok(Value::owned_text(size_pretty(size.as_i64().ok_or_else(|| self.wrong())?))),
                _ => Err(self.wrong()),
            },
            Self::Encode | Self::Decode => self.encoding(args),
            _ => self.text(args),
        }
    }

    #[cold]
    fn wrong(self) -> SqlError {
        SqlError::internal(format!("function {self:?} called with other arguments"))
    }
}
