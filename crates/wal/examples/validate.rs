//! Validates consecutive segment files and says how fast:
//! `validate [--repeat N] [--history TIMELINE FILE] SEGMENT...`
//!
//! Files are read into memory first, so that the figure is the validator's own, on one core.

use std::time::Instant;

use wal::page::PageHeader;
use wal::{Expectations, SegmentSize, TimelineHistory, TimelineId, Validator};

fn main() {
    if let Err(error) = run() {
        eprintln!("validate: error: {error}");
        std::process::exit(1);
    }
}

fn run() -> Result<(), Box<dyn std::error::Error>> {
    let mut repeat = 1_u32;
    let mut history = None;
    let mut files = Vec::new();
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--history" => {
                let timeline = TimelineId::new(args.next().ok_or("--history needs a timeline")?.parse()?);
                let file = args.next().ok_or("--history needs a file")?;
                history = Some(TimelineHistory::parse(timeline, &std::fs::read(file)?)?);
            }
            "--repeat" => repeat = args.next().ok_or("--repeat needs a number")?.parse()?,
            _ => files.push(arg),
        }
    }
    let segments = files.iter().map(std::fs::read).collect::<Result<Vec<_>, _>>()?;
    let first = segments.first().ok_or("usage: validate [--repeat N] SEGMENT...")?;
    let header = PageHeader::decode(first)?;
    let segment_size = header.long.ok_or("the first page has no long header")?.segment_size;
    let expect = Expectations::new(
        SegmentSize::new(u64::from(segment_size))?,
        history.unwrap_or(TimelineHistory::without_ancestors(header.timeline)),
    );
    let bytes: usize = segments.iter().map(Vec::len).sum();
    for _ in 0..repeat {
        let mut validator = Validator::new(header.page_addr, expect.clone());
        let started = Instant::now();
        let outcome = segments.iter().try_for_each(|segment| validator.feed(segment));
        let elapsed = started.elapsed();
        let valid = validator.position().bytes_since(header.page_addr);
        println!(
            "{} of {bytes} bytes, {} records up to {} (last at {:?}), {:.0} MB/s",
            valid,
            validator.records(),
            validator.record_end(),
            validator.last_record(),
            valid as f64 / elapsed.as_secs_f64() / 1e6,
        );
        if let Err(error) = outcome {
            println!("{error}");
        }
    }
    Ok(())
}
