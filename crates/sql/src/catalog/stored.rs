//! A table's definition as bytes in the catalog tree: JSON, so that a later version can add what it needs.

use serde_json::{Map, Value as Json, json};

use super::{ColumnDef, PUBLIC, PrimaryKey, TableDef};
use crate::error::SqlError;
use crate::row::MOST_COLUMNS;
use crate::types::Type;

impl TableDef {
    /// The bytes to store.
    pub fn encode(&self) -> Vec<u8> {
        let columns: Vec<Json> = self
            .columns()
            .iter()
            .map(|c| {
                let mut column = json!({
                    "name": c.name, "type": c.ty.oid(), "typmod": c.ty.typmod(), "not_null": c.not_null,
                });
                if let Some(default) = &c.default {
                    column["default"] = json!(default);
                }
                if c.serial {
                    column["serial"] = json!(true);
                }
                column
            })
            .collect();
        let mut table = json!({
            "oid": self.oid, "schema": self.schema, "name": self.name, "tree": self.tree, "columns": columns,
        });
        if let Some(key) = &self.primary_key {
            table["primary_key"] = json!({ "name": key.name, "columns": key.columns });
        }
        table.to_string().into_bytes()
    }

    /// Reads [`TableDef::encode`] back.
    ///
    /// # Errors
    /// XX001 when the bytes are no definition.
    pub fn decode(bytes: &[u8]) -> Result<Self, SqlError> {
        let bad = || SqlError::corrupted("table definition");
        let json: Json = serde_json::from_slice(bytes).map_err(|_| bad())?;
        let table = json.as_object().ok_or_else(bad)?;
        let columns = table.get("columns").and_then(Json::as_array).ok_or_else(bad)?;
        let columns = columns.iter().map(|c| column(c).ok_or_else(bad)).collect::<Result<Vec<_>, _>>()?;
        if columns.len() > MOST_COLUMNS {
            return Err(bad());
        }
        let primary_key = match table.get("primary_key") {
            Some(key) => Some(primary_key(key, columns.len()).ok_or_else(bad)?),
            None => None,
        };
        let name = text(table, "name").ok_or_else(bad)?;
        let (oid, tree) = (number(table, "oid").ok_or_else(bad)?, number(table, "tree").ok_or_else(bad)?);
        let schema = text(table, "schema").unwrap_or_else(|| PUBLIC.to_owned());
        Ok(Self::new(oid, name, columns, primary_key, tree)?.in_schema(schema))
    }
}

fn text(object: &Map<String, Json>, name: &str) -> Option<String> {
    object.get(name)?.as_str().map(str::to_owned)
}

fn number(object: &Map<String, Json>, name: &str) -> Option<u32> {
    u32::try_from(object.get(name)?.as_u64()?).ok()
}

fn column(json: &Json) -> Option<ColumnDef> {
    let column = json.as_object()?;
    let typmod = i32::try_from(column.get("typmod")?.as_i64()?).ok()?;
    let ty = Type::from_oid(number(column, "type")?, typmod).filter(|ty| ty.is_storable())?;
    let not_null = column.get("not_null")?.as_bool()?;
    let serial = column.get("serial").and_then(Json::as_bool).unwrap_or(false);
    Some(ColumnDef { name: text(column, "name")?, ty, not_null, default: text(column, "default"), serial })
}

fn primary_key(json: &Json, count: usize) -> Option<PrimaryKey> {
    let key = json.as_object()?;
    let column = |c: &Json| u16::try_from(c.as_u64()?).ok().filter(|c| usize::from(*c) < count);
    let columns = key.get("columns")?.as_array()?.iter().map(column).collect::<Option<Vec<_>>>()?;
    Some(PrimaryKey { name: text(key, "name")?, columns }).filter(|key| !key.columns.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_definition_is_read_back_as_it_was_written() {
        let column = |name: &str, ty, not_null, default: Option<&str>| ColumnDef {
            name: name.to_owned(),
            ty,
            not_null,
            default: default.map(str::to_owned),
            serial: name == "s",
        };
        let columns = vec![
            column("a b", Type::Int4, true, None),
            column("c", Type::Char(Some(22)), false, Some("'x'")),
            column("v", Type::Varchar(Some(10)), false, None),
            column("t", Type::Timestamptz, false, Some("now()")),
            column("s", Type::Int2, true, None),
        ];
        let key = PrimaryKey { name: "t_pkey".to_owned(), columns: vec![0] };
        let table = TableDef::new(16384, "t", columns, Some(key), 16385).unwrap().in_schema("pg_temp_3");
        let read = TableDef::decode(&table.encode()).unwrap();
        assert_eq!(read.columns(), table.columns());
        assert_eq!(read.primary_key, table.primary_key);
        assert_eq!((read.oid, read.tree, read.name.as_str()), (16384, 16385, "t"));
        assert!(read.default(3).is_some() && read.default(0).is_none());
        assert!(read.default(4).is_some() && read.serial_columns().eq([4]));
        assert_eq!(read.full_name(), "pg_temp_3\0t");
    }

    #[test]
    fn damaged_definitions_are_errors() {
        for bytes in [&b""[..], b"{}", b"[]", br#"{"oid":1,"name":"t","tree":2,"columns":[{"name":"a","type":9999,"typmod":-1,"not_null":true}]}"#,
            br#"{"oid":1,"name":"t","tree":2,"columns":[],"primary_key":{"name":"k","columns":[0]}}"#] {
            assert_eq!(TableDef::decode(bytes).unwrap_err().sqlstate(), "XX001");
        }
    }
}
