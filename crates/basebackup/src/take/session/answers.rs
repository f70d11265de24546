//! What the server says before and after the backup's data.

use replication::client::{BackupEvent, BackupStream, Client, IdentifySystem, ResultSet};
use wal::{Lsn, TimelineHistory, TimelineId};

use super::super::error::TakeError;
use super::super::fetched_wal::LogShape;
use super::super::patience::Patience;

/// Permission bits, as the server's data directory has them.
#[derive(Clone, Copy)]
pub(super) struct Modes {
    pub(super) directory: u32,
    pub(super) file: u32,
    /// Whether the group may read.
    pub(super) group: bool,
}

/// Where a backup starts or ends.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Position {
    pub(super) lsn: Lsn,
    pub(super) timeline: TimelineId,
}

impl Modes {
    pub(super) const PRIVATE: Self = Self { directory: 0o700, file: 0o600, group: false };
    const GROUP: Self = Self { directory: 0o750, file: 0o640, group: true };

    /// A server whose group may read its data directory gives its backups the same permissions.
    pub(super) async fn of_server(client: &mut Client) -> Result<Self, TakeError> {
        let mode = client.show("data_directory_mode").await;
        let mode = mode.map_err(TakeError::server("could not read data directory mode"))?;
        let group = u32::from_str_radix(&mode, 8).is_ok_and(|mode| mode & 0o050 == 0o050);
        Ok(if group { Self::GROUP } else { Self::PRIVATE })
    }
}

impl Position {
    /// The one row of the first and of the last result: LSN and timeline.
    pub(super) fn read(result: &ResultSet) -> Result<Self, TakeError> {
        let lsn = result.text(0, 0).and_then(|lsn| lsn.parse().ok());
        let timeline = result.text(0, 1).and_then(|timeline| timeline.parse().ok());
        match (lsn, timeline) {
            (Some(lsn), Some(timeline)) => Ok(Self { lsn, timeline: TimelineId::new(timeline) }),
            _ => Err(TakeError::Answer("server did not tell where the backup's WAL is".to_owned())),
        }
    }
}

/// What the server's log is like at the moment.
pub(super) async fn log_shape(client: &mut Client, system: &IdentifySystem) -> Result<LogShape, TakeError> {
    let asked = client.wal_segment_size().await;
    let segment_size = asked.map_err(TakeError::server("could not ask for the size of WAL segments"))?;
    let history = timeline_history(client, system.timeline).await?;
    Ok(LogShape { segment_size, system_id: system.system_id, history })
}

async fn timeline_history(client: &mut Client, timeline: TimelineId) -> Result<TimelineHistory, TakeError> {
    if timeline == TimelineId::FIRST {
        return Ok(TimelineHistory::root());
    }
    match client.timeline_history(timeline).await {
        Ok((_, content)) => {
            TimelineHistory::parse(timeline, &content).map_err(|error| TakeError::Answer(error.to_string()))
        }
        // Of a server whose history file is gone a backup is checked as well, if all of it is on this timeline.
        Err(error) if error.code().is_some() => Ok(TimelineHistory::without_ancestors(timeline)),
        Err(error) => Err(TakeError::server("could not ask for the history of the timeline")(error)),
    }
}

/// The next event, which has to be a row set, and is `what`.
pub(super) async fn rows(
    stream: &mut BackupStream,
    patience: &Patience,
    what: &str,
    doing: &'static str,
) -> Result<ResultSet, TakeError> {
    loop {
        match patience.wait(what, next(stream, doing)).await? {
            BackupEvent::Rows(rows) => return Ok(rows),
            BackupEvent::Notice(notice) => tracing::warn!("{notice}"),
            _ => return Err(TakeError::Answer(format!("{doing}: server sent something else"))),
        }
    }
}

/// The next event.
pub(super) async fn next(stream: &mut BackupStream, doing: &'static str) -> Result<BackupEvent, TakeError> {
    stream.next().await.map_err(TakeError::server(doing))
}

/// The end of the command. A server that has sent damaged pages says so here.
pub(super) async fn finished(stream: &mut BackupStream, patience: &Patience) -> Result<(), TakeError> {
    loop {
        let event = patience.wait("the end of the backup", next(stream, "backup failed")).await;
        match event.map_err(TakeError::telling_damage)? {
            BackupEvent::Finished => return Ok(()),
            BackupEvent::Notice(notice) => tracing::warn!("{notice}"),
            _ => return Err(TakeError::Answer("server sent more than a backup".to_owned())),
        }
    }
}
