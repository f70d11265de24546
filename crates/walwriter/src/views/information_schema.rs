//! `information_schema`: schemas, tables and columns.

use sql::Type::{Int4, Name, Text};
use sql::{Type, Value};

use super::row::{number, text, text_or_null};
use super::{Row, Sources, View};
use crate::exec::Result;

pub(super) static VIEWS: &[View] = &[
    information(
        "schemata",
        &[("catalog_name", Name), ("schema_name", Name), ("schema_owner", Name)],
        schemata,
    ),
    information(
        "tables",
        &[
            ("table_catalog", Name),
            ("table_schema", Name),
            ("table_name", Name),
            ("table_type", Text),
            ("is_insertable_into", Text),
        ],
        tables,
    ),
    information(
        "columns",
        &[
            ("table_catalog", Name),
            ("table_schema", Name),
            ("table_name", Name),
            ("column_name", Name),
            ("ordinal_position", Int4),
            ("column_default", Text),
            ("is_nullable", Text),
            ("data_type", Text),
            ("character_maximum_length", Int4),
            ("numeric_precision", Int4),
            ("numeric_precision_radix", Int4),
            ("numeric_scale", Int4),
            ("datetime_precision", Int4),
            ("udt_catalog", Name),
            ("udt_schema", Name),
            ("udt_name", Name),
            ("is_identity", Text),
            ("is_generated", Text),
            ("is_updatable", Text),
        ],
        columns,
    ),
];

const fn information(
    name: &'static str,
    columns: &'static [(&'static str, Type)],
    rows: fn(&Sources<'_>) -> Result<Vec<Row>>,
) -> View {
    View { schema: "information_schema", name, columns, rows }
}

fn schemata(sources: &Sources<'_>) -> Result<Vec<Row>> {
    let database = &*sources.context.session.database;
    let names = ["pg_catalog", "public", "information_schema"];
    Ok(names.map(|name| vec![text(database), text(name), text(super::OWNER)]).into())
}

fn tables(sources: &Sources<'_>) -> Result<Vec<Row>> {
    let database = &*sources.context.session.database;
    let tables = sources.tables();
    let rows = tables.iter().map(|table| {
        let kind = if table.is_temporary() { "LOCAL TEMPORARY" } else { "BASE TABLE" };
        vec![text(database), text(&*table.schema), text(&*table.name), text(kind), text("YES")]
    });
    Ok(rows.collect())
}

fn columns(sources: &Sources<'_>) -> Result<Vec<Row>> {
    let database = &*sources.context.session.database;
    let mut rows = Vec::new();
    for table in sources.tables() {
        for (column, position) in table.columns().iter().zip(1i32..) {
            let length = match column.ty {
                Type::Varchar(Some(length)) | Type::Char(Some(length)) => number(length),
                _ => Value::Null,
            };
            let (precision, scale) = match column.ty {
                Type::Int2 => (Value::Int4(16), Value::Int4(0)),
                Type::Int4 => (Value::Int4(32), Value::Int4(0)),
                Type::Int8 => (Value::Int4(64), Value::Int4(0)),
                Type::Float8 => (Value::Int4(53), Value::Null),
                _ => (Value::Null, Value::Null),
            };
            let radix = if precision.is_null() { Value::Null } else { Value::Int4(2) };
            let of_time = matches!(column.ty, Type::Timestamp | Type::Timestamptz);
            rows.push(vec![
                text(database),
                text(&*table.schema),
                text(&*table.name),
                text(&*column.name),
                Value::Int4(position),
                text_or_null(column.default_text(&table.name)),
                text(if column.not_null { "NO" } else { "YES" }),
                text(column.ty.name()),
                length,
                precision,
                radix,
                scale,
                if of_time { Value::Int4(6) } else { Value::Null },
                text(database),
                text("pg_catalog"),
                text(column.ty.typname()),
                text("NO"),
                text("NEVER"),
                text("YES"),
            ]);
        }
    }
    Ok(rows)
}
