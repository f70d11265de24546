//! `pg_settings`.

use sql::Type::Text;
use sql::Value;

use super::row::text;
use super::{Row, Sources, View, view};
use crate::exec::Result;
use crate::settings::{Access, DEFINITIONS, find};

pub(super) static VIEWS: &[View] = &[view(
    "pg_settings",
    &[
        ("name", Text),
        ("setting", Text),
        ("unit", Text),
        ("category", Text),
        ("short_desc", Text),
        ("context", Text),
        ("vartype", Text),
        ("source", Text),
        ("boot_val", Text),
    ],
    pg_settings,
)];

fn pg_settings(sources: &Sources<'_>) -> Result<Vec<Row>> {
    let context = sources.context;
    let settings = context.session.settings.borrow();
    let of_sessions = DEFINITIONS.iter().map(|definition| {
        let access = if definition.access == Access::Internal { "internal" } else { "user" };
        vec![
            text(definition.name),
            text(context.show(definition.name).unwrap_or_default()),
            Value::Null,
            text("Session"),
            text(definition.description),
            text(access),
            text(definition.kind.type_name()),
            text(settings.source(definition.name)),
            text(definition.default),
        ]
    });
    let host = context.shared.host.settings();
    let of_server = host.into_iter().filter(|setting| find(&setting.name).is_none()).map(|setting| {
        vec![
            text(setting.name),
            text(setting.value),
            Value::Null,
            text("Server"),
            text(setting.description),
            text(setting.context),
            text(setting.kind),
            text("configuration file"),
            Value::Null,
        ]
    });
    let mut rows: Vec<Row> = of_sessions.chain(of_server).collect();
    rows.sort_by_key(|row| row.first().and_then(Value::as_str).map(str::to_ascii_lowercase));
    Ok(rows)
}
