//! Bulk COPY of the same file into tables of several kinds.

use std::time::Duration;

use anyhow::Result;
use walship_tests::TempRoot;

use crate::measure::{mb_per_s, timed};
use crate::plan::Plan;
use crate::report::{Aim, Comparison};
use crate::server::Server;

pub const ROWS: u32 = 1_000_000;
/// A prime that does not divide the number of rows, so that its multiples meet every key once.
const STEP: u32 = 611_953;

/// A table and how it is filled.
pub struct Case {
    pub name: &'static str,
    columns: &'static str,
    file: &'static str,
    /// The table is made by the transaction that fills it.
    created_with_it: bool,
}

pub const CASES: [Case; 4] = [
    case("into a table with a primary key, in its order", "key int primary key, value text", "ascending"),
    case("into a table with a primary key, in no order", "key int primary key, value text", "shuffled"),
    case("into a table without a key", "key int, value text", "shuffled"),
    Case {
        created_with_it: true,
        ..case(
            "into a new table with a primary key, made by the same transaction",
            "key int primary key, value text",
            "ascending",
        )
    },
];

const fn case(name: &'static str, columns: &'static str, file: &'static str) -> Case {
    Case { name, columns, file, created_with_it: false }
}

pub fn run(root: &TempRoot, plan: &Plan) -> Result<()> {
    let mut servers = Server::pair(root, "copy");
    write_files(root);
    let mut table = Comparison::new(format!("COPY of {ROWS} rows with texts of 100 bytes"));
    for case in CASES {
        for _ in 0..plan.rounds {
            for server in &mut servers {
                server.turn(|server| fill(server, root, &case, &mut table))?;
            }
        }
    }
    table.print();
    Ok(())
}

/// Writes the files that are copied.
pub fn write_files(root: &TempRoot) {
    let row = |key: u32| format!("{key}\t{key:0100}\n");
    root.file("ascending", (1..=ROWS).map(row).collect::<String>());
    let shuffled = (1..=u64::from(ROWS)).map(|n| (n * u64::from(STEP) % u64::from(ROWS)) as u32 + 1);
    root.file("shuffled", shuffled.map(row).collect::<String>());
}

fn fill(server: &mut Server, root: &TempRoot, case: &Case, table: &mut Comparison) -> Result<()> {
    let bytes = root.join(case.file).metadata()?.len();
    let Filled { wall, cpu } = copy_into(server, root, case)?;
    let (side, rate) = (server.side(), f64::from(ROWS) / wall.as_secs_f64());
    eprintln!("    COPY {} {}: {rate:.0} rows/s", case.name, server.name());
    table.add(side, &format!("{}, rows/s", case.name), Aim::AtLeast(2.0), rate);
    table.add(side, &format!("{}, MB/s", case.name), Aim::AtLeast(2.0), mb_per_s(bytes, wall));
    table.add(
        side,
        &format!("{}, server CPU, us a row", case.name),
        Aim::AtMost(0.33),
        cpu * 1e6 / f64::from(ROWS),
    );
    Ok(())
}

/// What filling a table took.
pub struct Filled {
    pub wall: Duration,
    /// CPU seconds of the server.
    cpu: f64,
}

/// Makes the table, fills it, and drops it.
pub fn copy_into(server: &mut Server, root: &TempRoot, case: &Case) -> Result<Filled> {
    let create = format!("create table bulk ({})", case.columns);
    let file = root.join(case.file);
    let copy = format!("\\copy bulk from '{}'", file.display());
    let mut arguments = vec!["-Xq", "-v", "ON_ERROR_STOP=1"];
    if case.created_with_it {
        arguments.extend(["-1", "-c", &create]);
    } else {
        server.sql(&create);
    }
    arguments.extend(["-c", &copy]);
    let cpu = server.cpu()?;
    let wall = timed(server.psql(&arguments)).wall;
    let cpu = server.cpu()? - cpu;
    server.sql("drop table bulk");
    server.sql("checkpoint");
    Ok(Filled { wall, cpu })
}
