//! `walreceiver verify`.

use std::io::{IsTerminal, Write};
use std::num::NonZero;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use replication::waldir::WalDir;
use walreceiver::verify::{Progress, Stretch, Verification, VerifyOptions, verify};

use super::Outcome;
use super::options::VerifyArguments;

pub(super) fn run(arguments: VerifyArguments) -> Outcome {
    let dir = WalDir::on_os(&arguments.directory);
    let jobs =
        arguments.jobs.or_else(|| thread::available_parallelism().ok()).unwrap_or(NonZero::<usize>::MIN);
    let progress = Progress::default();
    let options = VerifyOptions { full: arguments.full, jobs, progress: &progress };
    let done = AtomicBool::new(false);
    let show = !arguments.json && std::io::stderr().is_terminal();
    let result = thread::scope(|scope| {
        let shower = scope.spawn(|| {
            if show {
                show_progress(&progress, &done);
            }
        });
        let result = verify(&dir, &options);
        done.store(true, Ordering::Relaxed);
        shower.thread().unpark();
        result
    })?;
    let mut out = std::io::stdout();
    if arguments.json {
        writeln!(out, "{}", serde_json::to_string_pretty(&result)?)?;
    } else {
        print(&mut out, &result)?;
    }
    Ok(if result.proved { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn print(out: &mut impl Write, result: &Verification) -> std::io::Result<()> {
    for finding in &result.findings {
        writeln!(out, "{finding}")?;
    }
    for timeline in &result.timelines {
        writeln!(out, "timeline {}: {} to {}", timeline.timeline, timeline.start, timeline.end)?;
        for Stretch { from, to, stopped_by } in &timeline.stretches {
            let stopped = stopped_by.as_ref().map(|why| format!(", and is stopped there ({why})"));
            writeln!(
                out,
                "    a server that starts after {from} gets to {to}{}",
                stopped.unwrap_or_default()
            )?;
        }
    }
    let Verification { segments, remembered, records, .. } = result;
    writeln!(out, "{segments} segments, {remembered} of them proved before; {records} records read")?;
    writeln!(out, "{}", if result.proved { "everything is proved" } else { "NOT everything is proved" })
}

/// A line on the terminal, redrawn a few times a second, gone at the end.
fn show_progress(progress: &Progress, done: &AtomicBool) {
    let began = Instant::now();
    while !done.load(Ordering::Relaxed) {
        thread::park_timeout(Duration::from_millis(200));
        let (total, read) = (progress.total.load(Ordering::Relaxed), progress.done.load(Ordering::Relaxed));
        let percent = read.min(total) * 100 / total.max(1);
        let rate = read as f64 / 1e6 / began.elapsed().as_secs_f64();
        eprint!("\r{:>9} of {} MB ({percent} %), {rate:.0} MB/s ", read / 1_000_000, total / 1_000_000);
    }
    eprint!("\r\x1b[K");
}
