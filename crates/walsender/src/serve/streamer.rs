//! A stream that is under way: drives a [`SenderMachine`] with a socket, the directory and the clock.

use std::future::{pending, poll_fn};
use std::io;
use std::task::Poll;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use replication::error::{ServerError, SqlState};
use replication::frame::{FrameDecoder, FrameError, Phase as FramePhase};
use replication::message::BackendMessage;
use replication::sender::{Action, Finish, SenderMachine};
use replication::server::{Connection, Transport};
use replication::stream::{Keepalive, PgTimestamp};
use tokio::sync::watch;
use wal::{Lsn, TimelineId};

use super::draining::Progress;
use super::fork::switch_of;
use super::socket::Socket;
use super::standing::Standing;
use super::wal_feed::{FeedError, WalFeed};
use super::wire::{Exchange, Outgoing, poll_exchange, poll_receive};
use super::{Phase, Shared};
use crate::source::Serving;

/// The longest message a follower may send: a status has 34 bytes, hot standby feedback 25.
const MAX_FOLLOWER_MESSAGE: u32 = 64 * 1024;
/// After so many messages in a row the runtime looks for what came in meanwhile.
const BURST: u32 = 16;
/// How long what a follower says may go unread before its silence is believed.
const DEAF_FOR: Duration = Duration::from_secs(1);
/// How long to wait for a file that is being received anew.
const NOT_YET: Duration = Duration::from_millis(10);

/// What ends the driving of a stream.
#[derive(Debug)]
pub(super) enum Stop {
    Finished(Finish),
    /// The WAL is not to be had: the follower is told and may go on in command mode.
    Failed(Box<ServerError>),
    Socket(io::Error),
}

/// A stream to one follower.
pub(super) struct Streamer<'a> {
    timeline: TimelineId,
    machine: SenderMachine,
    feed: WalFeed,
    standing: Standing,
    decoder: FrameDecoder,
    serving: watch::Receiver<Option<Serving>>,
    phase: watch::Receiver<Phase>,
    /// The machine knows that the server stops.
    stopping: bool,
    /// Whether what the follower sends still belongs to the stream.
    in_stream: bool,
    progress: &'a Progress,
    /// When the socket was last asked for messages of the follower.
    heard_at: Instant,
    transport: &'a mut Transport<Socket>,
    input: &'a mut BytesMut,
    outgoing: Outgoing,
}

impl<'a> Streamer<'a> {
    /// A stream on which nothing was sent, of what there is to be served of `timeline`, from where `machine` says.
    pub(super) fn new(
        shared: &'a Shared,
        connection: &'a mut Connection<Socket>,
        progress: &'a Progress,
        timeline: TimelineId,
        machine: SenderMachine,
        standing: Standing,
        serving: &Serving,
    ) -> Self {
        let (transport, input, _) = connection.parts();
        let mut news = shared.source.serving();
        news.mark_changed();
        Self {
            timeline,
            machine,
            feed: WalFeed::new(shared.source.dir().clone(), timeline, serving),
            standing,
            decoder: FrameDecoder::new(FramePhase::ClientStreaming { max_copy_data: MAX_FOLLOWER_MESSAGE }),
            serving: news,
            phase: shared.phase.clone(),
            stopping: false,
            in_stream: true,
            progress,
            heard_at: Instant::now(),
            transport,
            input,
            outgoing: Outgoing::default(),
        }
    }

    /// Streams until something ends it.
    pub(super) async fn drive(&mut self) -> Stop {
        loop {
            if let Err(stop) = self.burst().await {
                self.standing.report(&mut self.machine, true);
                return stop;
            }
        }
    }

    /// Whether no message was begun and not sent whole.
    pub(super) fn is_between_messages(&self) -> bool {
        self.outgoing.is_empty()
    }

    /// Up to where WAL was sent.
    pub(super) fn sent(&self) -> Lsn {
        self.machine.positions().sent
    }

    /// Sends until there is nothing to send, the socket is full or it is time to look for news; then waits for
    /// whatever comes first.
    async fn burst(&mut self) -> Result<(), Stop> {
        runtime::fault::panic_if_wanted("panic in a connection");
        self.take_news()?;
        self.tell_progress();
        for _ in 0..BURST {
            let now = Instant::now();
            if now.duration_since(self.heard_at) > DEAF_FOR {
                // This process may have been stopped for a while; what the follower said meanwhile counts.
                self.hear().await?;
            }
            if !self.send_now()? {
                return match self.machine.next_while_sending(now) {
                    Action::Finish(finish) => Err(Stop::Finished(finish)),
                    Action::Wait(patience) => self.wait(patience).await,
                    // The machine has nothing else to say as long as a message is on its way.
                    Action::Send(_) | Action::Keepalive { .. } | Action::CopyDone => Ok(()),
                };
            }
            match self.machine.next(now) {
                Action::Send(chunk) => {
                    let in_place = !self.transport.is_encrypted();
                    match self.feed.put(&chunk, in_place, &mut self.outgoing) {
                        Ok(()) => self.machine.sent(&chunk),
                        Err(FeedError::NotYet) => return self.wait(Some(NOT_YET)).await,
                        Err(FeedError::Failed(error)) => return Err(Stop::Failed(error)),
                    }
                }
                Action::Keepalive { end, reply_requested } => {
                    let keepalive = Keepalive { end, send_time: PgTimestamp::now(), reply_requested };
                    let mut body = BytesMut::new();
                    keepalive.encode(&mut body);
                    BackendMessage::CopyData(body.freeze()).encode(&mut self.outgoing.bytes);
                }
                Action::CopyDone => BackendMessage::CopyDone.encode(&mut self.outgoing.bytes),
                Action::Finish(finish) => return Err(Stop::Finished(finish)),
                Action::Wait(patience) => return self.wait(patience).await,
            }
        }
        // The runtime notices what came in only when it gets to run.
        tokio::task::yield_now().await;
        self.hear().await
    }

    /// Whoever waits for followers to go wants to know whether this one gets on.
    fn tell_progress(&self) {
        let positions = self.machine.positions();
        self.progress.tell(positions.sent, positions.write);
    }

    /// Whether everything handed out so far is sent.
    fn send_now(&mut self) -> Result<bool, Stop> {
        match &self.transport {
            Transport::Plain(socket) => self.outgoing.try_send(socket).map_err(Stop::Socket),
            Transport::Tls(_) => Ok(self.outgoing.is_empty()),
        }
    }

    /// Takes what the follower has sent so far, without waiting.
    async fn hear(&mut self) -> Result<(), Stop> {
        while self.in_stream {
            let (transport, input) = (&mut *self.transport, &mut *self.input);
            let read = poll_fn(|cx| Poll::Ready(poll_receive(transport, input, cx))).await;
            match read {
                Poll::Ready(count) => self.received(count.map_err(Stop::Socket)?),
                Poll::Pending => break,
            }
        }
        self.heard_at = Instant::now();
        Ok(())
    }

    /// Waits until the follower says something, the socket has taken everything, there is news of the directory or
    /// of the server, or `patience` is at its end.
    async fn wait(&mut self, patience: Option<Duration>) -> Result<(), Stop> {
        self.standing.report(&mut self.machine, false);
        let sleep = async {
            match patience {
                Some(patience) => tokio::time::sleep(patience).await,
                None => pending().await,
            }
        };
        let reading = self.in_stream;
        let (transport, input, outgoing) = (&mut *self.transport, &mut *self.input, &mut self.outgoing);
        let exchange = poll_fn(|cx| poll_exchange(transport, input, outgoing, reading, cx));
        let received = tokio::select! {
            biased;
            exchange = exchange => match exchange.map_err(Stop::Socket)? {
                Exchange::Received(count) => Some(count),
                Exchange::Sent => None,
            },
            changed = self.serving.changed() => {
                changed.map_err(|_| Stop::Failed(Box::new(nobody_watches())))?;
                self.serving.mark_changed();
                None
            }
            _ = self.phase.changed(), if !self.stopping => None,
            () = sleep => None,
        };
        if let Some(count) = received {
            self.received(count);
        }
        // Silence is measured up to here: whatever came before has been read, or is about to be.
        self.hear().await
    }

    /// `count` bytes were added to the input; 0 means that the follower closed its side.
    fn received(&mut self, count: usize) {
        if count == 0 {
            self.in_stream = false;
            self.machine.disconnected();
        }
        while self.in_stream {
            match self.decoder.decode(self.input) {
                Ok(Some(frame)) => self.in_stream = self.machine.receive(&frame, Instant::now()),
                Ok(None) => break,
                Err(FrameError::UnexpectedType(tag)) => {
                    self.in_stream = false;
                    self.machine.refuse_type(tag);
                }
                Err(error) => {
                    self.in_stream = false;
                    self.machine.refuse(error.to_string());
                }
            }
        }
        self.standing.report(&mut self.machine, false);
    }

    /// Tells the machine how far the directory is durable now, whether the timeline has ended, and whether the server
    /// stops.
    fn take_news(&mut self) -> Result<(), Stop> {
        if self.serving.has_changed().unwrap_or(false)
            && let Some(serving) = &*self.serving.borrow_and_update()
        {
            self.feed.follow(serving);
            match switch_of(serving, self.timeline) {
                Ok(None) => self.machine.set_limit(serving.flush),
                Ok(Some(switch)) => self.machine.end_timeline(switch),
                Err(error) => return Err(Stop::Failed(error)),
            }
        }
        if !self.stopping && *self.phase.borrow() > Phase::Serving {
            self.stopping = true;
            self.machine.shut_down();
        }
        Ok(())
    }
}

fn nobody_watches() -> ServerError {
    ServerError::error(SqlState::INTERNAL_ERROR, "the WAL directory is no longer watched")
}
