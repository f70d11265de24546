//! What is done in a run, drawn from its seed alone: the settings, the clients, and one episode after the other.

use std::fmt;

use crate::random::Random;

/// Which process a fault hits, by its role at that moment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Who {
    /// The leader.
    Leader,
    /// One of the two standbys.
    Standby(usize),
    /// The witness.
    Witness,
}

/// What a client does how often, in percent.
#[derive(Clone, Copy, Debug)]
pub struct Mix {
    /// Transactions that wait for nothing.
    pub off: u64,
    /// Transactions that wait for the leader's disk alone.
    pub local: u64,
    /// Transactions of many rows.
    pub large: u64,
}

/// One fault, and what it takes to be over it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Episode {
    /// SIGKILL; started again after so many milliseconds.
    Kill(Who, u64),
    /// SIGTERM, which has to end it in good order; started again after so many milliseconds.
    Restart(Who, u64),
    /// SIGSTOP for so many milliseconds.
    Freeze(Who, u64),
    /// The connection to the leader (for `Leader`: of its clients) is cut again and again for so many milliseconds, or stalled.
    Cut(Who, u64, bool),
    /// SIGKILL to everybody at once; the leader is started first, or last.
    KillAll(bool),
    /// A checkpoint, or restart point.
    Checkpoint(Who),
    /// The leader goes, and a standby is promoted once it has what the others have.
    Failover {
        /// Which of the two.
        successor: usize,
        /// Whether the leader is stopped in order before.
        orderly: bool,
        /// What happens to another one meanwhile.
        side: Option<Who>,
        /// How many milliseconds into the promotion the standby is killed; it is started and asked again.
        interrupted: Option<u64>,
        /// How often those are started again that cannot follow.
        restarts: u64,
    },
    /// The leader goes, and a standby is promoted that was cut off for so many milliseconds before.
    LessAdvanced {
        /// Which of the two.
        successor: usize,
        /// For how long it was cut off.
        behind: u64,
        /// Whether the others make a restart point past the fork.
        restart_point: bool,
        /// How often those who cannot follow are started again.
        restarts: u64,
    },
    /// The leader's directory is replaced by an older copy, which runs for so many milliseconds until that is noticed.
    OlderLeader(u64),
    /// A standby's directory is replaced by a copy that is so many milliseconds older.
    OlderStandby(usize, u64),
}

/// Everything that a seed decides.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The seed.
    pub seed: u64,
    /// How many followers commits wait for; 0: none.
    pub quorum: usize,
    /// `ANY` instead of `FIRST`.
    pub any: bool,
    /// Whether the witness is among those waited for.
    pub witness_counts: bool,
    /// Whether followers have slots; if not, the leader keeps all WAL.
    pub slots: bool,
    /// Further settings of all servers.
    pub settings: Vec<(&'static str, String)>,
    /// How many clients write.
    pub clients: u32,
    /// What they do.
    pub mix: Mix,
    /// The faults, in order.
    pub episodes: Vec<Episode>,
}

impl Plan {
    /// The plan of a seed.
    pub fn of(seed: u64) -> Self {
        let mut random = Random::seeded(seed);
        let draw = &mut random;
        let witness_counts = one_in(draw, 2);
        let members = if witness_counts { 3 } else { 2 };
        let quorum = if one_in(draw, 5) { 0 } else { 1 + draw.below(members) as usize };
        let settings = vec![
            ("shared_buffers", format!("{}MB", pick(draw, &[4, 8, 16]))),
            ("max_wal_size", format!("{}MB", pick(draw, &[4, 8, 64]))),
            ("wal_compression", pick(draw, &["lz4", "off"]).to_string()),
        ];
        let mix = Mix { off: draw.below(10), local: draw.below(30), large: draw.below(6) };
        Self {
            seed,
            quorum,
            any: one_in(draw, 2),
            witness_counts,
            slots: one_in(draw, 2),
            settings,
            clients: 2 + draw.below(4) as u32,
            mix,
            episodes: episodes(draw),
        }
    }
}

fn one_in(draw: &mut Random, many: u64) -> bool {
    draw.below(many) == 0
}

fn pick<T: Copy>(draw: &mut Random, of: &[T]) -> T {
    of[draw.below(of.len() as u64) as usize]
}

/// Three large ones, and small ones before, between and after.
fn episodes(draw: &mut Random) -> Vec<Episode> {
    let mut episodes = vec![small(draw)];
    for _ in 0..3 {
        episodes.push(large(draw));
        for _ in 0..draw.below(3) {
            episodes.push(small(draw));
        }
    }
    episodes
}

fn anybody(draw: &mut Random) -> Who {
    pick(draw, &[Who::Leader, Who::Standby(0), Who::Standby(1), Who::Witness])
}

fn small(draw: &mut Random) -> Episode {
    let who = anybody(draw);
    match draw.below(12) {
        0..=2 => Episode::Kill(who, draw.below(400)),
        3..=4 => Episode::Restart(who, draw.below(400)),
        5..=6 => Episode::Freeze(who, 200 + draw.below(1500)),
        7..=9 => Episode::Cut(who, 100 + draw.below(1200), one_in(draw, 2)),
        10 => Episode::KillAll(one_in(draw, 2)),
        _ => Episode::Checkpoint(who),
    }
}

fn large(draw: &mut Random) -> Episode {
    match draw.below(10) {
        0..=3 => {
            let successor = draw.below(2) as usize;
            let others = [Who::Standby(1 - successor), Who::Witness];
            Episode::Failover {
                successor,
                orderly: one_in(draw, 4),
                side: one_in(draw, 3).then(|| pick(draw, &others)),
                interrupted: one_in(draw, 4).then(|| draw.below(80)),
                restarts: draw.below(2),
            }
        }
        4..=6 => Episode::LessAdvanced {
            successor: draw.below(2) as usize,
            behind: 150 + draw.below(800),
            restart_point: one_in(draw, 2),
            restarts: draw.below(3),
        },
        7..=8 => Episode::OlderLeader(800 + draw.below(1200)),
        _ => Episode::OlderStandby(draw.below(2) as usize, 200 + draw.below(800)),
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { seed, quorum, any, witness_counts, slots, settings, clients, mix, episodes } = self;
        let counts = if *witness_counts { "standbys and witness" } else { "standbys" };
        let waits = match (*quorum, *any) {
            (0, _) => "nobody".to_owned(),
            (_, true) => format!("ANY {quorum} of the {counts}"),
            (_, false) => format!("FIRST {quorum} of the {counts}"),
        };
        writeln!(f, "seed {seed}: commits wait for {waits}; slots: {slots}")?;
        let settings: Vec<String> =
            settings.iter().map(|(name, value)| format!("{name} = {value}")).collect();
        writeln!(f, "  {}; {clients} clients, {mix:?}", settings.join(", "))?;
        for (number, episode) in episodes.iter().enumerate() {
            writeln!(f, "  {}. {episode:?}", number + 1)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_decides_everything_and_seeds_differ() {
        let text = |seed| Plan::of(seed).to_string();
        assert_eq!(text(7), text(7));
        let different: std::collections::HashSet<String> =
            (0..50).map(|seed| format!("{:?}", Plan::of(seed).episodes)).collect();
        assert!(different.len() > 45, "{}", different.len());
    }

    #[test]
    fn every_kind_of_episode_is_drawn() {
        let names: std::collections::HashSet<String> = (0..200)
            .flat_map(|seed| Plan::of(seed).episodes)
            .map(|episode| format!("{episode:?}").split(['(', ' ']).next().unwrap().to_owned())
            .collect();
        assert_eq!(names.len(), 10, "{names:?}");
    }
}
