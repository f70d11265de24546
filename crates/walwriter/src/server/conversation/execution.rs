//! The portal that runs: its steps, what the client is told of each, and what stops it.

use super::copying::Copying;
use super::named::OpenPortal;
use super::{Conversation, Progress};
use crate::protocol::backend;
use crate::session::{CommandTag, Interrupt, Session, SessionError, Step};

/// The portal that runs.
pub(super) struct Running<S: Session> {
    pub(super) portal: OpenPortal<S>,
    /// The portal's name if it runs because of an Execute; `None` in a Query.
    pub(super) name: Option<Box<str>>,
    /// How many rows may still be returned; `u64::MAX` is no limit. Counted down by the session.
    pub(super) rows_left: u64,
    pub(super) copy: Copying,
}

impl<S: Session> Conversation<S> {
    /// Has a portal run from the next piece of work on. In a Query, it has no name.
    pub(super) fn begin_running(&mut self, portal: OpenPortal<S>, name: Option<Box<str>>, rows_left: u64) {
        self.running = Some(Running { portal, name, rows_left, copy: Copying::No });
    }

    /// Executes a step of what runs.
    pub(super) fn run(&mut self, out: &mut Vec<u8>) -> Option<Progress> {
        if let Err(error) = self.check_interrupts() {
            return self.report_and_go_on(out, &error);
        }
        let committing = self.session.is_committing();
        let running = self.running.as_mut()?;
        let Some(execution) = &mut running.portal.execution else {
            // A portal that has run to its end returns no more rows.
            return self.complete(CommandTag::Rows("SELECT", 0), out);
        };
        match self.session.step(execution, out, &mut running.rows_left) {
            Ok(Step::Done(_)) if self.interrupts.pending() == Some(Interrupt::Terminate) => {
                // It may have been the statement itself that has asked for it, and that is to know no success.
                return Some(self.farewell(out, &Interrupt::Terminate.to_error()));
            }
            Ok(Step::Done(tag)) => {
                running.portal.execution = None;
                if committing {
                    // What came meanwhile came too late.
                    self.interrupts.forget();
                }
                return self.complete(tag, out);
            }
            Ok(Step::Suspended) => {
                self.put_back();
                backend::portal_suspended(out);
            }
            Ok(Step::Yield) => {
                self.start_clock();
                return Some(Progress::Yield);
            }
            Ok(Step::Blocked { until }) => {
                self.start_clock();
                return Some(Progress::Blocked(self.clock.deadline_or(until)));
            }
            Ok(Step::CopyIn(format)) => {
                if running.copy == Copying::No {
                    backend::copy_in_response(out, format);
                }
                running.copy = Copying::In;
                // The time that its client takes counts.
                self.start_clock();
            }
            Ok(Step::CopyOut(format)) => {
                if running.copy == Copying::No {
                    backend::copy_out_response(out, format);
                }
                running.copy = Copying::Out;
            }
            Err(error) => return self.report_and_go_on(out, &error),
        }
        None
    }

    /// The running portal has run to its end.
    fn complete(&mut self, tag: CommandTag, out: &mut Vec<u8>) -> Option<Progress> {
        let running = self.running.take()?;
        self.clock.stop();
        if running.copy == Copying::Out {
            backend::copy_done(out);
        }
        if let Some(name) = &running.name {
            backend::command_complete(out, tag);
            self.extended.portals.put(name, running.portal);
            return None;
        }
        if self.cycle.is_at_end() {
            // The commit comes before the client is told that the command is complete, because it may fail.
            self.cycle.done = Some(tag);
            return self.settle(out);
        }
        backend::command_complete(out, tag);
        None
    }

    /// The running portal has returned as many rows as were asked for: it waits for the next Execute.
    fn put_back(&mut self) {
        self.clock.stop();
        if let Some(Running { portal, name: Some(name), .. }) = self.running.take() {
            self.extended.portals.put(&name, portal);
        }
    }

    /// An error if what is being done is to be stopped.
    pub(super) fn check_interrupts(&mut self) -> Result<(), SessionError> {
        if self.session.is_committing() {
            return Ok(());
        }
        if self.clock.has_run_out() {
            self.interrupts.raise(Interrupt::StatementTimeout);
        }
        self.interrupts.check()
    }

    pub(super) fn start_clock(&mut self) {
        self.clock.start(|| self.session.statement_timeout());
    }
}
