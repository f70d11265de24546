//! `pg_stat_activity`.

use sql::Type::{Int4, Name, Oid, Text, Timestamptz};
use sql::Value;

use super::row::{number, text, text_or_null, time_or_null};
use super::{OWNER_OID, Row, Sources, View, view};
use crate::exec::Result;

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
        ("wait_event_type", Text),
        ("wait_event", Text),
        ("state", Text),
        ("query", Text),
        ("backend_type", Text),
    ],
    pg_stat_activity,
)];

fn pg_stat_activity(sources: &Sources<'_>) -> Result<Vec<Row>> {
    let context = sources.context;
    let sessions = context.shared.host.sessions().into_iter().map(|session| {
        vec![
            Value::Oid(engine::TreeId::DATABASE),
            text(&*context.session.database),
            number(session.pid),
            Value::Oid(OWNER_OID),
            text(session.user),
            text(session.application_name),
            text_or_null(session.client_addr),
            session.client_port.map_or(Value::Null, Value::Int4),
            time_or_null(session.backend_start),
            Value::Null,
            Value::Null,
            text_or_null(session.state),
            text_or_null(session.query),
            text(session.kind),
        ]
    });
    Ok(sessions.collect())
}
