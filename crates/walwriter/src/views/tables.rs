//! Tables, their columns and their keys: `pg_tables`, `pg_indexes`, `pg_class`, `pg_attribute`, `pg_index`.

use sql::Type::{Bool, Float8, Int2, Int4, Name, Oid, Text};
use sql::{TableDef, Value};

use super::row::{number, text, text_or_null};
use super::{INDEX_BIT, OWNER, OWNER_OID, PUBLIC_OID, Row, Sources, View, quote, view};
use crate::exec::Result;

pub(super) static VIEWS: &[View] = &[
    view(
        "pg_tables",
        &[
            ("schemaname", Name),
            ("tablename", Name),
            ("tableowner", Name),
            ("tablespace", Name),
            ("hasindexes", Bool),
            ("hasrules", Bool),
            ("hastriggers", Bool),
            ("rowsecurity", Bool),
        ],
        pg_tables,
    ),
    view(
        "pg_indexes",
        &[
            ("schemaname", Name),
            ("tablename", Name),
            ("indexname", Name),
            ("tablespace", Name),
            ("indexdef", Text),
        ],
        pg_indexes,
    ),
    view(
        "pg_class",
        &[
            ("oid", Oid),
            ("relname", Name),
            ("relnamespace", Oid),
            ("reltype", Oid),
            ("relowner", Oid),
            ("relam", Oid),
            ("relfilenode", Oid),
            ("reltablespace", Oid),
            ("relpages", Int4),
            ("reltuples", Float8),
            ("relhasindex", Bool),
            ("relisshared", Bool),
            ("relpersistence", Text),
            ("relkind", Text),
            ("relnatts", Int2),
            ("relispartition", Bool),
            // Not PostgreSQL's: what its tools get through a join.
            ("nspname", Name),
        ],
        pg_class,
    ),
    view(
        "pg_attribute",
        &[
            ("attrelid", Oid),
            ("attname", Name),
            ("atttypid", Oid),
            ("attlen", Int2),
            ("attnum", Int2),
            ("atttypmod", Int4),
            ("attnotnull", Bool),
            ("atthasdef", Bool),
            ("attisdropped", Bool),
            ("attidentity", Text),
            ("attgenerated", Text),
            // Not PostgreSQL's: what its tools get through joins and functions.
            ("format_type", Text),
            ("default_text", Text),
        ],
        pg_attribute,
    ),
    view(
        "pg_index",
        &[
            ("indexrelid", Oid),
            ("indrelid", Oid),
            ("indnatts", Int2),
            ("indisunique", Bool),
            ("indisprimary", Bool),
            ("indisvalid", Bool),
            ("indkey", Text),
            // Not PostgreSQL's: what its tools get through joins and functions.
            ("index_name", Name),
            ("definition", Text),
        ],
        pg_index,
    ),
];

fn pg_tables(sources: &Sources<'_>) -> Result<Vec<Row>> {
    let row = |table: &TableDef| {
        let mut row = vec![text(&*table.schema), text(&*table.name), text(OWNER), Value::Null];
        row.push(Value::Bool(table.primary_key.is_some()));
        row.extend((0..3).map(|_| Value::Bool(false)));
        row
    };
    Ok(sources.tables().iter().map(|table| row(table)).collect())
}

fn pg_indexes(sources: &Sources<'_>) -> Result<Vec<Row>> {
    let row = |table: &TableDef| {
        let key = table.primary_key.as_ref()?;
        let (schema, name, index) = (text(&*table.schema), text(&*table.name), text(&*key.name));
        Some(vec![schema, name, index, Value::Null, text(index_definition(table))])
    };
    Ok(sources.tables().iter().filter_map(|table| row(table)).collect())
}

/// As `pg_get_indexdef` has it.
fn index_definition(table: &TableDef) -> String {
    let (index, schema, name) = (quote(table.key_name()), quote(&table.schema), quote(&table.name));
    let column = |column: &u16| table.columns().get(usize::from(*column)).map(|column| quote(&column.name));
    let columns: Vec<String> = table.key_columns().iter().filter_map(column).collect();
    format!("CREATE UNIQUE INDEX {index} ON {schema}.{name} USING btree ({})", columns.join(", "))
}

fn pg_class(sources: &Sources<'_>) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for table in sources.tables() {
        let files = sources.context.shared.engine.pool().files();
        // A tree that was just created has no files yet.
        let blocks = files.blocks(engine::TreeId::new(table.tree)).unwrap_or(0);
        rows.push(class(&table, None, blocks));
        if let Some(key) = &table.primary_key {
            rows.push(class(&table, Some(&key.name), 0));
        }
    }
    Ok(rows)
}

/// The row of a table, or of its index.
fn class(table: &TableDef, index: Option<&str>, blocks: u32) -> Row {
    let (oid, method, kind) = match index {
        Some(_) => (table.oid | INDEX_BIT, 403, "i"),
        None => (table.oid, 2, "r"),
    };
    let columns = if index.is_some() { table.key_columns().len() } else { table.columns().len() };
    vec![
        Value::Oid(oid),
        text(index.unwrap_or(&table.name)),
        Value::Oid(PUBLIC_OID),
        Value::Oid(0),
        Value::Oid(OWNER_OID),
        Value::Oid(method),
        Value::Oid(table.tree),
        Value::Oid(0),
        number(blocks),
        Value::Float8(-1.0),
        Value::Bool(index.is_none() && table.primary_key.is_some()),
        Value::Bool(false),
        text(if table.is_temporary() { "t" } else { "p" }),
        text(kind),
        Value::Int2(columns as i16),
        Value::Bool(false),
        text(&*table.schema),
    ]
}

fn pg_attribute(sources: &Sources<'_>) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for table in sources.tables() {
        for (column, position) in table.columns().iter().zip(1i16..) {
            rows.push(vec![
                Value::Oid(table.oid),
                text(&*column.name),
                Value::Oid(column.ty.oid()),
                Value::Int2(column.ty.typlen()),
                Value::Int2(position),
                Value::Int4(column.ty.typmod()),
                Value::Bool(column.not_null),
                Value::Bool(column.default.is_some() || column.serial),
                Value::Bool(false),
                text(""),
                text(""),
                text(column.ty.display_name()),
                text_or_null(column.default_text(&table.name)),
            ]);
        }
    }
    Ok(rows)
}

fn pg_index(sources: &Sources<'_>) -> Result<Vec<Row>> {
    let row = |table: &TableDef| {
        let key = table.primary_key.as_ref()?;
        let columns: Vec<String> = key.columns.iter().map(|column| (column + 1).to_string()).collect();
        let mut row = vec![Value::Oid(table.oid | INDEX_BIT), Value::Oid(table.oid)];
        row.push(Value::Int2(columns.len() as i16));
        row.extend((0..3).map(|_| Value::Bool(true)));
        row.push(text(columns.join(" ")));
        row.extend([text(&*key.name), text(index_definition(table))]);
        Some(row)
    };
    Ok(sources.tables().iter().filter_map(|table| row(table)).collect())
}
