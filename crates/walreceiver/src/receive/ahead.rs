//! A server that has less than this directory: one that lags behind, or has lost WAL.

use wal::{Lsn, TimelineId};

/// Says it for people, when a connection begins: of `timeline`, the server's newest, there is WAL up to `here` in the directory,
/// and the server's ends at `end`. Nobody is sent what is not durable, so a server that was always the same had that once.
pub(crate) fn say_if_ahead(timeline: TimelineId, here: Lsn, end: Lsn) {
    if here > end {
        tracing::warn!(
            "this directory has WAL of timeline {timeline} up to {here}, but the server's ends at {end}: it is behind, or it has lost \
             WAL or was started from an older copy of its directory; nothing here is changed, and what it sends is compared"
        );
    }
}
