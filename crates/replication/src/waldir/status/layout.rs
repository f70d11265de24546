//! The status file's words.

use std::sync::atomic::{AtomicU64, Ordering};

use wal::{Lsn, SegmentSize, SystemId, TimelineId};

use crate::waldir::UnixMicros;

pub(super) const FILE_LEN: usize = 4096;
/// `WALSTAT` and version 1, as bytes on a little-endian machine.
pub(super) const MAGIC: u64 = u64::from_le_bytes(*b"WALSTAT\x01");
pub(super) const MAGIC_WORD: usize = 0;
pub(super) const SEQUENCE_WORD: usize = 1;
const FIRST_FIELD: usize = 3;
const FIELDS: usize = 14;

/// Held by the one writer.
pub(super) const OWNER_LOCK: u64 = 0;
/// Held by the writer whose words these are.
pub(super) const VALID_LOCK: u64 = 1;

/// What a directory's writer publishes.
///
/// `apply <= flush <= write` at all times, whatever the leader says in `server_end`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Status {
    /// The writer's process.
    pub writer_pid: u32,
    /// When the writer started.
    pub started_at: Option<UnixMicros>,
    /// The cluster whose WAL this is; `None` until the leader has said.
    pub system_id: Option<SystemId>,
    /// The cluster's segment size; `None` until known.
    pub segment_size: Option<SegmentSize>,
    /// The timeline of the positions below.
    pub timeline: TimelineId,
    /// Where `timeline` left its parent; 0/0 on timeline 1 or if unknown.
    pub timeline_start: Lsn,
    /// End of what has been received, validated and written to files. Moved by the writer after each write. 0/0 if
    /// unknown.
    pub write: Lsn,
    /// End of what is durable here; what may be served. Moved by the writer after each sync, never ahead of `write`.
    pub flush: Lsn,
    /// End of what has been replayed; 0/0 where nothing is replayed. Never ahead of `flush`.
    pub apply: Lsn,
    /// How far the leader last said its WAL goes; 0/0 if it has not said. An old word once the leader falls silent.
    pub server_end: Lsn,
    /// When anything at all, keepalives included, last came from the leader; `None` if never.
    pub last_byte_at: Option<UnixMicros>,
    /// When `flush` last moved; `None` if never.
    pub last_durable_at: Option<UnixMicros>,
    /// Whether the writer is connected to its leader.
    pub connected: bool,
    /// Since when it is; `None` if it is not.
    pub connected_since: Option<UnixMicros>,
    /// Whether replay has stopped, because the pages' files cannot grow or be written, and goes on once they can.
    pub replay_stopped: bool,
    /// Whether receiving has stopped, because there is no space for another segment, and goes on once there is.
    pub receiving_stopped: bool,
}

/// Bits of the flags' word.
const CONNECTED: u64 = 1;
const REPLAY_STOPPED: u64 = 2;
const RECEIVING_STOPPED: u64 = 4;

impl Status {
    /// What this process publishes before it knows anything.
    pub fn new() -> Self {
        Self {
            writer_pid: std::process::id(),
            started_at: Some(UnixMicros::now()),
            system_id: None,
            segment_size: None,
            timeline: TimelineId::FIRST,
            timeline_start: Lsn::INVALID,
            write: Lsn::INVALID,
            flush: Lsn::INVALID,
            apply: Lsn::INVALID,
            server_end: Lsn::INVALID,
            last_byte_at: None,
            last_durable_at: None,
            connected: false,
            connected_since: None,
            replay_stopped: false,
            receiving_stopped: false,
        }
    }

    /// Whether the positions are in their order.
    pub fn is_ordered(&self) -> bool {
        self.apply <= self.flush && self.flush <= self.write
    }

    pub(super) fn store(&self, words: &[AtomicU64]) {
        let fields: [u64; FIELDS] = [
            self.writer_pid.into(),
            UnixMicros::to_word(self.started_at),
            self.system_id.map_or(0, SystemId::as_u64),
            self.segment_size.map_or(0, |size| size.bytes().into()),
            self.timeline.as_u32().into(),
            self.timeline_start.as_u64(),
            self.write.as_u64(),
            self.flush.as_u64(),
            self.apply.as_u64(),
            self.server_end.as_u64(),
            UnixMicros::to_word(self.last_byte_at),
            UnixMicros::to_word(self.last_durable_at),
            self.flags(),
            UnixMicros::to_word(self.connected_since),
        ];
        for (word, field) in words.iter().skip(FIRST_FIELD).zip(fields) {
            word.store(field, Ordering::Relaxed);
        }
    }

    /// The flags' word.
    fn flags(&self) -> u64 {
        let flags = [
            (self.connected, CONNECTED),
            (self.replay_stopped, REPLAY_STOPPED),
            (self.receiving_stopped, RECEIVING_STOPPED),
        ];
        flags.into_iter().filter(|(set, _)| *set).map(|(_, flag)| flag).sum()
    }

    pub(super) fn load(words: &[AtomicU64]) -> Self {
        let mut fields = [0; FIELDS];
        for (field, word) in fields.iter_mut().zip(words.iter().skip(FIRST_FIELD)) {
            *field = word.load(Ordering::Relaxed);
        }
        let [
            writer_pid,
            started_at,
            system_id,
            segment_size,
            timeline,
            timeline_start,
            write,
            flush,
            apply,
            server_end,
            last_byte_at,
            last_durable_at,
            flags,
            connected_since,
        ] = fields;
        Self {
            writer_pid: u32::try_from(writer_pid).unwrap_or_default(),
            started_at: UnixMicros::new(started_at),
            system_id: (system_id != 0).then(|| SystemId::new(system_id)),
            segment_size: SegmentSize::new(segment_size).ok(),
            timeline: TimelineId::new(u32::try_from(timeline).unwrap_or_default()),
            timeline_start: Lsn::new(timeline_start),
            write: Lsn::new(write),
            flush: Lsn::new(flush),
            apply: Lsn::new(apply),
            server_end: Lsn::new(server_end),
            last_byte_at: UnixMicros::new(last_byte_at),
            last_durable_at: UnixMicros::new(last_durable_at),
            connected: flags & CONNECTED != 0,
            replay_stopped: flags & REPLAY_STOPPED != 0,
            receiving_stopped: flags & RECEIVING_STOPPED != 0,
            connected_since: UnixMicros::new(connected_since),
        }
    }
}

impl Default for Status {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_field_comes_back() {
        let words: Vec<AtomicU64> = (0..FILE_LEN / 8).map(|_| AtomicU64::new(0)).collect();
        let mut status = Status::new();
        status.system_id = Some(SystemId::new(7));
        status.segment_size = Some(SegmentSize::DEFAULT);
        status.timeline = TimelineId::new(3);
        status.timeline_start = Lsn::new(1);
        (status.write, status.flush, status.apply) = (Lsn::new(9), Lsn::new(8), Lsn::new(7));
        status.server_end = Lsn::new(10);
        status.last_byte_at = UnixMicros::new(5);
        status.last_durable_at = UnixMicros::new(4);
        (status.connected, status.replay_stopped, status.receiving_stopped) = (true, false, true);
        status.store(&words);
        assert_eq!(Status::load(&words), status);
    }
}
