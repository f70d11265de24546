//! What all threads of a run share: who leads at the moment and who follows, the clock, and what was recorded.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

use runtime::sync::{Mutex, MutexGuard};

use super::history::{Attempt, History, Micros, NodeId, Reign, ReignId, Silence, View};

/// How many servers with pages there are.
pub const NODES: usize = 3;

/// What a node is said to be; what it really is, a reader asks it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Role {
    /// Nobody is to ask it anything.
    Down,
    /// It leads.
    Leader(ReignId),
    /// It was pointed at the leader of a reign, or for the moment at nobody who counts.
    Follower(Option<ReignId>),
}

/// A node as clients and readers find it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Place {
    /// Its own port.
    pub port: u16,
    /// The port of the proxy that clients come through.
    pub door: u16,
    /// How often its directory was replaced.
    pub generation: u32,
    /// How often it was started.
    pub life: u32,
    /// What it is.
    pub role: Role,
}

struct State {
    places: [Place; NODES],
    history: History,
}

/// The board itself.
pub struct Board {
    began: Instant,
    stopped: AtomicBool,
    acknowledged: AtomicU64,
    state: Mutex<State>,
}

impl Board {
    /// An empty one; accounts begin with that balance.
    pub fn new(initial_balance: i64) -> Self {
        let nobody = Place { port: 0, door: 0, generation: 0, life: 0, role: Role::Down };
        let history = History { initial_balance, ..History::default() };
        Self {
            began: Instant::now(),
            stopped: AtomicBool::new(false),
            acknowledged: AtomicU64::new(0),
            state: Mutex::new(State { places: [nobody; NODES], history }),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }

    /// Now.
    pub fn now(&self) -> Micros {
        self.began.elapsed().as_micros() as Micros
    }

    /// Tells clients and readers to end.
    pub fn stop(&self) {
        self.stopped.store(true, Ordering::SeqCst);
    }

    /// Whether they have to.
    pub fn stopped(&self) -> bool {
        self.stopped.load(Ordering::SeqCst)
    }

    /// A node's place.
    pub fn place(&self, node: NodeId) -> Place {
        self.state().places[node.0]
    }

    /// Changes a node's place.
    pub fn change(&self, node: NodeId, change: impl FnOnce(&mut Place)) {
        change(&mut self.state().places[node.0]);
    }

    /// The leader, and its place.
    pub fn leader(&self) -> Option<(ReignId, Place)> {
        let state = self.state();
        state.places.iter().find_map(|place| match place.role {
            Role::Leader(reign) => Some((reign, *place)),
            _ => None,
        })
    }

    /// A new reign begins; clients may come.
    pub fn crown(&self, reign: Reign) -> ReignId {
        let mut state = self.state();
        let (id, node) = (ReignId(state.history.reigns.len()), reign.node);
        state.history.reigns.push(reign);
        state.places[node.0].role = Role::Leader(id);
        id
    }

    /// A reign.
    pub fn reign(&self, id: ReignId) -> Reign {
        self.state().history.reigns[id.0].clone()
    }

    /// A transaction is over.
    pub fn record(&self, attempt: Attempt) {
        if attempt.acknowledged().is_some() {
            self.acknowledged.fetch_add(1, Ordering::SeqCst);
        }
        self.state().history.attempts.push(attempt);
    }

    /// How many were acknowledged.
    pub fn acknowledged(&self) -> u64 {
        self.acknowledged.load(Ordering::SeqCst)
    }

    /// Something was read.
    pub fn saw(&self, view: View) {
        self.state().history.views.push(view);
    }

    /// Nobody could confirm anything for a while.
    pub fn silence(&self, silence: Silence) {
        self.state().history.silences.push(silence);
    }

    /// What was recorded.
    pub fn history(&self) -> History {
        self.state().history.clone()
    }
}
