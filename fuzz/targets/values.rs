//! Values as text and in binary, as parameters and literals bring them.
#![no_main]

use std::cmp::Ordering;

use libfuzzer_sys::fuzz_target;
use sql::types::{binary, text};
use sql::{Type, Value};

/// JSON numbers are written out: what five bytes ask for has sixteen thousand digits.
const PER_BYTE: usize = 8192;

const TYPES: [Type; 19] = [
    Type::Bool,
    Type::Int2,
    Type::Int4,
    Type::Int8,
    Type::Float8,
    Type::Text,
    Type::Varchar(Some(3)),
    Type::Char(None),
    Type::Char(Some(3)),
    Type::Bytea,
    Type::Timestamp,
    Type::Timestamptz,
    Type::Uuid,
    Type::Jsonb,
    Type::Name,
    Type::Oid,
    Type::PgLsn,
    Type::Numeric,
    Type::Interval,
];

fuzz_target!(|input: &[u8]| walship_fuzz::bounded_by(PER_BYTE, input, |input| {
    let Some((&kind, bytes)) = input.split_first() else { return };
    let ty = TYPES[usize::from(kind) % TYPES.len()];
    for is_binary in [false, true] {
        if let Ok(value) = binary::parse_format(ty, bytes, is_binary) {
            same_again(&value, ty);
        }
    }
}));

/// What is printed, in either form, stands for the same value.
fn same_again(value: &Value<'_>, ty: Type) {
    for is_binary in [false, true] {
        let mut printed = Vec::new();
        if is_binary {
            binary::write(value, ty, &mut printed)
        } else {
            text::write(value, ty, &mut printed)
        }
        let shown = || String::from_utf8_lossy(&printed);
        match binary::parse_format(ty, &printed, is_binary) {
            Ok(again) => assert_eq!(value.compare(&again), Some(Ordering::Equal), "{ty:?} {}", shown()),
            Err(error) => panic!("{ty:?} {}: {error:?}", shown()),
        }
    }
}
