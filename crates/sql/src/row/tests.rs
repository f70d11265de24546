use std::borrow::Cow;

use proptest::prelude::*;

use super::{RowLayout, RowView, RowWriter};
use crate::types::{Type, Value};

fn any_column() -> impl Strategy<Value = (Type, Value<'static>)> {
    let text = || ".{0,40}".prop_filter("no NUL", |t| !t.contains('\0'));
    let typed = prop_oneof![
        any::<bool>().prop_map(|v| (Type::Bool, Value::Bool(v))),
        any::<i16>().prop_map(|v| (Type::Int2, Value::Int2(v))),
        any::<i32>().prop_map(|v| (Type::Int4, Value::Int4(v))),
        any::<i64>().prop_map(|v| (Type::Int8, Value::Int8(v))),
        (-1e300..1e300).prop_map(|v| (Type::Float8, Value::Float8(v))),
        any::<i64>().prop_map(|v| (Type::Timestamptz, Value::Timestamp(v))),
        any::<[u8; 16]>().prop_map(|v| (Type::Uuid, Value::Uuid(v))),
        text().prop_map(|v| (Type::Text, Value::owned_text(v))),
        text().prop_map(|v| (Type::Varchar(Some(40)), Value::owned_text(v))),
        proptest::collection::vec(any::<u8>(), 0..40)
            .prop_map(|v| (Type::Bytea, Value::Bytes(Cow::Owned(v)))),
        (30_000usize..40_000).prop_map(|n| (Type::Text, Value::owned_text("x".repeat(n)))),
    ];
    (typed, proptest::bool::weighted(0.2))
        .prop_map(|((ty, value), null)| (ty, if null { Value::Null } else { value }))
}

fn write(layout: &RowLayout, values: &[Value<'_>], out: &mut Vec<u8>) {
    let mut writer = RowWriter::new(layout, out);
    for value in values {
        writer.push(value).unwrap();
    }
    writer.finish().unwrap();
}

proptest! {
    #[test]
    fn what_was_written_is_read_column_by_column(columns in proptest::collection::vec(any_column(), 0..20)) {
        let layout = RowLayout::new(columns.iter().map(|c| c.0));
        let values: Vec<_> = columns.into_iter().map(|c| c.1).collect();
        let mut bytes = b"before".to_vec();
        write(&layout, &values, &mut bytes);
        let row = RowView::new(&layout, &bytes[6..]).unwrap();
        for (i, value) in values.iter().enumerate().rev() {
            prop_assert_eq!(&row.get(i).unwrap(), value);
        }
        let mut copy = Vec::new();
        let mut writer = RowWriter::new(&layout, &mut copy);
        for _ in &values {
            writer.copy(&row).unwrap();
        }
        writer.finish().unwrap();
        prop_assert_eq!(&copy[..], &bytes[6..]);
    }

    #[test]
    fn damaged_rows_are_errors_not_panics(
        columns in proptest::collection::vec(any_column(), 0..6),
        bytes in proptest::collection::vec(any::<u8>(), 0..60),
    ) {
        let layout = RowLayout::new(columns.iter().map(|c| c.0));
        if let Ok(row) = RowView::new(&layout, &bytes) {
            for i in 0..columns.len() + 1 {
                let _either = row.get(i);
            }
        }
    }
}

#[test]
fn a_change_of_a_fixed_column_changes_only_its_bytes() {
    let layout = RowLayout::new([Type::Int4, Type::Int4, Type::Char(Some(84))]);
    let (mut a, mut b) = (Vec::new(), Vec::new());
    write(&layout, &[Value::Int4(1), Value::Int4(0), Value::text("")], &mut a);
    write(&layout, &[Value::Int4(1), Value::Int4(i32::MAX), Value::text("")], &mut b);
    assert_eq!(a.len(), 13);
    let changed: Vec<usize> = (0..a.len()).filter(|i| a[*i] != b[*i]).collect();
    assert_eq!(changed, [7, 8, 9, 10]);
}

#[test]
#[should_panic(expected = "a table has 1600 columns at most, and not 1601")]
fn no_row_has_more_columns_than_a_table() {
    RowLayout::new(vec![Type::Bool; 1601]);
}
