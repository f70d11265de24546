//! From a record of COPY data to a row and its key.

use super::CopyRecord;
use crate::error::{SqlError, sqlstate};
use crate::expr::EvalContext;
use crate::plan::{CopyFromPlan, encode_key, not_null_violation};
use crate::row::RowWriter;
use crate::types::{Type, Value, binary};

impl CopyFromPlan {
    /// Appends a record's row to `row` and its key to `key` (nothing in a table without a primary key). The context is
    /// that of the columns' defaults.
    ///
    /// # Errors
    /// 22P04 for a wrong number of fields, 22P02, 22P03 and their kin for what is no value, 22001, 23502, 54000.
    pub fn encode(
        &self,
        record: &CopyRecord,
        context: &EvalContext<'_>,
        key: &mut Vec<u8>,
        row: &mut Vec<u8>,
    ) -> Result<(), SqlError> {
        if record.len() > self.columns.len() {
            return Err(SqlError::new(
                sqlstate::BAD_COPY_FILE_FORMAT,
                "extra data after last expected column",
            ));
        }
        if let Some(missing) = self.columns.get(record.len()) {
            let name = self.table.columns().get(usize::from(*missing)).map_or("", |c| &c.name);
            let message = format!("missing data for column \"{name}\"");
            return Err(SqlError::new(sqlstate::BAD_COPY_FILE_FORMAT, message));
        }
        let start = row.len();
        let mut writer = RowWriter::new(self.table.layout(), row);
        for (position, column) in self.table.columns().iter().enumerate() {
            let field = match self.columns.get(position) {
                // The usual case: the data has the columns in the table's order.
                Some(c) if usize::from(*c) == position => Some(position),
                _ => self.columns.iter().position(|c| usize::from(*c) == position),
            };
            let value = match field.and_then(|f| record.get(f)) {
                Some(Some(bytes)) => field_value(bytes, column.ty, self.options.binary)?,
                Some(None) => Value::Null,
                None => match self.table.default(position) {
                    Some(default) => default.eval(context)?,
                    None => Value::Null,
                },
            };
            if column.not_null && value.is_null() {
                return Err(not_null_violation(&self.table, &column.name));
            }
            writer.push(&value)?;
        }
        writer.finish()?;
        encode_key(&self.table, &row[start..], key)
    }
}

fn field_value(bytes: &[u8], ty: Type, binary: bool) -> Result<Value<'_>, SqlError> {
    let value = binary::parse_format(ty, bytes, binary)?;
    match ty {
        Type::Varchar(Some(_)) | Type::Char(_) => crate::expr::cast_value(value, ty.without_length(), ty),
        _ => Ok(value),
    }
}
