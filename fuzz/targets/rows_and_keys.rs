//! What is stored in a table's tree: rows, keys and the table's definition.
#![no_main]

use libfuzzer_sys::arbitrary::{Result, Unstructured};
use libfuzzer_sys::fuzz_target;
use sql::catalog::TableDef;
use sql::row::{RowLayout, RowView, RowWriter};
use sql::{Type, Value, key};

const TYPES: [Type; 13] = [
    Type::Bool,
    Type::Int2,
    Type::Int4,
    Type::Int8,
    Type::Float8,
    Type::Text,
    Type::Varchar(Some(3)),
    Type::Char(Some(3)),
    Type::Bytea,
    Type::Timestamp,
    Type::Timestamptz,
    Type::Uuid,
    Type::Jsonb,
];

/// JSON and the expressions of defaults.
const PER_BYTE: usize = 4096;

fuzz_target!(|input: &[u8]| walship_fuzz::bounded_by(PER_BYTE, input, |input| {
    let _ = stored_bytes(Unstructured::new(input));
    let _ = keys(&mut Unstructured::new(input));
    definition(input);
}));

fn types(input: &mut Unstructured<'_>, most: usize) -> Result<Vec<Type>> {
    (0..input.int_in_range(0..=most)?).map(|_| input.choose(&TYPES).copied()).collect()
}

/// Bytes from a page: no row or key is a panic, and what can be read can be written and read.
fn stored_bytes(mut input: Unstructured<'_>) -> Result<()> {
    let types = types(&mut input, 12)?;
    let bytes = input.take_rest();
    let mut rest = bytes;
    for ty in types.iter().filter(|ty| ty.is_key()) {
        if key::decode(*ty, &mut rest).is_err() {
            break;
        }
    }
    let layout = RowLayout::new(types.iter().copied());
    let Ok(row) = RowView::new(&layout, bytes) else { return Ok(()) };
    let values: std::result::Result<Vec<Value<'_>>, _> = (0..types.len()).map(|at| row.get(at)).collect();
    let mut copy = Vec::new();
    let mut writer = RowWriter::new(&layout, &mut copy);
    let copied = types.iter().try_for_each(|_| writer.copy(&row)).and_then(|()| writer.finish());
    if let Ok(values) = values {
        copied.expect("a row whose columns can be read can be copied");
        let copy = RowView::new(&layout, &copy).expect("a row");
        for (column, value) in values.iter().enumerate() {
            assert!(same(&copy.get(column).expect("a column"), value));
        }
    }
    Ok(())
}

fn same(one: &Value<'_>, other: &Value<'_>) -> bool {
    one.is_null() && other.is_null() || one.compare(other).is_some_and(|order| order.is_eq())
}

/// Keys sort as the values do, and give them back.
fn keys(input: &mut Unstructured<'_>) -> Result<()> {
    let mut types = types(input, 4)?;
    types.retain(|ty| ty.is_key());
    let (mut one, mut other) = (Vec::new(), Vec::new());
    let mut expected = std::cmp::Ordering::Equal;
    let mut values = Vec::new();
    for &ty in &types {
        let (left, right) = (value(ty, input)?, value(ty, input)?);
        assert!(
            key::encode(&left, ty, &mut one).expect("a key")
                && key::encode(&right, ty, &mut other).expect("a key")
        );
        expected = expected.then(left.compare(&right).expect("values of one type"));
        values.push((ty, left));
    }
    assert_eq!(one.cmp(&other), expected, "{values:?}");
    let mut rest = one.as_slice();
    for (ty, value) in &values {
        let again = key::decode(*ty, &mut rest).expect("what was written can be read");
        assert!(same(&again, value), "{again:?} {value:?}");
    }
    assert!(rest.is_empty());
    Ok(())
}

fn value(ty: Type, input: &mut Unstructured<'_>) -> Result<Value<'static>> {
    Ok(match ty {
        Type::Bool => Value::Bool(input.arbitrary()?),
        Type::Int2 => Value::Int2(input.arbitrary()?),
        Type::Int4 => Value::Int4(input.arbitrary()?),
        Type::Int8 => Value::Int8(input.arbitrary()?),
        Type::Float8 => Value::Float8(input.arbitrary()?),
        Type::Timestamp | Type::Timestamptz => Value::Timestamp(input.arbitrary()?),
        Type::Uuid => Value::Uuid(input.arbitrary()?),
        Type::Bytea => Value::Bytes(input.arbitrary::<Vec<u8>>()?.into()),
        // A text has no zeros, and a char no blanks at its end.
        _ => Value::owned_text(input.arbitrary::<&str>()?.replace('\0', "").trim_end_matches(' ')),
    })
}

/// A table's definition that can be read can be written, and says the same then.
fn definition(input: &[u8]) {
    if let Ok(table) = TableDef::decode(input) {
        let written = table.encode();
        let again = TableDef::decode(&written).expect("what was written can be read");
        assert_eq!(again.encode(), written);
        assert_eq!(again.columns(), table.columns());
    }
}
