//! COPY data in its two formats, cut into messages anywhere.
#![no_main]

use std::sync::{Arc, LazyLock};

use libfuzzer_sys::fuzz_target;
use sql::catalog::{ColumnDef, PrimaryKey, TableDef};
use sql::copy::{CopyDecoder, CopyEncoder, CopyOptions, CopyRecord};
use sql::expr::NoServer;
use sql::plan::CopyFromPlan;
use sql::row::RowView;
use sql::{EvalContext, Type, Value};

/// A record of fields that are one byte each, and the numbers that say where they are.
const PER_BYTE: usize = 256;

fuzz_target!(|input: &[u8]| {
    let table = Arc::clone(&TABLE);
    walship_fuzz::bounded_by(PER_BYTE, input, |input| {
        let Some((&[flags, delimiter, cut], data)) = input.split_first_chunk() else { return };
        let options = options(flags, delimiter);
        let whole = read(&options, &[data]);
        let (first, second) = data.split_at((usize::from(cut) * 3).min(data.len()));
        assert_eq!(whole, read(&options, &[first, second]));
        load(&options, data, table);
        if let Some(rows) = whole {
            written_again(&options, &rows);
        }
    });
});

static TABLE: LazyLock<Arc<TableDef>> = LazyLock::new(|| {
    let types =
        [Type::Int4, Type::Text, Type::Varchar(Some(3)), Type::Char(Some(2)), Type::Bytea, Type::Jsonb];
    let column = |(number, &ty): (usize, &Type)| {
        let name = format!("c{number}");
        ColumnDef { name, ty, not_null: number < 2, default: None, serial: false }
    };
    let columns = types.iter().enumerate().map(column).collect();
    let key = PrimaryKey { name: "t_pkey".to_owned(), columns: vec![1, 0] };
    Arc::new(TableDef::new(16_384, "t", columns, Some(key), 16_384).expect("a table"))
});

/// Options that COPY accepts.
fn options(flags: u8, delimiter: u8) -> CopyOptions {
    let csv = flags & 1 != 0;
    let mut options = if csv { CopyOptions::csv() } else { CopyOptions::default() };
    options.header = flags & 2 != 0;
    if flags & 4 != 0 {
        options.escape = b'\\';
    }
    if flags & 8 != 0 {
        options.null = b"NULL".to_vec();
    }
    if flags & 16 != 0 {
        options.quote = b'\'';
    }
    if b";|:~^".contains(&delimiter) {
        options.delimiter = delimiter;
    }
    options
}

type Rows = Vec<Vec<Option<Vec<u8>>>>;

/// The rows; nothing if the data is not what it should be.
fn read(options: &CopyOptions, pieces: &[&[u8]]) -> Option<Rows> {
    let mut decoder = CopyDecoder::new(options.clone());
    let (mut record, mut rows) = (CopyRecord::default(), Rows::new());
    let mut drain = |decoder: &mut CopyDecoder| {
        while decoder.next(&mut record).ok()? {
            rows.push((0..record.len()).map(|at| record.get(at).flatten().map(<[u8]>::to_vec)).collect());
        }
        Some(())
    };
    for piece in pieces {
        decoder.feed(piece).ok()?;
        drain(&mut decoder)?;
    }
    decoder.end();
    drain(&mut decoder)?;
    Some(rows)
}

/// What was read, written and read again, is the same; only the header is not there then. Not so in PostgreSQL's text format
/// a value that is the very text that stands for NULL.
fn written_again(options: &CopyOptions, rows: &Rows) {
    let options = CopyOptions { header: false, ..options.clone() };
    let is_null_text = |field: &Option<Vec<u8>>| field.as_ref().is_some_and(|field| *field == options.null);
    if !options.csv && rows.iter().flatten().any(is_null_text) {
        return;
    }
    let (mut encoder, mut out) = (CopyEncoder::new(options.clone()), Vec::new());
    for row in rows {
        // The encoder is given values, of which texts are written as they are.
        let Some(values) = (row.iter())
            .map(|field| match field {
                None => Some(Value::Null),
                Some(bytes) => std::str::from_utf8(bytes).ok().map(Value::text),
            })
            .collect::<Option<Vec<_>>>()
        else {
            return;
        };
        encoder.row(values.iter().map(|value| (value, Type::Text)), &mut out);
    }
    assert_eq!(read(&options, &[&out]).as_ref(), Some(rows), "{:?}", String::from_utf8_lossy(&out));
}

/// Records become rows of a table, or are refused.
fn load(options: &CopyOptions, data: &[u8], table: Arc<TableDef>) {
    let columns = vec![0, 1, 2, 3, 4, 5];
    let plan = CopyFromPlan { table, columns, options: options.clone() };
    let mut decoder = CopyDecoder::new(options.clone());
    let (mut record, mut key, mut row) = (CopyRecord::default(), Vec::new(), Vec::new());
    if decoder.feed(data).is_err() {
        return;
    }
    decoder.end();
    while let Ok(true) = decoder.next(&mut record) {
        (key.clear(), row.clear());
        if plan.encode(&record, &EvalContext::new(&[], &NoServer), &mut key, &mut row).is_ok() {
            let view = RowView::new(plan.table.layout(), &row).expect("a row");
            for column in 0..6 {
                view.get(column).expect("a column");
            }
        }
    }
}
