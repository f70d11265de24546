//! Names of types.

use sqlparser::ast::{CharacterLength, DataType, ExactNumberInfo, ObjectName, TimezoneInfo};

use super::binder::object_name;
use crate::error::{SqlError, sqlstate};
use crate::types::{MAX_CHAR_LENGTH, Type};

/// The type that a statement names.
///
/// # Errors
/// 0A000 for a type that is not supported, 42704 for one that does not exist, 22023 for a wrong length.
pub(super) fn resolve(name: &DataType) -> Result<Type, SqlError> {
    Ok(match name {
        DataType::Boolean | DataType::Bool => Type::Bool,
        DataType::SmallInt(None) | DataType::Int2(None) => Type::Int2,
        DataType::Int(None) | DataType::Integer(None) | DataType::Int4(None) => Type::Int4,
        DataType::BigInt(None) | DataType::Int8(None) => Type::Int8,
        DataType::DoublePrecision | DataType::Float8 | DataType::Float64 => Type::Float8,
        DataType::Double(ExactNumberInfo::None) | DataType::Float(ExactNumberInfo::None) => Type::Float8,
        DataType::Float(ExactNumberInfo::Precision(25..=53)) => Type::Float8,
        DataType::Numeric(ExactNumberInfo::None)
        | DataType::Decimal(ExactNumberInfo::None)
        | DataType::Dec(ExactNumberInfo::None) => Type::Numeric,
        DataType::Text => Type::Text,
        DataType::Varchar(length) | DataType::CharacterVarying(length) | DataType::CharVarying(length) => {
            Type::Varchar(character_length(length.as_ref(), "varchar")?)
        }
        DataType::Char(length) | DataType::Character(length) => {
            Type::Char(Some(character_length(length.as_ref(), "char")?.unwrap_or(1)))
        }
        DataType::Bytea => Type::Bytea,
        DataType::Timestamp(precision, zone) => {
            if precision.is_some_and(|p| p != 6) {
                return Err(SqlError::unsupported("a precision of timestamps other than 6"));
            }
            match zone {
                TimezoneInfo::None | TimezoneInfo::WithoutTimeZone => Type::Timestamp,
                TimezoneInfo::WithTimeZone | TimezoneInfo::Tz => Type::Timestamptz,
            }
        }
        DataType::Uuid => Type::Uuid,
        DataType::JSONB => Type::Jsonb,
        DataType::Interval { fields: None, precision: None } => Type::Interval,
        // A table named in quotes: the functions that take one here take its name.
        DataType::Regclass => Type::Text,
        DataType::Custom(name, modifiers) => custom(name, modifiers)?,
        other => {
            return Err(SqlError::unsupported(format!("type {}", other.to_string().to_ascii_lowercase())));
        }
    })
}

fn character_length(length: Option<&CharacterLength>, name: &str) -> Result<Option<u32>, SqlError> {
    match length {
        None => Ok(None),
        Some(CharacterLength::Max) => Err(SqlError::syntax("syntax error at or near \"max\"")),
        Some(CharacterLength::IntegerLength { length, .. }) => checked_length(*length, name).map(Some),
    }
}

fn checked_length(length: u64, name: &str) -> Result<u32, SqlError> {
    let invalid = |message: String| Err(SqlError::new(sqlstate::INVALID_PARAMETER_VALUE, message));
    match u32::try_from(length) {
        Ok(0) => invalid(format!("length for type {name} must be at least 1")),
        Ok(length) if length <= MAX_CHAR_LENGTH => Ok(length),
        _ => invalid(format!("length for type {name} cannot exceed {MAX_CHAR_LENGTH}")),
    }
}

fn custom(name: &ObjectName, modifiers: &[String]) -> Result<Type, SqlError> {
    let name = object_name(name)?;
    let ty = by_name(&name.name).filter(|_| name.schema.as_deref().is_none_or(|s| s == "pg_catalog"));
    match (ty, modifiers) {
        (Some(ty), []) => Ok(ty),
        (Some(Type::Varchar(_)), [length]) => {
            Ok(Type::Varchar(Some(checked_length(length.parse().unwrap_or(0), "varchar")?)))
        }
        (Some(Type::Char(_)), [length]) => {
            Ok(Type::Char(Some(checked_length(length.parse().unwrap_or(0), "char")?)))
        }
        (Some(Type::Timestamp | Type::Timestamptz), [six]) if six == "6" => {
            Ok(if name.name == "timestamptz" { Type::Timestamptz } else { Type::Timestamp })
        }
        (Some(ty), _) => Err(SqlError::unsupported(format!("a modifier of type {}", ty.name()))),
        (None, _) => {
            let message = format!("type \"{}\" does not exist", name.name);
            Err(SqlError::new(sqlstate::UNDEFINED_OBJECT, message))
        }
    }
}

/// The integer that a column is which is declared as `serial` or one of its kin: no type, and known to CREATE TABLE alone.
pub(super) fn serial(name: &DataType) -> Option<Type> {
    let DataType::Custom(name, modifiers) = name else { return None };
    let name = object_name(name).ok().filter(|name| modifiers.is_empty() && name.schema.is_none())?;
    match name.name.as_str() {
        "smallserial" | "serial2" => Some(Type::Int2),
        "serial" | "serial4" => Some(Type::Int4),
        "bigserial" | "serial8" => Some(Type::Int8),
        _ => None,
    }
}

/// A type by `pg_type.typname` or its SQL name, as PREPARE lists them.
pub fn by_name(name: &str) -> Option<Type> {
    Some(match name {
        "bool" | "boolean" => Type::Bool,
        "int2" | "smallint" => Type::Int2,
        "int4" | "int" | "integer" => Type::Int4,
        "int8" | "bigint" => Type::Int8,
        "float8" | "double precision" => Type::Float8,
        "text" | "regclass" => Type::Text,
        "varchar" | "character varying" => Type::Varchar(None),
        "bpchar" | "char" | "character" => Type::Char(None),
        "bytea" => Type::Bytea,
        "timestamp" | "timestamp without time zone" => Type::Timestamp,
        "timestamptz" | "timestamp with time zone" => Type::Timestamptz,
        "uuid" => Type::Uuid,
        "jsonb" => Type::Jsonb,
        "name" => Type::Name,
        "oid" => Type::Oid,
        "pg_lsn" => Type::PgLsn,
        "numeric" | "decimal" => Type::Numeric,
        "interval" => Type::Interval,
        "unknown" => Type::Unknown,
        _ => return None,
    })
}
