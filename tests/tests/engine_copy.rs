//! COPY data of every shape reads as PostgreSQL reads it.

use walship_tests::wire::{Answer, Wire};
use walship_tests::{Options, Postgres, Random, TempRoot, Version, Walwriter};

/// What fields are put together from; most of it means something to one format or the other.
const PIECES: [&str; 26] = [
    "a", "b", "7", "x", "x4", "n", "N", "\\N", "\\", "\\\\", "\\t", "\\n", "\\x4", "\\101", "\t", "\n", "\r",
    ",", ";", "\"", "\"", "\"\"", "'", "\\.", "\u{e9}", "\r\n",
];

const LINE_ENDS: [&str; 4] = ["\n", "\n", "\r\n", "\r"];

/// Options, and the delimiter that they mean.
const FORMATS: [(&str, &str); 6] = [
    ("", "\t"),
    ("with (null 'N')", "\t"),
    ("with (delimiter ',', null 'a')", ","),
    ("with (format csv)", ","),
    ("with (format csv, quote '\'\'', escape '\\', null 'N')", ","),
    ("with (format csv, delimiter ';', header)", ";"),
];

fn one<T: Copy>(random: &mut Random, of: &[T]) -> T {
    of[random.below(of.len() as u64) as usize]
}

/// Some lines, most of them with two fields.
fn data(random: &mut Random, delimiter: &str) -> String {
    let (mut data, line_end) = (String::new(), one(random, &LINE_ENDS));
    for _ in 0..1 + random.below(4) {
        for field in 0..2 {
            for _ in 0..random.below(3) {
                data += one(random, &PIECES);
            }
            data += if field == 0 { delimiter } else { line_end };
        }
        if random.below(12) == 0 {
            data += "\\.\n";
        }
    }
    if random.below(4) == 0 {
        data.pop();
    }
    data
}

/// Loads `data` into the table, in pieces of `size`; what the table holds then, or the error.
fn load(wire: &mut Wire, format: &str, data: &[u8], size: usize) -> Answer {
    assert_eq!(wire.query("begin").error, None);
    wire.ask(&format!("copy t from stdin {format}"));
    wire.answer();
    for piece in data.chunks(size) {
        wire.send(b'd', piece);
    }
    wire.send(b'c', b"");
    let loaded = wire.answer();
    let mut answer = if loaded.error.is_some() { loaded } else { wire.query("select a, b from t") };
    // In the place of rows rolled back before, PostgreSQL may put them in another order.
    answer.rows.sort();
    assert_eq!(wire.query("rollback").error, None);
    answer
}

#[test]
fn copy_data_of_every_shape_is_read_as_by_postgresql() {
    let mut random = Random::new();
    let root = TempRoot::new("copy-shapes");
    let theirs = Postgres::start_new(&root, "postgres", Version::V15, Options::default());
    let ours = Walwriter::start_new(&root, "walwriter", &[]);
    let mut wires = [theirs.port(), ours.port()].map(Wire::connect);
    for wire in &mut wires {
        wire.value("create table t (a text, b text)");
    }
    let mut rows = 0;
    for _ in 0..4000 {
        let (format, delimiter) = one(&mut random, &FORMATS);
        let data = data(&mut random, delimiter);
        let size = 1 + random.below(8) as usize;
        let [theirs, ours] = wires.each_mut().map(|wire| load(wire, format, data.as_bytes(), size));
        let code = |answer: &Answer| answer.error.as_ref().map(|(code, _)| code.clone());
        let told = format!("{data:?} {format}: {theirs:?}, here {ours:?}");
        assert_eq!((&ours.rows, code(&ours)), (&theirs.rows, code(&theirs)), "{told}");
        rows += theirs.rows.len();
    }
    assert!(rows > 1000, "{rows} rows are too few to tell anything");
}
