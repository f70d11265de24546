//! The streaming thread.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use replication::client::{
    Client, NextTimeline, Replication, SlotOptions, StartOutcome, StreamEvent, WalStream,
};
use replication::conninfo::ConnInfo;
use replication::receiver::{FlushReports, ReceiverAction, ReceiverConfig, ReceiverMachine};
use replication::stream::{PgTimestamp, StandbyStatus, WalData};
use tokio::sync::oneshot;
use wal::{Expectations, Lsn, SegmentSize, SystemId, TimelineHistory, TimelineId, Validator};

use super::{Control, StreamError, StreamRequest, StreamSlot, Streamed};
use crate::sink::WalSink;

const SILENCE_LIMIT: Duration = Duration::from_secs(60);
/// How long the server may take to answer that we want no more. Everything is here by then.
const FAREWELL: Duration = Duration::from_secs(5);

pub(super) struct Worker {
    conninfo: ConnInfo,
    request: StreamRequest,
    sink: Box<dyn WalSink>,
    control: Arc<Control>,
    /// Sent once streaming has begun.
    begun: Option<oneshot::Sender<()>>,
}

/// One timeline's stream, as far as it concerns the sink.
struct Segments {
    timeline: TimelineId,
    size: SegmentSize,
    /// After the last byte given to the sink.
    position: Lsn,
    /// The sink has a segment open.
    open: bool,
}

/// How far a stream has come, and since when it has not come further.
struct Progress {
    server: String,
    /// Where to stop, once that is known.
    wanted: Option<Lsn>,
    received: Lsn,
    since: Instant,
    patience: Option<Duration>,
}

enum Ended {
    Stopped,
    Timeline,
}

impl Worker {
    pub(super) fn new(
        conninfo: ConnInfo,
        request: StreamRequest,
        sink: Box<dyn WalSink>,
        control: Arc<Control>,
        begun: oneshot::Sender<()>,
    ) -> Self {
        Self { conninfo, request, sink, control, begun: Some(begun) }
    }

    pub(super) fn run(mut self) -> Result<Streamed, StreamError> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| StreamError::Thread(error.to_string()))?;
        let streamed = runtime.block_on(self.stream());
        // Not dropped: that waits for a name that is being looked up.
        runtime.shutdown_background();
        streamed
    }

    async fn stream(&mut self) -> Result<Streamed, StreamError> {
        let mut client = Client::connect(&self.conninfo, Replication::Physical).await?;
        let slot = self.make_slot(&mut client).await?;
        let server = client.identify_system().await?;
        if let Some(expected) = self.request.system_id.filter(|&expected| expected != server.system_id) {
            return Err(StreamError::OtherSystem { found: server.system_id, expected });
        }
        let size = client.wal_segment_size().await?;
        let mut at = NextTimeline { timeline: self.request.timeline, start: self.request.start };
        loop {
            let history = self.history(&mut client, at.timeline).await?;
            let start = size.floor(at.start);
            let outcome = client.start_physical(slot.as_deref(), start, at.timeline).await?;
            if let Some(begun) = self.begun.take() {
                let _ = begun.send(());
            }
            match outcome {
                StartOutcome::TimelineEnded { client: back, next } => (client, at) = (back, next),
                StartOutcome::Streaming(mut stream) => {
                    let mut segments = Segments { timeline: at.timeline, size, position: start, open: false };
                    let validator = validator(start, size, history, server.system_id);
                    let ended = self.receive(&mut stream, &mut segments, validator, slot.is_some()).await?;
                    if matches!(ended, Ended::Stopped) {
                        // A temporary slot goes with the connection, however that ends.
                        let farewell = async {
                            if let Ok(finished) = stream.finish().await {
                                finished.client.close().await;
                            }
                        };
                        let _whether_it_answers_or_not = tokio::time::timeout(FAREWELL, farewell).await;
                        return Ok(Streamed { timeline: segments.timeline, end: segments.position });
                    }
                    let finished = in_time(stream.finish()).await??;
                    let next = finished
                        .next
                        .filter(|next| next.timeline > segments.timeline && next.start <= segments.position);
                    at = next.ok_or(StreamError::EndedEarly(segments.position))?;
                    client = finished.client;
                }
            }
        }
    }

    async fn make_slot(&self, client: &mut Client) -> Result<Option<String>, StreamError> {
        let options = |temporary| SlotOptions { temporary, reserve_wal: true };
        Ok(match &self.request.slot {
            StreamSlot::None => None,
            StreamSlot::Existing(name) => Some(name.clone()),
            StreamSlot::Create(name) => {
                client.create_physical_slot(name, options(false)).await?;
                Some(name.clone())
            }
            StreamSlot::Temporary { prefix } => {
                let name = format!("{prefix}_{}", client.backend_pid().unwrap_or_default());
                client.create_physical_slot(&name, options(true)).await?;
                Some(name)
            }
        })
    }

    async fn history(
        &mut self,
        client: &mut Client,
        timeline: TimelineId,
    ) -> Result<TimelineHistory, StreamError> {
        if timeline == TimelineId::FIRST {
            return Ok(TimelineHistory::root());
        }
        let (_, content) = client.timeline_history(timeline).await?;
        let history = TimelineHistory::parse(timeline, &content)?;
        self.sink.history(timeline, &content)?;
        Ok(history)
    }

    /// Receives until there is enough, or the timeline ends; the segment under way is ended either way.
    async fn receive(
        &mut self,
        stream: &mut WalStream,
        segments: &mut Segments,
        mut validator: Validator,
        has_slot: bool,
    ) -> Result<Ended, StreamError> {
        let mut machine = ReceiverMachine::new(self.config(segments.position, has_slot), Instant::now());
        let mut progress = Progress::new(stream, segments.position, self.request.patience);
        loop {
            runtime::fault::panic_if_wanted("panic in streaming beside a backup");
            if self.control.abandoned.load(Ordering::Acquire) {
                return Err(StreamError::EndedEarly(segments.position));
            }
            let stop = self.control.stop_position();
            if stop.is_some_and(|stop| segments.position >= stop) {
                machine.stop();
            }
            let deadline = progress.check(segments.position, stop)?;
            while let Some(action) = machine.poll(Instant::now()) {
                match action {
                    ReceiverAction::SendStatus(status) => {
                        let status = StandbyStatus { time: PgTimestamp::now(), ..status };
                        in_time(stream.send_status(&status)).await??;
                    }
                    ReceiverAction::GiveUp => return Err(StreamError::Silent(SILENCE_LIMIT.as_secs())),
                    // At the end alone, for a segment in a tar file cannot be made durable before
                    // (`FlushReports::AsItComes`).
                    ReceiverAction::Sync => {
                        segments.end(&mut *self.sink)?;
                        self.sink.finish()?;
                        machine.flushed(segments.position);
                    }
                    ReceiverAction::EndCopy => {
                        segments.end(&mut *self.sink)?;
                        self.sink.finish()?;
                        return Ok(Ended::Stopped);
                    }
                }
            }
            match self.next(stream, &machine, deadline).await? {
                None => {}
                Some(StreamEvent::Keepalive(keepalive)) => machine.keepalive(keepalive, Instant::now()),
                Some(StreamEvent::Wal(WalData { start, server_end, data, .. })) => {
                    let wanted = machine.wal(start, data.len(), server_end, Instant::now())?;
                    if !wanted {
                        continue;
                    }
                    validator.feed(&data)?;
                    if let Some(durable) = segments.write(&mut *self.sink, &data)? {
                        machine.flushed(durable);
                    }
                    machine.written(segments.position);
                    self.control.received.store(segments.position.as_u64(), Ordering::Release);
                }
                Some(StreamEvent::TimelineEnd) => {
                    segments.end(&mut *self.sink)?;
                    return Ok(Ended::Timeline);
                }
                Some(StreamEvent::ServerShutdown) => return Err(StreamError::EndedEarly(segments.position)),
            }
        }
    }

    fn config(&self, start: Lsn, has_slot: bool) -> ReceiverConfig {
        ReceiverConfig {
            already_applied: None,
            start,
            already_durable: start,
            flush_reports: if has_slot { FlushReports::AsItComes } else { FlushReports::Never },
            status_interval: Some(self.request.status_interval).filter(|interval| !interval.is_zero()),
            silence_limit: Some(SILENCE_LIMIT),
            end_position: None,
        }
    }

    /// Waits for the server, the machine's clock, `deadline`, or the owner.
    async fn next(
        &self,
        stream: &mut WalStream,
        machine: &ReceiverMachine,
        deadline: Option<Instant>,
    ) -> Result<Option<StreamEvent>, StreamError> {
        let timer = async {
            match [machine.next_timeout(), deadline].into_iter().flatten().min() {
                Some(at) => tokio::time::sleep_until(at.into()).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            () = self.control.changed.notified() => Ok(None),
            event = stream.next() => Ok(Some(event?)),
            () = timer => Ok(None),
        }
    }
}

/// For what a living server does without delay.
async fn in_time<T>(answer: impl Future<Output = T>) -> Result<T, StreamError> {
    let answer = tokio::time::timeout(SILENCE_LIMIT, answer).await;
    answer.map_err(|_| StreamError::Silent(SILENCE_LIMIT.as_secs()))
}

impl Progress {
    fn new(stream: &WalStream, received: Lsn, patience: Option<Duration>) -> Self {
        let server = stream.client().map(|client| client.target().to_owned()).unwrap_or_default();
        Self { server, wanted: None, received, since: Instant::now(), patience }
    }

    /// When to look again. Once `stop` is known, what is missing has to come: the server has it.
    fn check(&mut self, received: Lsn, stop: Option<Lsn>) -> Result<Option<Instant>, StreamError> {
        let now = Instant::now();
        let wanted = match stop {
            Some(wanted) if (stop, received) == (self.wanted, self.received) && received < wanted => wanted,
            _ => {
                (self.wanted, self.received, self.since) = (stop, received, now);
                return Ok(stop.and(self.patience).and_then(|patience| now.checked_add(patience)));
            }
        };
        let Some(patience) = self.patience else { return Ok(None) };
        let waited = now.saturating_duration_since(self.since);
        if waited < patience {
            return Ok(self.since.checked_add(patience));
        }
        let (server, seconds) = (self.server.clone(), waited.as_secs());
        Err(StreamError::Stalled { server, wanted, received, seconds })
    }
}

fn validator(start: Lsn, size: SegmentSize, history: TimelineHistory, system_id: SystemId) -> Validator {
    Validator::new(start, Expectations { system_id: Some(system_id), ..Expectations::new(size, history) })
}

impl Segments {
    /// Gives `bytes` to the sink, segment by segment; the end of the last one that this finished.
    fn write(&mut self, sink: &mut dyn WalSink, mut bytes: &[u8]) -> Result<Option<Lsn>, StreamError> {
        let mut finished = None;
        while !bytes.is_empty() {
            if !self.open {
                let offset = self.size.offset_of(self.position);
                let offset =
                    if runtime::fault::is_wanted("begin a segment in its middle") { 8 } else { offset };
                assert_eq!(offset, 0, "a segment is begun at its start");
                sink.begin(self.timeline, self.size.segment_of(self.position), self.size)?;
                self.open = true;
            }
            let offset = self.size.offset_of(self.position);
            let room = (self.size.bytes() - offset) as usize;
            let (part, rest) = bytes.split_at(room.min(bytes.len()));
            assert!(!part.is_empty(), "an open segment has room");
            sink.write(offset, part)?;
            self.position = self.position.saturating_add(part.len() as u64);
            if part.len() == room {
                sink.end(self.size.bytes())?;
                self.open = false;
                finished = Some(self.position);
            }
            bytes = rest;
        }
        Ok(finished)
    }

    /// Ends the segment under way, if there is one.
    fn end(&mut self, sink: &mut dyn WalSink) -> Result<(), StreamError> {
        if std::mem::replace(&mut self.open, false) {
            sink.end(self.size.offset_of(self.position))?;
        }
        Ok(())
    }
}
