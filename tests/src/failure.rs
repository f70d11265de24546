//! What a user sees of a program that fails after it has run for a while.

use wal::Lsn;

use crate::process::{Finished, Process};

impl Finished {
    /// Insists on how a program has to fail that may have logged before: exit code 1, and as the last line on standard
    /// error the only one that starts with `NAME: error: `, containing `text`. Gives that line.
    #[track_caller]
    pub fn failure(&self, text: &str) -> String {
        assert!(self.code == Some(1), "expected exit code 1: {self}");
        assert!(!self.stderr.contains("panicked"), "{self}");
        let start = format!("{}: error: ", self.name);
        let errors: Vec<_> = self.stderr.lines().filter(|line| line.starts_with(&start)).collect();
        let [line] = errors[..] else { panic!("expected one line that starts with `{start}`: {self}") };
        assert_eq!(self.stderr.lines().last(), Some(line), "the error is not the last line: {self}");
        assert!(line.contains(text), "expected `{text}` in the line: {self}");
        let parts: Vec<_> = line.split(": ").collect();
        assert!(parts.windows(2).all(|two| two[0] != two[1]), "the line says something twice: {line}");
        line.to_owned()
    }
}

/// The LSNs in a text, in order.
pub fn lsns_in(text: &str) -> Vec<Lsn> {
    let words = text.split(|c: char| !(c.is_ascii_hexdigit() || c == '/'));
    let is_lsn =
        |word: &&str| word.split_once('/').is_some_and(|(high, low)| !high.is_empty() && !low.is_empty());
    words.filter(is_lsn).filter_map(|word| word.parse().ok()).collect()
}

impl Process {
    /// How much memory it has in use now (`VmRSS`), in KiB.
    #[track_caller]
    pub fn resident_kib(&self) -> u64 {
        self.try_resident_kib().expect("it runs")
    }

    /// The same; `None` if it has ended.
    pub(crate) fn try_resident_kib(&self) -> Option<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
        line.trim().trim_end_matches("kB").trim().parse().ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lsns_are_found_in_messages() {
        let text = "walreceiver: error: invalid WAL at 0/1A00028: incorrect prev-link 0/0, in 1/FF.";
        let found: Vec<_> = lsns_in(text).iter().map(ToString::to_string).collect();
        assert_eq!(found, ["0/1A00028", "0/0", "1/FF"]);
        assert!(lsns_in("pg_wal/ and /tmp").is_empty());
    }
}
