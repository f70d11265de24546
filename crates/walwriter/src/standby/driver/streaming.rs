//! What the leader sends.
//!
//! Invariants: when this returns, no receiver writes into `pg_wal` any more; and after WAL that could not be written or
//! synced there is no next connection, which would find it in the page cache and take it for durable. WAL that there is no
//! space for was not written, and can be asked for again.

use std::sync::Arc;

use wal::Lsn;
use walreceiver::receive::ReceiverError;
use walreceiver::standby::{
    DurableListener, StandbyEnd, StandbyOptions as ReceiverOptions, StandbyReceiver, StandbyStart,
};

use super::{Driver, FIRST_WAIT, Next};
use crate::standby::StandbyError;
use crate::standby::extent::extent;

impl Driver {
    /// Receives from the leader until that ends.
    pub(super) fn leader(&mut self) -> Result<Next, StandbyError> {
        let options = self.options();
        let Some(conninfo) = options.leader.clone() else { return Ok(Next::GoOn) };
        if !self.can_receive()? {
            return Ok(Next::GoOn);
        }
        let Some(start) = self.streaming_start()? else { return Ok(Next::GoOn) };
        let Some(status) = self.shared.status.lock().clone() else { return Ok(Next::Stop) };
        let receiver_options = ReceiverOptions {
            conninfo,
            slot: options.slot.clone(),
            create_slot: options.create_slot,
            dir: self.dir.path().to_owned(),
            system_id: self.cluster.system_id,
            segment_size: self.cluster.segment_size,
            status_interval: options.status_interval,
            timeout: options.receiver_timeout,
        };
        let listener = Arc::clone(&self.shared.inbox) as Arc<dyn DurableListener>;
        let inbox = Arc::clone(&self.shared.inbox);
        let ended = move || inbox.receiver_ended();
        let receiver = StandbyReceiver::start(receiver_options, start, &status, listener, ended);
        let receiver = Arc::new(receiver.map_err(StandbyError::Thread)?);
        *self.shared.receiver.lock() = Some(Arc::clone(&receiver));
        let outcome = self.receive(&receiver);
        *self.shared.receiver.lock() = None;
        receiver.stop();
        let ended = receiver.wait();
        // What became durable before the end.
        let left = self.shared.inbox.take_durable();
        self.replay_received(&receiver, left)?;
        let next = outcome?;
        if receiver.history_agrees() {
            self.history_agrees()?;
        }
        if self.dir.newest_timeline()?.is_some_and(|newest| newest > self.history.timeline()) {
            // However the connection ended: the leader's newest history came first. Refused is what it lacks.
            self.follow_newest_timeline()?;
        }
        match ended {
            Ok(StandbyEnd::Stopped) => {}
            Ok(StandbyEnd::TimelineEnded(_)) => self.wait = FIRST_WAIT,
            Err(ref error @ ReceiverError::ForkedHistory { timeline, ours, theirs, .. }) => {
                return Err(self.refuse(timeline, ours, theirs, error.to_string()));
            }
            Err(error) if error.is_out_of_space() => self.receiving_stops(&error),
            Err(error) if error.is_disk_failure() => return Err(StandbyError::Receive(error)),
            Err(error) => self.explain(&error),
        }
        Ok(next)
    }

    /// Replays what is received, until there is other news.
    fn receive(&mut self, receiver: &StandbyReceiver) -> Result<Next, StandbyError> {
        loop {
            let news = self.shared.inbox.wait(self.next_attempt());
            self.replay_received(receiver, news.durable)?;
            if news.history_agrees {
                self.history_agrees()?;
            }
            let next = self.heed(news);
            if next != Next::GoOn || news.receiver_ended || news.reconnect {
                return Ok(next);
            }
        }
    }

    fn replay_received(
        &mut self,
        receiver: &StandbyReceiver,
        durable: Option<Lsn>,
    ) -> Result<(), StandbyError> {
        let new = durable.filter(|&durable| durable > self.durable);
        let Some(durable) = new.or(self.stopped.then_some(self.durable)) else { return Ok(()) };
        self.wait = FIRST_WAIT;
        self.replay(durable)?;
        receiver.applied(self.applied());
        Ok(())
    }

    /// Where streaming goes on: where replay is, or at the segment that a record goes on in whose beginning is here.
    fn streaming_start(&self) -> Result<Option<StandbyStart>, StandbyError> {
        let read_to = self.standby.read_to();
        let found = extent(&self.dir, &self.cluster, &self.history, read_to)?;
        let position = read_to.max(found.wanted);
        let history = self.dir.history(self.history.timeline_at(position))?;
        Ok(Some(StandbyStart { history, position, applied: self.applied() }))
    }

    /// Why the leader sends nothing more; and if it has not got what we need, what exactly that is.
    fn explain(&self, error: &ReceiverError) {
        let error = match error {
            ReceiverError::WalRemoved { error, .. } => error.to_string(),
            other => return tracing::error!("could not receive data from WAL stream: {other}"),
        };
        let size = self.cluster.segment_size;
        let read_to = self.standby.read_to();
        let timeline = self.history.timeline_at(read_to);
        let segment = size.segment_of(read_to).file_name(timeline, size);
        let archive = match self.options().restore_command {
            Some(_) => "restore_command does not have it either",
            None => "no restore_command is set",
        };
        tracing::error!(
            "could not receive data from WAL stream: {error}; this standby needs WAL from {read_to} on, beginning with \
             segment \"{segment}\", and {archive}: put the segment into pg_wal or make it available to restore_command, \
             or provision the standby anew"
        );
    }
}
