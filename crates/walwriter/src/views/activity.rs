//! `pg_stat_activity`.

use sql::Type::{Int4, Name, Oid, Text, Timestamptz};
use sql::Value;

use super::row::{number, text, text_or_null, time_or_null};
use super::{OWNER_OID, Row, Sources, View, view};
use crate::exec::{Published, Result, SessionState, StandbyStatus};

pub(super) static VIEWS: &[View] = &[view(
    "pg_stat_activity",
    &[
        ("datid", Oid),
        ("datname", Name),
        ("pid", Int4),
        ("usesysid", Oid),
        ("usename", Name),
        ("application_name", Text),
        ("client_addr", Text),
        ("client_port", Int4),
        ("backend_start", Timestamptz),
        ("xact_start", Timestamptz),
        ("query_start", Timestamptz),
        ("state_change", Timestamptz),
        ("wait_event_type", Text),
        ("wait_event", Text),
        ("state", Text),
        ("query", Text),
        ("backend_type", Text),
    ],
    pg_stat_activity,
)];

fn pg_stat_activity(sources: &Sources<'_>) -> Result<Vec<Row>> {
    let shared = sources.context.shared;
    let mut rows: Vec<Row> = shared.sessions.list().iter().map(|session| client(session)).collect();
    rows.extend(shared.host.standbys().into_iter().map(walsender));
    Ok(rows)
}

fn client(session: &Published) -> Row {
    let doing = session.doing();
    // To its client the statement is not over before its answer may be sent.
    let state = if doing.awaits_standby { SessionState::Active } else { doing.state };
    let (wait_type, wait) = match state {
        SessionState::Active if doing.awaits_standby => (text("IPC"), text("SyncRep")),
        SessionState::Waiting(_) => (text("Client"), text("ClientRead")),
        SessionState::Active if doing.awaits_lock => (text("Lock"), text("tuple")),
        SessionState::Active => (Value::Null, Value::Null),
    };
    let time = |time: Option<i64>| time.map_or(Value::Null, Value::Timestamp);
    vec![
        Value::Oid(engine::TreeId::DATABASE),
        text(&*session.database),
        number(session.process_id),
        Value::Oid(OWNER_OID),
        text(&*session.user),
        text(doing.application_name),
        text_or_null(session.peer.map(|peer| peer.ip().to_string())),
        number(session.peer.map_or(-1, |peer| i32::from(peer.port()))),
        Value::Timestamp(session.began),
        time(doing.transaction_start),
        time(doing.query_start),
        Value::Timestamp(doing.state_since),
        wait_type,
        wait,
        text(state.as_str()),
        text(doing.query),
        text("client backend"),
    ]
}

/// What a connection that replicates does is in `pg_stat_replication`.
fn walsender(standby: StandbyStatus) -> Row {
    let began = || time_or_null(standby.backend_start);
    vec![
        Value::Null,
        Value::Null,
        number(standby.pid),
        Value::Oid(OWNER_OID),
        text(standby.user),
        text(standby.application_name),
        text_or_null(standby.client_addr),
        standby.client_port.map_or(Value::Null, Value::Int4),
        began(),
        Value::Null,
        Value::Null,
        began(),
        Value::Null,
        Value::Null,
        text("active"),
        text("START_REPLICATION"),
        text("walsender"),
    ]
}
