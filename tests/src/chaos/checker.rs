//! Judges a run: what was read has to be what the rules allow after what was tried.
//!
//! Of each view:
//! - **whole**: balances, registers and rows are those of the transactions that it shows, so none is there by half, or twice;
//! - **known**: each of these was tried by a client, with that content, and not refused;
//! - **a beginning of a log**: what was acknowledged, or shown by a leader, before a transaction began comes before it in the log, so where the
//!   later one is the earlier one is too;
//! - **of its lineage**: nothing that the lineage of the leader discarded is shown by that leader, or by who says that it follows it;
//! - **complete**, on a leader: everything that was acknowledged before, as far as the lineage kept it; in the last view,
//!   on every node.
//!
//! Of views of the same directory one after the other: nothing vanishes, but what the lineage discarded, with a restart. And nothing is acknowledged while nobody could
//! have confirmed it.

use std::collections::{HashMap, HashSet};
use std::fmt;

use super::history::{Attempt, Context, Entry, History, Level, Outcome, ReignId, TxId, View};
use super::lineage::{Fate, Lineage};

/// Something that must not be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Which of the rules above.
    pub rule: Rule,
    /// What was seen.
    pub what: String,
}

/// The rules, by what breaks them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rule {
    /// A transaction is there by half, or twice.
    NotWhole,
    /// What is there was never tried, or refused, or is something else than what was tried.
    NotTried,
    /// A later transaction is there and an earlier one is not.
    Gap,
    /// It is there, and the lineage discarded it.
    Discarded,
    /// It was acknowledged, and is gone.
    Lost,
    /// It was there, and is not any more.
    Vanished,
    /// It was acknowledged when nobody could have confirmed it.
    Unconfirmed,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.rule, self.what)
    }
}

/// Everything in that run that must not be; of each rule and view the first few.
pub fn check(history: &History) -> Vec<Violation> {
    let checker = Checker::new(history);
    let mut found = checker.silences();
    for view in &history.views {
        found.extend(checker.view(view));
    }
    found.extend(checker.vanished());
    found
}

struct Checker<'a> {
    history: &'a History,
    lineage: Lineage<'a>,
    attempts: HashMap<TxId, &'a Attempt>,
}

impl<'a> Checker<'a> {
    fn new(history: &'a History) -> Self {
        let attempts = history.attempts.iter().map(|attempt| (attempt.id, attempt)).collect();
        Self { history, lineage: Lineage::new(history), attempts }
    }

    fn view(&self, view: &View) -> Vec<Violation> {
        let shown: HashSet<TxId> = view.entries.iter().map(|entry| entry.id).collect();
        let mut found = self.whole(view, shown.len());
        found.extend(self.known(view));
        found.extend(self.gaps(&shown));
        found.extend(self.lineage(view));
        found.extend(self.complete(view, &shown));
        let place = match view.context {
            Context::Leader(reign) => format!("the leader of reign {}", reign.0),
            Context::Follower(reign) => format!("a follower of reign {}", reign.0),
            Context::Unknown => "a standby".to_owned(),
        };
        let at = view.begun as f64 / 1e6;
        for violation in &mut found {
            violation.what = format!("{} (on node {} as {place}, at {at:.3} s)", violation.what, view.node.0);
        }
        found
    }

    /// Balances, registers and rows are those of the transactions.
    fn whole(&self, view: &View, distinct: usize) -> Vec<Violation> {
        let mut wrong = Vec::new();
        if distinct != view.entries.len() {
            wrong.push(format!("{} transactions are there twice", view.entries.len() - distinct));
        }
        let mut balances: HashMap<u32, i64> = HashMap::new();
        let mut registers: HashMap<u32, (u32, u32)> = HashMap::new();
        for Entry { id, work, .. } in &view.entries {
            *balances.entry(work.source).or_default() -= work.amount;
            *balances.entry(work.target).or_default() += work.amount;
            let (latest, count) = registers.entry(id.client).or_default();
            (*latest, *count) = ((*latest).max(id.number), *count + 1);
            let parts = view.parts.get(id).copied().unwrap_or(0);
            if parts != work.parts {
                wrong.push(format!("{id:?} has {parts} rows of {}", work.parts));
            }
        }
        for &(account, balance) in &view.accounts {
            let due = self.history.initial_balance + balances.get(&account).copied().unwrap_or(0);
            if balance != due {
                wrong.push(format!("account {account} has {balance}, and by its transactions {due}"));
            }
        }
        for &(client, latest, count) in &view.registers {
            let due = registers.get(&client).copied().unwrap_or((0, 0));
            if (latest, count) != due {
                wrong.push(format!(
                    "client {client} has register {:?}, and by its transactions {due:?}",
                    (latest, count)
                ));
            }
        }
        some_of(Rule::NotWhole, wrong)
    }

    fn known(&self, view: &View) -> Vec<Violation> {
        let wrong = view.entries.iter().filter_map(|entry| match self.attempts.get(&entry.id) {
            None => Some(format!("{:?} was never tried", entry.id)),
            Some(attempt) if attempt.outcome == Outcome::Refused => {
                Some(format!("{:?} was refused", entry.id))
            }
            Some(attempt) if (attempt.work, attempt.reign) != (entry.work, entry.reign) => {
                Some(format!("{:?} was {:?} and is {:?}", entry.id, attempt.work, entry.work))
            }
            Some(_) => None,
        });
        some_of(Rule::NotTried, wrong.collect())
    }

    /// Where a transaction is, what was acknowledged before it began is, too.
    fn gaps(&self, shown: &HashSet<TxId>) -> Vec<Violation> {
        let mut latest: HashMap<ReignId, &Attempt> = HashMap::new();
        for attempt in shown.iter().filter_map(|id| self.attempts.get(id)) {
            let known = latest.entry(attempt.reign).or_insert(attempt);
            if attempt.begun > known.begun {
                *known = attempt;
            }
        }
        let missing = self.history.attempts.iter().filter(|attempt| !shown.contains(&attempt.id));
        let wrong = missing.filter_map(|attempt| {
            let at = self.lineage.known(attempt)?;
            let later = latest.values().find(|later| {
                let same = later.reign == attempt.reign && at < later.begun;
                same || later.reign != attempt.reign
                    && self.lineage.fate(attempt, later.reign) == Fate::Present
            })?;
            Some(format!(
                "{:?} of reign {} is there, and {:?} of reign {}, acknowledged before, is not",
                later.id, later.reign.0, attempt.id, attempt.reign.0
            ))
        });
        some_of(Rule::Gap, wrong.collect())
    }

    fn lineage(&self, view: &View) -> Vec<Violation> {
        let (Context::Leader(reign) | Context::Follower(reign)) = view.context else { return Vec::new() };
        let shown = view.entries.iter().filter_map(|entry| self.attempts.get(&entry.id));
        let wrong = shown.filter(|attempt| self.lineage.fate(attempt, reign) == Fate::Absent);
        let wrong = wrong.map(|attempt| {
            format!("{:?} of reign {} is there, which reign {} has not", attempt.id, attempt.reign.0, reign.0)
        });
        some_of(Rule::Discarded, wrong.collect())
    }

    fn complete(&self, view: &View, shown: &HashSet<TxId>) -> Vec<Violation> {
        let reign = match view.context {
            Context::Leader(reign) => reign,
            Context::Follower(reign) if view.last => reign,
            _ => return Vec::new(),
        };
        let missing = self.history.attempts.iter().filter(|attempt| !shown.contains(&attempt.id));
        let wrong = missing.filter(|attempt| {
            let visible = view.last || self.is_visible(attempt, reign);
            let since = if visible { self.lineage.known(attempt) } else { self.lineage.shown(attempt) };
            since.is_some_and(|at| at < view.begun) && self.lineage.fate(attempt, reign) == Fate::Present
        });
        let wrong = wrong.map(|attempt| {
            let Attempt { id, reign, level, floor, outcome, .. } = attempt;
            format!(
                "{id:?} of reign {} ({level:?}, past {}, {outcome:?}) is gone",
                reign.0,
                floor.unwrap_or_default()
            )
        });
        some_of(Rule::Lost, wrong.collect())
    }

    /// Whether others see a transaction of the reign, or one before it, once its client was told.
    fn is_visible(&self, attempt: &Attempt, reign: ReignId) -> bool {
        match attempt.level {
            Level::Off => false,
            Level::Local => attempt.reign != reign || self.history.reigns[reign.0].quorum == 0,
            Level::On | Level::RemoteApply => true,
        }
    }

    /// What a directory showed it shows ever after.
    fn vanished(&self) -> Vec<Violation> {
        let mut views: Vec<&View> = self.history.views.iter().collect();
        views.sort_by_key(|view| (view.node, view.generation, view.begun));
        let mut wrong = Vec::new();
        for two in views.windows(2) {
            let [earlier, later] = two else { continue };
            let same = (earlier.node, earlier.generation) == (later.node, later.generation);
            if !same || earlier.ended > later.begun {
                continue;
            }
            let shown: HashSet<TxId> = later.entries.iter().map(|entry| entry.id).collect();
            let gone =
                |entry: &&Entry| !shown.contains(&entry.id) && !self.may_vanish(entry.id, earlier, later);
            let gone = earlier.entries.iter().find(gone);
            wrong.extend(gone.map(|gone| {
                let (was, is) = (earlier.begun as f64 / 1e6, later.begun as f64 / 1e6);
                format!("{:?} was on node {} at {was:.3} s, and is not at {is:.3} s", gone.id, later.node.0)
            }));
        }
        some_of(Rule::Vanished, wrong)
    }

    /// What was in memory alone, and discarded, is not there any more when a server is started again. A commit whose LSN is
    /// not known so exactly that it is certain on which side of the fork it lies may have been discarded.
    fn may_vanish(&self, id: TxId, earlier: &View, later: &View) -> bool {
        let Some(attempt) = self.attempts.get(&id).filter(|_| earlier.life != later.life) else {
            return false;
        };
        let discarded = |reign| match self.lineage.fate(attempt, reign) {
            Fate::Absent => true,
            Fate::Either => reign != attempt.reign,
            Fate::Present => false,
        };
        match later.context {
            Context::Leader(reign) | Context::Follower(reign) => discarded(reign),
            Context::Unknown => (0..self.history.reigns.len()).map(ReignId).any(discarded),
        }
    }

    fn silences(&self) -> Vec<Violation> {
        let mut wrong = Vec::new();
        for silence in &self.history.silences {
            let within = |attempt: &&Attempt| {
                let told = attempt.acknowledged().is_some_and(|at| at <= silence.until);
                told && attempt.level >= Level::On
                    && attempt.reign == silence.reign
                    && attempt.begun >= silence.from
            };
            let broken: Vec<&Attempt> = self.history.attempts.iter().filter(within).collect();
            if let Some(first) = broken.first() {
                wrong.push(format!(
                    "{} transactions of reign {}, {:?} the first, while {}",
                    broken.len(),
                    silence.reign.0,
                    first.id,
                    silence.because
                ));
            }
        }
        some_of(Rule::Unconfirmed, wrong)
    }
}

/// The first few, and how many more there are.
fn some_of(rule: Rule, wrong: Vec<String>) -> Vec<Violation> {
    const FEW: usize = 3;
    let more = wrong.len().saturating_sub(FEW);
    let mut some: Vec<Violation> = wrong.into_iter().take(FEW).map(|what| Violation { rule, what }).collect();
    if let (1.., Some(last)) = (more, some.last_mut()) {
        last.what = format!("{}, and {more} more", last.what);
    }
    some
}

#[cfg(test)]
mod tests;
