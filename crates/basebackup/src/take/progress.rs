//! How far a backup is, on standard error (`-P`).

use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

/// How often at most.
const INTERVAL: Duration = Duration::from_secs(1);

/// How wide file names are shown.
const NAME_WIDTH: usize = 35;

/// A progress report. On a terminal its line is written over, elsewhere lines follow each other.
#[derive(Debug)]
pub(super) struct Progress {
    /// Nothing is reported.
    silent: bool,
    /// With file names.
    verbose: bool,
    terminal: bool,
    /// Bytes expected, an estimate; grows if more come.
    total: u64,
    /// Bytes received; the server counts them before compression.
    done: u64,
    /// Archives begun, and announced.
    archive: usize,
    archives: usize,
    /// The archive being received.
    name: String,
    last: Option<Instant>,
}

impl Progress {
    pub(super) fn new(enabled: bool, verbose: bool) -> Self {
        let terminal = std::io::stderr().is_terminal();
        Self {
            silent: !enabled,
            verbose,
            terminal,
            total: 0,
            done: 0,
            archive: 0,
            archives: 0,
            name: String::new(),
            last: None,
        }
    }

    /// The server is checkpointing.
    pub(super) fn waiting(&self) {
        if !self.silent {
            self.put("waiting for checkpoint", false);
        }
    }

    /// What is to come.
    pub(super) fn announce(&mut self, archives: usize, total: Option<u64>) {
        self.archives = archives;
        self.total = total.unwrap_or(0);
    }

    /// An archive begins.
    pub(super) fn begin(&mut self, name: &str) {
        self.archive += 1;
        name.clone_into(&mut self.name);
        self.report();
    }

    /// The server is so far.
    pub(super) fn advance(&mut self, done: u64) {
        self.done = done;
        self.report();
    }

    /// The copy is complete.
    pub(super) fn finish(&mut self) {
        if !self.silent {
            self.total = self.total.max(self.done);
            self.put(&self.line(true), true);
        }
    }

    fn report(&mut self) {
        if self.silent || self.last.is_some_and(|last| last.elapsed() < INTERVAL) {
            return;
        }
        self.last = Some(Instant::now());
        self.total = self.total.max(self.done);
        self.put(&self.line(false), false);
    }

    fn line(&self, finished: bool) -> String {
        let total = (self.total / 1024).to_string();
        let percent =
            if finished { 100 } else { self.done.saturating_mul(100).checked_div(self.total).unwrap_or(0) };
        let noun = if self.archives == 1 { "tablespace" } else { "tablespaces" };
        let line = format!(
            "{:>width$}/{total} kB ({percent}%), {}/{} {noun}",
            self.done / 1024,
            self.archive,
            self.archives,
            width = total.len(),
        );
        match (self.verbose, finished) {
            (false, _) => line,
            (true, true) => format!("{line} {:NAME_WIDTH$}  ", ""),
            (true, false) => format!("{line} ({:NAME_WIDTH$.NAME_WIDTH$})", self.name),
        }
    }

    fn put(&self, line: &str, last: bool) {
        let end = if self.terminal && !last { '\r' } else { '\n' };
        // Nobody is helped if a backup fails because standard error does.
        let _ = write!(std::io::stderr().lock(), "{line}{end}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_look_like_pg_basebackups() {
        let mut progress = Progress::new(false, false);
        progress.announce(2, Some(23_000 * 1024));
        progress.archive = 1;
        progress.advance(1024 * 500);
        assert_eq!(progress.line(false), "  500/23000 kB (2%), 1/2 tablespaces");
        assert_eq!(progress.line(true), "  500/23000 kB (100%), 1/2 tablespaces");
    }
}
