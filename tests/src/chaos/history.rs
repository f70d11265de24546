//! What happened in a run, as it is judged afterwards: who led when, what clients tried and were told, what was read where.
//!
//! Nothing here talks to a process. Times are microseconds since the run began, of one clock, so that they can be compared.

use std::collections::HashMap;

use wal::Lsn;

/// Microseconds since the run began.
pub type Micros = u64;

/// One of the servers with pages, by its number.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct NodeId(pub usize);

/// One of the reigns of a run, by its number.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct ReignId(pub usize);

/// The time that one process led: its log is one, and grows at its end alone.
#[derive(Clone, Debug)]
pub struct Reign {
    /// Who led.
    pub node: NodeId,
    /// On which timeline.
    pub timeline: u32,
    /// How many followers have to have a commit before it counts; 0: none.
    pub quorum: usize,
    /// What its log began as.
    pub origin: Origin,
}

/// What a reign's log began as.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Origin {
    /// An empty directory.
    Founded,
    /// The same directory, after a crash or a stop.
    Restarted {
        /// The reign before.
        of: ReignId,
    },
    /// A standby's directory, promoted.
    Promoted {
        /// The reign whose log it followed.
        of: ReignId,
        /// Up to where the two logs are the same.
        fork: Lsn,
        /// Whether it had, by the rules, everything that was acknowledged under the quorum.
        complete: bool,
    },
    /// An older copy of the leader's directory, put back.
    OlderCopy {
        /// The reign that the copy was made in, or after.
        of: ReignId,
        /// Where the copy's log ends.
        end: Lsn,
    },
}

/// What a client calls one of its transactions.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct TxId {
    /// The client.
    pub client: u32,
    /// Counts its transactions from 1, those that failed as well.
    pub number: u32,
}

/// What a transaction's client waited for: its `synchronous_commit`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Level {
    /// `off`
    Off,
    /// `local`
    Local,
    /// `on`
    On,
    /// `remote_apply`
    RemoteApply,
}

impl Level {
    /// As the setting has it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Local => "local",
            Self::On => "on",
            Self::RemoteApply => "remote_apply",
        }
    }
}

/// What a transaction does: moves an amount between accounts, and leaves so many rows as a trace.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Work {
    /// The account that pays.
    pub source: u32,
    /// The account that is paid.
    pub target: u32,
    /// How much.
    pub amount: i64,
    /// How many rows go along.
    pub parts: u32,
}

/// What a client was told.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// The commit, at that time.
    Acknowledged {
        /// When the answer arrived.
        at: Micros,
        /// The end of the log afterwards, which the commit is before.
        ceiling: Option<Lsn>,
    },
    /// That nothing of it was done; or COMMIT was never sent.
    Refused,
    /// Nothing, after COMMIT was sent.
    InDoubt,
}

/// One transaction of a client.
#[derive(Clone, Debug)]
pub struct Attempt {
    /// Its name.
    pub id: TxId,
    /// The reign in which it ran.
    pub reign: ReignId,
    /// What its client waited for.
    pub level: Level,
    /// When it was begun.
    pub begun: Micros,
    /// The end of the log before COMMIT, which the commit is past.
    pub floor: Option<Lsn>,
    /// What it did.
    pub work: Work,
    /// What its client was told.
    pub outcome: Outcome,
}

impl Attempt {
    /// When it was acknowledged.
    pub fn acknowledged(&self) -> Option<Micros> {
        match self.outcome {
            Outcome::Acknowledged { at, .. } => Some(at),
            Outcome::Refused | Outcome::InDoubt => None,
        }
    }
}

/// Whose word a view is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Context {
    /// The leader's own.
    Leader(ReignId),
    /// A standby's that said that it follows this reign.
    Follower(ReignId),
    /// A standby's that follows nobody at the moment, or whose leader was being changed.
    Unknown,
}

/// A transaction as it was read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Entry {
    /// Its name.
    pub id: TxId,
    /// The reign that its client believed to be in.
    pub reign: ReignId,
    /// What it did.
    pub work: Work,
}

/// All that one snapshot on one node showed.
#[derive(Clone, Debug)]
pub struct View {
    /// Where.
    pub node: NodeId,
    /// How often that node's directory had been replaced before.
    pub generation: u32,
    /// How often it had been started.
    pub life: u32,
    /// Whose word it is.
    pub context: Context,
    /// Whether nothing happened any more, and everybody had everything.
    pub last: bool,
    /// When it was asked for.
    pub begun: Micros,
    /// When it was answered.
    pub ended: Micros,
    /// The balances by account.
    pub accounts: Vec<(u32, i64)>,
    /// For each client the number of its latest transaction, and how many there are.
    pub registers: Vec<(u32, u32, u32)>,
    /// The transactions.
    pub entries: Vec<Entry>,
    /// How many rows each of them left.
    pub parts: HashMap<TxId, u32>,
}

/// A time in which nobody could have confirmed a commit of that reign.
#[derive(Clone, Copy, Debug)]
pub struct Silence {
    /// The reign.
    pub reign: ReignId,
    /// From when on.
    pub from: Micros,
    /// Until when.
    pub until: Micros,
    /// Why.
    pub because: &'static str,
}

/// A run, whole.
#[derive(Clone, Debug, Default)]
pub struct History {
    /// By their numbers.
    pub reigns: Vec<Reign>,
    /// In any order.
    pub attempts: Vec<Attempt>,
    /// In any order.
    pub views: Vec<View>,
    /// In any order.
    pub silences: Vec<Silence>,
    /// What each account began with.
    pub initial_balance: i64,
}
