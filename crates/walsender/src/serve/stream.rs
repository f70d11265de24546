//! START_REPLICATION PHYSICAL: from where a follower may stream, how a stream begins, and how it ends.

use std::time::Instant;

use replication::error::{ServerError, SqlState};
use replication::message::{BackendMessage, CopyFormat};
use replication::sender::{CloseReason, Finish, SenderConfig, SenderMachine, TimelineSwitch};
use replication::server::Connection;
use tracing::{info, warn};
use wal::{Lsn, TimelineId};

use super::Shared;
use super::answers::complete;
use super::connection::{ConnectionError, Peer};
use super::fork::{check_start, switch_of};
use super::session::CommandFailure;
use super::slots::SlotInUse;
use super::socket::Socket;
use super::standing::{Ahead, Standing};
use super::streamer::{Stop, Streamer};
use super::turned_away::Claim;
use crate::source::Serving;

/// What a client asks for.
#[derive(Debug)]
pub(super) struct StreamRequest {
    pub(super) slot: Option<SlotInUse>,
    pub(super) start: Lsn,
    pub(super) timeline: TimelineId,
}

/// How a stream ended, if not in an error.
#[derive(Debug)]
pub(super) enum StreamEnd {
    /// Both sides are done: command mode goes on, after naming the timeline's continuation.
    CommandMode(Option<TimelineSwitch>),
    /// The connection is closed.
    Closed,
}

/// Streams until either side has enough.
pub(super) async fn run(
    shared: &Shared,
    connection: &mut Connection<Socket>,
    peer: &Peer,
    request: StreamRequest,
    serving: Serving,
) -> Result<StreamEnd, CommandFailure> {
    let StreamRequest { slot, start, timeline } = request;
    let switch = switch_of(&serving, timeline)?;
    if let Some(switch) = switch {
        check_start(start, timeline, switch)?;
        if start == switch.at {
            return Ok(StreamEnd::CommandMode(Some(switch)));
        }
    }
    connection.queue(&BackendMessage::CopyBothResponse(CopyFormat::default()));
    let ahead = Ahead {
        application_name: peer.application_name.clone(),
        peer: peer.address.clone(),
        timeline,
        received: shared.origin.is_received(),
    };
    let table = (!shared.read_only).then(|| shared.source.dir());
    if switch.is_none() && start > serving.flush {
        ahead.say(start, serving.flush);
        if let Some(dir) = table {
            let claim = Claim { timeline, end: serving.flush, claimed: start };
            shared.turned_away.show(dir, peer, slot.as_ref().map_or("", SlotInUse::name), claim);
            shared.moved.tell();
        }
        let message = format!(
            "requested starting point {start} is ahead of the WAL flush position of this server {}",
            serving.flush
        );
        return Err(ServerError::error(SqlState::INTERNAL_ERROR, message).into());
    }
    connection.flush().await?;
    if switch.is_none() && start == serving.flush {
        // Nothing is left to send that could prove whose log the follower's is.
        shared.origin.go_on_after(start);
    }
    let config = SenderConfig { timeout: shared.settings.wal_sender_timeout, ..SenderConfig::default() };
    let mut machine = SenderMachine::new(config, start, serving.flush, Instant::now());
    if let Some(switch) = switch {
        machine.end_timeline(switch);
    }
    info!(peer = %peer.address, application_name = peer.application_name, %start, %timeline, "streaming begins");
    shared.turned_away.streams(&peer.application_name);
    let standing = Standing::register(table, peer, slot, timeline, start, shared.moved.clone(), ahead);
    let mut streamer =
        Streamer::new(shared, connection, &peer.progress, timeline, machine, standing, &serving);
    let stop = streamer.drive().await;
    let whole = streamer.is_between_messages();
    info!(peer = %peer.address, sent = %streamer.sent(), "streaming ends");
    drop(streamer);
    finish(connection, peer, stop, whole).await
}

/// Says goodbye in the way that fits the end of a stream; `whole` unless a message was cut short.
async fn finish(
    connection: &mut Connection<Socket>,
    peer: &Peer,
    stop: Stop,
    whole: bool,
) -> Result<StreamEnd, CommandFailure> {
    let reason = match stop {
        Stop::Finished(Finish::CommandMode(switch)) => return Ok(StreamEnd::CommandMode(switch)),
        Stop::Finished(Finish::ServerShutdown) => {
            connection.send(&complete("COPY 0")).await?;
            return Ok(StreamEnd::Closed);
        }
        Stop::Finished(Finish::Close(reason)) => reason,
        Stop::Failed(error) if whole => return Err(CommandFailure::Error(error)),
        Stop::Failed(error) => {
            warn!(peer = %peer.address, "{error}");
            return Ok(StreamEnd::Closed);
        }
        Stop::Socket(error) => return Err(error.into()),
    };
    match reason {
        CloseReason::Terminated => Ok(StreamEnd::Closed),
        CloseReason::Protocol(error) if whole => Err(CommandFailure::End(ConnectionError::Fatal(error))),
        CloseReason::Timeout | CloseReason::UnknownPayload(_) | CloseReason::Protocol(_) => {
            warn!(peer = %peer.address, application_name = peer.application_name, "{reason}");
            Ok(StreamEnd::Closed)
        }
    }
}
