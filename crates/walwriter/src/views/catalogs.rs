//! Catalogs that hardly change: schemas, databases, roles, types.

use sql::{Type, Value};

use super::row::text;
use super::{OWNER, OWNER_OID, PG_CATALOG_OID, PUBLIC_OID, Row, Sources, View, view};
use crate::exec::Result;

pub(super) static VIEWS: &[View] = &[
    view(
        "pg_namespace",
        &[("oid", Type::Oid), ("nspname", Type::Name), ("nspowner", Type::Oid)],
        pg_namespace,
    ),
    view(
        "pg_database",
        &[
            ("oid", Type::Oid),
            ("datname", Type::Name),
            ("datdba", Type::Oid),
            ("encoding", Type::Int4),
            ("datistemplate", Type::Bool),
            ("datallowconn", Type::Bool),
            ("datconnlimit", Type::Int4),
            ("datcollate", Type::Text),
            ("datctype", Type::Text),
        ],
        pg_database,
    ),
    view("pg_roles", ROLE, pg_roles),
    view("pg_authid", ROLE, pg_roles),
    view(
        "pg_type",
        &[
            ("oid", Type::Oid),
            ("typname", Type::Name),
            ("typnamespace", Type::Oid),
            ("typlen", Type::Int2),
            ("typtype", Type::Text),
            ("typcategory", Type::Text),
            ("typdelim", Type::Text),
            ("typrelid", Type::Oid),
            ("typelem", Type::Oid),
            ("typarray", Type::Oid),
            ("typbasetype", Type::Oid),
        ],
        pg_type,
    ),
    view("pg_extension", &[("oid", Type::Oid), ("extname", Type::Name), ("extversion", Type::Text)], |_| {
        Ok(Vec::new())
    }),
];

const ROLE: &[(&str, Type)] = &[
    ("oid", Type::Oid),
    ("rolname", Type::Name),
    ("rolsuper", Type::Bool),
    ("rolinherit", Type::Bool),
    ("rolcreaterole", Type::Bool),
    ("rolcreatedb", Type::Bool),
    ("rolcanlogin", Type::Bool),
    ("rolreplication", Type::Bool),
    ("rolconnlimit", Type::Int4),
];

/// Types of results and columns, with the letter of their category.
const TYPES: &[(Type, &str)] = &[
    (Type::Bool, "B"),
    (Type::Bytea, "U"),
    (Type::Name, "S"),
    (Type::Int8, "N"),
    (Type::Int2, "N"),
    (Type::Int4, "N"),
    (Type::Text, "S"),
    (Type::Oid, "N"),
    (Type::Float8, "N"),
    (Type::Char(None), "S"),
    (Type::Varchar(None), "S"),
    (Type::Timestamp, "D"),
    (Type::Timestamptz, "D"),
    (Type::Interval, "T"),
    (Type::Numeric, "N"),
    (Type::Uuid, "U"),
    (Type::PgLsn, "U"),
    (Type::Jsonb, "U"),
];

fn pg_namespace(_: &Sources<'_>) -> Result<Vec<Row>> {
    let schemas = [(PG_CATALOG_OID, "pg_catalog"), (PUBLIC_OID, "public"), (13_000, "information_schema")];
    Ok(schemas.map(|(oid, name)| vec![Value::Oid(oid), text(name), Value::Oid(OWNER_OID)]).into())
}

fn pg_database(sources: &Sources<'_>) -> Result<Vec<Row>> {
    Ok(vec![vec![
        Value::Oid(engine::TreeId::DATABASE),
        text(&*sources.context.session.database),
        Value::Oid(OWNER_OID),
        Value::Int4(6),
        Value::Bool(false),
        Value::Bool(true),
        Value::Int4(-1),
        text("C"),
        text("C"),
    ]])
}

fn pg_roles(sources: &Sources<'_>) -> Result<Vec<Row>> {
    let role = |oid, name: &str| {
        let mut row = vec![Value::Oid(oid), text(name)];
        row.extend((0..6).map(|_| Value::Bool(true)));
        row.push(Value::Int4(-1));
        row
    };
    let mut roles = vec![role(OWNER_OID, OWNER)];
    let user = &sources.context.session.user;
    if user != OWNER {
        roles.push(role(OWNER_OID + 1, user));
    }
    Ok(roles)
}

fn pg_type(_: &Sources<'_>) -> Result<Vec<Row>> {
    let row = |(ty, category): &(Type, &str)| {
        let mut row = vec![Value::Oid(ty.oid()), text(ty.typname()), Value::Oid(PG_CATALOG_OID)];
        row.extend([Value::Int2(ty.typlen()), text("b"), text(*category), text(",")]);
        row.extend((0..4).map(|_| Value::Oid(0)));
        row
    };
    Ok(TYPES.iter().map(row).collect())
}
