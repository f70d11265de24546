//! The executor as the server sees it.

use std::cell::{Cell, RefCell};
use std::sync::Arc;
use std::task::Waker;

use engine::{Engine, Isolation};
use replication::error::{ServerError, SqlState};
use wal::Lsn;

use super::context::{SessionInfo, Shared};
use super::host::Host;
use super::session::SqlSession;
use super::temporary::{Schemas, Temporary};
use crate::catalog::Catalog;
use crate::session::{Awaited, Database, Opening, SessionError};
use crate::settings::{Defaults, SessionSettings};

/// A database for sessions: an engine, and the server around it.
pub struct Executor {
    shared: Arc<Shared>,
}

impl std::fmt::Debug for Executor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Executor").field("engine", &self.shared.engine).finish_non_exhaustive()
    }
}

impl Executor {
    /// Sessions over `engine`, in the server that `host` is.
    pub fn new(engine: Arc<Engine>, host: Arc<dyn Host>) -> Self {
        let shared = Shared {
            engine,
            host,
            catalog: Catalog::new(),
            temporary: Schemas::default(),
            sessions: Arc::default(),
            defaults: Defaults::default(),
        };
        let executor = Self { shared: Arc::new(shared) };
        executor.reload();
        executor
    }

    /// The configuration was read again: sessions follow it in what they have not set themselves.
    pub fn reload(&self) {
        self.shared.defaults.configure(|name| self.shared.host.session_default(name));
    }

    /// Reads the definitions of all tables, as the first session would.
    ///
    /// # Errors
    /// One of them makes no sense, or cannot be read: nobody could be served.
    pub fn check_catalog(&self) -> anyhow::Result<()> {
        let transaction = self.shared.engine.begin(Isolation::RepeatableRead, true);
        match self.shared.catalog.tables(&transaction, false) {
            Ok(_) => Ok(()),
            Err(failure) => anyhow::bail!("the catalog is damaged: {}", failure.into_error()),
        }
    }

    /// The engine.
    pub fn engine(&self) -> &Arc<Engine> {
        &self.shared.engine
    }
}

/// The names of databases that clients may ask for: there is one, which is found under all of them.
const DATABASES: [&str; 3] = ["postgres", "template1", "walwriter"];

impl Database for Executor {
    type Session = SqlSession;

    fn open_session(&self, opening: Opening) -> Result<SqlSession, SessionError> {
        if opening.database != opening.user && !DATABASES.contains(&opening.database.as_str()) {
            let name = &opening.database;
            let message = format!("database \"{name}\" does not exist");
            let code = SqlState::new("3D000").unwrap_or(SqlState::INTERNAL_ERROR);
            return Err(Box::new(ServerError::fatal(code, message)));
        }
        let mut settings = SessionSettings::default();
        let fatal = |failure: super::Failure| {
            let mut error = failure.into_error();
            error.severity = "FATAL".to_owned();
            error.severity_raw = "FATAL".to_owned();
            error
        };
        settings.follow(&self.shared.defaults);
        for (name, value) in &opening.settings {
            settings.set_initial(name, value).map_err(fatal)?;
        }
        let Opening { process_id, peer, .. } = opening;
        let sessions = &self.shared.sessions;
        let activity = sessions.enter(process_id, &opening.user, &opening.database, peer);
        Ok(SqlSession::new(
            Arc::clone(&self.shared),
            SessionInfo {
                user: opening.user,
                database: opening.database,
                process_id,
                peer,
                waker: opening.waker,
                settings: RefCell::new(settings),
                temporary: Temporary::default(),
                activity,
                transaction_start: Cell::new(0),
                statement_start: Cell::new(0),
                awaited: Cell::new(None),
                retry_at: Cell::new(None),
                random: Cell::new(0),
            },
        ))
    }

    fn flush(&self, lsn: Lsn) {
        if let Err(error) = self.shared.engine.log().flush(lsn) {
            engine::fatal::fatal(format_args!("could not make the log durable: {}", error.chain()));
        }
    }

    /// Without a server around it there are no followers: what is durable here is confirmed.
    fn reached(&self, _: Awaited) -> Lsn {
        self.shared.engine.confirmed()
    }

    fn watch_reached(&self, waker: Waker) {
        self.shared.engine.watch_confirmed(move |_| waker.wake_by_ref());
    }

    fn in_recovery(&self) -> bool {
        self.shared.engine.is_read_only()
    }
}
