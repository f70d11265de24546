//! Repetition and arithmetic: interleaved rounds, medians, and the table that is printed.
//!
//! The machines this runs on have fast and slow phases, so contenders take turns within a round and what counts is
//! the ratio of their medians.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::Result;
use walship_tests::Tool;

/// One number a contender produced in one round.
#[derive(Clone, Copy)]
pub struct Sample {
    /// MB/s, transactions/s or whatever the table says; more is better.
    pub rate: f64,
    /// CPU seconds of the process under test, if it could be told apart.
    pub cpu: Option<f64>,
}

/// What one contender did over all rounds.
#[derive(Default)]
struct Series {
    rates: Vec<f64>,
    cpus: Vec<f64>,
}

/// A table under construction: contenders in the order in which they first appeared.
pub struct Table {
    title: String,
    unit: &'static str,
    order: Vec<String>,
    series: BTreeMap<String, Series>,
}

impl Table {
    pub fn new(title: impl Into<String>, unit: &'static str) -> Self {
        Self { title: title.into(), unit, order: Vec::new(), series: BTreeMap::new() }
    }

    /// Adds what `contender` did in one round.
    pub fn add(&mut self, contender: &str, sample: Sample) {
        eprintln!("    {contender}: {:.0} {}", sample.rate, self.unit);
        if !self.series.contains_key(contender) {
            self.order.push(contender.to_owned());
        }
        let series = self.series.entry(contender.to_owned()).or_default();
        series.rates.push(sample.rate);
        series.cpus.extend(sample.cpu);
    }

    /// Prints the table in Markdown; ratios are to the first contender whose name does not begin with "limit".
    pub fn print(&self) {
        println!("\n### {}\n", self.title);
        println!("| contender | median {} | min-max | ratio | CPU s |", self.unit);
        println!("|---|---|---|---|---|");
        let base = self.order.iter().find(|name| !name.starts_with("limit")).map(|name| self.median(name));
        for name in &self.order {
            let series = &self.series[name];
            let rate = self.median(name);
            let (low, high) = extremes(&series.rates);
            let ratio = base.map_or(String::new(), |base| format!("{:.2}", rate / base));
            let cpu =
                if series.cpus.is_empty() { String::new() } else { format!("{:.2}", median(&series.cpus)) };
            println!("| {name} | {rate:.0} | {low:.0}-{high:.0} | {ratio} | {cpu} |");
        }
    }

    fn median(&self, name: &str) -> f64 {
        median(&self.series[name].rates)
    }
}

pub fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    match sorted.len() {
        0 => f64::NAN,
        len if len % 2 == 1 => sorted[len / 2],
        len => (sorted[len / 2 - 1] + sorted[len / 2]) / 2.0,
    }
}

fn extremes(values: &[f64]) -> (f64, f64) {
    values
        .iter()
        .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| (low.min(*value), high.max(*value)))
}

/// How long a program took and how much CPU it used.
pub struct Run {
    pub wall: Duration,
    pub cpu: f64,
}

impl Run {
    /// The rate at which it went through `bytes`.
    pub fn rate(&self, bytes: u64) -> Sample {
        Sample { rate: mb_per_s(bytes, self.wall), cpu: Some(self.cpu) }
    }
}

/// Runs `tool` to its end; anything but exit code 0 ends the benchmark.
pub fn timed(tool: Tool) -> Run {
    let cpu_before = cpu_of_children();
    let started = Instant::now();
    let mut process = tool.spawn();
    while process.is_running() {
        std::thread::sleep(Duration::from_micros(500));
    }
    let wall = started.elapsed();
    process.wait().success();
    Run { wall, cpu: cpu_of_children() - cpu_before }
}

/// The CPU seconds of all children that have ended and been waited for.
fn cpu_of_children() -> f64 {
    // SAFETY: rusage is plain data for which all zeroes is a value.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    // SAFETY: the pointer is to a live local of the right type.
    let result = unsafe { libc::getrusage(libc::RUSAGE_CHILDREN, &mut usage) };
    assert_eq!(result, 0, "getrusage cannot fail with these arguments");
    let seconds = |time: libc::timeval| time.tv_sec as f64 + time.tv_usec as f64 / 1e6;
    seconds(usage.ru_utime) + seconds(usage.ru_stime)
}

/// The CPU seconds that process `pid` has used so far, its dead threads included.
pub fn cpu_of(pid: u32) -> Result<f64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The command name may hold blanks, so count fields from the parenthesis that closes it.
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or("").split_whitespace().collect();
    let ticks: f64 =
        fields.get(11).unwrap_or(&"0").parse::<f64>()? + fields.get(12).unwrap_or(&"0").parse::<f64>()?;
    // SAFETY: sysconf has no preconditions.
    Ok(ticks / unsafe { libc::sysconf(libc::_SC_CLK_TCK) } as f64)
}

/// Decimal megabytes a second.
pub fn mb_per_s(bytes: u64, wall: Duration) -> f64 {
    bytes as f64 / 1e6 / wall.as_secs_f64()
}
