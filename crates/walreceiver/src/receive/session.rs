//! One connection: who the server is, where to go on, timeline after timeline.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use disk::durable_write;
use replication::client::{Client, Finished, NextTimeline, StartOutcome};
use replication::receiver::{ReceiverConfig, ReceiverMachine};
use replication::waldir::{StreamingStart, WalDir};
use tokio::sync::watch;
use wal::{Lsn, SegmentSize, SystemId, TimelineHistory, TimelineId};

use super::acknowledger::Acknowledger;
use super::ahead::say_if_ahead;
use super::answer::answered;
use super::error::Asked;
use super::publisher::{PublishedTimeline, Publisher};
use super::timeline_stream::{SILENCE_LIMIT, StreamEnd, TimelineStream};
use super::{ReceiverError, ReceiverOptions};
use crate::archive::resume::{self, ResumePoint};
use crate::archive::{ArchiveError, ArchiveWriter, Naming, Observer, Pipeline, Predecessor, SegmentFiles};
use crate::compress::Compressor;
use crate::slot;

/// What has a missing slot created.
const REMEDY: &str = "--create-slot-if-missing";

/// How long a server may take to answer that we want no more.
const FAREWELL: Duration = Duration::from_secs(5);

/// What must not change from connection to connection.
#[derive(Clone, Copy, Debug)]
pub(super) struct Identity {
    pub(super) system_id: SystemId,
    pub(super) segment_size: SegmentSize,
}

impl Identity {
    pub(super) async fn ask(client: &mut Client) -> Result<Self, ReceiverError> {
        let answer = client.identify_system().await?;
        if answer.dbname.is_some() {
            return Err(ReceiverError::DatabaseSpecific);
        }
        Ok(Self { system_id: answer.system_id, segment_size: client.wal_segment_size().await? })
    }
}

/// What every connection of a receiver works with.
pub(super) struct Session<'a> {
    pub(super) options: &'a ReceiverOptions,
    pub(super) dir: WalDir,
    pub(super) identity: Identity,
    pub(super) publisher: Arc<Publisher>,
    pub(super) compressor: Option<Arc<Compressor>>,
    pub(super) shutdown: watch::Receiver<bool>,
}

impl Session<'_> {
    /// Receives over `client` until we want no more (`Ok`) or the connection is of no more use.
    pub(super) async fn run(&self, mut client: Client) -> Result<(), ReceiverError> {
        let server = self.answered(client.identify_system()).await?;
        if server.system_id != self.identity.system_id {
            let (found, expected) = (server.system_id, self.identity.system_id);
            return Err(ReceiverError::SystemChanged { found, expected });
        }
        if let Some(slot) = self.options.slot.as_deref().filter(|_| self.options.create_slot_if_missing) {
            self.answered(slot::create_if_missing(&mut client, slot)).await?;
        }
        let size = self.identity.segment_size;
        let (found, skipped) = self.dir.streaming_start(size)?;
        for segment in skipped {
            tracing::warn!("{segment}");
        }
        let mut start = match found {
            Some(found) => resume::earliest_unfinished(&self.dir, found, size)?,
            None => {
                let start = self.start_of_empty(&mut client, server.flush, server.timeline);
                self.answered(start).await?
            }
        };
        let mut acknowledged = Lsn::INVALID;
        loop {
            let history = self.answered(self.history(&mut client, start.timeline)).await?;
            let point = resume::prove(
                &self.dir,
                start,
                &history,
                self.identity.system_id,
                size,
                self.options.sync,
                Naming::Partial,
            )?;
            if server.timeline == start.timeline {
                say_if_ahead(start.timeline, point.proven, server.flush);
            }
            if server.timeline > start.timeline {
                self.check_fork(&mut client, server.timeline, &point).await?;
            }
            tracing::info!("starting log streaming at {} (timeline {})", start.lsn, start.timeline);
            let slot = self.options.slot.as_deref();
            let asked = Asked { slot, from: start.lsn, timeline: start.timeline, remedy: REMEDY };
            let outcome = self.answered(client.start_physical(slot, start.lsn, start.timeline)).await;
            let (received, next) = match outcome.map_err(|error| error.refused(asked))? {
                StartOutcome::TimelineEnded { client: back, next } => {
                    client = back;
                    (start.lsn, next)
                }
                StartOutcome::Streaming(stream) => {
                    match self.receive(stream, point, &history, acknowledged).await? {
                        (StreamEnd::Stopped(stream), received) => {
                            tracing::info!(
                                "stopped log streaming at {received} (timeline {})",
                                start.timeline
                            );
                            // The archive is complete; how the server takes the farewell changes nothing, nor
                            // whether it does.
                            let farewell = tokio::time::timeout(FAREWELL, stream.finish()).await;
                            if let Ok(Ok(Finished { client, .. })) = farewell {
                                client.close().await;
                            }
                            return Ok(());
                        }
                        (StreamEnd::ServerShutdown, _) => return Err(ReceiverError::ServerShutdown),
                        (StreamEnd::TimelineEnded { stream, received }, _) => {
                            let finished = self.answered(stream.finish()).await?;
                            client = finished.client;
                            let Some(next) = finished.next else { return Err(ReceiverError::ServerShutdown) };
                            (received, next)
                        }
                    }
                }
            };
            if next.timeline <= start.timeline || next.start > received {
                let NextTimeline { timeline, start: at_start } = next;
                let (after, at) = (start.timeline, received);
                return Err(ReceiverError::NextTimeline { timeline, start: at_start, after, at });
            }
            tracing::info!("switched to timeline {} at {}", next.timeline, next.start);
            acknowledged = next.start;
            start = StreamingStart { timeline: next.timeline, lsn: size.floor(next.start) };
        }
    }

    /// Waits for what a living server answers at once.
    async fn answered<T, E: Into<ReceiverError>>(
        &self,
        answer: impl Future<Output = Result<T, E>>,
    ) -> Result<T, ReceiverError> {
        answered(Some(SILENCE_LIMIT), &self.shutdown, answer).await
    }

    /// Where a directory without WAL begins: where the slot does, or else where the server is.
    async fn start_of_empty(
        &self,
        client: &mut Client,
        flush: Lsn,
        timeline: TimelineId,
    ) -> Result<StreamingStart, ReceiverError> {
        let size = self.identity.segment_size;
        if let Some(slot) = self.options.slot.as_deref()
            && client.server_version().major() >= 15
        {
            let Some(info) = client.read_slot(slot).await? else {
                return Err(ReceiverError::NoSuchSlot { name: slot.to_owned(), remedy: REMEDY });
            };
            if let Some(restart) = info.restart_lsn {
                let timeline = info.timeline.unwrap_or(timeline);
                return Ok(StreamingStart { timeline, lsn: size.floor(restart) });
            }
        }
        Ok(StreamingStart { timeline, lsn: size.floor(flush) })
    }

    /// The ancestry of `timeline`, whose history file ends up in the directory; a file that is there already must be
    /// what the server has.
    async fn history(
        &self,
        client: &mut Client,
        timeline: TimelineId,
    ) -> Result<TimelineHistory, ReceiverError> {
        if timeline == TimelineId::FIRST {
            return Ok(TimelineHistory::root());
        }
        let path = self.dir.path().join(timeline.history_file_name());
        let ours = self.dir.history_bytes(timeline)?;
        let content = match (client.timeline_history(timeline).await, ours) {
            (Ok((_, theirs)), Some(ours)) if theirs[..] != ours[..] => {
                return Err(ReceiverError::forked(path, timeline, &ours, &theirs));
            }
            (Ok((_, theirs)), None) => {
                TimelineHistory::parse(timeline, &theirs)?;
                durable_write(&**self.dir.disk(), &path, &theirs)
                    .map_err(ArchiveError::on("write", &path))?;
                theirs.to_vec()
            }
            (_, Some(ours)) => ours,
            (Err(error), None) => return Err(error.into()),
        };
        Ok(TimelineHistory::parse(timeline, &content)?)
    }

    /// That the server's newest timeline did not leave this directory's before where we would go on. What is here of an
    /// unfinished segment past the fork stays as it is, under its own timeline's name, and is not gone on with.
    async fn check_fork(
        &self,
        client: &mut Client,
        newest: TimelineId,
        point: &ResumePoint,
    ) -> Result<(), ReceiverError> {
        let StreamingStart { timeline, lsn } = point.start;
        // A server that does not tell will say itself what it has not.
        let Ok((_, content)) = client.timeline_history(newest).await else { return Ok(()) };
        let Some(left) = TimelineHistory::parse(newest, &content)?.switch_point_of(timeline) else {
            return Ok(());
        };
        if lsn > left {
            let first = self.identity.segment_size.segment_of(left);
            let first = first.file_name(timeline, self.identity.segment_size);
            return Err(ReceiverError::PastFork { timeline, end: point.proven, newest, left, first });
        }
        if point.proven > left {
            tracing::warn!(
                "this directory holds WAL of timeline {timeline} up to {}, but the server's timeline {newest} left that at \
                 {left}: what is past it was discarded there; it is kept here and not gone on with",
                point.proven
            );
        }
        Ok(())
    }

    /// Receives one timeline; also how far it was received.
    async fn receive(
        &self,
        stream: replication::client::WalStream,
        point: ResumePoint,
        history: &TimelineHistory,
        acknowledged: Lsn,
    ) -> Result<(StreamEnd, Lsn), ReceiverError> {
        let options = self.options;
        let ResumePoint { start, proven, validator } = point;
        let config = ReceiverConfig {
            start: start.lsn,
            already_durable: acknowledged.max(start.lsn),
            already_applied: None,
            flush_reports: options.flush_reports(),
            status_interval: Some(options.status_interval).filter(|interval| !interval.is_zero()),
            silence_limit: Some(SILENCE_LIMIT),
            end_position: options.end_position,
        };
        let timeline = PublishedTimeline {
            timeline: start.timeline,
            start: history.entries().last().map_or(Lsn::INVALID, |parent| parent.switch_point),
        };
        self.publisher.streaming(timeline, proven);
        let machine = ReceiverMachine::new(config, Instant::now());
        let acknowledger = Arc::new(Acknowledger::new(
            machine,
            stream.status_sender(),
            Arc::clone(&self.publisher),
            timeline,
        ));
        let files = SegmentFiles {
            disk: Arc::clone(self.dir.disk()),
            dir: self.dir.path().to_owned(),
            timeline: start.timeline,
            size: self.identity.segment_size,
            naming: Naming::Partial,
        };
        let mode = options.sync_mode();
        let (writer, syncer) = ArchiveWriter::new(files, start.lsn, proven, mode, self.on_finished());
        let observer = Arc::clone(&acknowledger) as Arc<dyn Observer>;
        let run = TimelineStream {
            stream,
            validator,
            pipeline: Pipeline::start(writer, syncer, mode, observer)?,
            acknowledger: Arc::clone(&acknowledger),
            publisher: Arc::clone(&self.publisher),
            compressor: self.compressor.clone(),
            shutdown: self.shutdown.clone(),
            start: start.lsn,
            size: self.identity.segment_size,
            timeline: start.timeline,
            silence_limit: Some(SILENCE_LIMIT),
        };
        let ended = run.run().await;
        let received = acknowledger.machine().received();
        Ok((ended.map_err(|error| error.at(received, start.timeline))?, received))
    }

    fn on_finished(&self) -> Arc<dyn Fn(&Path) + Send + Sync> {
        let compressor = self.compressor.clone();
        let predecessor = Predecessor::new(Arc::clone(self.dir.disk()));
        Arc::new(move |segment| {
            tracing::info!("finished segment \"{}\"", segment.display());
            if let Some(missed) = predecessor.missed(segment) {
                tracing::warn!(
                    "segment \"{}\", which was finished before, is gone: nobody who restores from this archive gets past it, \
                     unless it was moved on purpose",
                    missed.display()
                );
            }
            if let Some(compressor) = &compressor {
                compressor.push(segment);
            }
        })
    }
}
