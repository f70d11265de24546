//! What each word does.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use replication::error::{ServerError, SqlState};
use wal::Lsn;

use super::session::DoubleSession;
use super::*;
use crate::protocol::backend::{self, DataRow};

pub(crate) struct Words {
    pub(super) words: Vec<String>,
    pub(super) description: Description,
}

pub(crate) struct Run {
    words: Vec<String>,
    argument: Vec<u8>,
    pub(super) produced: u64,
    until: Option<Instant>,
    blocked: bool,
    pub(super) copy_ended: bool,
}

impl Run {
    pub(super) fn new(prepared: &Words, argument: Vec<u8>) -> Self {
        let words = prepared.words.clone();
        Self { words, argument, produced: 0, until: None, blocked: false, copy_ended: false }
    }
}

pub(super) fn column() -> Column {
    Column { name: "a".into(), table: 0, attribute: 0, type_oid: 25, type_size: -1, type_modifier: -1 }
}

fn row(out: &mut Vec<u8>, value: &[u8]) {
    let mut row = DataRow::begin(out, 1);
    row.value(|out| out.extend_from_slice(value));
    row.finish();
}

impl DoubleSession {
    /// Does what a statement says, or goes on with it.
    pub(super) fn obey(
        &mut self,
        run: &mut Run,
        out: &mut Vec<u8>,
        rows_left: &mut u64,
    ) -> Result<Step, SessionError> {
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
                match run.words.get(1).map_or("", String::as_str) {
                    "fail" => {
                        return Err(Box::new(ServerError::error(SqlState::SYNTAX_ERROR, "it failed")));
                    }
                    "cancel" => {
                        self.opening.interrupts.raise(Interrupt::Cancel);
                        self.opening.interrupts.check()?;
                    }
                    "terminate" => self.opening.interrupts.raise(Interrupt::Terminate),
                    _ => {}
                }
            }
            "block" if !run.blocked => {
                run.blocked = true;
                self.database.blocked.lock().push(self.opening.waker.clone());
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
}
