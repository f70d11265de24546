//! What expressions and views can ask: the session, the server, and the tables.

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::Waker;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use engine::Engine;
use sql::types::timestamp::from_unix_micros;

use super::activity::{Activity, Sessions};
use super::host::Host;
use super::temporary::{Schemas, Temporary};
use crate::catalog::{Catalog, Changes, Tables};
use crate::settings::{Defaults, SessionSettings};

/// What all sessions share.
pub(crate) struct Shared {
    pub(crate) engine: Arc<Engine>,
    pub(crate) host: Arc<dyn Host>,
    pub(crate) catalog: Catalog,
    pub(crate) temporary: Schemas,
    pub(crate) sessions: Arc<Sessions>,
    pub(crate) defaults: Defaults,
}

/// One session, as far as statements can see it.
pub(crate) struct SessionInfo {
    pub(crate) user: String,
    pub(crate) database: String,
    pub(crate) process_id: u32,
    pub(crate) peer: Option<SocketAddr>,
    pub(crate) waker: Waker,
    pub(crate) settings: RefCell<SessionSettings>,
    pub(crate) temporary: Temporary,
    pub(crate) activity: Activity,
    /// Start of the transaction, in microseconds since 2000.
    pub(crate) transaction_start: Cell<i64>,
    /// Start of the statement.
    pub(crate) statement_start: Cell<i64>,
    /// Until when a function has begun to wait; it goes on when it is called again after that.
    pub(crate) awaited: Cell<Option<Instant>>,
    /// Set by a function that returned an error only because it has to wait: when to execute the statement again.
    pub(crate) retry_at: Cell<Option<Instant>>,
    /// The state of `random()`; 0 before its first call.
    pub(crate) random: Cell<u64>,
}

/// Everything that a statement can see beside its transaction's rows.
pub(crate) struct Context<'a> {
    pub(crate) shared: &'a Shared,
    pub(crate) session: &'a SessionInfo,
    /// The tables as of the transaction's snapshot.
    pub(crate) tables: &'a Tables,
}

impl Context<'_> {
    /// Whether writes are refused because this is a standby.
    pub(crate) fn in_recovery(&self) -> bool {
        self.shared.engine.is_read_only()
    }

    /// A setting as SHOW has it.
    pub(crate) fn show(&self, name: &str) -> Option<String> {
        let lower = name.to_ascii_lowercase();
        let on_off = |on: bool| Some(if on { "on" } else { "off" }.to_owned());
        match lower.as_str() {
            "in_hot_standby" => return on_off(self.in_recovery()),
            "session_authorization" | "role" => return Some(self.session.user.clone()),
            _ => {}
        }
        let shown = self.session.settings.borrow().show(name);
        shown.or_else(|| self.shared.host.setting(&lower).map(|setting| setting.value))
    }
}

/// Now, in microseconds since 2000.
pub(crate) fn now() -> i64 {
    to_timestamp(SystemTime::now())
}

/// A point in time, in microseconds since 2000.
pub(crate) fn to_timestamp(time: SystemTime) -> i64 {
    let micros = match time.duration_since(UNIX_EPOCH) {
        Ok(since) => i64::try_from(since.as_micros()).unwrap_or(i64::MAX),
        Err(before) => -i64::try_from(before.duration().as_micros()).unwrap_or(i64::MAX),
    };
    from_unix_micros(micros)
}

/// A table by its full name: as the transaction has changed it, or as it is for all.
pub(crate) fn find_table<'a>(
    name: &str,
    tables: &'a Tables,
    changes: &'a Changes,
) -> Option<&'a Arc<sql::TableDef>> {
    match changes.get(name) {
        Some(changed) => changed,
        None => tables.get(name),
    }
}
