//! `synchronous_standby_names`: which followers commits wait for. Source: `replication/syncrep.c`.

mod parse;

use replication::waldir::{Follower, FollowerState};
use wal::Lsn;

pub use parse::NamesError;

/// Which position of a follower counts. Ascending: a later one is more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Acknowledgement {
    /// Handed to its file system (`remote_write`).
    Written,
    /// Durable there (`on`).
    Durable,
    /// Visible there (`remote_apply`).
    Applied,
}

impl Acknowledgement {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Written, Self::Durable, Self::Applied];

    fn of(self, follower: &Follower) -> Lsn {
        match self {
            // A stream that begins again at a segment's start writes anew what is durable long since.
            Self::Written => follower.write.max(follower.flush),
            Self::Durable => follower.flush,
            Self::Applied => follower.apply,
        }
    }
}

/// How many of the named followers, and which of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// Those named first among the ones that are there.
    First,
    /// Any.
    Any,
}

/// The list of followers that commits wait for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SynchronousNames {
    method: Method,
    /// How many must have acknowledged.
    count: usize,
    /// `*` stands for every name.
    names: Vec<String>,
}

/// What a follower counts for (`pg_stat_replication`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    /// Its place in the list, from 1; 0 if it is not in it.
    pub priority: u32,
    /// `async`, `potential`, `sync` or `quorum`.
    pub state: &'static str,
}

impl Standing {
    /// Not in the list.
    pub const ASYNCHRONOUS: Self = Self { priority: 0, state: "async" };
}

impl SynchronousNames {
    /// The place in the list of a follower of this name, from 1; 0 if it has none.
    fn priority(&self, application_name: &str) -> u32 {
        let found =
            self.names.iter().position(|name| name == "*" || name.eq_ignore_ascii_case(application_name));
        found.map_or(0, |place| u32::try_from(place + 1).unwrap_or(u32::MAX))
    }

    /// The followers that may be counted, by priority, with their places among `followers`. Of those with the same
    /// priority the one that came first goes first.
    fn candidates(&self, followers: &[Follower]) -> Vec<(u32, usize)> {
        let mut candidates: Vec<(u32, usize)> = (followers.iter().enumerate())
            .filter(|(_, follower)| counts(follower))
            .map(|(place, follower)| (self.priority(&follower.application_name), place))
            .filter(|&(priority, _)| priority > 0)
            .collect();
        candidates.sort_by_key(|&(priority, place)| {
            (
                priority,
                followers.get(place).and_then(|follower| follower.connected_at.map(|at| at.as_u64())),
                place,
            )
        });
        candidates
    }

    /// Up to where enough of the named followers have acknowledged; `None` if too few of them are there.
    pub fn acknowledged(&self, followers: &[Follower], what: Acknowledgement) -> Option<Lsn> {
        let candidates = self.candidates(followers);
        let position = |&(_, place): &(u32, usize)| followers.get(place).map(|follower| what.of(follower));
        let mut positions: Vec<Lsn> = match self.method {
            Method::First => candidates.iter().take(self.count).filter_map(position).collect(),
            Method::Any => candidates.iter().filter_map(position).collect(),
        };
        positions.sort_unstable_by(|one, other| other.cmp(one));
        positions.get(self.count - 1).copied()
    }

    /// What each of `followers` counts for, in their order.
    pub fn standings(&self, followers: &[Follower]) -> Vec<Standing> {
        let candidates = self.candidates(followers);
        let chosen = |place| candidates.iter().take(self.count).any(|&(_, candidate)| candidate == place);
        let standing = |(place, follower): (usize, &Follower)| {
            let priority = self.priority(&follower.application_name);
            let is_candidate = candidates.iter().any(|&(_, candidate)| candidate == place);
            let state = match self.method {
                _ if priority == 0 => "async",
                Method::Any => "quorum",
                Method::First if is_candidate && chosen(place) => "sync",
                Method::First => "potential",
            };
            // Of a quorum all are equal.
            Standing { priority: if self.method == Method::Any { priority.min(1) } else { priority }, state }
        };
        followers.iter().enumerate().map(standing).collect()
    }
}

/// Whether a follower has caught up once and says what is durable with it.
fn counts(follower: &Follower) -> bool {
    matches!(follower.state, FollowerState::Streaming | FollowerState::Stopping) && follower.flush.is_valid()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn follower(name: &str, position: u64, state: FollowerState) -> Follower {
        let mut follower = Follower::new(name, "[local]", "");
        follower.state = state;
        follower.flush = Lsn::new(position);
        follower.write = Lsn::new(position + 5);
        follower
    }

    fn streaming(name: &str, position: u64) -> Follower {
        follower(name, position, FollowerState::Streaming)
    }

    fn names(text: &str) -> SynchronousNames {
        SynchronousNames::parse(text).unwrap().unwrap()
    }

    #[test]
    fn the_first_that_are_there_decide_and_the_next_replaces_one_that_is_lost() {
        let list = names("FIRST 2 (a, b, c)");
        let durable = Acknowledgement::Durable;
        let mut followers = vec![streaming("c", 30), streaming("a", 10), streaming("b", 20)];
        assert_eq!(list.acknowledged(&followers, durable), Some(Lsn::new(10)));
        assert_eq!(list.acknowledged(&followers, Acknowledgement::Written), Some(Lsn::new(15)));
        let states: Vec<_> = list.standings(&followers).iter().map(|one| (one.priority, one.state)).collect();
        assert_eq!(states, [(3, "potential"), (1, "sync"), (2, "sync")]);
        followers.remove(1);
        assert_eq!(list.acknowledged(&followers, durable), Some(Lsn::new(20)));
        followers.remove(0);
        assert_eq!(list.acknowledged(&followers, durable), None, "one is not enough");
    }

    #[test]
    fn any_of_a_quorum_will_do() {
        let list = names("ANY 2 (a, b, c)");
        let mut followers =
            vec![streaming("a", 10), streaming("B", 20), streaming("c", 30), streaming("d", 40)];
        assert_eq!(list.acknowledged(&followers, Acknowledgement::Durable), Some(Lsn::new(20)));
        let states: Vec<_> = list.standings(&followers).iter().map(|one| one.state).collect();
        assert_eq!(states, ["quorum", "quorum", "quorum", "async"]);
        followers[2].state = FollowerState::Catchup;
        assert_eq!(list.acknowledged(&followers, Acknowledgement::Durable), Some(Lsn::new(10)));
    }

    #[test]
    fn who_acknowledges_nothing_does_not_count() {
        let list = names("*");
        assert_eq!(list.acknowledged(&[streaming("pg_receivewal", 0)], Acknowledgement::Durable), None);
        let two = [streaming("pg_receivewal", 0), streaming("any name", 7)];
        assert_eq!(list.acknowledged(&two, Acknowledgement::Durable), Some(Lsn::new(7)));
    }
}
