//! The tables: a row for each thing measured, PostgreSQL's figures, ours, their ratio and what it should be.

use crate::measure::median;

/// Whose figure it is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Side {
    PostgreSql,
    Ours,
}

/// What the project has set itself.
#[derive(Clone, Copy)]
pub enum Aim {
    Nothing,
    /// At least so many times PostgreSQL's figure.
    AtLeast(f64),
    /// At most so many times PostgreSQL's figure.
    AtMost(f64),
    /// Less than this, whatever PostgreSQL's figure is.
    Below(f64),
}

impl Aim {
    fn describe(self) -> String {
        match self {
            Self::Nothing => String::new(),
            Self::AtLeast(ratio) => format!("{ratio}"),
            Self::AtMost(ratio) => format!("≤ {ratio}"),
            Self::Below(value) => format!("< {value}"),
        }
    }

    fn verdict(self, ratio: f64, ours: f64) -> &'static str {
        let met = match self {
            Self::Nothing => return "",
            Self::AtLeast(aim) => ratio >= aim,
            Self::AtMost(aim) => ratio <= aim,
            Self::Below(aim) => ours < aim,
        };
        if met { "met" } else { "**missed**" }
    }
}

/// A table under construction.
pub struct Comparison {
    title: String,
    rows: Vec<Row>,
}

struct Row {
    what: String,
    aim: Aim,
    theirs: Vec<f64>,
    ours: Vec<f64>,
}

impl Comparison {
    pub fn new(title: impl Into<String>) -> Self {
        Self { title: title.into(), rows: Vec::new() }
    }

    /// Adds what was measured in one round.
    pub fn add(&mut self, side: Side, what: &str, aim: Aim, value: f64) {
        if !self.rows.iter().any(|row| row.what == what) {
            self.rows.push(Row { what: what.to_owned(), aim, theirs: Vec::new(), ours: Vec::new() });
        }
        for row in self.rows.iter_mut().filter(|row| row.what == what) {
            match side {
                Side::PostgreSql => row.theirs.push(value),
                Side::Ours => row.ours.push(value),
            }
        }
    }

    /// Prints the table in Markdown: medians, and what they lie between.
    pub fn print(&self) {
        println!("\n### {}\n", self.title);
        println!("| what | PostgreSQL 15 | min-max | walwriter | min-max | ratio | aim | |");
        println!("|---|---|---|---|---|---|---|---|");
        for row in &self.rows {
            let (theirs, ours) = (median(&row.theirs), median(&row.ours));
            let ratio = ours / theirs;
            println!(
                "| {} | {} | {} | {} | {} | {} | {} | {} |",
                row.what,
                shown(theirs),
                range(&row.theirs),
                shown(ours),
                range(&row.ours),
                shown_ratio(ratio),
                row.aim.describe(),
                row.aim.verdict(ratio, ours)
            );
        }
    }
}

fn range(values: &[f64]) -> String {
    let low = values.iter().copied().fold(f64::INFINITY, f64::min);
    let high = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    if values.len() > 1 { format!("{}-{}", shown(low), shown(high)) } else { String::new() }
}

fn shown(value: f64) -> String {
    match value.abs() {
        _ if !value.is_finite() => String::new(),
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

fn shown_ratio(ratio: f64) -> String {
    if ratio.is_finite() { format!("{ratio:.2}") } else { String::new() }
}
