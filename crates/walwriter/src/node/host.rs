//! What statements can ask of the node.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use engine::checkpoint::Cause;
use replication::waldir::{SlotError, SlotName, UnixMicros};
use wal::Lsn;

use crate::config::{Config, Context, Kind, Value, definitions};
use crate::exec::{
    Failure, Host, Promotion, ReceiverStatus, RecoveryStatus, Result, ServerSetting, SlotStatus,
    StandbyStatus,
};
use crate::process::LiveConfig;
use crate::server::Registry;
use crate::session::Interrupt;
use crate::shipping::{FollowerRow, WalStatus};
use crate::standby;
use crate::storage::Storage;

/// The node as its statements see it.
pub(super) struct ServerHost {
    storage: Arc<Storage>,
    config: Arc<LiveConfig>,
    registry: Arc<Registry>,
    port: u16,
    started_at: SystemTime,
}

impl ServerHost {
    pub(super) fn new(
        storage: Arc<Storage>,
        config: Arc<LiveConfig>,
        registry: Arc<Registry>,
        port: u16,
    ) -> Self {
        Self { storage, config, registry, port, started_at: SystemTime::now() }
    }
}

impl Host for ServerHost {
    fn settings(&self) -> Vec<ServerSetting> {
        let mut config = Config::clone(&self.config.current());
        let segment = self.storage.engine().log().segment_size().bytes() >> 20;
        config.set_fact("wal_segment_size", Value::Integer(segment.into()));
        config.set_fact("port", Value::Integer(self.port.into()));
        config.set_fact("in_hot_standby", Value::Bool(self.storage.in_recovery()));
        definitions()
            .iter()
            .map(|definition| ServerSetting {
                name: definition.name.to_owned(),
                value: shown(definition.name, config.show(definition.name).unwrap_or_default()),
                description: definition.description.to_owned(),
                context: match definition.context {
                    Context::Internal => "internal",
                    Context::Start => "postmaster",
                    Context::Reload => "sighup",
                    Context::Session => "user",
                },
                kind: match definition.kind {
                    Kind::Bool => "bool",
                    Kind::Integer { .. } | Kind::Octal => "integer",
                    Kind::Fraction => "real",
                    Kind::Choice(_) => "enum",
                    Kind::Text => "string",
                },
            })
            .collect()
    }

    fn session_default(&self, name: &str) -> Option<String> {
        let config = self.config.current();
        config.session_defaults().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    fn temporary_files(&self) -> Option<PathBuf> {
        Some(self.storage.directory().join("base/pgsql_tmp"))
    }

    fn started_at(&self) -> SystemTime {
        self.started_at
    }

    fn reload(&self) -> bool {
        // As pg_ctl reload does: the process hears it as it hears the operator.
        let own = rustix::process::getpid();
        rustix::process::kill_process(own, rustix::process::Signal::HUP).is_ok()
    }

    fn standbys(&self) -> Vec<StandbyStatus> {
        let followers = self.storage.followers();
        followers.unwrap_or_else(unreadable).into_iter().map(standby_status).collect()
    }

    fn receiver(&self) -> Option<ReceiverStatus> {
        let row = self.storage.receiver()?;
        Some(ReceiverStatus {
            status: if row.streaming { "streaming" } else { "starting" },
            start: Some(row.start),
            written: Some(row.written),
            flushed: Some(row.flushed),
            timeline: Some(row.timeline),
            last_sent: row.last_received,
            last_received: row.last_received,
            latest_end: row.last_received.map(|at| (row.latest_end, at)),
            slot: row.slot,
            host: Some(row.host),
            port: Some(row.port),
            conninfo: row.conninfo,
        })
    }

    fn slots(&self) -> Vec<SlotStatus> {
        let rows = self.storage.slots().unwrap_or_else(unreadable).into_iter();
        rows.map(|row| SlotStatus {
            name: row.name,
            active_pid: row.active.then(std::process::id),
            temporary: row.temporary,
            restart: row.restart,
            wal_status: row.wal_status.map(WalStatus::as_str),
            safe_wal_size: row.safe_wal_size,
        })
        .collect()
    }

    fn create_slot(&self, name: &str, reserve: bool) -> Result<Option<Lsn>> {
        let slot = SlotName::new(name).ok_or_else(|| {
            Failure::new("42602", format!("replication slot name \"{name}\" contains invalid character"))
        })?;
        self.storage.create_slot(&slot, reserve).map_err(slot_failure)
    }

    fn drop_slot(&self, name: &str) -> Result<()> {
        let missing = || Failure::new("42704", format!("replication slot \"{name}\" does not exist"));
        let slot = SlotName::new(name).ok_or_else(missing)?;
        self.storage.drop_slot(&slot).map_err(slot_failure)
    }

    fn interrupt(&self, pid: u32, interrupt: Interrupt) -> bool {
        self.registry.interrupt(pid, interrupt)
    }

    fn recovery(&self) -> Option<RecoveryStatus> {
        let standby = self.storage.standby()?;
        let commit = standby.standby().last_commit();
        Some(RecoveryStatus {
            received: Some(standby.received()),
            last_transaction: commit.and_then(|time| u64::try_from(time.unix_micros()).ok()).and_then(since),
            paused: false,
        })
    }

    fn promote(&self) -> Result<Promotion> {
        match self.storage.promote() {
            Some(standby::Promotion::UnderWay) => Ok(Promotion::UnderWay),
            Some(standby::Promotion::Done) => Ok(Promotion::Done),
            None => Err(Failure::new("55000", "recovery is not in progress")
                .hint("Recovery control functions can only be executed during recovery.")),
        }
    }

    fn create_restore_point(&self, name: &str) -> Result<Lsn> {
        Ok(self.storage.engine().create_restore_point(name)?)
    }

    fn checkpoint(&self) -> Result<()> {
        self.storage
            .engine()
            .checkpoint(Cause::Immediate)
            .map_err(|error| Failure::new("XX000", error.chain()))
    }
}

/// A setting's value as anybody may see it.
fn shown(name: &str, value: String) -> String {
    if name == "primary_conninfo" { replication::conninfo::masked(&value) } else { value }
}

/// A view of something that cannot be read is empty; the log says why.
fn unreadable<T>(error: impl std::fmt::Display) -> Vec<T> {
    tracing::error!("could not read the state of replication: {error}");
    Vec::new()
}

fn standby_status(row: FollowerRow) -> StandbyStatus {
    let FollowerRow { follower, standing } = row;
    let known = |lsn: Lsn| lsn.is_valid().then_some(lsn);
    let address = follower.peer.rsplit_once(':');
    StandbyStatus {
        pid: follower.sender_pid,
        user: follower.user.clone(),
        application_name: follower.application_name.clone(),
        client_addr: address.map(|(host, _)| host.trim_matches(['[', ']']).to_owned()),
        client_port: address.map_or(Some(-1), |(_, port)| port.parse().ok()),
        backend_start: follower.connected_at.map(UnixMicros::as_u64).and_then(since),
        state: follower.state.as_str(),
        sent: known(follower.sent),
        write: known(follower.write),
        flush: known(follower.flush),
        replay: known(follower.apply),
        lags: [follower.lags.write, follower.lags.flush, follower.lags.apply].map(micros),
        sync_priority: i32::try_from(standing.priority).unwrap_or(i32::MAX),
        sync_state: standing.state,
        reply_time: follower.last_reply_at.map(UnixMicros::as_u64).and_then(since),
    }
}

fn micros(lag: Option<Duration>) -> Option<i64> {
    lag.map(|lag| i64::try_from(lag.as_micros()).unwrap_or(i64::MAX))
}

fn since(micros: u64) -> Option<SystemTime> {
    SystemTime::UNIX_EPOCH.checked_add(Duration::from_micros(micros))
}

fn slot_failure(error: SlotError) -> Failure {
    let code = match error {
        SlotError::Exists(_) => "42710",
        SlotError::Missing(_) => "42704",
        SlotError::Active(_) => "55006",
        SlotError::Gone { .. } => "55000",
        SlotError::Io { ref source, .. } if source.kind() == std::io::ErrorKind::StorageFull => "53100",
        _ => "XX000",
    };
    Failure::new(code, error.to_string())
}
