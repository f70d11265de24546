//! From a Query or a Sync to the ReadyForQuery that answers it.

use std::collections::VecDeque;

use super::{Conversation, Progress};
use crate::protocol::backend;
use crate::session::{CommandTag, Session, Settled, TransactionStatus};

/// The Query or Sync at hand. With none, every field is at rest: closed, empty, `None`, false.
pub(super) struct Cycle<T> {
    /// A Query or a Sync is being executed: it ends with ReadyForQuery, whatever happens.
    pub(super) open: bool,
    /// The statements of a Query that are still to be executed.
    pub(super) queue: VecDeque<T>,
    /// What the last statement of a Query has done: told once its commit is done.
    pub(super) done: Option<CommandTag>,
    /// The commit at its end has begun, and waits.
    pub(super) settling: bool,
}

impl<T> Cycle<T> {
    pub(super) const fn new() -> Self {
        Self { open: false, queue: VecDeque::new(), done: None, settling: false }
    }

    /// Whether only the commit and ReadyForQuery are left to do, once nothing runs.
    pub(super) fn is_at_end(&self) -> bool {
        self.open && self.queue.is_empty()
    }
}

impl<S: Session> Conversation<S> {
    /// The end of a Query, or a Sync: commits what is not in a block, and says that it is ready for more.
    pub(super) fn settle(&mut self, out: &mut Vec<u8>) -> Option<Progress> {
        // What comes when everything is done but the commit is too late, unless that has to wait.
        let interrupted = if self.cycle.settling { self.check_interrupts() } else { Ok(()) };
        let committing = self.session.is_committing();
        let settled = interrupted.and_then(|()| self.session.settle(out));
        match settled {
            Ok(Settled::Done) if committing => self.interrupts.forget(),
            Ok(Settled::Done) => {}
            Ok(Settled::Blocked) => {
                self.cycle.settling = true;
                self.start_clock();
                return Some(Progress::Blocked(self.clock.deadline()));
            }
            Err(error) => return self.report_and_go_on(out, &error),
        }
        self.cycle.settling = false;
        self.clock.stop();
        if let Some(tag) = self.cycle.done.take() {
            backend::command_complete(out, tag);
        }
        self.cycle.open = false;
        self.ready(out);
        None
    }

    /// ReadyForQuery, and what comes with it.
    pub(super) fn ready(&mut self, out: &mut Vec<u8>) {
        self.session.report_settings(false, &mut |name, value| backend::parameter_status(out, name, value));
        let status = self.session.transaction_status();
        if status == TransactionStatus::Idle {
            self.extended.portals.clear();
        }
        backend::ready_for_query(out, status);
        self.withheld.piece_is_ready();
    }
}
