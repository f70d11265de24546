//! What was proved before: `walship.verified`.
//!
//! A line per finished segment file: name, length, modification and change time in nanoseconds, inode, the CRC-32C
//! of the history it was read with, and the validator's state at its end. The last line is the CRC-32C of those
//! before. A file is believed unchanged if everything the file system says of it is as it was; what rots on the disk
//! without anybody writing is found by `--full` alone. A memory that is damaged, or from another version, is no memory.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::os::unix::fs::MetadataExt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use disk::{durable_write, read_file};
use replication::waldir::{SegmentFile, WalDir, owner_of};
use wal::{TimelineHistory, ValidatorState, crc};

/// The memory's file. No WAL file is called like this.
pub const MEMORY_FILE: &str = "walship.verified";
/// Its number goes up with every rule that is added to what proves a file.
const HEADER: &str = "walship.verified 3";
/// A line is shorter than 256 bytes; a million segments are 16 TB.
const LONGEST: usize = 256 << 20;
/// A file that changed so recently may change again without its times showing it.
const SETTLED: Duration = Duration::from_millis(100);

/// What the file system says of a file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Stat {
    len: u64,
    modified: i128,
    changed: i128,
    inode: u64,
}

impl Stat {
    /// `None` for a file that is not there, and on a simulated disk.
    pub(super) fn of(dir: &WalDir, name: &str) -> Option<Self> {
        let found = std::fs::metadata(dir.path().join(name)).ok()?;
        let nanos = |seconds: i64, nanos: i64| i128::from(seconds) * 1_000_000_000 + i128::from(nanos);
        Some(Self {
            len: found.len(),
            modified: nanos(found.mtime(), found.mtime_nsec()),
            changed: nanos(found.ctime(), found.ctime_nsec()),
            inode: found.ino(),
        })
    }

    fn has_settled(&self, now: SystemTime) -> bool {
        let now = now.duration_since(UNIX_EPOCH).unwrap_or_default();
        let settled = now.saturating_sub(SETTLED).as_nanos();
        i128::try_from(settled).is_ok_and(|settled| self.changed.max(self.modified) < settled)
    }
}

/// What was proved of a file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Proved {
    stat: Stat,
    history: u32,
    state: ValidatorState,
}

impl Proved {
    pub(super) fn new(stat: Stat, history: &TimelineHistory, state: ValidatorState) -> Self {
        Self { stat, history: history_crc(history), state }
    }

    fn line(&self, name: &str) -> String {
        let Stat { len, modified, changed, inode } = self.stat;
        let mut line = format!("{name} {len} {modified} {changed} {inode} {:08x} ", self.history);
        for byte in self.state.to_bytes() {
            let _ = write!(line, "{byte:02x}"); // a String takes everything
        }
        line
    }

    fn parse(line: &str) -> Option<(String, Self)> {
        let mut words = line.split(' ');
        let name = words.next()?.to_owned();
        let stat = Stat {
            len: words.next()?.parse().ok()?,
            modified: words.next()?.parse().ok()?,
            changed: words.next()?.parse().ok()?,
            inode: words.next()?.parse().ok()?,
        };
        let history = u32::from_str_radix(words.next()?, 16).ok()?;
        let hex = words.next()?;
        let bytes: Option<Vec<u8>> =
            (0..hex.len() / 2).map(|at| u8::from_str_radix(hex.get(2 * at..2 * at + 2)?, 16).ok()).collect();
        let state = ValidatorState::from_bytes(&bytes?).ok()?;
        Some((name, Self { stat, history, state }))
    }
}

fn history_crc(history: &TimelineHistory) -> u32 {
    crc::Crc::default().append(&history.to_bytes()).value()
}

/// What is remembered, by file name.
#[derive(Clone, PartialEq, Debug, Default)]
pub(super) struct Memory {
    files: BTreeMap<String, Proved>,
}

impl Memory {
    pub(super) fn load(dir: &WalDir) -> Self {
        let content = read_file(&**dir.disk(), &dir.path().join(MEMORY_FILE), LONGEST).unwrap_or_default();
        Self::parse(&content).unwrap_or_default()
    }

    fn parse(content: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(content).ok()?;
        let (covered, crc) = text.trim_end().rsplit_once('\n')?;
        if u32::from_str_radix(crc, 16).ok()? != crc::Crc::default().append(covered.as_bytes()).value() {
            return None;
        }
        let mut lines = covered.lines();
        if lines.next()? != HEADER {
            return None;
        }
        Some(Self { files: lines.map(Proved::parse).collect::<Option<_>>()? })
    }

    fn to_text(&self) -> String {
        let mut text = HEADER.to_owned();
        for (name, proved) in &self.files {
            text.push('\n');
            text.push_str(&proved.line(name));
        }
        let crc = crc::Crc::default().append(text.as_bytes()).value();
        let _ = write!(text, "\n{crc:08x}\n");
        text
    }

    /// The validator's state at the end of a file that is as it was when it was proved.
    pub(super) fn proves(
        &self,
        dir: &WalDir,
        file: &SegmentFile,
        history: &TimelineHistory,
    ) -> Option<ValidatorState> {
        let proved = self.files.get(&file.name)?;
        let unchanged = !file.partial
            && proved.history == history_crc(history)
            && Stat::of(dir, &file.name) == Some(proved.stat);
        unchanged.then_some(proved.state)
    }

    /// What of this still holds: the files of these names.
    pub(super) fn kept<'a>(&self, names: impl Iterator<Item = &'a str>) -> Self {
        Self { files: names.filter_map(|name| Some((name.to_owned(), *self.files.get(name)?))).collect() }
    }

    pub(super) fn extend(&mut self, proved: Vec<(String, Proved)>) {
        let now = SystemTime::now();
        self.files.extend(proved.into_iter().filter(|(_, proved)| proved.stat.has_settled(now)));
    }

    /// Writes the memory. A directory that cannot be written to is verified all the same, only not remembered, and so is a
    /// server's.
    pub(super) fn save(&self, dir: &WalDir) {
        if !matches!(owner_of(&**dir.disk(), dir.path()), Ok(owner) if !owner.is_data_directory()) {
            return;
        }
        let path = dir.path().join(MEMORY_FILE);
        let before = read_file(&**dir.disk(), &path, LONGEST).unwrap_or_default();
        let text = self.to_text();
        if before != text.as_bytes()
            && let Err(error) = durable_write(&**dir.disk(), &path, text.as_bytes())
        {
            tracing::warn!("could not remember what was proved in file \"{}\": {error}", path.display());
        }
    }
}

#[cfg(test)]
mod tests {
    use wal::{Lsn, SegmentSize};

    use super::*;

    fn memory() -> Memory {
        let stat = Stat { len: 1, modified: -5, changed: 7, inode: 9 };
        let state = ValidatorState {
            record_end: Lsn::new(64),
            last_record: Some(Lsn::new(40)),
            records: 3,
            system_id: None,
            version: None,
            segment_size: SegmentSize::DEFAULT,
            switched: false,
        };
        let proved = Proved { stat, history: 1, state };
        Memory { files: BTreeMap::from([("A".to_owned(), proved), ("B.gz".to_owned(), proved)]) }
    }

    #[test]
    fn comes_back_as_it_was() {
        let text = memory().to_text();
        assert_eq!(Memory::parse(text.as_bytes()), Some(memory()));
        assert_eq!(Memory::parse(Memory::default().to_text().as_bytes()), Some(Memory::default()));
    }

    #[test]
    fn a_damaged_memory_is_none() {
        let text = memory().to_text().into_bytes();
        for at in 0..text.len() - 1 {
            let mut damaged = text.clone();
            damaged[at] ^= 1;
            assert_eq!(Memory::parse(&damaged), None, "byte {at}");
        }
        assert_eq!(Memory::parse(b""), None);
    }
}
