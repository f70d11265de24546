//! The command line.

use std::path::PathBuf;

use anyhow::{Context, Result, bail, ensure};

use crate::plan::number;

/// The rows, in the order in which they are measured.
pub const ROWS: [&str; 6] = ["oltp", "synchronous", "replay", "recovery", "copy", "ship"];

/// What was asked for.
pub struct Options {
    /// Where the old programs are.
    pub old: PathBuf,
    rows: Vec<String>,
    /// How many pairs each row has.
    pub pairs: usize,
    /// How long each pgbench runs; logs grow with it.
    pub seconds: u32,
    /// Below it, all of the interval means slower.
    pub limit: f64,
    /// Whether JSON is printed instead of a table.
    pub json: bool,
}

impl Options {
    pub fn of_command_line() -> Result<Self> {
        let mut args = std::env::args().skip(1).filter(|arg| arg != "--bench");
        let old = PathBuf::from(args.next().context("which directory has the old programs?")?);
        ensure!(old.join("walwriter").is_file(), "there is no walwriter in {}", old.display());
        let mut options = Self { old, rows: Vec::new(), pairs: 20, seconds: 2, limit: 0.97, json: false };
        while let Some(arg) = args.next() {
            let mut value = || args.next().with_context(|| format!("{arg} needs a value"));
            match arg.as_str() {
                "--pairs" => options.pairs = number(&value()?)? as usize,
                "--seconds" => options.seconds = number(&value()?)?,
                "--limit" => options.limit = value()?.parse().context("--limit needs a ratio")?,
                "--json" => options.json = true,
                row if ROWS.contains(&row) => options.rows.push(arg),
                _ => bail!(
                    "what is {arg}? Rows: {}; options: --pairs N, --seconds N, --limit RATIO, --json",
                    ROWS.join(" ")
                ),
            }
        }
        ensure!(options.pairs >= 6, "fewer than 6 pairs say nothing about the median's 95 % interval");
        Ok(options)
    }

    /// Whether `row` is to be measured: all are if none was named.
    pub fn wants(&self, row: &str) -> bool {
        self.rows.is_empty() || self.rows.iter().any(|wanted| wanted == row)
    }
}
