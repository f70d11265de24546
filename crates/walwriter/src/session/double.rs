//! A database of a few words, for tests of the server: what it does is what the words say.
//!
//! `one`, `rows N W` (N rows of W bytes), `commit`, `block N` (until [`Double::wake`]), `sleep` (blocked for 20 ms),
//! `copy in`, `copy out N`, `begin`, `end`, `fail`, `param` (has one parameter and returns it), `set NAME VALUE`,
//! `spin` (yields until interrupted), `read` (shows what is not confirmed), `late` and `large` (their commit is blocked
//! until [`Double::wake`], and while it is, can be stopped, or cannot).

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::Waker;
use std::time::{Duration, Instant};

use replication::error::{ServerError, SqlState};
use wal::Lsn;

use super::*;
use crate::protocol::backend::{self, DataRow};

/// The shared part.
#[derive(Debug, Default)]
pub(crate) struct Double {
    pub(crate) inserted: AtomicU64,
    pub(crate) flushes: AtomicU64,
    confirmed: AtomicU64,
    /// Commits are confirmed by [`Double::confirm`] only, not by the flush.
    pub(crate) synchronous: AtomicBool,
    watchers: Mutex<Vec<Waker>>,
    pub(crate) blocked: Mutex<Vec<Waker>>,
    /// How often [`Double::wake`] was called.
    wakes: AtomicU64,
    pub(crate) open_sessions: AtomicUsize,
    pub(crate) copied: AtomicU64,
    /// Rows produced by `rows`, by all sessions.
    pub(crate) rows: AtomicU64,
    pub(crate) standby: AtomicBool,
}

impl Double {
    pub(crate) fn confirm(&self) {
        self.confirmed.store(self.inserted.load(Ordering::SeqCst), Ordering::SeqCst);
        self.watchers.lock().unwrap().iter().for_each(Waker::wake_by_ref);
    }

    pub(crate) fn wake(&self) {
        self.wakes.fetch_add(1, Ordering::SeqCst);
        self.blocked.lock().unwrap().drain(..).for_each(Waker::wake);
    }
}

/// What `Arc<Double>` cannot be itself.
pub(crate) struct Shared(pub(crate) Arc<Double>);

impl Database for Shared {
    type Session = DoubleSession;

    fn open_session(&self, opening: Opening) -> Result<DoubleSession, SessionError> {
        if opening.database == "none" {
            let code = SqlState::new("3D000").unwrap();
            return Err(Box::new(ServerError::fatal(code, "database \"none\" does not exist")));
        }
        self.0.open_sessions.fetch_add(1, Ordering::SeqCst);
        Ok(DoubleSession {
            database: self.0.clone(),
            opening,
            status: TransactionStatus::Idle,
            gate: None,
            changed: Vec::new(),
            settling: None,
            large: false,
        })
    }

    fn flush(&self, lsn: Lsn) {
        self.0.flushes.fetch_add(1, Ordering::SeqCst);
        if !self.0.synchronous.load(Ordering::SeqCst) {
            self.0.confirmed.fetch_max(lsn.as_u64(), Ordering::SeqCst);
        }
    }

    fn reached(&self, _: Awaited) -> Lsn {
        Lsn::new(self.0.confirmed.load(Ordering::SeqCst))
    }

    fn watch_reached(&self, waker: Waker) {
        self.0.watchers.lock().unwrap().push(waker);
    }

    fn in_recovery(&self) -> bool {
        self.0.standby.load(Ordering::SeqCst)
    }
}

pub(crate) struct DoubleSession {
    database: Arc<Double>,
    opening: Opening,
    status: TransactionStatus,
    gate: Option<Gate>,
    changed: Vec<(String, String)>,
    /// The commit waits for more wakes than these.
    settling: Option<u64>,
    large: bool,
}

impl Drop for DoubleSession {
    fn drop(&mut self) {
        self.database.open_sessions.fetch_sub(1, Ordering::SeqCst);
    }
}

pub(crate) struct Words {
    words: Vec<String>,
    description: Description,
}

pub(crate) struct Run {
    words: Vec<String>,
    argument: Vec<u8>,
    produced: u64,
    until: Option<Instant>,
    blocked: bool,
    copy_ended: bool,
}

fn column() -> Column {
    Column { name: "a".into(), table: 0, attribute: 0, type_oid: 25, type_size: -1, type_modifier: -1 }
}

fn row(out: &mut Vec<u8>, value: &[u8]) {
    let mut row = DataRow::begin(out, 1);
    row.value(|out| out.extend_from_slice(value));
    row.finish();
}

impl Session for DoubleSession {
    type Statement = String;
    type Prepared = Words;
    type Portal = Run;

    fn parse(&mut self, text: &str, statements: &mut VecDeque<String>) -> Result<(), SessionError> {
        if text.contains('!') {
            return Err(Box::new(ServerError::error(SqlState::SYNTAX_ERROR, "syntax error")));
        }
        statements.extend(text.split(';').map(|one| one.trim().to_owned()).filter(|one| !one.is_empty()));
        Ok(())
    }

    fn analyse(&mut self, statement: String) -> Result<Arc<Words>, SessionError> {
        self.prepare(&statement, &[])
    }

    fn prepare(&mut self, text: &str, _types: &[u32]) -> Result<Arc<Words>, SessionError> {
        let words: Vec<String> = text.split_whitespace().map(str::to_owned).collect();
        let first = words.first().map_or("", String::as_str);
        if self.status == TransactionStatus::Failed && first != "end" {
            let code = SqlState::new("25P02").unwrap();
            return Err(Box::new(ServerError::error(code, "current transaction is aborted")));
        }
        let rows = matches!(first, "one" | "rows" | "param" | "read" | "SELECT" | "select");
        let parameters = if first == "param" { vec![25] } else { vec![] };
        Ok(Arc::new(Words { words, description: Description::new(parameters, rows.then(|| vec![column()])) }))
    }

    fn describe(prepared: &Words) -> &Description {
        &prepared.description
    }

    fn bind(
        &mut self,
        prepared: &Arc<Words>,
        mut arguments: Arguments<'_>,
        _results: &ResultFormats,
    ) -> Result<Run, SessionError> {
        let argument = arguments.next().and_then(|(_, value)| value).unwrap_or_default().to_vec();
        let words = prepared.words.clone();
        Ok(Run { words, argument, produced: 0, until: None, blocked: false, copy_ended: false })
    }

    fn step(&mut self, run: &mut Run, out: &mut Vec<u8>, rows_left: &mut u64) -> Result<Step, SessionError> {
        let number = |at: usize| run.words.get(at).and_then(|word| word.parse::<u64>().ok()).unwrap_or(0);
        let name = |tag| Ok(Step::Done(CommandTag::Name(tag)));
        match run.words.first().map_or("", String::as_str) {
            "" => return Ok(Step::Done(CommandTag::Empty)),
            "one" | "select" => row(out, b"1"),
            "param" => row(out, &run.argument),
            "rows" => {
                let value = vec![b'x'; number(2) as usize];
                let (count, start) = (number(1), out.len());
                while run.produced < count {
                    if *rows_left == 0 {
                        return Ok(Step::Suspended);
                    }
                    if out.len() - start > 65_536 {
                        return Ok(Step::Yield);
                    }
                    row(out, &value);
                    run.produced += 1;
                    self.database.rows.fetch_add(1, Ordering::SeqCst);
                    *rows_left -= 1;
                }
                return Ok(Step::Done(CommandTag::Rows("SELECT", run.produced)));
            }
            "commit" => {
                let lsn = Lsn::new(self.database.inserted.fetch_add(8, Ordering::SeqCst) + 8);
                self.gate = Some(Gate { lsn, awaited: Awaited::Flush, reason: GateReason::Commit });
                return name("COMMIT");
            }
            "read" => {
                let lsn = Lsn::new(self.database.inserted.fetch_add(8, Ordering::SeqCst) + 8);
                self.gate = Some(Gate { lsn, awaited: Awaited::Visibility, reason: GateReason::Read });
                row(out, b"unconfirmed");
            }
            "block" if !run.blocked => {
                run.blocked = true;
                self.database.blocked.lock().unwrap().push(self.opening.waker.clone());
                return Ok(Step::Blocked { until: None });
            }
            "sleep" => {
                let until = *run.until.get_or_insert_with(|| Instant::now() + Duration::from_millis(20));
                if Instant::now() < until {
                    return Ok(Step::Blocked { until: Some(until) });
                }
            }
            "late" | "large" => {
                self.large = run.words[0] == "large";
                self.settling = Some(self.database.wakes.load(Ordering::SeqCst));
            }
            "spin" => return Ok(Step::Yield),
            "begin" => self.status = TransactionStatus::InBlock,
            "end" => self.status = TransactionStatus::Idle,
            "fail" => return Err(Box::new(ServerError::error(SqlState::SYNTAX_ERROR, "it failed"))),
            "set" => self.changed.push((run.words[1].clone(), run.words[2].clone())),
            "copy" if run.words[1] == "in" => {
                if !run.copy_ended {
                    return Ok(Step::CopyIn(CopyFormat { format: Format::Text, columns: 1 }));
                }
                return Ok(Step::Done(CommandTag::Rows("COPY", run.produced)));
            }
            "copy" => {
                if !std::mem::replace(&mut run.blocked, true) {
                    return Ok(Step::CopyOut(CopyFormat { format: Format::Text, columns: 1 }));
                }
                (0..number(2)).for_each(|_| backend::copy_data(out, |out| out.extend_from_slice(b"row\n")));
                return Ok(Step::Done(CommandTag::Rows("COPY", number(2))));
            }
            _ => {}
        }
        Ok(Step::Done(CommandTag::Name("DONE")))
    }

    fn copy_data(&mut self, run: &mut Run, data: &[u8]) -> Result<Step, SessionError> {
        if data.contains(&b'!') {
            return Err(Box::new(ServerError::error(SqlState::SYNTAX_ERROR, "bad row")));
        }
        run.produced += data.iter().filter(|byte| **byte == b'\n').count() as u64;
        self.database.copied.fetch_add(data.len() as u64, Ordering::SeqCst);
        Ok(Step::CopyIn(CopyFormat { format: Format::Text, columns: 1 }))
    }

    fn copy_done(&mut self, run: &mut Run) -> Result<(), SessionError> {
        run.copy_ended = true;
        Ok(())
    }

    fn settle(&mut self, _out: &mut Vec<u8>) -> Result<Settled, SessionError> {
        if self.settling == Some(self.database.wakes.load(Ordering::SeqCst)) {
            self.database.blocked.lock().unwrap().push(self.opening.waker.clone());
            return Ok(Settled::Blocked);
        }
        self.settling = None;
        Ok(Settled::Done)
    }

    fn is_committing(&self) -> bool {
        self.large && self.settling.is_some()
    }

    fn fail(&mut self) {
        (self.gate, self.settling) = (None, None);
        if self.status == TransactionStatus::InBlock {
            self.status = TransactionStatus::Failed;
        }
    }

    fn gate(&self) -> Option<Gate> {
        self.gate
    }

    fn transaction_status(&self) -> TransactionStatus {
        self.status
    }

    fn report_settings(&mut self, all: bool, report: &mut dyn FnMut(&str, &str)) {
        if all {
            report("server_version", "15.0 (double)");
            report("client_encoding", "UTF8");
        }
        self.changed.drain(..).for_each(|(name, value)| report(&name, &value));
    }

    fn statement_timeout(&self) -> Option<Duration> {
        let setting = self.opening.settings.iter().find(|(name, _)| name == "statement_timeout");
        setting.and_then(|(_, value)| value.parse().ok()).map(Duration::from_millis)
    }

    fn idle_in_transaction_timeout(&self) -> Option<Duration> {
        let setting = self.opening.settings.iter().find(|(name, _)| name == "idle_timeout");
        setting.and_then(|(_, value)| value.parse().ok()).map(Duration::from_millis)
    }

    fn idle_session_timeout(&self) -> Option<Duration> {
        let setting = self.opening.settings.iter().find(|(name, _)| name == "session_timeout");
        setting.and_then(|(_, value)| value.parse().ok()).map(Duration::from_millis)
    }
}
