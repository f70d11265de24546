//! The log as the pool sees it while there is none to append to: during crash recovery, and on a
//! standby.

use std::sync::{Arc, OnceLock};

use wal::Lsn;

use crate::EngineError;
use crate::buffer::WalBeforeData;
use crate::log::Log;

/// Everything that is replayed has been made durable before; from the moment on that the log is open, it is asked.
#[derive(Debug, Default)]
pub(crate) struct RecoveryWal {
    log: OnceLock<Arc<Log>>,
}

impl RecoveryWal {
    /// Recovery is over: from now on there are records in `log` that are not durable yet.
    pub(crate) fn open(&self, log: Arc<Log>) {
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
