//! The `backup_label` file.

use wal::SegmentSize;

use super::calendar::utc;
use super::source::StartPoint;

/// The file's content (`pg_backup_start`), for a backup that its control file makes consistent.
pub(super) fn backup_label(start: &StartPoint, size: SegmentSize, label: &str, seconds: i64) -> String {
    let file = size.segment_of(start.redo).file_name(start.timeline, size);
    let one_line: String = label.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    format!(
        "START WAL LOCATION: {} (file {file})\nCHECKPOINT LOCATION: {}\nBACKUP METHOD: streamed\n\
         BACKUP FROM: standby\nSTART TIME: {} UTC\nLABEL: {one_line}\nSTART TIMELINE: {}\n",
        start.redo,
        start.checkpoint,
        utc(seconds),
        start.timeline,
    )
}
