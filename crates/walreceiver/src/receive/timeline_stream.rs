//! One START_REPLICATION: a timeline's WAL from the socket into the archive.

use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use replication::client::{StreamEvent, WalStream};
use replication::receiver::ReceiverAction;
use replication::stream::{Keepalive, WalData};
use tokio::sync::watch;
use wal::{Lsn, SegmentSize, Validator, WalError};

use super::acknowledger::Acknowledger;
use super::error::ReceiverError;
use super::publisher::Publisher;
use crate::archive::{Chunk, Pipeline};
use crate::compress::Compressor;

/// Further behind the server than this, no commit is waiting for what is being received.
const LAGGING: u64 = 4 << 20;
/// How many events in a row are taken from a full socket before signals and timers get a look in.
const EVENTS_IN_A_ROW: u32 = 64;
/// How often a blocked queue is left to send the statuses that have become due.
const WHILE_BLOCKED: Duration = Duration::from_millis(100);
/// What a server may be silent for.
pub(crate) const SILENCE_LIMIT: Duration = Duration::from_secs(60);

/// A stream under way, and everything it feeds.
pub(crate) struct TimelineStream {
    pub(crate) stream: WalStream,
    pub(crate) validator: Validator,
    pub(crate) pipeline: Pipeline,
    pub(crate) acknowledger: Arc<Acknowledger>,
    pub(crate) publisher: Arc<Publisher>,
    pub(crate) compressor: Option<Arc<Compressor>>,
    pub(crate) shutdown: watch::Receiver<bool>,
    pub(crate) start: Lsn,
    pub(crate) size: SegmentSize,
    pub(crate) timeline: wal::TimelineId,
    /// What the server may be silent for.
    pub(crate) silence_limit: Option<Duration>,
}

/// How a stream ended that nothing was wrong with. Everything received is durable and acknowledged.
pub(crate) enum StreamEnd {
    /// We wanted no more: a signal, or the end position.
    Stopped(WalStream),
    /// The server has no more on this timeline.
    TimelineEnded {
        stream: WalStream,
        received: Lsn,
    },
    ServerShutdown,
}

/// What ends a wait other than the server; `true` if it is to be the end. Kept from wait to wait, because making and
/// dropping its parts for each commit costs more than looking at them.
type Interruption = Pin<Box<dyn Future<Output = bool> + Send>>;

enum Next {
    Go,
    EndCopy,
}

impl TimelineStream {
    /// Receives until the stream ends, one way or another. No thread of the pipeline is left afterwards.
    pub(crate) async fn run(mut self) -> Result<StreamEnd, ReceiverError> {
        let end = match self.receive().await {
            Ok(end) => end,
            Err(error) => return Err(self.give_up(error)),
        };
        let received = self.acknowledger.machine().received();
        self.pipeline.close()?;
        Ok(match end {
            None => StreamEnd::Stopped(self.stream),
            Some(StreamEvent::ServerShutdown) => StreamEnd::ServerShutdown,
            Some(_) => StreamEnd::TimelineEnded { stream: self.stream, received },
        })
    }

    /// Ends the pipeline after `error`. That the disk has failed is worse than that, and is told in its place.
    fn give_up(self, error: ReceiverError) -> ReceiverError {
        let ended = if error.is_out_of_space() { self.pipeline.close() } else { self.pipeline.abandon() };
        ended.map_or_else(ReceiverError::from, |()| error)
    }

    /// The server's last event, or `None` if it is us who end the copy.
    async fn receive(&mut self) -> Result<Option<StreamEvent>, ReceiverError> {
        let mut interruption = self.interruption();
        let mut in_a_row = 0;
        if let Next::EndCopy = self.act()? {
            return Ok(None);
        }
        loop {
            let next = self.stream.try_next()?;
            if next.is_some() && in_a_row < EVENTS_IN_A_ROW {
                in_a_row += 1;
            } else {
                in_a_row = 0;
                self.stream.push_on()?;
                if next.is_some() {
                    tokio::task::yield_now().await;
                    if *self.shutdown.borrow() {
                        self.acknowledger.machine().stop();
                    }
                } else {
                    self.pipeline.batch_ended()?;
                    self.check_compressor()?;
                }
                if let Next::EndCopy = self.act()? {
                    return Ok(None);
                }
            }
            let next = match next {
                Some(event) => Some(event),
                None => self.wait(&mut interruption).await?,
            };
            match next {
                Some(StreamEvent::Wal(wal)) => self.take_wal(wal).await?,
                Some(StreamEvent::Keepalive(keepalive)) => {
                    self.take_keepalive(keepalive);
                    if let Next::EndCopy = self.act()? {
                        return Ok(None);
                    }
                }
                Some(end @ (StreamEvent::TimelineEnd | StreamEvent::ServerShutdown)) => return Ok(Some(end)),
                None => {}
            }
        }
    }

    /// Waits for the server, or for anything else that calls for a look at the machine.
    async fn wait(&mut self, interruption: &mut Interruption) -> Result<Option<StreamEvent>, ReceiverError> {
        let stop = tokio::select! {
            biased;
            event = self.stream.next() => return Ok(Some(event?)),
            stop = interruption.as_mut() => stop,
        };
        if stop {
            self.acknowledger.machine().stop();
            self.shutdown.mark_unchanged();
        }
        *interruption = self.interruption();
        self.pipeline.check()?;
        Ok(None)
    }

    /// The next interruption from now on. Its timer may be early, for what the server sends moves the machine's next
    /// timeout on, never back.
    fn interruption(&self) -> Interruption {
        let timeout = self.acknowledger.machine().next_timeout();
        let acknowledger = Arc::clone(&self.acknowledger);
        let mut shutdown = self.shutdown.clone();
        Box::pin(async move {
            let timer = async {
                match timeout {
                    Some(at) => tokio::time::sleep_until(at.into()).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                () = acknowledger.wake.notified() => false,
                _ = shutdown.changed() => true,
                () = timer => false,
            }
        })
    }

    /// Does what the machine wants done.
    fn act(&self) -> Result<Next, ReceiverError> {
        let now = Instant::now();
        let mut machine = self.acknowledger.machine();
        while let Some(action) = machine.poll(now) {
            match action {
                ReceiverAction::SendStatus(status) => {
                    // Also where nothing new comes, and so nothing is synced.
                    self.pipeline.still_there()?;
                    self.acknowledger.send(&status);
                }
                ReceiverAction::Sync => self.pipeline.sync_now(),
                ReceiverAction::EndCopy => return Ok(Next::EndCopy),
                ReceiverAction::GiveUp => {
                    return Err(ReceiverError::Silent(self.silence_limit.unwrap_or_default().as_secs()));
                }
            }
        }
        Ok(Next::Go)
    }

    fn take_keepalive(&self, keepalive: Keepalive) {
        self.publisher.heard(Some(keepalive.end));
        self.publisher.refresh();
        self.acknowledger.machine().keepalive(keepalive, Instant::now());
    }

    async fn take_wal(&mut self, wal: WalData) -> Result<(), ReceiverError> {
        runtime::fault::panic_if_wanted("panic in the receiving task");
        let WalData { start, server_end, data, .. } = wal;
        self.publisher.heard(Some(server_end));
        let wanted = self.acknowledger.machine().wal(start, data.len(), server_end, Instant::now())?;
        if !wanted {
            return Ok(());
        }
        let lagging = server_end.bytes_since(start) > LAGGING;
        match self.validator.feed(&data) {
            Ok(()) => self.keep(Chunk { bytes: data, lagging }).await,
            Err(error) => {
                // The records that this chunk completed before the damage are good.
                let good = self.validator.record_end();
                let len = good.bytes_since(start).min(data.len() as u64) as usize;
                self.keep(Chunk { bytes: data.slice(..len), lagging }).await?;
                self.pipeline.discard_from(good)?;
                Err(self.damaged(error))
            }
        }
    }

    fn damaged(&self, error: WalError) -> ReceiverError {
        if error.lsn >= self.start {
            return ReceiverError::Damaged(error);
        }
        let name = |lsn| self.size.segment_of(lsn).file_name(self.timeline, self.size);
        ReceiverError::DamagedAcrossSegments { before: name(error.lsn), first: name(self.start), error }
    }

    /// Hands a chunk to the archive; while that has no room, goes on telling the server that we live.
    async fn keep(&mut self, chunk: Chunk) -> Result<(), ReceiverError> {
        let mut left = self.pipeline.offer(chunk)?;
        while let Some(chunk) = left.take() {
            let _ = tokio::time::timeout(WHILE_BLOCKED, self.pipeline.room()).await;
            let mut machine = self.acknowledger.machine();
            machine.reading_was_held_up(Instant::now());
            if let Some(status) = machine.interval_status(Instant::now()) {
                self.acknowledger.send(&status);
            }
            drop(machine);
            self.check_compressor()?;
            left = self.pipeline.offer(chunk)?;
        }
        Ok(())
    }

    fn check_compressor(&self) -> Result<(), ReceiverError> {
        match &self.compressor {
            None => Ok(()),
            Some(compressor) => {
                compressor.check().map_err(|(path, reason)| ReceiverError::Compress { path, reason })
            }
        }
    }
}
