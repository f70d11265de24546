//! What a power cut can leave: every combination of the changes that no sync covered.

use std::collections::BTreeMap;

use super::SimDisk;
use super::tree::{InodeId, Op, Tree};

const SECTOR: u64 = 512;

/// How many of the possible states to look at.
#[derive(Clone, Copy, Debug)]
pub struct CrashChoices {
    /// If there are at most this many states, all of them are given, in order and once each.
    pub exhaustive_up_to: u64,
    /// Otherwise: everything lost, everything kept, each beginning of the log, each change alone, everything but one
    /// change, and this many states picked at random.
    pub samples: u64,
    /// Where the random picks start; the same seed gives the same states.
    pub seed: u64,
}

impl Default for CrashChoices {
    fn default() -> Self {
        Self { exhaustive_up_to: 512, samples: 64, seed: 1 }
    }
}

/// The disks that a cut after all of `log` could have left, one after the other. Those passed over are not built.
pub(super) struct States {
    /// What all of them have in common: everything up to the first operation that may be missing.
    common: Tree,
    /// The operations after that.
    rest: Vec<Op>,
    /// Where in `rest` those are that may be missing or torn.
    pending: Vec<usize>,
    selections: Box<dyn Iterator<Item = Vec<u64>>>,
}

impl States {
    pub(super) fn new(base: Tree, mut log: Vec<Op>, choices: CrashChoices) -> Self {
        let pending: Vec<(usize, u64)> = undecided(&log)
            .into_iter()
            .filter_map(|at| log.get(at).map(|op| (at, outcomes(op))))
            .filter(|&(_, outcomes)| outcomes > 1)
            .collect();
        let first = pending.first().map_or(log.len(), |&(at, _)| at);
        let rest = log.split_off(first);
        let mut common = base;
        log.iter().for_each(|op| common.apply(op));
        let radices: Vec<u64> = pending.iter().map(|&(_, outcomes)| outcomes).collect();
        let pending = pending.iter().map(|&(at, _)| at - first).collect();
        Self { common, rest, pending, selections: selections(&radices, choices) }
    }

    /// The disk with these outcomes of what is pending.
    fn state(&self, selection: Vec<u64>) -> SimDisk {
        let mut chosen = self.pending.iter().zip(selection).peekable();
        let mut tree = self.common.clone();
        for (at, op) in self.rest.iter().enumerate() {
            match chosen.next_if(|&(&pending, _)| pending == at) {
                Some((_, outcome)) => apply_outcome(&mut tree, op, outcome),
                None => tree.apply(op),
            }
        }
        SimDisk::from_tree(tree)
    }
}

impl Iterator for States {
    type Item = SimDisk;

    fn next(&mut self) -> Option<SimDisk> {
        let selection = self.selections.next()?;
        Some(self.state(selection))
    }

    fn nth(&mut self, n: usize) -> Option<SimDisk> {
        let selection = self.selections.nth(n)?;
        Some(self.state(selection))
    }

    fn count(self) -> usize {
        self.selections.count()
    }
}

/// Where in the log the operations are that no sync covers, or a failed one covers first.
fn undecided(log: &[Op]) -> Vec<usize> {
    // Going backwards: whether the next sync of each file or directory succeeds.
    let mut next_sync: BTreeMap<InodeId, bool> = BTreeMap::new();
    let mut undecided = Vec::new();
    for (at, op) in log.iter().enumerate().rev() {
        let synced = |inode: &InodeId| next_sync.get(inode) == Some(&true);
        let durable = match op {
            Op::Sync { inode, failed } => {
                next_sync.insert(*inode, !failed);
                true
            }
            Op::Create { .. } => true, // without a name an inode is out of sight
            Op::Claim { .. } => true,  // which changes nothing that can be read
            Op::Link { dir, .. } | Op::Unlink { dir, .. } => synced(dir),
            Op::Rename { from_dir, to_dir, .. } => synced(from_dir) && synced(to_dir),
            Op::Write { inode, .. } | Op::SetLen { inode, .. } | Op::Allocate { inode, .. } => synced(inode),
        };
        if !durable {
            undecided.push(at);
        }
    }
    undecided.reverse();
    undecided
}

/// In how many ways an unsynced operation can come out: 0 is lost, 1 is whole, the others are torn writes.
fn outcomes(op: &Op) -> u64 {
    match op {
        Op::Write { offset, bytes, .. } => 2 + 2 * (sectors(*offset, bytes.len()) - 1),
        Op::Create { .. } | Op::Sync { .. } => 1,
        _ => 2,
    }
}

fn sectors(offset: u64, len: usize) -> u64 {
    ((offset + len as u64).div_ceil(SECTOR) - offset / SECTOR).max(1)
}

fn apply_outcome(tree: &mut Tree, op: &Op, outcome: u64) {
    match (op, outcome) {
        (_, 0) => {}
        (_, 1) => tree.apply(op),
        (Op::Write { inode, offset, bytes }, torn) => {
            // 2, 3, 4, 5, ...: the first sector alone, all but the first, the first two, all but the first two, ...
            let kept_sectors = torn / 2;
            let cut = (((offset / SECTOR + kept_sectors) * SECTOR - offset) as usize).min(bytes.len());
            let (head, tail) = bytes.split_at(cut);
            if torn % 2 == 0 {
                tree.write(*inode, *offset, head);
            } else {
                tree.write(*inode, offset + cut as u64, tail);
            }
        }
        _ => {}
    }
}

/// The outcome of each pending operation, once a state.
fn selections(radices: &[u64], choices: CrashChoices) -> Box<dyn Iterator<Item = Vec<u64>>> {
    let total = radices.iter().try_fold(1u64, |product, &radix| product.checked_mul(radix));
    let radices = radices.to_vec();
    if let Some(total) = total.filter(|&total| total <= choices.exhaustive_up_to) {
        return Box::new((0..total).map(move |mut number| {
            let digit = |&radix: &u64| {
                let digit = number % radix;
                number /= radix;
                digit
            };
            radices.iter().map(digit).collect()
        }));
    }
    let count = radices.len();
    let pattern =
        move |kept: &dyn Fn(usize) -> bool| (0..count).map(|at| u64::from(kept(at))).collect::<Vec<_>>();
    let beginnings = (0..=count).map(move |end| pattern(&|at| at < end));
    let alone = (0..count).map(move |one| pattern(&|at| at == one));
    let all_but = (0..count).map(move |one| pattern(&|at| at != one));
    let mut random = choices.seed;
    let picked = (0..choices.samples)
        .map(move |_| radices.iter().map(|&radix| next_random(&mut random) % radix).collect::<Vec<_>>());
    Box::new(beginnings.chain(alone).chain(all_but).chain(picked))
}

/// SplitMix64 (Steele, Lea, Flood: "Fast Splittable Pseudorandom Number Generators", 2014).
fn next_random(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let mut mixed = *state;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    mixed ^ (mixed >> 31)
}
