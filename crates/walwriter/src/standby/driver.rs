//! The thread that keeps replay going.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use engine::checkpoint::Cause;
use replication::client::ClientError;
use replication::error::SqlState;
use replication::waldir::WalDir;
use wal::{Lsn, TimelineHistory};
use walreceiver::receive::ReceiverError;
use walreceiver::standby::{
    DurableListener, StandbyEnd, StandbyOptions as ReceiverOptions, StandbyReceiver, StandbyStart,
};

use super::archive::Archive;
use super::extent::{Cluster, extent};
use super::inbox::News;
use super::{Shared, StandbyError, StandbyOptions, lock, signal_file};
use crate::process::STANDBY_SIGNAL;

/// The first wait after a failure; they double up to `wal_retrieve_retry_interval`.
const FIRST_WAIT: Duration = Duration::from_millis(100);

/// The thread's own state.
pub(super) struct Driver {
    standby: Arc<engine::Standby>,
    shared: Arc<Shared>,
    dir: WalDir,
    cluster: Cluster,
    /// The newest timeline that is followed, with its ancestors.
    history: TimelineHistory,
    /// The end of what is known to be durable here. Moved by what was received or validated; never ahead of that.
    durable: Lsn,
    told_consistent: bool,
    /// A promotion was asked for.
    wanted: bool,
    wait: Duration,
}

/// What is to be done next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    GoOn,
    Promote,
    Stop,
}

impl Driver {
    pub(super) fn new(standby: Arc<engine::Standby>, shared: Arc<Shared>, dir: WalDir) -> Self {
        let log = standby.engine().log();
        let cluster = Cluster { system_id: log.system_id(), segment_size: log.segment_size() };
        Self {
            dir,
            cluster,
            history: TimelineHistory::root(),
            durable: standby.read_to(),
            told_consistent: false,
            wanted: false,
            wait: FIRST_WAIT,
            standby,
            shared,
        }
    }

    pub(super) fn run(mut self) {
        let outcome = self.follow();
        // Nobody is asked for anything any more.
        *lock(&self.shared.receiver) = None;
        if let Err(error) = outcome {
            self.shared.events.failed(&error);
        }
        *lock(&self.shared.ended) = true;
        self.shared.changed.notify_all();
    }

    fn follow(&mut self) -> Result<(), StandbyError> {
        self.follow_newest_timeline()?;
        self.replay(self.standby.read_to())?;
        loop {
            let next = match self.files()? {
                Next::GoOn => self.leader()?,
                other => other,
            };
            let next = match next {
                Next::GoOn => {
                    let until = Instant::now() + self.wait;
                    self.wait = (self.wait * 2).min(self.options().retry_interval.max(FIRST_WAIT));
                    let news = self.shared.inbox.wait(Some(until));
                    self.heed(news)
                }
                other => other,
            };
            match next {
                Next::GoOn => {}
                Next::Stop => return Ok(()),
                Next::Promote => return self.promote(),
            }
        }
    }

    fn options(&self) -> StandbyOptions {
        lock(&self.shared.options).clone()
    }

    /// What news ask for.
    fn heed(&mut self, news: News) -> Next {
        if news.stop {
            return Next::Stop;
        }
        if news.reconnect {
            self.wait = FIRST_WAIT;
        }
        self.wanted |= news.promote;
        if self.wanted && self.standby.is_consistent() { Next::Promote } else { Next::GoOn }
    }

    /// Replays what is in `pg_wal` and in the archive, as far as that goes.
    fn files(&mut self) -> Result<Next, StandbyError> {
        loop {
            let news = self.shared.inbox.peek();
            let next = self.heed(news);
            if next != Next::GoOn {
                return Ok(next);
            }
            let from = self.standby.read_to();
            let found = extent(&self.dir, &self.cluster, &self.history, from)?;
            if found.end > from {
                self.replay(found.end)?;
                if self.standby.read_to() > from {
                    continue;
                }
            }
            if !self.fetch(found.wanted)? {
                return Ok(Next::GoOn);
            }
        }
    }

    /// Fetches from the archive what replay wants next: the segment that begins at `wanted`, or a newer timeline.
    fn fetch(&mut self, wanted: Lsn) -> Result<bool, StandbyError> {
        let options = self.options();
        let Some(command) = &options.restore_command else { return Ok(false) };
        let archive = Archive {
            command,
            data_directory: &options.data_directory,
            dir: &self.dir,
            cluster: &self.cluster,
        };
        if archive.next_history(self.history.timeline())? {
            self.follow_newest_timeline()?;
            return Ok(true);
        }
        let segment = self.cluster.segment_size.segment_of(wanted);
        archive.segment(&self.history, segment, self.durable)
    }

    /// Receives from the leader until that ends.
    fn leader(&mut self) -> Result<Next, StandbyError> {
        let options = self.options();
        let Some(conninfo) = options.leader.clone() else { return Ok(Next::GoOn) };
        let Some(start) = self.streaming_start()? else { return Ok(Next::GoOn) };
        let Some(status) = lock(&self.shared.status).clone() else { return Ok(Next::Stop) };
        let receiver_options = ReceiverOptions {
            conninfo,
            slot: options.slot.clone(),
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
        *lock(&self.shared.receiver) = Some(Arc::clone(&receiver));
        let outcome = self.receive(&receiver);
        *lock(&self.shared.receiver) = None;
        receiver.stop();
        let ended = receiver.wait();
        // What became durable before the end.
        let left = self.shared.inbox.take_durable();
        self.replay_received(&receiver, left)?;
        let next = outcome?;
        match ended {
            Ok(StandbyEnd::Stopped) => {}
            Ok(StandbyEnd::TimelineEnded(_)) => {
                self.follow_newest_timeline()?;
                self.wait = FIRST_WAIT;
            }
            Err(error) => self.explain(&error),
        }
        Ok(next)
    }

    /// Replays what is received, until there is other news.
    fn receive(&mut self, receiver: &StandbyReceiver) -> Result<Next, StandbyError> {
        loop {
            let news = self.shared.inbox.wait(None);
            self.replay_received(receiver, news.durable)?;
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
        let Some(durable) = durable.filter(|&durable| durable > self.durable) else { return Ok(()) };
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

    /// Replays up to `durable`, and tells everybody.
    fn replay(&mut self, durable: Lsn) -> Result<(), StandbyError> {
        self.durable = self.durable.max(durable);
        if durable.is_valid() {
            self.standby.replay_to(durable)?;
        }
        if let Some(status) = &*lock(&self.shared.status) {
            status.durable(&self.dir.history(self.history.timeline_at(durable))?, durable);
            status.applied(self.applied());
        }
        if !self.told_consistent && self.standby.is_consistent() {
            self.told_consistent = true;
            self.shared.events.consistent();
        }
        Ok(())
    }

    fn applied(&self) -> Lsn {
        self.standby.engine().applied()
    }

    fn follow_newest_timeline(&mut self) -> Result<(), StandbyError> {
        match self.standby.follow_newest_timeline() {
            Ok(newest) => {
                if newest != self.history.timeline() {
                    tracing::info!("following timeline {newest}");
                }
                self.history = self.dir.history(newest)?;
            }
            // Somebody has to decide which of the two histories is to live.
            Err(error) => {
                tracing::error!("{}", error.chain());
                self.history = self.dir.history(self.standby.timeline())?;
            }
        }
        Ok(())
    }

    /// Why the leader sends nothing more; and if it has not got what we need, what exactly that is.
    fn explain(&self, error: &ReceiverError) {
        let gone = matches!(error, ReceiverError::Client(ClientError::Server(error)) if error.code == SqlState::UNDEFINED_FILE);
        if !gone {
            return tracing::error!("could not receive data from WAL stream: {error}");
        }
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

    /// Ends following. The receiver is gone.
    fn promote(&mut self) -> Result<(), StandbyError> {
        tracing::info!("received promote request");
        // The log publishes its positions itself from now on.
        *lock(&self.shared.status) = None;
        let engine = self.standby.promote("no recovery target specified")?;
        let data_directory = self.options().data_directory;
        let path = data_directory.join(STANDBY_SIGNAL);
        signal_file::remove_standby_signal(&data_directory).map_err(|source| StandbyError::File {
            action: "remove",
            path,
            source,
        })?;
        self.shared.events.promoted(&engine);
        // Until there is one, a crash replays everything since the last restartpoint.
        let checkpoint = thread::Builder::new().name("promotion checkpoint".to_owned()).spawn(move || {
            if let Err(error) = engine.checkpoint(Cause::Spread) {
                tracing::warn!("the checkpoint after the promotion failed: {}", error.chain());
            }
        });
        checkpoint.map(drop).map_err(StandbyError::Thread)
    }
}
