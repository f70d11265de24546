//! Functions about the log, recovery and followers (`xlogfuncs.c`, `slotfuncs.c`).

use std::time::{Duration, Instant};

use sql::{SystemFunction, Value};
use wal::Lsn;

use super::{flag, integer, text};
use crate::exec::context::{Context, to_timestamp};
use crate::exec::host::Promotion;
use crate::exec::{Failure, Result};

fn lsn(lsn: Lsn) -> Value<'static> {
    Value::Lsn(lsn.as_u64())
}

impl Context<'_> {
    /// Watches and controls the log. A function that is none of these is not supported.
    pub(super) fn control(&self, function: SystemFunction, args: &[Value<'_>]) -> Result<Value<'static>> {
        use SystemFunction as F;
        let (engine, host) = (&self.shared.engine, &self.shared.host);
        let recovery = || host.recovery().unwrap_or_default();
        Ok(match function {
            F::PgIsInRecovery => Value::Bool(self.in_recovery()),
            F::PgCurrentWalLsn => lsn(self.leader()?.log().written()),
            F::PgCurrentWalInsertLsn => lsn(self.leader()?.log().next_record()),
            F::PgCurrentWalFlushLsn => lsn(self.leader()?.log().flushed()),
            F::PgLastWalReceiveLsn => recovery().received.map_or(Value::Null, lsn),
            F::PgLastWalReplayLsn => match self.in_recovery() {
                true => lsn(engine.applied()),
                false => Value::Null,
            },
            F::PgLastXactReplayTimestamp => {
                recovery().last_transaction.map_or(Value::Null, |time| Value::Timestamp(to_timestamp(time)))
            }
            F::PgPromote => self.promote(Duration::from_secs(60))?,
            F::PgPromoteWait if integer(args, 1) <= 0 => {
                return Err(Failure::new("22023", "\"wait_seconds\" must not be negative or equal zero"));
            }
            F::PgPromoteWait if flag(args, 0) => {
                self.promote(Duration::from_secs(integer(args, 1).unsigned_abs()))?
            }
            F::PgPromoteNoWait if flag(args, 0) => self.promote(Duration::from_secs(60))?,
            F::PgPromoteWait | F::PgPromoteNoWait => {
                self.standby()?;
                host.promote()?;
                Value::Bool(true)
            }
            F::PgSwitchWal => lsn(self.leader()?.switch_segment()?),
            F::PgCreateRestorePoint => {
                self.leader()?;
                let name = text(args, 0);
                if name.len() >= 64 {
                    let message = "value too long for restore point (maximum 63 characters)";
                    return Err(Failure::new("22023", message));
                }
                lsn(host.create_restore_point(name)?)
            }
            F::PgWalfileName => {
                let log = self.leader()?.log();
                let position = match args.first() {
                    Some(Value::Lsn(position)) => Lsn::new(*position),
                    _ => Lsn::INVALID,
                };
                let size = log.segment_size();
                Value::owned_text(size.segment_ending_at(position).file_name(log.timeline(), size))
            }
            F::PgWalReplayPause | F::PgWalReplayResume => {
                self.standby()?;
                host.pause_replay(function == F::PgWalReplayPause)?;
                Value::Void
            }
            F::PgIsWalReplayPaused => {
                self.standby()?;
                Value::Bool(recovery().paused)
            }
            F::PgCreatePhysicalSlot | F::PgCreatePhysicalSlotReserve => {
                let name = text(args, 0);
                let start = host.create_slot(name, flag(args, 1))?;
                let start = start.map(|lsn| lsn.to_string()).unwrap_or_default();
                Value::owned_text(format!("({name},{start})"))
            }
            F::PgDropReplicationSlot => {
                host.drop_slot(text(args, 0))?;
                Value::Void
            }
            other => {
                let message = format!("function {}() is not supported", other.name());
                return Err(Failure::new("0A000", message));
            }
        })
    }

    fn leader(&self) -> Result<&engine::Engine> {
        if self.in_recovery() {
            return Err(Failure::new("55000", "recovery is in progress")
                .hint("WAL control functions cannot be executed during recovery."));
        }
        Ok(&self.shared.engine)
    }

    fn standby(&self) -> Result<()> {
        if self.in_recovery() {
            return Ok(());
        }
        Err(Failure::new("55000", "recovery is not in progress")
            .hint("Recovery control functions can only be executed during recovery."))
    }

    fn promote(&self, wait: Duration) -> Result<Value<'static>> {
        if self.session.awaited.get().is_none() {
            self.standby()?;
        }
        let begun = self.session.awaited.take();
        if self.shared.host.promote()? == Promotion::Done {
            return Ok(Value::Bool(true));
        }
        let end = begun.unwrap_or_else(|| Instant::now() + wait);
        if Instant::now() >= end {
            return Ok(Value::Bool(false));
        }
        self.session.awaited.set(Some(end));
        self.wait_until(end.min(Instant::now() + Duration::from_millis(10)))
    }
}
