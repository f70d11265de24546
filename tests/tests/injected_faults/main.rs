//! Every kind of call to the file system fails once or for good, early, midway and late, in every role: nothing that was
//! acknowledged is lost, memory does not grow, and whoever it struck says so.
//!
//! Each role runs without a fault first, to count its calls. `WALSHIP_TEST_EFFORT` says how many faults of each role are
//! tried (two, times that); 100 tries them all.

mod backups;
mod load;
mod logs;
mod servers;

use std::panic::{AssertUnwindSafe, catch_unwind};

use walship_tests::strace::{Call, Fault, Traced};
use walship_tests::{Process, TempRoot};

/// What came of one run.
#[derive(Debug, Default)]
struct Outcome {
    /// Calls by thread, the most first.
    counts: Vec<u32>,
    /// Whether any call was made to fail.
    struck: bool,
    /// Whether the program ended of itself.
    ended: bool,
}

/// A program, and what it is used for.
type Role = fn(&TempRoot, Call, Option<Fault>) -> Outcome;

/// More than any of these roles has ever needed, in KiB.
const MEMORY: u64 = 256 << 10;

fn effort() -> usize {
    std::env::var("WALSHIP_TEST_EFFORT").ok().and_then(|text| text.parse().ok()).unwrap_or(1)
}

/// What is tried of a kind of call that the busiest thread makes so often.
fn faults(call: Call, calls: u32) -> Vec<Fault> {
    let mut positions = vec![1, calls.div_ceil(2).max(1), calls.max(1)];
    positions.dedup();
    let mut faults = Vec::new();
    for error in ["EIO", "ENOSPC"] {
        for &from in &positions {
            for stays in [false, true] {
                faults.push(Fault { call, error, from, stays });
            }
        }
    }
    faults
}

/// Tries the faults of a role, and fails with all that went wrong.
#[track_caller]
fn try_role(name: &str, role: Role) {
    let mut all = Vec::new();
    for call in Call::ALL {
        let outcome = role(&TempRoot::new(&format!("{name}-{call:?}-counted")), call, None);
        let calls = outcome.counts.first().copied().unwrap_or(0);
        eprintln!("{name}: {call:?} by thread: {:?}", outcome.counts);
        assert!(!outcome.ended, "{name} ended without a fault");
        if calls > 0 {
            all.extend(faults(call, calls));
        }
    }
    let tried = (2 * effort()).min(all.len());
    let (mut struck, mut ended, mut failed) = (0, 0, Vec::new());
    // Spread over the kinds of calls, however many there are.
    for number in 0..tried {
        let fault = all[number * all.len() / tried].clone();
        let run = || role(&TempRoot::new(&format!("{name}-fault")), fault.call, Some(fault.clone()));
        match catch_unwind(AssertUnwindSafe(run)) {
            Ok(outcome) => {
                struck += usize::from(outcome.struck);
                ended += usize::from(outcome.ended);
                eprintln!("{name}: {fault:?}: struck {}, ended {}", outcome.struck, outcome.ended);
            }
            Err(panic) => {
                let reason = panic.downcast_ref::<String>().cloned().unwrap_or_default();
                eprintln!("{name}: {fault:?}: FAILED: {reason}");
                failed.push(format!("{fault:?}: {reason}"));
            }
        }
    }
    eprintln!("{name}: {tried} of {} faults tried, {struck} struck, {ended} ended the program", all.len());
    assert!(failed.is_empty(), "{name}: {} of {tried} failed:\n{}", failed.len(), failed.join("\n"));
}

/// Strace of the calls in question.
fn traced(root: &TempRoot, call: Call, fault: Option<Fault>, paths: Vec<std::path::PathBuf>) -> Traced {
    let log = root.file("strace", "");
    Traced { calls: call, fault, paths, log }
}

/// Insists that whoever was struck said so: its log, or what its clients were told.
#[track_caller]
fn assert_said(traced: &Traced, said: &str) -> bool {
    let failed = traced.failed();
    assert!(!said.contains("panicked at"), "it panicked: {said}");
    if let (Some(fault), Some(first)) = (&traced.fault, failed.first()) {
        if fault.call == Call::Allocate && !fault.stays && !said.contains("(os error") {
            // More space than is needed may be asked for first, and less then: nothing has happened.
            return true;
        }
        let words = if fault.error == "EIO" { "Input/output error" } else { "No space left on device" };
        assert!(said.contains(words), "nobody said anything of {first}, and {} more", failed.len() - 1);
    }
    !failed.is_empty()
}

#[track_caller]
fn assert_small(process: &Process) {
    if let Some(peak) = process.peak_memory() {
        assert!(peak < MEMORY, "it took {peak} KiB of memory");
    }
}

#[test]
fn a_leader() {
    try_role("leader", servers::leader);
}

#[test]
fn a_synchronous_standby() {
    try_role("standby", servers::standby);
}

#[test]
fn a_synchronous_witness() {
    try_role("witness", logs::witness);
}

#[test]
fn a_sender_of_an_archive() {
    try_role("sender", logs::sender);
}

#[test]
fn a_base_backup() {
    try_role("backup", backups::client);
}

#[test]
fn a_leader_that_a_backup_is_taken_of() {
    try_role("backed-up", backups::leader);
}
