//! The log as the pool sees it while there is none to append to: during crash recovery.

use std::sync::{Arc, OnceLock};

use wal::Lsn;

use crate::EngineError;
use crate::buffer::WalBeforeData;
use crate::log::Log;

/// Everything that recovery replays has been made durable before; from the moment on that the log is open, it is asked.
#[derive(Debug, Default)]
pub(super) struct RecoveryWal {
    log: OnceLock<Arc<Log>>,
}

impl RecoveryWal {
    /// Recovery is over.
    pub(super) fn open(&self, log: Arc<Log>) {
        let _ = self.log.set(log);
    }
}

impl WalBeforeData for RecoveryWal {
    fn flush(&self, lsn: Lsn) -> Result<(), EngineError> {
        self.log.get().map_or(Ok(()), |log| log.flush(lsn))
    }

    fn flushed(&self) -> Lsn {
        self.log.get().map_or(Lsn::MAX, |log| log.flushed())
    }
}
