//! What the pairs came to: a table, or JSON.

use anyhow::Result;
use walship_tests::paired::Ratios;

use crate::builds::{NEW, OLD};
use crate::measure::median;
use crate::options::Options;

/// One thing that was measured.
struct Row {
    name: String,
    unit: &'static str,
    /// What each pair came to, the old build's figure first. More is better.
    pairs: Vec<[f64; 2]>,
    ratios: Ratios,
}

/// All of them.
pub struct Outcome {
    pairs: usize,
    limit: f64,
    json: bool,
    rows: Vec<Row>,
}

impl Outcome {
    pub const fn new(options: &Options) -> Self {
        Self { pairs: options.pairs, limit: options.limit, json: options.json, rows: Vec::new() }
    }

    /// Measures both builds in pairs, after a run of each that does not count. `run` gives the figure of that build.
    pub fn compare(
        &mut self,
        name: impl Into<String>,
        unit: &'static str,
        mut run: impl FnMut(usize) -> Result<f64>,
    ) -> Result<()> {
        let mut row = Row { name: name.into(), unit, pairs: Vec::new(), ratios: Ratios::default() };
        for build in [OLD, NEW] {
            run(build)?;
        }
        for pair in 0..self.pairs {
            let mut figures = [0.0; 2];
            let order = if pair % 2 == 0 { [OLD, NEW] } else { [NEW, OLD] };
            for build in order {
                figures[build] = run(build)?;
            }
            let [old, new] = figures;
            eprintln!(
                "    {} {}/{}: {old:.0} {new:.0} {unit}: {:.3}",
                row.name,
                pair + 1,
                self.pairs,
                new / old
            );
            row.ratios.add(old, new);
            row.pairs.push(figures);
        }
        self.rows.push(row);
        Ok(())
    }

    /// Whether a row is slower for certain.
    pub fn is_slower(&self) -> bool {
        self.rows.iter().any(|row| self.row_is_slower(row))
    }

    fn row_is_slower(&self, row: &Row) -> bool {
        row.ratios.interval().1 < self.limit
    }

    pub fn print(&self) {
        if self.json { self.print_json() } else { self.print_table() }
    }

    fn print_table(&self) {
        println!("\n{} pairs a row; slower: all of the interval is below {}.\n", self.pairs, self.limit);
        println!("| what | unit | old | new | new / old | 95 % interval | |");
        println!("|---|---|---|---|---|---|---|");
        for row in &self.rows {
            let side = |build: usize| median(&row.pairs.iter().map(|pair| pair[build]).collect::<Vec<_>>());
            let (low, high) = row.ratios.interval();
            println!(
                "| {} | {} | {:.0} | {:.0} | {:.3} | {low:.3}-{high:.3} | {} |",
                row.name,
                row.unit,
                side(OLD),
                side(NEW),
                row.ratios.median(),
                if self.row_is_slower(row) { "**slower**" } else { "" }
            );
        }
    }

    fn print_json(&self) {
        let rows: Vec<_> = self
            .rows
            .iter()
            .map(|row| {
                let (low, high) = row.ratios.interval();
                serde_json::json!({
                    "row": row.name, "unit": row.unit, "pairs": row.pairs, "median_ratio": row.ratios.median(),
                    "low": low, "high": high, "slower": self.row_is_slower(row),
                })
            })
            .collect();
        println!(
            "{:#}",
            serde_json::json!({ "limit": self.limit, "interval": "95 %, sign test", "rows": rows })
        );
    }
}
