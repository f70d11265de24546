//! What other processes on the host are told: the directory's status file ([`replication::waldir::Status`]).

use std::sync::Arc;

use replication::waldir::{Status, StatusWriter, UnixMicros, WalDir};
use runtime::sync::Mutex;
use wal::{Lsn, SegmentSize, SystemId};

use super::LogStart;
use super::segments::SegmentFiles;
use crate::EngineError;

/// Publishes the log's positions from when it has taken over the file.
#[derive(Debug)]
pub(super) struct Publisher {
    wanted: bool,
    system_id: SystemId,
    segment_size: SegmentSize,
    writer: Mutex<Option<Arc<StatusWriter>>>,
}

impl Publisher {
    pub(super) fn new(wanted: bool, system_id: SystemId, segment_size: SegmentSize) -> Self {
        Self { wanted, system_id, segment_size, writer: Mutex::new(None) }
    }

    /// Takes over the file, which nobody else may be writing now.
    pub(super) fn take_over(&self, segments: &SegmentFiles, start: &LogStart) -> Result<(), EngineError> {
        if !self.wanted {
            return Ok(());
        }
        let dir = WalDir::new(segments.dir(), Arc::clone(segments.disk()));
        let position = start.position.align8();
        let first = Status {
            system_id: Some(self.system_id),
            segment_size: Some(self.segment_size),
            timeline: start.timeline,
            timeline_start: start.timeline_start,
            write: position,
            flush: position,
            ..Status::new()
        };
        let writer = StatusWriter::create(&dir, first);
        let writer = writer.map_err(|error| EngineError::Directory(error.to_string()))?;
        *self.writer.lock() = Some(Arc::new(writer));
        Ok(())
    }

    /// Everything before `flushed` is durable.
    pub(super) fn durable(&self, flushed: Lsn) {
        if !self.wanted {
            return;
        }
        let Some(writer) = self.writer.lock().clone() else { return };
        writer.update(|status| {
            // Flushers come here after their turn, perhaps one after its successor.
            if flushed > status.flush {
                status.write = flushed;
                status.flush = flushed;
                status.last_durable_at = Some(UnixMicros::now());
            }
        });
    }
}
