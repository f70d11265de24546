//! What the rules say about a transaction on a given leader: it has to be there, it must not be there, or it may be.
//!
//! A leader's log is a path of reigns. Each step of the path keeps what lies before it in the log and drops the rest:
//!
//! - a **restart** keeps all that was flushed; what a client did not wait for (`off`) may be gone;
//! - a **promotion** keeps what is before the fork and nothing past it. Where the fork is, the new timeline's history file
//!   says; of a commit, the client knows an LSN before and one after it. If the promoted node had the WAL of enough
//!   followers that every quorum has one of them among it, then it has every commit that was confirmed under the quorum;
//! - an **older copy** that is put back keeps what is before its end.
//!
//! A commit counts as confirmed if its client waited for followers and was told so, or if a leader that shows only what is
//! confirmed has shown it to somebody else. Everything that is before such a commit in the log is confirmed as well.

use std::collections::{HashMap, HashSet};

use super::history::{Attempt, Context, History, Level, Micros, Origin, Outcome, ReignId, TxId};

/// What has to be so of a transaction on a leader.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fate {
    /// It is there.
    Present,
    /// It is not.
    Absent,
    /// Either is right.
    Either,
}

/// The reigns of a run and what was confirmed in them.
pub struct Lineage<'a> {
    history: &'a History,
    /// What leaders have shown to others, with the reign and the time: it was in that reign's log, and flushed.
    shown: HashMap<(TxId, ReignId), Micros>,
    /// The reigns in which something was confirmed.
    confirmed: HashSet<ReignId>,
}

impl<'a> Lineage<'a> {
    /// Of that run.
    pub fn new(history: &'a History) -> Self {
        let mut lineage = Self { history, shown: HashMap::new(), confirmed: HashSet::new() };
        let confirmed = history.attempts.iter().filter(|attempt| lineage.waited_for_followers(attempt));
        lineage.confirmed = confirmed.map(|attempt| attempt.reign).collect();
        lineage.shown = lineage.shown_by_leaders();
        lineage
    }

    /// What leaders have shown, and could have: a view that shows what was discarded proves nothing but its own fault.
    fn shown_by_leaders(&self) -> HashMap<(TxId, ReignId), Micros> {
        let attempts: HashMap<TxId, &Attempt> =
            self.history.attempts.iter().map(|attempt| (attempt.id, attempt)).collect();
        let mut shown = HashMap::new();
        for view in &self.history.views {
            let Context::Leader(reign) = view.context else { continue };
            for id in view.entries.iter().map(|entry| entry.id) {
                let possible = |attempt: &&&Attempt| self.fate(attempt, reign) != Fate::Absent;
                if attempts.get(&id).filter(possible).is_some() {
                    let first = shown.entry((id, reign)).or_insert(view.ended);
                    *first = view.ended.min(*first);
                }
            }
        }
        shown
    }

    /// From when on it is certain that a transaction is in the log of the reign that it ran in: acknowledged, or shown to
    /// others by a leader.
    pub fn known(&self, attempt: &Attempt) -> Option<Micros> {
        self.shown(attempt).into_iter().chain(attempt.acknowledged()).min()
    }

    /// When a leader first showed it to others.
    pub fn shown(&self, attempt: &Attempt) -> Option<Micros> {
        let reigns = (0..self.history.reigns.len()).map(ReignId);
        reigns.filter_map(|reign| self.shown.get(&(attempt.id, reign)).copied()).min()
    }

    /// The reign that `reign` goes on from.
    pub fn parent(&self, reign: ReignId) -> Option<ReignId> {
        match self.history.reigns[reign.0].origin {
            Origin::Founded => None,
            Origin::Restarted { of } | Origin::Promoted { of, .. } | Origin::OlderCopy { of, .. } => Some(of),
        }
    }

    /// Whether `ancestor` is `reign` or on its path.
    pub fn descends(&self, reign: ReignId, ancestor: ReignId) -> bool {
        let mut at = Some(reign);
        while let Some(reign) = at {
            if reign == ancestor {
                return true;
            }
            at = self.parent(reign);
        }
        false
    }

    /// What has to be so of `attempt` on the leader of `heir`.
    pub fn fate(&self, attempt: &Attempt, heir: ReignId) -> Fate {
        if !self.descends(heir, attempt.reign) || attempt.outcome == Outcome::Refused {
            return Fate::Absent;
        }
        let (mut kept, mut at) = (true, heir);
        loop {
            let acknowledged = at == attempt.reign && attempt.acknowledged().is_some();
            if kept && (acknowledged || self.shown.contains_key(&(attempt.id, at))) {
                return Fate::Present;
            }
            if at == attempt.reign {
                return Fate::Either;
            }
            match self.step(attempt, at) {
                Fate::Absent => return Fate::Absent,
                Fate::Either => kept = false,
                Fate::Present => {}
            }
            at = self.parent(at).expect("it descends from it");
        }
    }

    /// What the step into `reign` does to a transaction that was in the log before.
    fn step(&self, attempt: &Attempt, reign: ReignId) -> Fate {
        let before = |limit| match attempt.outcome {
            Outcome::Acknowledged { ceiling: Some(ceiling), .. } => ceiling <= limit,
            _ => false,
        };
        let past = |limit| attempt.floor.is_some_and(|floor| floor >= limit);
        match self.history.reigns[reign.0].origin {
            Origin::Founded => unreachable!("nothing is before it"),
            Origin::Restarted { of } if attempt.reign == of && attempt.level == Level::Off => {
                // What others have seen was flushed.
                if self.shown.contains_key(&(attempt.id, of)) { Fate::Present } else { Fate::Either }
            }
            Origin::Restarted { .. } => Fate::Present,
            Origin::OlderCopy { end: limit, .. } | Origin::Promoted { fork: limit, .. } if before(limit) => {
                Fate::Present
            }
            Origin::OlderCopy { end: limit, .. } | Origin::Promoted { fork: limit, .. } if past(limit) => {
                Fate::Absent
            }
            Origin::Promoted { of, complete: true, .. } if self.is_confirmed(attempt, of) => Fate::Present,
            Origin::OlderCopy { .. } | Origin::Promoted { .. } => Fate::Either,
        }
    }

    /// Whether a transaction was confirmed by the followers of the leader of `reign`, in that reign or before one of the
    /// restarts that it began with.
    fn is_confirmed(&self, attempt: &Attempt, reign: ReignId) -> bool {
        let line = self.line(reign);
        if line.contains(&attempt.reign) {
            let quorum = self.history.reigns[reign.0].quorum > 0;
            let shown = |&reign: &ReignId| self.shown.contains_key(&(attempt.id, reign));
            return self.waited_for_followers(attempt) || quorum && line.iter().any(shown);
        }
        // It is older than all of this leader's own: confirmed with the first of them that was.
        line.iter().any(|reign| self.confirmed.contains(reign))
    }

    /// A reign and those before it of the same leader and directory, restarts between them.
    fn line(&self, reign: ReignId) -> Vec<ReignId> {
        let mut line = vec![reign];
        while let Origin::Restarted { of } = self.history.reigns[line[line.len() - 1].0].origin {
            line.push(of);
        }
        line
    }

    fn waited_for_followers(&self, attempt: &Attempt) -> bool {
        attempt.level >= Level::On
            && attempt.acknowledged().is_some()
            && self.history.reigns[attempt.reign.0].quorum > 0
    }
}
