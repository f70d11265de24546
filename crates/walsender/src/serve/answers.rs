//! The result sets of the replication commands, column for column as PostgreSQL sends them.

use bytes::Bytes;
use replication::message::{BackendMessage, Column};
use replication::sender::TimelineSwitch;
use replication::waldir::SlotInfo;
use wal::{Lsn, TimelineId, WalVersion};

use crate::source::Serving;

const TEXT: u32 = 25;
const INT4: u32 = 23;
const INT8: u32 = 20;
const OID: u32 = 26;

type Value = Option<Bytes>;

fn value(text: impl ToString) -> Value {
    Some(Bytes::from(text.to_string()))
}

/// A result of one row, with its tag.
fn row<const N: usize>(columns: [Column; N], values: [Value; N], tag: &str) -> Vec<BackendMessage> {
    vec![
        BackendMessage::RowDescription(columns.into()),
        BackendMessage::DataRow(values.into()),
        complete(tag),
    ]
}

/// CommandComplete.
pub(super) fn complete(tag: &str) -> BackendMessage {
    BackendMessage::CommandComplete(tag.to_owned())
}

fn text(name: &str) -> Column {
    Column::new(name, TEXT, -1)
}

/// IDENTIFY_SYSTEM. The timeline became an int8 in PostgreSQL 16.
pub(super) fn identify_system(serving: &Serving) -> Vec<BackendMessage> {
    let timeline = match serving.version {
        WalVersion::V15 => Column::new("timeline", INT4, 4),
        WalVersion::V16 | WalVersion::V17 | WalVersion::V18 => Column::new("timeline", INT8, 8),
    };
    row(
        [text("systemid"), timeline, text("xlogpos"), text("dbname")],
        [value(serving.system_id), value(serving.timeline()), value(serving.flush), None],
        "IDENTIFY_SYSTEM",
    )
}

/// SHOW.
pub(super) fn show(name: &str, shown: &str) -> Vec<BackendMessage> {
    row([text(name)], [value(shown)], "SHOW")
}

/// The columns of TIMELINE_HISTORY, which PostgreSQL sends before it looks for the file.
pub(super) fn timeline_history_columns() -> BackendMessage {
    BackendMessage::RowDescription(vec![text("filename"), text("content")])
}

/// The row of TIMELINE_HISTORY.
pub(super) fn timeline_history_row(name: &str, content: Vec<u8>) -> [BackendMessage; 2] {
    let content = Some(Bytes::from(content));
    [BackendMessage::DataRow(vec![value(name), content]), complete("TIMELINE_HISTORY")]
}

/// CREATE_REPLICATION_SLOT of a physical slot.
pub(super) fn create_slot(name: &str) -> Vec<BackendMessage> {
    row(
        [text("slot_name"), text("consistent_point"), text("snapshot_name"), text("output_plugin")],
        [value(name), value("0/0"), None, None],
        "CREATE_REPLICATION_SLOT",
    )
}

/// READ_REPLICATION_SLOT; a slot that does not exist is a row of NULLs.
pub(super) fn read_slot(slot: Option<SlotInfo>) -> Vec<BackendMessage> {
    let values = match slot {
        None => [None, None, None],
        Some(slot) => [value("physical"), slot.restart_lsn.and_then(value), slot.timeline.and_then(value)],
    };
    row(
        [text("slot_type"), text("restart_lsn"), Column::new("restart_tli", INT8, 8)],
        values,
        "READ_REPLICATION_SLOT",
    )
}

/// Where a base backup starts or stops. What follows decides whether the tag comes with it.
pub(super) fn backup_position(at: Lsn, timeline: TimelineId) -> Vec<BackendMessage> {
    row([text("recptr"), Column::new("tli", INT8, 8)], [value(at), value(timeline)], "SELECT")
}

/// The archives of a base backup: that of the data directory alone.
pub(super) fn backup_archives(kilobytes: Option<u64>) -> Vec<BackendMessage> {
    let columns = [Column::new("spcoid", OID, 4), text("spclocation"), Column::new("size", INT8, 8)];
    row(columns, [None, None, kilobytes.and_then(value)], "SELECT")
}

/// What ends START_REPLICATION: the next timeline if the one streamed is over, and two CommandCompletes, on the
/// second of which clients depend.
pub(super) fn end_of_stream(switch: Option<TimelineSwitch>) -> Vec<BackendMessage> {
    let mut messages = Vec::new();
    if let Some(switch) = switch {
        messages.push(BackendMessage::RowDescription(vec![
            Column::new("next_tli", INT8, 8),
            text("next_tli_startpos"),
        ]));
        messages.push(BackendMessage::DataRow(vec![value(switch.next), value(switch.at)]));
    }
    messages.push(complete("START_STREAMING"));
    messages.push(complete("START_REPLICATION"));
    messages
}
