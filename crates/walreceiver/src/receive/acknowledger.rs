//! From durable to acknowledged, on the thread that made it durable.

use std::time::Instant;

use replication::client::StatusSender;
use replication::receiver::ReceiverMachine;
use replication::stream::{PgTimestamp, StandbyStatus};
use runtime::sync::{Mutex, MutexGuard};
use tokio::sync::Notify;
use wal::{Lsn, TimelineId};

use super::publisher::{PublishedTimeline, Publisher};
use crate::archive::Observer;

/// Hears how far WAL that arrives is durable.
pub trait DurableListener: Send + Sync + 'static {
    /// Everything on `timeline` before `position` is durable. Called by whatever thread made it so; must be quick.
    fn durable(&self, timeline: TimelineId, position: Lsn);

    /// The history of whoever sends has been compared with this directory's, and has all that is here.
    fn history_agrees(&self) {}
}

/// Joins one stream's archive to its server and to the host: what became durable is acknowledged first, then published.
pub(crate) struct Acknowledger {
    machine: Mutex<ReceiverMachine>,
    sender: StatusSender,
    publisher: std::sync::Arc<Publisher>,
    timeline: PublishedTimeline,
    /// Hears of what is durable after everybody else.
    listener: Option<std::sync::Arc<dyn DurableListener>>,
    /// Calls the receiving task back to poll the machine, or to find out what failed.
    pub(crate) wake: Notify,
}

impl Acknowledger {
    pub(crate) fn new(
        machine: ReceiverMachine,
        sender: StatusSender,
        publisher: std::sync::Arc<Publisher>,
        timeline: PublishedTimeline,
    ) -> Self {
        Self {
            machine: Mutex::new(machine),
            sender,
            publisher,
            timeline,
            listener: None,
            wake: Notify::new(),
        }
    }

    /// Has `listener` hear of what is durable.
    pub(crate) fn listened_to_by(self, listener: std::sync::Arc<dyn DurableListener>) -> Self {
        Self { listener: Some(listener), ..self }
    }

    /// Everything before `position` has been replayed.
    pub(crate) fn applied(&self, position: Lsn) {
        let mut machine = self.machine();
        machine.applied(position);
        if let Some(status) = machine.status_due(Instant::now()) {
            self.send(&status); // still locked, so that no older status comes after it
        }
    }

    pub(crate) fn machine(&self) -> MutexGuard<'_, ReceiverMachine> {
        self.machine.lock()
    }

    /// Sends a status, and is held up by nobody. What the connection does not take is left to the receiving task, which
    /// also finds it broken.
    pub(crate) fn send(&self, status: &StandbyStatus) {
        let status = StandbyStatus { time: PgTimestamp::now(), ..*status };
        match self.sender.send(&status) {
            Ok(true) => {}
            Ok(false) => self.wake.notify_one(),
            Err(error) => tracing::debug!("could not send a status: {error}"),
        }
    }
}

impl Observer for Acknowledger {
    fn written(&self, position: Lsn) {
        let mut machine = self.machine();
        let was_due = machine.is_status_due();
        machine.written(position);
        // What others wanted said is for those to say who did.
        if !was_due && let Some(status) = machine.status_due(Instant::now()) {
            self.send(&status); // still locked, so that no older status comes after it
        }
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
        if let Some(listener) = &self.listener {
            listener.durable(self.timeline.timeline, position);
        }
        if finishing {
            self.wake.notify_one();
        }
    }

    fn failed(&self) {
        self.wake.notify_one();
    }
}
