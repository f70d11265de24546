//! The node as the server sees it: its executor.

use std::task::Waker;

use wal::Lsn;

use super::ServerNode;
use crate::exec::SqlSession;
use crate::session::{Awaited, Database, Opening, SessionError};

impl Database for ServerNode {
    type Session = SqlSession;

    fn open_session(&self, opening: Opening) -> Result<SqlSession, SessionError> {
        self.executor.open_session(opening)
    }

    fn flush(&self, lsn: Lsn) {
        self.executor.flush(lsn);
    }

    fn reached(&self, awaited: Awaited) -> Lsn {
        self.storage.reached(awaited)
    }

    fn watch_reached(&self, waker: Waker) {
        self.executor.watch_reached(waker.clone());
        self.storage.watch_followers(waker);
    }

    fn in_recovery(&self) -> bool {
        self.executor.in_recovery()
    }
}
