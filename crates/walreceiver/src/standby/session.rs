//! One connection to the leader. Source: `WalReceiverMain` in `replication/walreceiver.c`.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use disk::{Disk, OsDisk, durable_write};
use replication::client::{
    Client, ClientError, Finished, NextTimeline, Replication, StartOutcome, WalStream,
};
use replication::conninfo::HostName;
use replication::error::SqlState;
use replication::receiver::{FlushReports, ReceiverConfig, ReceiverMachine};
use replication::waldir::{StreamingStart, WalDir};
use tokio::sync::watch;
use wal::{TimelineHistory, TimelineId};

use super::status::published;
use super::{DurableListener, ReceiverState, Shared, StandbyEnd, StandbyOptions, StandbyStart};
use crate::archive::resume::{self, ResumePoint};
use crate::archive::{ArchiveError, ArchiveWriter, Naming, Observer, Pipeline, SegmentFiles, SyncMode};
use crate::receive::ReceiverError;
use crate::receive::acknowledger::Acknowledger;
use crate::receive::ahead::say_if_ahead;
use crate::receive::answer::answered;
use crate::receive::error::Asked;
use crate::receive::publisher::Publisher;
use crate::receive::timeline_stream::{StreamEnd, TimelineStream};
use crate::slot;

/// How long the leader may take to answer that we want no more.
const FAREWELL: Duration = Duration::from_secs(1);

/// Everything that a connection works with.
pub(super) struct Session {
    pub(super) options: StandbyOptions,
    pub(super) publisher: Arc<Publisher>,
    pub(super) listener: Arc<dyn DurableListener>,
    pub(super) shared: Arc<Shared>,
    pub(super) stopped: watch::Receiver<bool>,
}

impl Session {
    /// Receives until told to stop, or until the timeline ends.
    pub(super) async fn run(&self, start: StandbyStart) -> Result<StandbyEnd, ReceiverError> {
        // Whatever the leader does not answer, we can stop.
        match answered(None, &self.stopped, Box::pin(self.begin(&start))).await {
            Ok(Begun::Ended(end)) => Ok(end),
            Ok(Begun::Streaming(stream, point)) => match self.stream(*stream, *point, &start).await {
                Err(ReceiverError::Stopped) => Ok(StandbyEnd::Stopped),
                ended => ended,
            },
            Err(ReceiverError::Stopped) => Ok(StandbyEnd::Stopped),
            Err(error) => Err(error),
        }
    }

    /// Waits for what a living leader answers at once.
    async fn answered<T, E: Into<ReceiverError>>(
        &self,
        answer: impl Future<Output = Result<T, E>>,
    ) -> Result<T, ReceiverError> {
        answered(self.options.timeout, &self.stopped, answer).await
    }

    /// Up to the leader's answer to START_REPLICATION.
    async fn begin(&self, start: &StandbyStart) -> Result<Begun, ReceiverError> {
        let options = &self.options;
        let mut client = self.answered(Client::connect(&options.conninfo, Replication::Physical)).await?;
        let leader = self.answered(client.identify_system()).await?;
        if leader.system_id != options.system_id {
            let (found, expected) = (leader.system_id, options.system_id);
            return Err(ReceiverError::SystemChanged { found, expected });
        }
        let timeline = start.history.timeline();
        if leader.timeline < timeline {
            return Err(ReceiverError::Behind { leader: leader.timeline, ours: timeline });
        }
        let dir = WalDir::new(&options.dir, Arc::new(OsDisk::new()) as Arc<dyn Disk>);
        if let Some(slot) = options.slot.as_deref().filter(|_| options.create_slot) {
            self.answered(slot::create_if_missing(&mut client, slot)).await?;
        }
        let compared = self.answered(fetch_histories(&mut client, &dir, timeline, leader.timeline)).await?;
        let size = options.segment_size;
        check_fork(&dir, start, leader.timeline, size)?;
        if leader.timeline == timeline {
            say_if_ahead(timeline, start.position, leader.flush);
        }
        let from = StreamingStart { timeline, lsn: size.floor(start.position) };
        let point = resume::prove(&dir, from, &start.history, options.system_id, size, true, Naming::Final)?;
        let slot = options.slot.as_deref();
        let asked = Asked { slot, from: from.lsn, timeline, remedy: "create_primary_slot = on" };
        let outcome = self.answered(client.start_physical(slot, from.lsn, timeline)).await;
        let outcome = outcome.map_err(|error| error.refused(asked))?;
        if compared {
            self.shared.history_agrees.store(true, Ordering::Release);
            self.listener.history_agrees();
        }
        match outcome {
            StartOutcome::TimelineEnded { next, .. } => Ok(Begun::Ended(StandbyEnd::TimelineEnded(next))),
            StartOutcome::Streaming(stream) => {
                tracing::info!("started streaming WAL from primary at {} on timeline {timeline}", from.lsn);
                Ok(Begun::Streaming(Box::new(stream), Box::new(point)))
            }
        }
    }

    async fn stream(
        &self,
        stream: WalStream,
        point: ResumePoint,
        start: &StandbyStart,
    ) -> Result<StandbyEnd, ReceiverError> {
        let (acknowledger, run) = self.prepare(stream, point, start)?;
        *self.shared.acknowledger.lock() = Some(acknowledger);
        let ended = run.run().await.map_err(|error| error.at(start.position, start.history.timeline()))?;
        *self.shared.acknowledger.lock() = None;
        match ended {
            StreamEnd::Stopped(stream) => {
                // Everything is durable and acknowledged; how the leader takes the farewell changes nothing.
                if let Ok(Ok(Finished { client, .. })) = tokio::time::timeout(FAREWELL, stream.finish()).await
                {
                    client.close().await;
                }
                Ok(StandbyEnd::Stopped)
            }
            StreamEnd::ServerShutdown => Err(ReceiverError::ServerShutdown),
            StreamEnd::TimelineEnded { stream, received } => {
                let Finished { mut client, next } = self.answered(stream.finish()).await?;
                let Some(next) = next else { return Err(ReceiverError::ServerShutdown) };
                let after = start.history.timeline();
                if next.timeline <= after || next.start > received {
                    let NextTimeline { timeline, start } = next;
                    return Err(ReceiverError::NextTimeline { timeline, start, after, at: received });
                }
                let dir = WalDir::new(&self.options.dir, Arc::new(OsDisk::new()) as Arc<dyn Disk>);
                self.answered(fetch_histories(&mut client, &dir, after, next.timeline)).await?;
                tracing::info!(
                    "replication terminated by primary server: end of WAL reached on timeline {after} at {received}"
                );
                Ok(StandbyEnd::TimelineEnded(next))
            }
        }
    }

    fn prepare(
        &self,
        stream: WalStream,
        point: ResumePoint,
        start: &StandbyStart,
    ) -> Result<(Arc<Acknowledger>, TimelineStream), ReceiverError> {
        let options = &self.options;
        let ResumePoint { start: from, proven, validator } = point;
        let config = ReceiverConfig {
            start: from.lsn,
            already_durable: start.position.max(from.lsn),
            already_applied: Some(start.applied),
            flush_reports: FlushReports::AtOnce,
            status_interval: options.status_interval,
            silence_limit: options.timeout,
            end_position: None,
        };
        self.publisher.streaming(published(&start.history), start.position);
        *self.shared.state.lock() = ReceiverState {
            streaming: true,
            start: from.lsn,
            start_timeline: from.timeline.as_u32(),
            ..self.leader()
        };
        let acknowledger = Acknowledger::new(
            ReceiverMachine::new(config, Instant::now()),
            stream.status_sender(),
            Arc::clone(&self.publisher),
            published(&start.history),
        );
        let acknowledger = Arc::new(acknowledger.listened_to_by(Arc::clone(&self.listener)));
        let files = SegmentFiles {
            disk: Arc::new(OsDisk::new()),
            dir: options.dir.clone(),
            timeline: from.timeline,
            size: options.segment_size,
            naming: Naming::Final,
        };
        let mode = SyncMode::AtOnce;
        let (writer, syncer) = ArchiveWriter::new(files, from.lsn, proven, mode, Arc::new(|_| {}));
        let observer = Arc::clone(&acknowledger) as Arc<dyn Observer>;
        let run = TimelineStream {
            stream,
            validator,
            pipeline: Pipeline::start(writer, syncer, mode, observer)?,
            acknowledger: Arc::clone(&acknowledger),
            publisher: Arc::clone(&self.publisher),
            compressor: None,
            shutdown: self.stopped.clone(),
            start: from.lsn,
            size: options.segment_size,
            timeline: from.timeline,
            silence_limit: options.timeout,
        };
        Ok((acknowledger, run))
    }

    /// The first host, which is the only one unless several were named.
    fn leader(&self) -> ReceiverState {
        let host = self.options.conninfo.hosts.first();
        ReceiverState {
            host: host.map(|host| name(&host.name)).unwrap_or_default(),
            port: host.map_or(0, |host| host.port),
            ..ReceiverState::default()
        }
    }
}

fn name(host: &HostName) -> String {
    match host {
        HostName::Tcp(name) => name.clone(),
        HostName::Unix(directory) => directory.display().to_string(),
    }
}

/// What START_REPLICATION came to.
enum Begun {
    Streaming(Box<WalStream>, Box<ResumePoint>),
    Ended(StandbyEnd),
}

/// That the leader's history has all that is replayed here. If not, nothing is received: whoever replays is to stop first,
/// at once, and not when the timeline has been received up to where it was left.
fn check_fork(
    dir: &WalDir,
    start: &StandbyStart,
    newest: TimelineId,
    size: wal::SegmentSize,
) -> Result<(), ReceiverError> {
    let Some(left) = start.history.parts_from(&dir.history(newest)?) else { return Ok(()) };
    if start.applied <= left {
        return Ok(());
    }
    let (timeline, end) = (start.history.timeline(), start.applied);
    let first = size.segment_of(left).file_name(timeline, size);
    Err(ReceiverError::PastFork { timeline, end, newest, left, first })
}

/// Puts the history files of the timelines from `first` on up to `last` into the directory, as far as they are not there
/// (`WalRcvFetchTimeLineHistoryFiles`). One that is there must be what the leader has: two promotions may have taken the
/// same number. Says whether that is known of `first`, this directory's timeline: from its own history, or from that of the
/// leader's newest timeline, which repeats it.
async fn fetch_histories(
    client: &mut Client,
    dir: &WalDir,
    first: TimelineId,
    last: TimelineId,
) -> Result<bool, ReceiverError> {
    // Timeline 1 has no history: all that are on it alone have the same.
    let mut compared = first == TimelineId::FIRST && last == first;
    for timeline in (first.as_u32()..=last.as_u32()).map(TimelineId::new) {
        if timeline == TimelineId::FIRST {
            continue;
        }
        let tells = timeline == first || timeline == last;
        let path = dir.path().join(timeline.history_file_name());
        if let Some(ours) = dir.history_bytes(timeline)? {
            match client.timeline_history(timeline).await {
                Ok((_, theirs)) if theirs[..] != ours[..] => {
                    return Err(ReceiverError::forked(path, timeline, &ours, &theirs));
                }
                Ok(_) => compared |= tells,
                // It may have removed the file: then there is nothing to compare with.
                Err(ClientError::Server(error)) => {
                    tracing::debug!("the primary server has no history of timeline {timeline}: {error}");
                }
                Err(error) => return Err(error.into()),
            }
            continue;
        }
        tracing::info!("fetching timeline history file for timeline {timeline} from primary server");
        let (_, content) = match client.timeline_history(timeline).await {
            // A number that was skipped: the history of the last one tells the way.
            Err(ClientError::Server(error)) if error.code == SqlState::UNDEFINED_FILE && timeline < last => {
                continue;
            }
            answer => answer?,
        };
        TimelineHistory::parse(timeline, &content)?;
        keep_history(&**dir.disk(), &path, &content)?;
        compared |= tells;
    }
    Ok(compared)
}

/// Makes a history file, durably.
fn keep_history(disk: &dyn Disk, path: &Path, content: &[u8]) -> Result<(), ArchiveError> {
    durable_write(disk, path, content).map_err(|error| match disk.exists(path) {
        Ok(false) => ArchiveError::making("write", path)(error),
        // It has its name, and whether that is durable nobody knows.
        _ => ArchiveError::on("write", path)(error),
    })
}
