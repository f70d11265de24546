//! From durable to acknowledged, on the thread that made it durable.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use replication::client::StatusSender;
use replication::receiver::ReceiverMachine;
use replication::stream::{PgTimestamp, StandbyStatus};
use tokio::sync::Notify;
use wal::Lsn;

use super::publisher::{PublishedTimeline, Publisher};
use crate::archive::Observer;

/// Joins one stream's archive to its server and to the host: what became durable is acknowledged first, then published.
pub(super) struct Acknowledger {
    machine: Mutex<ReceiverMachine>,
    sender: StatusSender,
    publisher: std::sync::Arc<Publisher>,
    timeline: PublishedTimeline,
    /// Calls the receiving task back to poll the machine, or to find out what failed.
    pub(super) wake: Notify,
}

impl Acknowledger {
    pub(super) fn new(
        machine: ReceiverMachine,
        sender: StatusSender,
        publisher: std::sync::Arc<Publisher>,
        timeline: PublishedTimeline,
    ) -> Self {
        Self { machine: Mutex::new(machine), sender, publisher, timeline, wake: Notify::new() }
    }

    pub(super) fn machine(&self) -> MutexGuard<'_, ReceiverMachine> {
        // The machine is whole between calls.
        self.machine.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends a status. A connection that does not take it is found broken by the receiving task.
    pub(super) fn send(&self, status: &StandbyStatus) {
        let status = StandbyStatus { time: PgTimestamp::now(), ..*status };
        if let Err(error) = self.sender.send(&status) {
            tracing::debug!("could not send a status: {error}");
        }
    }
}

impl Observer for Acknowledger {
    fn written(&self, position: Lsn) {
        self.machine().written(position);
    }

    fn durable(&self, position: Lsn) {
        let mut machine = self.machine();
        machine.flushed(position);
        if let Some(status) = machine.status_due(Instant::now()) {
            self.send(&status); // still locked, so that no older status comes after it
        }
        let finishing = machine.is_finishing();
        drop(machine);
        self.publisher.durable(self.timeline, position);
        if finishing {
            self.wake.notify_one();
        }
    }

    fn failed(&self) {
        self.wake.notify_one();
    }
}
