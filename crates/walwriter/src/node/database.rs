//! The node as the server sees it: its executor.

use std::task::Waker;

use wal::Lsn;

use super::ServerNode;
use crate::exec::SqlSession;
use crate::session::{Database, Opening, SessionError};

impl Database for ServerNode {
    type Session = SqlSession;

    fn open_session(&self, opening: Opening) -> Result<SqlSession, SessionError> {
        self.executor.open_session(opening)
    }

    fn flush(&self, lsn: Lsn) {
        self.executor.flush(lsn);
    }

    fn confirmed(&self) -> Lsn {
        self.executor.confirmed()
    }

    fn watch_confirmed(&self, waker: Waker) {
        self.executor.watch_confirmed(waker);
    }

    fn in_recovery(&self) -> bool {
        self.executor.in_recovery()
    }
}
