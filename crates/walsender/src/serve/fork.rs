//! Where this server's history has left a timeline that a follower asks for.

use replication::error::{ServerError, SqlState};
use replication::sender::TimelineSwitch;
use wal::{Lsn, TimelineId};

use crate::source::Serving;

/// Where `timeline` was left, if it is not the newest.
pub(super) fn switch_of(
    serving: &Serving,
    timeline: TimelineId,
) -> Result<Option<TimelineSwitch>, Box<ServerError>> {
    let history = &serving.history;
    if timeline == history.timeline() {
        return Ok(None);
    }
    let next = || {
        let ancestors = history.entries().iter().map(|entry| entry.timeline);
        ancestors.chain([history.timeline()]).find(|&other| other > timeline)
    };
    match (history.switch_point_of(timeline), next()) {
        (Some(at), Some(next)) => Ok(Some(TimelineSwitch { next, at })),
        _ => Err(Box::new(ServerError::error(
            SqlState::INTERNAL_ERROR,
            format!("requested timeline {timeline} is not in this server's history"),
        ))),
    }
}

/// That `start` is not past where `timeline` was left.
pub(super) fn check_start(
    start: Lsn,
    timeline: TimelineId,
    switch: TimelineSwitch,
) -> Result<(), Box<ServerError>> {
    if start <= switch.at {
        return Ok(());
    }
    let message =
        format!("requested starting point {start} on timeline {timeline} is not in this server's history");
    let detail = format!("This server's history forked from timeline {timeline} at {}.", switch.at);
    Err(Box::new(ServerError::error(SqlState::INTERNAL_ERROR, message).detail(detail)))
}
