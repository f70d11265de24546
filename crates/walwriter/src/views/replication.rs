//! `pg_stat_replication`, `pg_stat_wal_receiver`, `pg_replication_slots`.

use sql::Type::{Bool, Int4, Int8, Interval, Name, Oid, PgLsn, Text, Timestamptz};
use sql::Value;

use super::row::{lsn_or_null, number, text, text_or_null, time_or_null};
use super::{OWNER_OID, Row, View, view};
use crate::exec::{ReceiverStatus, SlotStatus, StandbyStatus};

pub(super) static VIEWS: &[View] = &[
    view(
        "pg_stat_replication",
        &[
            ("pid", Int4),
            ("usesysid", Oid),
            ("usename", Name),
            ("application_name", Text),
            ("client_addr", Text),
            ("client_hostname", Text),
            ("client_port", Int4),
            ("backend_start", Timestamptz),
            ("backend_xmin", Int8),
            ("state", Text),
            ("sent_lsn", PgLsn),
            ("write_lsn", PgLsn),
            ("flush_lsn", PgLsn),
            ("replay_lsn", PgLsn),
            ("write_lag", Interval),
            ("flush_lag", Interval),
            ("replay_lag", Interval),
            ("sync_priority", Int4),
            ("sync_state", Text),
            ("reply_time", Timestamptz),
        ],
        |sources| Ok(sources.context.shared.host.standbys().into_iter().map(standby).collect()),
    ),
    view(
        "pg_stat_wal_receiver",
        &[
            ("pid", Int4),
            ("status", Text),
            ("receive_start_lsn", PgLsn),
            ("receive_start_tli", Int4),
            ("written_lsn", PgLsn),
            ("flushed_lsn", PgLsn),
            ("received_tli", Int4),
            ("last_msg_send_time", Timestamptz),
            ("last_msg_receipt_time", Timestamptz),
            ("latest_end_lsn", PgLsn),
            ("latest_end_time", Timestamptz),
            ("slot_name", Text),
            ("sender_host", Text),
            ("sender_port", Int4),
            ("conninfo", Text),
        ],
        |sources| Ok(sources.context.shared.host.receiver().into_iter().map(receiver).collect()),
    ),
    view(
        "pg_replication_slots",
        &[
            ("slot_name", Name),
            ("plugin", Name),
            ("slot_type", Text),
            ("datoid", Oid),
            ("database", Name),
            ("temporary", Bool),
            ("active", Bool),
            ("active_pid", Int4),
            ("xmin", Int8),
            ("catalog_xmin", Int8),
            ("restart_lsn", PgLsn),
            ("confirmed_flush_lsn", PgLsn),
            ("wal_status", Text),
            ("safe_wal_size", Int8),
            ("two_phase", Bool),
        ],
        |sources| Ok(sources.context.shared.host.slots().into_iter().map(slot).collect()),
    ),
];

fn standby(standby: StandbyStatus) -> Row {
    let lag = |micros: Option<i64>| {
        let interval = |micros| sql::types::Interval { months: 0, days: 0, micros };
        micros.map_or(Value::Null, |micros| Value::Interval(Box::new(interval(micros))))
    };
    let [write_lag, flush_lag, replay_lag] = standby.lags.map(lag);
    vec![
        number(standby.pid),
        Value::Oid(OWNER_OID),
        text(standby.user),
        text(standby.application_name),
        text_or_null(standby.client_addr),
        Value::Null,
        Value::Int4(standby.client_port.unwrap_or(-1)),
        time_or_null(standby.backend_start),
        Value::Null,
        text(standby.state),
        lsn_or_null(standby.sent),
        lsn_or_null(standby.write),
        lsn_or_null(standby.flush),
        lsn_or_null(standby.replay),
        write_lag,
        flush_lag,
        replay_lag,
        Value::Int4(standby.sync_priority),
        text(standby.sync_state),
        time_or_null(standby.reply_time),
    ]
}

fn receiver(receiver: ReceiverStatus) -> Row {
    let (start, start_timeline) = receiver.start.unzip();
    let (end, end_time) = receiver.latest_end.unzip();
    vec![
        number(std::process::id()),
        text(receiver.status),
        lsn_or_null(start),
        start_timeline.map_or(Value::Null, number),
        lsn_or_null(receiver.written),
        lsn_or_null(receiver.flushed),
        receiver.timeline.map_or(Value::Null, number),
        time_or_null(receiver.last_sent),
        time_or_null(receiver.last_received),
        lsn_or_null(end),
        time_or_null(end_time),
        text_or_null(receiver.slot),
        text_or_null(receiver.host),
        receiver.port.map_or(Value::Null, number),
        text(receiver.conninfo),
    ]
}

fn slot(slot: SlotStatus) -> Row {
    vec![
        text(slot.name),
        Value::Null,
        text("physical"),
        Value::Null,
        Value::Null,
        Value::Bool(slot.temporary),
        Value::Bool(slot.active_pid.is_some()),
        slot.active_pid.map_or(Value::Null, number),
        Value::Null,
        Value::Null,
        lsn_or_null(slot.restart),
        Value::Null,
        text_or_null(slot.wal_status),
        slot.safe_wal_size.map_or(Value::Null, Value::Int8),
        Value::Bool(false),
    ]
}
