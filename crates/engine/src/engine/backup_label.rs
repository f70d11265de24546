//! The label that a base backup leaves in its directory: where replay has to begin, whatever the control file says.
//! Source: `read_backup_label` in `access/transam/xlogrecovery.c`.

use std::io;
use std::path::Path;

use disk::{Disk, read_file};
use wal::{Lsn, TimelineId};

use crate::EngineError;

/// Longer labels are none.
const MAX_LABEL: usize = 64 << 10;

/// What a backup label says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct BackupLabel {
    /// The redo position of the checkpoint that the backup began with.
    pub(crate) redo: Lsn,
    /// The start of that checkpoint's record.
    pub(crate) checkpoint: Lsn,
    /// The timeline at that moment.
    pub(crate) timeline: TimelineId,
    /// Whether the backup was taken from a standby, which writes no record of its end.
    pub(crate) from_standby: bool,
}

impl BackupLabel {
    /// The label's name in the data directory.
    pub(crate) const FILE: &str = "backup_label";
    /// Its name once the backup's end has been replayed.
    pub(crate) const OLD_FILE: &str = "backup_label.old";

    /// Reads the label of the directory `dir`, if it has one.
    pub(crate) fn read(disk: &dyn Disk, dir: &Path) -> Result<Option<Self>, EngineError> {
        let path = dir.join(Self::FILE);
        let bytes = match read_file(disk, &path, MAX_LABEL) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(EngineError::file("read", path, error)),
        };
        match Self::parse(&String::from_utf8_lossy(&bytes)) {
            Some(label) => Ok(Some(label)),
            None => Err(EngineError::Directory(format!("invalid data in file \"{}\"", path.display()))),
        }
    }

    fn parse(text: &str) -> Option<Self> {
        let field = |name| text.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
        let (redo, file) = field("START WAL LOCATION:")?.split_once(' ')?;
        let file = file.strip_prefix("(file ")?.strip_suffix(')')?;
        let timeline = match field("START TIMELINE:") {
            Some(timeline) => timeline.parse().ok()?,
            None => u32::from_str_radix(file.get(..8)?, 16).ok()?,
        };
        Some(Self {
            redo: redo.parse().ok()?,
            checkpoint: field("CHECKPOINT LOCATION:")?.parse().ok()?,
            timeline: TimelineId::new(timeline),
            from_standby: field("BACKUP FROM:") == Some("standby"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_as_pg_basebackup_leaves_it_is_read() {
        let text = "START WAL LOCATION: 0/2000028 (file 000000010000000000000002)\n\
                    CHECKPOINT LOCATION: 0/2000060\nBACKUP METHOD: streamed\nBACKUP FROM: primary\n\
                    START TIME: 2026-11-21 22:48:08 UTC\nLABEL: pg_basebackup base backup\nSTART TIMELINE: 1\n";
        let label = BackupLabel::parse(text).unwrap();
        assert_eq!((label.redo, label.checkpoint), (Lsn::new(0x200_0028), Lsn::new(0x200_0060)));
        assert_eq!((label.timeline, label.from_standby), (TimelineId::FIRST, false));
        assert!(BackupLabel::parse(&text.replace("CHECKPOINT", "CHECK")).is_none());
    }
}
