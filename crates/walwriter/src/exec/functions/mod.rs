//! Functions that ask the server, the session, the clock or chance; those about the log and its followers are in
//! `control`.

mod control;

use std::time::{Duration, Instant};

use sql::{ServerFunctions, SqlError, SystemFunction, Type, Value};

use super::context::{Context, now, to_timestamp};
use super::{Failure, Result};
use crate::session::Interrupt;
use crate::settings::VERSION;

impl ServerFunctions for Context<'_> {
    fn call(
        &self,
        function: SystemFunction,
        args: &[Value<'_>],
    ) -> std::result::Result<Value<'static>, SqlError> {
        self.perform(function, args).map_err(to_sql_error)
    }
}

/// Expressions report errors of their own kind; the codes that functions use are known.
fn to_sql_error(failure: Failure) -> SqlError {
    const CODES: &[&str] = &[
        "0A000", "22023", "25006", "42501", "42602", "42704", "42710", "42P01", "53100", "53400", "55000",
        "55006", "55P02", "58030", "58P01", "57014",
    ];
    let error = failure.into_error();
    let code = CODES.iter().find(|code| **code == error.code.as_str()).unwrap_or(&"XX000");
    let mut out = SqlError::new(code, error.message);
    if let Some(detail) = error.detail {
        out = out.with_detail(detail);
    }
    if let Some(hint) = error.hint {
        out = out.with_hint(hint);
    }
    out
}

fn integer(args: &[Value<'_>], at: usize) -> i64 {
    args.get(at).and_then(Value::as_i64).unwrap_or_default()
}

fn text<'v>(args: &'v [Value<'_>], at: usize) -> &'v str {
    args.get(at).and_then(Value::as_str).unwrap_or_default()
}

fn flag(args: &[Value<'_>], at: usize) -> bool {
    matches!(args.get(at), Some(Value::Bool(true)))
}

impl Context<'_> {
    fn perform(&self, function: SystemFunction, args: &[Value<'_>]) -> Result<Value<'static>> {
        use SystemFunction as F;
        let session = self.session;
        Ok(match function {
            F::Now => Value::Timestamp(session.transaction_start.get()),
            F::StatementTimestamp => Value::Timestamp(session.statement_start.get()),
            F::ClockTimestamp => Value::Timestamp(now()),
            F::NextSerial => {
                let column = u16::try_from(integer(args, 1)).unwrap_or(u16::MAX);
                let (table, shared) = (integer(args, 0) as u32, self.shared);
                Value::Int8(shared.catalog.serials.next(table, column, &shared.engine)?)
            }
            F::Random => Value::Float8(self.random()?),
            F::GenRandomUuid => {
                let mut bytes = [0; 16];
                fill_random(&mut bytes)?;
                bytes[6] = bytes[6] & 0x0f | 0x40;
                bytes[8] = bytes[8] & 0x3f | 0x80;
                Value::Uuid(bytes)
            }
            F::Version => Value::owned_text(format!(
                "PostgreSQL {VERSION} (walwriter {}) on {}-{}, 64-bit",
                env!("CARGO_PKG_VERSION"),
                std::env::consts::ARCH,
                std::env::consts::OS,
            )),
            F::CurrentDatabase => Value::owned_text(session.database.as_str()),
            F::CurrentSchema => Value::owned_text(sql::catalog::PUBLIC),
            F::CurrentUser | F::SessionUser => Value::owned_text(session.user.as_str()),
            F::PgBackendPid => Value::Int4(session.process_id as i32),
            F::PgPostmasterStartTime => Value::Timestamp(to_timestamp(self.shared.host.started_at())),
            F::PgConfLoadTime => Value::Timestamp(to_timestamp(self.shared.host.configured_at())),
            F::PgReloadConf => Value::Bool(self.shared.host.reload()),
            F::PgSleep => return self.sleep(args),
            F::CurrentSetting => self.setting(text(args, 0), false)?,
            F::CurrentSettingMissing => self.setting(text(args, 0), flag(args, 1))?,
            F::SetConfig => {
                let (name, value, local) = (text(args, 0), text(args, 1), flag(args, 2));
                session.settings.borrow_mut().set(name, Some(value), local)?;
                self.setting(name, false)?
            }
            F::PgCancelBackend => self.interrupt(args, Interrupt::Cancel),
            F::PgTerminateBackend => self.interrupt(args, Interrupt::Terminate),
            F::InetClientAddr => match session.peer {
                Some(peer) => Value::owned_text(peer.ip().to_string()),
                None => Value::Null,
            },
            F::InetClientPort => session.peer.map_or(Value::Null, |peer| Value::Int4(peer.port().into())),
            F::FormatType => match Type::from_oid(integer(args, 0) as u32, integer(args, 1) as i32) {
                Some(ty) => Value::owned_text(ty.display_name()),
                None => Value::owned_text("???"),
            },
            F::PgGetUserbyid => Value::owned_text(crate::views::OWNER),
            F::PgEncodingToChar => Value::owned_text(match integer(args, 0) {
                6 => "UTF8",
                0 => "SQL_ASCII",
                _ => "",
            }),
            F::PgTableIsVisible => Value::Bool(true),
            F::PgCurrentXactIdIfAssigned => Value::Null,
            F::PgRelationSize | F::PgTotalRelationSize | F::PgTableSize => {
                self.relation_size(text(args, 0))?
            }
            F::PgDatabaseSize => self.database_size()?,
            _ => return self.control(function, args),
        })
    }

    fn setting(&self, name: &str, missing_is_null: bool) -> Result<Value<'static>> {
        match self.show(name) {
            Some(value) => Ok(Value::owned_text(value)),
            None if missing_is_null => Ok(Value::Null),
            None => Err(crate::settings::unknown(name)),
        }
    }

    fn interrupt(&self, args: &[Value<'_>], interrupt: Interrupt) -> Value<'static> {
        let pid = u32::try_from(integer(args, 0)).ok();
        Value::Bool(pid.is_some_and(|pid| self.shared.host.interrupt(pid, interrupt)))
    }

    fn random(&self) -> Result<f64> {
        let mut state = self.session.random.get();
        if state == 0 {
            let mut seed = [0; 8];
            fill_random(&mut seed)?;
            state = u64::from_le_bytes(seed) | 1;
        }
        // xorshift64* (Marsaglia 2003, Vigna 2016).
        state ^= state >> 12;
        state ^= state << 25;
        state ^= state >> 27;
        self.session.random.set(state);
        let bits = state.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 11;
        Ok(bits as f64 / (1u64 << 53) as f64)
    }

    fn sleep(&self, args: &[Value<'_>]) -> Result<Value<'static>> {
        let seconds = match args.first() {
            Some(Value::Float8(seconds)) if *seconds > 0.0 => seconds.min(1e9),
            _ => return Ok(Value::Void),
        };
        let end = match self.session.awaited.take() {
            Some(end) if Instant::now() >= end => return Ok(Value::Void),
            Some(end) => end,
            None => Instant::now() + Duration::from_secs_f64(seconds),
        };
        self.session.awaited.set(Some(end));
        self.wait_until(end)
    }

    /// Has the statement executed again then. The error is never seen.
    fn wait_until(&self, then: Instant) -> Result<Value<'static>> {
        self.session.retry_at.set(Some(then));
        Err(Failure::new("XX000", "waiting"))
    }

    fn relation_size(&self, name: &str) -> Result<Value<'static>> {
        let session = self.session;
        let bare = name.strip_prefix("public.").unwrap_or(name).trim_matches('"');
        let own = session.temporary.schema().and_then(|s| self.tables.get(&sql::catalog::full_name(s, bare)));
        let Some(table) = own.or_else(|| self.tables.get(bare)) else {
            return Err(Failure::new("42P01", format!("relation \"{name}\" does not exist")));
        };
        let blocks = self.shared.engine.pool().files().blocks(engine::TreeId::new(table.tree))?;
        Ok(Value::Int8(i64::from(blocks) * wal::page::PAGE_SIZE as i64))
    }

    fn database_size(&self) -> Result<Value<'static>> {
        let files = self.shared.engine.pool().files();
        let mut blocks = 0;
        for tree in files.trees()? {
            blocks += i64::from(files.blocks(tree)?);
        }
        Ok(Value::Int8(blocks * wal::page::PAGE_SIZE as i64))
    }
}

fn fill_random(bytes: &mut [u8]) -> Result<()> {
    replication::tls::random(bytes).map_err(|error| Failure::new("XX000", error.to_string()))
}
