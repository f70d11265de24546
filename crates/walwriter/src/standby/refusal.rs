//! What a standby that was refused leaves for its next starts.
//!
//! A history file of a newer timeline stays in `pg_wal` and refuses every start by itself. That this directory's own timeline is
//! another one at its source, which took the same number for another promotion, stands in no file: two servers have to be
//! asked. `walship.refused` remembers it. While it is there nobody is let in, for the source, or one like it, is what this
//! directory is told to follow, and what it shows was discarded there.
//!
//! It goes away once it is not so any more: a source's history has been compared and is this directory's; or somebody has
//! decided for this directory, by making a leader of it. Base backups leave it out, as everything called `walship.`; so a
//! directory that is made anew has none. A file that cannot be understood refuses as well.

use std::io;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use disk::{Disk, durable_remove, durable_write, read_file};
use replication::waldir::UnixMicros;
use sql::types::timestamp;
use wal::{Lsn, TimelineId};

/// The file's name, in the data directory.
const FILE: &str = "walship.refused";
/// A file that is longer was not written here.
const MAX_LEN: usize = 64 << 10;

/// Why a directory may not be read from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The timeline that is another one at the source.
    pub timeline: TimelineId,
    /// Where it begins by this directory's history.
    pub ours: Lsn,
    /// Where it begins by the source's.
    pub theirs: Lsn,
    /// When that was found out first, for people.
    pub since: String,
    /// What was said then, in one line.
    pub reason: String,
}

impl Refusal {
    /// One that is found out now.
    pub(super) fn new(timeline: TimelineId, ours: Lsn, theirs: Lsn, reason: &str) -> Self {
        let mut since = Vec::new();
        let now = i64::try_from(UnixMicros::now().as_u64()).unwrap_or(i64::MAX);
        timestamp::write(timestamp::from_unix_micros(now), true, &mut since);
        let since = String::from_utf8_lossy(&since).into_owned();
        Self { timeline, ours, theirs, since, reason: reason.replace('\n', " ") }
    }

    /// Where it is remembered.
    pub(super) fn path(directory: &Path) -> PathBuf {
        directory.join(FILE)
    }

    /// What is remembered in `directory`; `None` if it is not refused.
    ///
    /// # Errors
    /// The file cannot be read: then nobody knows.
    pub fn read(disk: &dyn Disk, directory: &Path) -> io::Result<Option<Self>> {
        match read_file(disk, &Self::path(directory), MAX_LEN) {
            Ok(bytes) => Ok(Some(Self::parse(&String::from_utf8_lossy(&bytes)))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Remembers it, durably. One that is there stays as old as it is.
    pub(super) fn record(&self, disk: &dyn Disk, directory: &Path) -> io::Result<()> {
        let since = Self::read(disk, directory)?.map_or_else(|| self.since.clone(), |earlier| earlier.since);
        durable_write(disk, &Self::path(directory), Self { since, ..self.clone() }.text().as_bytes())
    }

    /// Forgets it, durably. Says whether there was anything.
    pub(crate) fn take_away(disk: &dyn Disk, directory: &Path) -> io::Result<bool> {
        match durable_remove(disk, &Self::path(directory)) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn text(&self) -> String {
        let Self { timeline, ours, theirs, since, reason } = self;
        format!(
            "timeline: {timeline}\nbegins here: {ours}\nbegins at the source: {theirs}\nsince: {since}\nreason: {reason}\n"
        )
    }

    fn parse(text: &str) -> Self {
        let field = |name: &str| {
            let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
            value.map(str::to_owned)
        };
        let known = |name: &str| field(name).unwrap_or_else(|| "unknown".to_owned());
        let timeline = field("timeline").and_then(|value| u32::from_str(&value).ok()).unwrap_or_default();
        let position =
            |name: &str| field(name).and_then(|value| Lsn::from_str(&value).ok()).unwrap_or(Lsn::INVALID);
        Self {
            timeline: TimelineId::new(timeline),
            ours: position("begins here"),
            theirs: position("begins at the source"),
            since: known("since"),
            reason: known("reason"),
        }
    }
}

#[cfg(test)]
mod tests {
    use disk::{CrashChoices, SimDisk};

    use super::*;

    const DIR: &str = "/data";

    fn refusal(reason: &str) -> Refusal {
        Refusal::new(TimelineId::new(2), Lsn::new(0x100), Lsn::new(0x2_0000_0080), reason)
    }

    fn disk() -> SimDisk {
        let disk = SimDisk::new();
        disk.create_dir_all(Path::new(DIR)).unwrap();
        disk.sync_dir(Path::new("/")).unwrap();
        disk
    }

    #[test]
    fn what_is_remembered_comes_back_and_is_as_old_as_at_first() {
        let (disk, dir) = (disk(), Path::new(DIR));
        assert_eq!(Refusal::read(&disk, dir).unwrap(), None);
        let first = Refusal { since: "2026-01-02 03:04:05+00".to_owned(), ..refusal("two\nlines") };
        first.record(&disk, dir).unwrap();
        assert_eq!(Refusal::read(&disk, dir).unwrap(), Some(first.clone()));
        assert_eq!(first.reason, "two lines");
        refusal("again").record(&disk, dir).unwrap();
        let again = Refusal::read(&disk, dir).unwrap().unwrap();
        assert_eq!((again.since, again.reason), (first.since, "again".to_owned()));
        assert!(Refusal::take_away(&disk, dir).unwrap());
        assert!(!Refusal::take_away(&disk, dir).unwrap());
        assert_eq!(Refusal::read(&disk, dir).unwrap(), None);
    }

    #[test]
    fn a_file_that_says_nothing_refuses_as_well() {
        let (disk, dir) = (disk(), Path::new(DIR));
        durable_write(&disk, &dir.join(FILE), &[0xff, 0, 10]).unwrap();
        let damaged = Refusal::read(&disk, dir).unwrap().unwrap();
        assert_eq!((damaged.ours, damaged.reason.as_str()), (Lsn::INVALID, "unknown"));
        refusal("again").record(&disk, dir).unwrap();
        assert_eq!(Refusal::read(&disk, dir).unwrap().unwrap().reason, "again");
    }

    #[test]
    fn it_is_there_after_a_power_cut_once_it_is_recorded_and_gone_once_it_is_taken_away() {
        let (disk, dir) = (disk(), Path::new(DIR));
        refusal("why").record(&disk, dir).unwrap();
        let recorded = disk.operations();
        Refusal::take_away(&disk, dir).unwrap();
        let there = |moment| {
            let states = disk.crash_states(moment, CrashChoices { exhaustive_up_to: 8, samples: 4, seed: 1 });
            states.map(|state| Refusal::read(&state, dir).unwrap().is_some()).collect::<Vec<_>>()
        };
        assert!(there(recorded).into_iter().all(|there| there));
        assert!(there(disk.operations()).into_iter().all(|there| !there));
    }
}
