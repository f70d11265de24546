//! What the programs' command lines share: a log on standard error, one line for whatever went wrong, and the end of the
//! process after a panic, or when it is told to end.

mod ending;
mod panics;

use std::io::{self, IsTerminal as _, Write as _};
use std::process::ExitCode;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use clap::error::ErrorKind;
use tracing_subscriber::EnvFilter;

pub use ending::{before_ending_at_once, end_at_once_on_signals, leave_the_first_to_the_program};
pub use panics::end_on_panic;

/// Changes the level of the log.
type SetLevel = Box<dyn Fn(&str) + Send + Sync>;

/// There once the log has begun, unless whoever started the program has chosen a level.
static SET_LEVEL: OnceLock<SetLevel> = OnceLock::new();

/// Set once the log has begun.
static HAS_LOG: AtomicBool = AtomicBool::new(false);

/// Begins the log, on standard error: from the first of `levels` on, with `-v` from the second, with more of them from
/// the third. `RUST_LOG` overrides that.
pub fn start_log(verbose: u8, levels: [&str; 3]) {
    let level = levels.get(usize::from(verbose)).or(levels.last()).copied().unwrap_or_default();
    let chosen = EnvFilter::try_from_default_env();
    let is_chosen = chosen.is_ok() || verbose > 0;
    let log = tracing_subscriber::fmt()
        .with_env_filter(chosen.unwrap_or_else(|_| EnvFilter::new(level)))
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal())
        .with_target(false)
        // Where the log goes may be full or gone; to say so on standard error too would end the process.
        .log_internal_errors(false)
        .with_filter_reloading();
    let filter = log.reload_handle();
    log.init();
    HAS_LOG.store(true, Ordering::Relaxed);
    if !is_chosen {
        let set_level = move |level: &str| {
            // Nothing is logged any more when this fails: the process is ending.
            let _ = filter.reload(EnvFilter::new(level));
        };
        let _set_once = SET_LEVEL.set(Box::new(set_level));
    }
}

/// Whether lines have the form of a log's by now.
fn has_log() -> bool {
    HAS_LOG.load(Ordering::Relaxed)
}

/// From now on the log has messages from `level` on, unless `-v` or `RUST_LOG` has chosen another one.
pub fn set_log_level(level: &str) {
    if let Some(set_level) = SET_LEVEL.get() {
        set_level(level);
    }
}

/// Shows the help asked for, or says in one line what is wrong with the command line. The exit code is that of PostgreSQL's
/// tools: 1 for whatever goes wrong, wrong options included.
pub fn refuse(program: &str, error: &clap::Error) -> ExitCode {
    if !error.use_stderr() || error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        // Nobody to tell if the pipe is closed.
        let _ = error.print();
    } else {
        let text = error.render().to_string();
        let lines = text.lines().map(str::trim).take_while(|line| !line.is_empty());
        eprintln!("{program}: {}", lines.collect::<Vec<_>>().join(" "));
        eprintln!("{program}: hint: Try \"{program} --help\" for more information.");
    }
    if error.use_stderr() { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

/// Says in one line what went wrong.
pub fn fail(program: &str, error: &anyhow::Error) -> ExitCode {
    // What cannot be said, because that disk is full too, still is the exit code.
    let _ = writeln!(io::stderr(), "{program}: error: {}", one_line(error));
    ExitCode::FAILURE
}

/// The error and its causes, but for those that an error above them has told already.
fn one_line(error: &anyhow::Error) -> String {
    let causes = error.chain().map(ToString::to_string);
    let join =
        |line: String, cause: String| if line.contains(&cause) { line } else { format!("{line}: {cause}") };
    causes.reduce(join).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::one_line;

    #[test]
    fn each_cause_is_told_once() {
        let error = anyhow::anyhow!("No such file")
            .context("could not open \"a\": No such file")
            .context("could not start");
        assert_eq!(one_line(&error), "could not start: could not open \"a\": No such file");
        let error = anyhow::anyhow!("in use").context("could not listen: in use; is another server there?");
        assert_eq!(one_line(&error), "could not listen: in use; is another server there?");
    }
}
