//! One connection's session of the database of a few words.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use replication::error::{ServerError, SqlState};

use super::words::{Run, Words, column};
use super::*;

pub(crate) struct DoubleSession {
    pub(super) database: Arc<Double>,
    pub(super) opening: Opening,
    pub(super) status: TransactionStatus,
    pub(super) gate: Option<Gate>,
    /// Settings that the client has not been told of.
    pub(super) changed: Vec<(String, String)>,
    /// The commit waits for more wakes than these.
    pub(super) settling: Option<u64>,
    /// While it waits, it cannot be stopped.
    pub(super) large: bool,
}

impl DoubleSession {
    pub(super) fn new(database: Arc<Double>, opening: Opening) -> Self {
        Self {
            database,
            opening,
            status: TransactionStatus::Idle,
            gate: None,
            changed: Vec::new(),
            settling: None,
            large: false,
        }
    }

    /// What the client set when it connected, in milliseconds.
    fn timeout(&self, name: &str) -> Option<Duration> {
        let setting = self.opening.settings.iter().find(|(set, _)| set == name);
        setting.and_then(|(_, value)| value.parse().ok()).map(Duration::from_millis)
    }
}

impl Drop for DoubleSession {
    fn drop(&mut self) {
        self.database.open_sessions.fetch_sub(1, Ordering::SeqCst);
    }
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
        Ok(Run::new(prepared, argument))
    }

    fn step(&mut self, run: &mut Run, out: &mut Vec<u8>, rows_left: &mut u64) -> Result<Step, SessionError> {
        self.obey(run, out, rows_left)
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
            self.database.blocked.lock().push(self.opening.waker.clone());
            return Ok(Settled::Blocked);
        }
        self.settling = None;
        Ok(Settled::Done)
    }

    fn is_committing(&self) -> bool {
        self.large && self.settling.is_some()
    }

    fn fail(&mut self) {
        self.gate = self.gate.filter(|gate| gate.reason == GateReason::Commit);
        self.settling = None;
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
        self.timeout("statement_timeout")
    }

    fn idle_in_transaction_timeout(&self) -> Option<Duration> {
        self.timeout("idle_timeout")
    }

    fn idle_session_timeout(&self) -> Option<Duration> {
        self.timeout("session_timeout")
    }
}
