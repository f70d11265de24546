//! The clients that read: one for each node, which asks for everything in one snapshot, again and again.

use std::collections::HashMap;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use super::board::{Board, Place, Role};
use super::history::{Context, Entry, NodeId, ReignId, TxId, View, Work};
use super::session::{Failure, Rows, Session};

/// How long a node may take to answer. A leader whose followers have not confirmed what it recovered does not.
const PATIENCE: Duration = Duration::from_secs(3);
/// Between two views of a node.
const PAUSE: Duration = Duration::from_millis(250);

/// Reads from `node` until the run is over.
pub fn run(board: &Arc<Board>, node: NodeId) {
    while !board.stopped() {
        std::thread::sleep(PAUSE);
        let place = board.place(node);
        if place.role == Role::Down {
            continue;
        }
        let Ok(mut session) = Session::open(place.port, PATIENCE) else { continue };
        while let Ok(view) = view(board, node, &mut session) {
            board.saw(view);
            if board.stopped() || board.place(node).life != place.life {
                break;
            }
            std::thread::sleep(PAUSE);
        }
    }
}

/// Everything that one snapshot on `node` shows.
pub fn view(board: &Board, node: NodeId, session: &mut Session) -> Result<View, Failure> {
    let before = board.place(node);
    let state =
        session.run("select pg_is_in_recovery(); select status, received_tli from pg_stat_wal_receiver")?;
    session.run("begin isolation level repeatable read")?;
    let begun = board.now();
    let all = session.run(
        "select id, balance from account; select client, latest, done from register;
         select client, number, reign, source, target, amount, parts from entry;
         select client, number, count(*) from part group by client, number; commit",
    )?;
    let ended = board.now();
    let context = if board.place(node) == before { context(board, before, &state) } else { Context::Unknown };
    let [accounts, registers, entries, parts, ..] = &all[..] else {
        return Err(Failure::Refused(String::new(), "answers are missing".to_owned()));
    };
    Ok(View {
        node,
        generation: before.generation,
        life: before.life,
        context,
        last: false,
        begun,
        ended,
        accounts: accounts.iter().map(|row| (number(row, 0), number(row, 1))).collect(),
        registers: registers.iter().map(|row| (number(row, 0), number(row, 1), number(row, 2))).collect(),
        entries: entries.iter().map(|row| entry(row)).collect(),
        parts: parts.iter().map(|row| (id(row), number(row, 2))).collect::<HashMap<_, _>>(),
    })
}

/// Whose word it is, by what the node says of itself.
fn context(board: &Board, place: Place, state: &[Rows]) -> Context {
    let text = |statement: usize, column: usize| state.get(statement)?.first()?.get(column)?.as_deref();
    let standby = text(0, 0) == Some("t");
    match place.role {
        Role::Leader(reign) if !standby => Context::Leader(reign),
        Role::Follower(Some(reign)) if standby => {
            let follows = text(1, 0) == Some("streaming");
            let timeline = text(1, 1).and_then(|text| text.parse::<u32>().ok());
            let same = timeline == Some(board.reign(reign).timeline);
            if follows && same { Context::Follower(reign) } else { Context::Unknown }
        }
        _ => Context::Unknown,
    }
}

type Row = [Option<String>];

fn number<T: FromStr>(row: &Row, column: usize) -> T {
    let text = row.get(column).and_then(|value| value.as_deref()).unwrap_or_default();
    text.parse().unwrap_or_else(|_| panic!("`{text}` is no number, in {row:?}"))
}

fn id(row: &Row) -> TxId {
    TxId { client: number(row, 0), number: number(row, 1) }
}

fn entry(row: &Row) -> Entry {
    let work = Work {
        source: number(row, 3),
        target: number(row, 4),
        amount: number(row, 5),
        parts: number(row, 6),
    };
    Entry { id: id(row), reign: ReignId(number(row, 2)), work }
}
