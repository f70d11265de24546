use proptest::prelude::*;

use super::*;
use crate::types::{Type, Value};

type Rows = Vec<Vec<Option<String>>>;

fn decode(data: &[u8], options: &CopyOptions, pieces: usize) -> Result<Rows, crate::SqlError> {
    let mut decoder = CopyDecoder::new(options.clone());
    let (mut record, mut rows) = (CopyRecord::default(), Rows::new());
    let mut drain = |decoder: &mut CopyDecoder| -> Result<(), crate::SqlError> {
        while decoder.next(&mut record)? {
            let field = |i| record.get(i).unwrap().map(|b| String::from_utf8(b.to_vec()).unwrap());
            rows.push((0..record.len()).map(field).collect());
        }
        Ok(())
    };
    for piece in data.chunks(pieces.max(1)) {
        decoder.feed(piece)?;
        drain(&mut decoder)?;
    }
    decoder.end();
    drain(&mut decoder)?;
    Ok(rows)
}

fn encode(rows: &Rows, options: &CopyOptions) -> Vec<u8> {
    let (mut encoder, mut out) = (CopyEncoder::new(options.clone()), Vec::new());
    encoder.header(["a", "b"].into_iter(), &mut out);
    for row in rows {
        let values: Vec<Value<'_>> =
            row.iter().map(|f| f.as_deref().map_or(Value::Null, Value::text)).collect();
        encoder.row(values.iter().map(|v| (v, Type::Text)), &mut out);
    }
    encoder.trailer(&mut out);
    out
}

fn some(fields: &[&str]) -> Vec<Option<String>> {
    fields.iter().map(|f| (*f != "NULL").then(|| (*f).to_owned())).collect()
}

proptest! {
    #[test]
    fn what_is_written_is_read_however_it_is_split(
        rows in proptest::collection::vec(
            proptest::collection::vec(proptest::option::of("[a-c,;\"'\\\\\t\n\r.N\u{e9}]{0,6}"), 1..4), 0..6),
        csv in any::<bool>(), header in any::<bool>(), odd in any::<bool>(), pieces in 1usize..9,
    ) {
        let mut options = if csv { CopyOptions::csv() } else { CopyOptions::default() };
        options.header = header;
        if odd {
            options.delimiter = b';';
            options.escape = if csv { b'\\' } else { b'"' };
            options.null = b"NN".to_vec();
        }
        // In the text format a value that is the very text for NULL reads as NULL, in PostgreSQL as here.
        prop_assume!(csv || !rows.iter().flatten().flatten().any(|field| field.as_bytes() == options.null));
        prop_assert_eq!(decode(&encode(&rows, &options), &options, pieces).unwrap(), rows);
    }

    #[test]
    fn what_is_written_in_binary_is_read_however_it_is_split(
        rows in proptest::collection::vec(
            proptest::collection::vec(proptest::option::of("[a-c\0\n\\\\]{0,6}"), 0..4), 0..6),
        pieces in 1usize..9,
    ) {
        let options = CopyOptions { binary: true, ..CopyOptions::default() };
        prop_assert_eq!(decode(&encode(&rows, &options), &options, pieces).unwrap(), rows);
    }

    #[test]
    fn any_bytes_are_records_or_an_error(data in proptest::collection::vec(any::<u8>(), 0..80), csv in any::<bool>(), binary in any::<bool>(), header in any::<bool>(), pieces in 1usize..9) {
        let mut options = if csv { CopyOptions::csv() } else { CopyOptions::default() };
        options.binary = binary;
        let mut decoder = CopyDecoder::new(options);
        let mut record = CopyRecord::default();
        if binary && header {
            decoder.feed(b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0").unwrap();
        }
        for piece in data.chunks(pieces) {
            decoder.feed(piece).unwrap();
            while let Ok(true) = decoder.next(&mut record) {}
        }
        decoder.end();
        for _ in 0..100 {
            let _either = decoder.next(&mut record);
        }
    }
}

#[test]
fn text_escapes_are_postgresqls() {
    let options = CopyOptions::default();
    let rows = decode(b"1\\t2\t\\N\t\\\\N\n\\x41\\101\\q\t\t\\\n\n\\.\nignored", &options, 3).unwrap();
    assert_eq!(rows, [some(&["1\t2", "NULL", "\\N"]), some(&["AAq", "", "\n"])]);
    assert_eq!(decode(b"a\tb\r\nc\td\r\n", &options, 1).unwrap(), [some(&["a", "b"]), some(&["c", "d"])]);
    assert_eq!(decode(b"last", &options, 2).unwrap(), [some(&["last"])]);
    assert_eq!(decode(b"a\rb\n", &options, 9).unwrap_err().sqlstate(), "22P04");
}

#[test]
fn csv_quotes_tell_null_from_the_empty_text() {
    let mut options = CopyOptions::csv();
    options.header = true;
    let rows = decode(b"a,b\n,\"\"\n\"x\"\"y\",\"a,\nb\"\np\"q,r\"s,t\n", &options, 2).unwrap();
    assert_eq!(rows, [some(&["NULL", ""]), some(&["x\"y", "a,\nb"]), some(&["pq,rs", "t"])]);
    assert_eq!(decode(b"a\n\"open\n", &options, 9).unwrap_err().sqlstate(), "22P04");
}

#[test]
fn damaged_binary_data_is_refused() {
    let options = CopyOptions { binary: true, ..CopyOptions::default() };
    let header = &encode(&Vec::new(), &options)[..19];
    assert_eq!(header, b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0");
    let refused = |data: &[u8]| decode(data, &options, 5).unwrap_err();
    let after = |rest: &[u8]| [header, rest].concat();
    assert_eq!(decode(&after(b""), &options, 4).unwrap(), Rows::new(), "a missing trailer is forgiven");
    assert_eq!(refused(b"PGCOPX").message(), "COPY file signature not recognized");
    assert_eq!(refused(b"").message(), "COPY file signature not recognized");
    assert_eq!(
        refused(b"PGCOPY\n\xff\r\n\0\0\x01\0\0\0\0\0\0").message(),
        "invalid COPY file header (WITH OIDS)"
    );
    assert_eq!(refused(&after(b"\xff\xfe")).message(), "row field count is negative");
    assert_eq!(refused(&after(b"\0\x01\xff\xff\xff\xfe")).message(), "invalid field size");
    assert_eq!(refused(&after(b"\0\x01\0\0\0\x09abc")).message(), "unexpected EOF in COPY data");
    assert_eq!(decode(&after(b"\0\x01\0\0\0\x01a\xff\xffmore"), &options, 3).unwrap(), [some(&["a"])]);
}

#[test]
fn fields_beyond_those_that_a_table_can_have_are_not_looked_at() {
    for options in [CopyOptions::default(), CopyOptions::csv()] {
        let delimiter = char::from(options.delimiter).to_string();
        let rows =
            decode(format!("{}\n1\n", delimiter.repeat(1 << 20)).as_bytes(), &options, 1 << 16).unwrap();
        let lengths: Vec<_> = rows.iter().map(Vec::len).collect();
        assert_eq!(lengths, [1601, 1]);
    }
}
