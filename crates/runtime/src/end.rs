//! The end of the process at once, one line first.
//!
//! [`at_once`] is for a state in which going on could lose or show what was never durable: a failed fsync, a broken
//! invariant, a panic. [`refusing`] is for one in which nothing is broken here, and what this process has must all the same
//! be neither shown nor added to any more: it ends with exit code 1, as a start does that is refused, and without a core file.
//!
//! Either way nothing is unwound, no destructor runs, nothing is shut down in order and no file says that it was: the next
//! start recovers as after a crash. The kernel gives locks, sockets and mapped files back.
//!
//! The end does not wait for anything that may never come: not for a lock, and for whoever reads the log only
//! `MOST_SECONDS`.

use std::io;
use std::process;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

/// How long the line may take to be written, to a pipe that nobody empties for example.
const MOST_SECONDS: u32 = 2;
/// The most of the line that is written, in bytes, its newline included: a pipe takes so much as a whole or not at all.
const MOST_BYTES: usize = 4096;

/// Makes a line for the log of what was so bad.
type LineOf = fn(&str) -> String;

/// How this program's log looks.
static LINE_OF: OnceLock<LineOf> = OnceLock::new();
/// Somebody is ending the process.
static ENDING: AtomicBool = AtomicBool::new(false);

/// From now on [`at_once`] writes what `line_of` makes of its message. Only the first call counts.
pub fn set_line(line_of: LineOf) {
    let _set_before = LINE_OF.set(line_of);
}

/// Writes `message` to standard error as one line, and aborts the process. Of several threads that end the process only the
/// first has its say.
pub fn at_once(message: &str) -> ! {
    say(message);
    process::abort()
}

/// Writes `message` to standard error as one line, and ends the process with exit code 1. Of several threads that end the
/// process only the first has its say.
pub fn refusing(message: &str) -> ! {
    say(message);
    // SAFETY: ends the process; whatever other threads are doing ends with it, as in a crash.
    unsafe { libc::_exit(1) }
}

/// Returns to the first thread that calls it, once its line is written.
fn say(message: &str) {
    if ENDING.swap(true, Ordering::SeqCst) {
        loop {
            thread::park();
        }
    }
    // SAFETY: it changes nothing but this process's alarm clock, which nobody else uses.
    unsafe { libc::alarm(MOST_SECONDS) };
    let message = on_one_line(message);
    let mut line = LINE_OF.get().map_or_else(|| format!("PANIC:  {message}"), |line_of| line_of(&message));
    line.truncate(line.floor_char_boundary(MOST_BYTES - 1));
    line.push('\n');
    // Not as `eprintln` does, whose lock a thread may hold that waits for the log's reader.
    let _nobody_to_tell = rustix::io::write(io::stderr(), line.as_bytes());
}

/// The message without line breaks, which would make several lines of it.
fn on_one_line(message: &str) -> String {
    let lines = message.lines().map(str::trim).filter(|line| !line.is_empty());
    lines.collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests {
    use super::on_one_line;

    #[test]
    fn a_message_of_several_lines_becomes_one() {
        let message = "assertion `left <= right` failed: flushed <= written\n  left: 0/20\n right: 0/10\n";
        let line = "assertion `left <= right` failed: flushed <= written; left: 0/20; right: 0/10";
        assert_eq!(on_one_line(message), line);
    }
}
