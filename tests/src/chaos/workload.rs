//! The clients that write. Each moves amounts between accounts, one transaction after the other, keeps a register of its
//! own, and writes down what it tried and what it was told.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use wal::Lsn;

use super::board::Board;
use super::history::{Attempt, Level, Outcome, ReignId, TxId, Work};
use super::schedule::Mix;
use super::session::{Failure, Rows, Session};
use crate::random::Random;

/// How many accounts there are.
pub const ACCOUNTS: u32 = 8;

/// How long a client waits for an answer before it takes the server for lost.
const PATIENCE: Duration = Duration::from_secs(3);
/// Between two transactions, and two attempts to connect.
const PAUSE: Duration = Duration::from_millis(4);

/// The tables, and what is in them at first.
pub fn setup(clients: u32, balance: i64) -> String {
    let mut sql = String::from(
        "create table account (id int primary key, balance bigint not null);
         create table register (client int primary key, latest int not null, done int not null);
         create table entry (client int, number int, reign int, source int, target int, amount bigint, parts int,
            primary key (client, number));
         create table part (client int, number int, i int, pad text, primary key (client, number, i));",
    );
    for account in 0..ACCOUNTS {
        let _ = write!(sql, "insert into account values ({account}, {balance});");
    }
    for client in 0..clients {
        let _ = write!(sql, "insert into register values ({client}, 0, 0);");
    }
    sql
}

/// A client that writes.
pub struct Client {
    /// Its number.
    pub number: u32,
    /// What it draws from.
    pub random: Random,
    /// What it does how often.
    pub mix: Mix,
    /// Who leads.
    pub board: Arc<Board>,
}

impl Client {
    /// Writes until the run is over, whoever leads.
    pub fn run(mut self) {
        let mut next = 1;
        while !self.board.stopped() {
            std::thread::sleep(PAUSE);
            let Some((reign, place)) = self.board.leader() else { continue };
            let Ok(mut session) = Session::open(place.door, PATIENCE) else { continue };
            // Connected to this reign's process only if it still is this reign's.
            while self.leads(reign) && !self.board.stopped() {
                let id = TxId { client: self.number, number: next };
                next += 1;
                let (attempt, goes_on) = self.attempt(&mut session, reign, id);
                self.board.record(attempt);
                if !goes_on {
                    break;
                }
                std::thread::sleep(PAUSE);
            }
        }
    }

    fn leads(&self, reign: ReignId) -> bool {
        self.board.leader().is_some_and(|(now, _)| now == reign)
    }

    /// One transaction, and whether the connection is good for another.
    fn attempt(&mut self, session: &mut Session, reign: ReignId, id: TxId) -> (Attempt, bool) {
        let (level, work) = self.draw();
        let begun = self.board.now();
        let mut attempt = Attempt { id, reign, level, begun, floor: None, work, outcome: Outcome::Refused };
        let Ok(rows) = session.run(&self.statements(&attempt)) else { return (attempt, false) };
        attempt.floor = rows.last().and_then(lsn_in);
        match session.run("commit") {
            Ok(_) => {}
            Err(Failure::Refused(code, _)) if is_definite(&code) => return (attempt, false),
            Err(_) => {
                attempt.outcome = Outcome::InDoubt;
                return (attempt, false);
            }
        }
        let at = self.board.now();
        let flushed = session.run("select pg_current_wal_flush_lsn()");
        let ceiling = flushed.as_ref().ok().and_then(|rows| lsn_in(rows.last()?));
        // What was waited for by nobody may not be flushed yet, and be past that.
        attempt.outcome = Outcome::Acknowledged { at, ceiling: ceiling.filter(|_| level > Level::Off) };
        (attempt, flushed.is_ok())
    }

    fn draw(&mut self) -> (Level, Work) {
        let level = match self.random.below(100) {
            n if n < self.mix.off => Level::Off,
            n if n < self.mix.off + self.mix.local => Level::Local,
            n if n < 90 => Level::On,
            _ => Level::RemoteApply,
        };
        let source = self.random.below(ACCOUNTS.into()) as u32;
        let target = (source + 1 + self.random.below(u64::from(ACCOUNTS) - 1) as u32) % ACCOUNTS;
        let parts = match self.random.below(100) {
            n if n < self.mix.large => 30 + self.random.below(100),
            _ => self.random.below(4),
        } as u32;
        (level, Work { source, target, amount: 1 + self.random.below(9) as i64, parts })
    }

    fn statements(&self, attempt: &Attempt) -> String {
        let Attempt { id: TxId { client, number }, reign, level, work, .. } = attempt;
        let Work { source, target, amount, parts } = *work;
        let mut sql = format!(
            "begin; set local synchronous_commit = {};
             update register set latest = {number}, done = done + 1 where client = {client};",
            level.as_str()
        );
        // In the accounts' order, so that no two clients wait for each other.
        let mut moves = [(source, -amount), (target, amount)];
        moves.sort_unstable();
        for (account, change) in moves {
            let _ = write!(sql, "update account set balance = balance + {change} where id = {account};");
        }
        let _ = write!(
            sql,
            "insert into entry values ({client}, {number}, {}, {source}, {target}, {amount}, {parts});",
            reign.0
        );
        let rows = (0..parts).map(|part| {
            let pad = "p".repeat((number * 37 + part * 101) as usize % 400);
            format!("({client}, {number}, {part}, '{pad}')")
        });
        if parts > 0 {
            let _ = write!(sql, "insert into part values {};", rows.collect::<Vec<_>>().join(", "));
        }
        sql.push_str("select pg_current_wal_insert_lsn()");
        sql
    }
}

fn lsn_in(rows: &Rows) -> Option<Lsn> {
    rows.first()?.first()?.as_ref()?.parse().ok()
}

/// Whether an error that COMMIT ends with says that nothing was done: rolled back, a limit, no space.
fn is_definite(code: &str) -> bool {
    ["25", "40", "53", "54"].iter().any(|class| code.starts_with(class))
}
