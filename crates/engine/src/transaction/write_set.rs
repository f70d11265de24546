//! What a transaction has written and nobody else sees yet.

use std::collections::BTreeMap;
use std::ops::Bound;

use crate::{EngineError, TreeId};

/// The writes to one tree by key; `None` is a deletion.
pub(crate) type TreeWrites = BTreeMap<Box<[u8]>, Option<Box<[u8]>>>;

/// What an entry costs beside its bytes, roughly: its place in the map and the headers of two allocations.
const ENTRY_OVERHEAD: u64 = 72;

/// The writes of a transaction, with what undoes them down to each savepoint.
///
/// `size` counts keys, values and their overhead, undo included, and never passes `limit`.
#[derive(Debug)]
pub(crate) struct WriteSet {
    trees: Vec<(TreeId, TreeWrites)>,
    /// What undoes the writes since the first savepoint, latest last. Empty while there is no savepoint.
    undo: Vec<Undo>,
    recording: bool,
    size: u64,
    limit: u64,
}

#[derive(Debug)]
struct Undo {
    tree: TreeId,
    key: Box<[u8]>,
    /// The entry before: `None` if there was none.
    before: Option<Option<Box<[u8]>>>,
}

impl WriteSet {
    /// Nothing written yet; at most `limit` bytes.
    pub(crate) fn new(limit: u64) -> Self {
        Self { trees: Vec::new(), undo: Vec::new(), recording: false, size: 0, limit }
    }

    /// Whether nothing was written.
    pub(crate) fn is_empty(&self) -> bool {
        self.trees.iter().all(|(_, writes)| writes.is_empty())
    }

    /// What it takes of the limit, in bytes.
    pub(crate) fn size(&self) -> u64 {
        self.size
    }

    /// The writes, tree by tree in the order in which they were first written to.
    pub(crate) fn trees(&self) -> impl Iterator<Item = (TreeId, &TreeWrites)> {
        self.trees.iter().map(|(tree, writes)| (*tree, writes))
    }

    /// Takes the writes out.
    pub(crate) fn take_trees(&mut self) -> Vec<(TreeId, TreeWrites)> {
        std::mem::take(&mut self.trees)
    }

    /// What was written under `key`: `Some(None)` if it was deleted, `None` if it was not touched.
    pub(crate) fn get(&self, tree: TreeId, key: &[u8]) -> Option<Option<&[u8]>> {
        self.writes(tree)?.get(key).map(Option::as_deref)
    }

    /// The writes to `tree`, if any were made.
    pub(crate) fn writes(&self, tree: TreeId) -> Option<&TreeWrites> {
        self.trees.iter().find(|(other, _)| *other == tree).map(|(_, writes)| writes)
    }

    /// Writes `value` under `key`, or deletes it.
    pub(crate) fn set(&mut self, tree: TreeId, key: &[u8], value: Option<&[u8]>) -> Result<(), EngineError> {
        let cost = cost(key, value);
        let undo_cost = if self.recording { key.len() as u64 + ENTRY_OVERHEAD } else { 0 };
        if self.size + cost + undo_cost > self.limit {
            return Err(EngineError::TransactionTooLarge { limit: self.limit });
        }
        let value = value.map(Box::from);
        let at = self.place(tree);
        let Some((_, writes)) = self.trees.get_mut(at) else { return Ok(()) };
        let before = match writes.get_mut(key) {
            Some(entry) => Some(std::mem::replace(entry, value)),
            None => {
                writes.insert(Box::from(key), value);
                None
            }
        };
        self.size += cost;
        assert!(self.size <= self.limit, "a transaction takes no more than it may: {}", self.limit);
        if self.recording {
            // What was overwritten stays in memory, and counted, until the savepoint is gone.
            self.size += undo_cost;
            self.undo.push(Undo { tree, key: Box::from(key), before });
        } else if let Some(before) = before {
            give_back(&mut self.size, self::cost(key, before.as_deref()));
        }
        Ok(())
    }

    fn place(&mut self, tree: TreeId) -> usize {
        match self.trees.iter().position(|(other, _)| *other == tree) {
            Some(at) => at,
            None => {
                self.trees.push((tree, TreeWrites::new()));
                self.trees.len() - 1
            }
        }
    }

    /// From now on writes can be undone back to the mark returned.
    pub(crate) fn mark(&mut self) -> usize {
        self.recording = true;
        self.undo.len()
    }

    /// Forgets how to undo; what was written stays.
    pub(crate) fn forget_undo(&mut self) {
        self.recording = false;
        for undo in self.undo.drain(..) {
            give_back(&mut self.size, undo.key.len() as u64 + ENTRY_OVERHEAD);
            if let Some(before) = &undo.before {
                give_back(&mut self.size, cost(&undo.key, before.as_deref()));
            }
        }
    }

    /// Undoes what was written since `mark`.
    pub(crate) fn undo_to(&mut self, mark: usize) {
        assert!(
            mark <= self.undo.len(),
            "what was written before a mark can be undone as long as that is there"
        );
        for undo in self.undo.drain(mark..).rev() {
            give_back(&mut self.size, undo.key.len() as u64 + ENTRY_OVERHEAD);
            let Some((_, writes)) = self.trees.iter_mut().find(|(tree, _)| *tree == undo.tree) else {
                continue;
            };
            let undone = match undo.before {
                Some(before) => writes.insert(undo.key.clone(), before),
                None => writes.remove(&undo.key),
            };
            if let Some(undone) = undone {
                give_back(&mut self.size, cost(&undo.key, undone.as_deref()));
            }
        }
    }

    /// Forgets all writes to `tree`, which is going to be dropped. Not undone by savepoints.
    pub(crate) fn forget_tree(&mut self, tree: TreeId) {
        let Some(at) = self.trees.iter().position(|(other, _)| *other == tree) else { return };
        if self.recording {
            return;
        }
        let (_, writes) = self.trees.swap_remove(at);
        for (key, value) in &writes {
            give_back(&mut self.size, cost(key, value.as_deref()));
        }
    }
}

/// Takes what was counted from `size`, which would otherwise refuse all that comes.
fn give_back(size: &mut u64, bytes: u64) {
    assert!(bytes <= *size, "what is given back, {bytes}, was counted in {size}");
    *size -= bytes;
}

fn cost(key: &[u8], value: Option<&[u8]>) -> u64 {
    (key.len() + value.map_or(0, <[u8]>::len)) as u64 + ENTRY_OVERHEAD
}

/// The first write within the bounds, or the last one if `backward`. Bounds that enclose nothing are allowed.
pub(crate) fn first_within<'a>(
    writes: &'a TreeWrites,
    lower: Bound<&[u8]>,
    upper: Bound<&[u8]>,
    backward: bool,
) -> Option<(&'a [u8], Option<&'a [u8]>)> {
    if is_empty_range(lower, upper) {
        return None;
    }
    let mut range = writes.range::<[u8], _>((lower, upper));
    let found = if backward { range.next_back() } else { range.next() };
    found.map(|(key, value)| (&**key, value.as_deref()))
}

/// Whether nothing lies between the bounds; `BTreeMap::range` panics on some of those.
fn is_empty_range(lower: Bound<&[u8]>, upper: Bound<&[u8]>) -> bool {
    match (lower, upper) {
        (Bound::Unbounded, _) | (_, Bound::Unbounded) => false,
        (Bound::Included(from), Bound::Included(to)) => from > to,
        (Bound::Included(from) | Bound::Excluded(from), Bound::Included(to) | Bound::Excluded(to)) => {
            from >= to
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TREE: TreeId = TreeId::new(20000);

    fn content(set: &WriteSet) -> Vec<(String, Option<String>)> {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        set.trees()
            .flat_map(|(_, writes)| writes.iter().map(|(k, v)| (text(k), v.as_deref().map(text))))
            .collect()
    }

    #[test]
    fn a_savepoint_brings_back_exactly_what_was_there() {
        let mut set = WriteSet::new(1 << 20);
        set.set(TREE, b"a", Some(b"1")).unwrap();
        set.set(TREE, b"b", None).unwrap();
        let (before, size) = (content(&set), set.size);
        let mark = set.mark();
        set.set(TREE, b"a", Some(b"longer")).unwrap();
        set.set(TREE, b"a", None).unwrap();
        set.set(TREE, b"b", Some(b"2")).unwrap();
        set.set(TREE, b"c", Some(b"3")).unwrap();
        set.undo_to(mark);
        assert_eq!((content(&set), set.size), (before, size));
    }

    #[test]
    fn releasing_savepoints_keeps_the_writes_and_forgets_what_they_cost() {
        let mut set = WriteSet::new(1 << 20);
        set.mark();
        set.set(TREE, b"a", Some(b"1")).unwrap();
        set.set(TREE, b"a", Some(b"22")).unwrap();
        set.forget_undo();
        assert_eq!(set.size, cost(b"a", Some(b"22")));
        assert_eq!(set.get(TREE, b"a"), Some(Some(b"22".as_slice())));
    }

    #[test]
    fn what_is_too_large_is_refused_and_changes_nothing() {
        let mut set = WriteSet::new(1000);
        set.set(TREE, b"a", Some(b"1")).unwrap();
        let size = set.size;
        let refused = set.set(TREE, b"b", Some(&[0; 1000]));
        assert!(matches!(refused, Err(EngineError::TransactionTooLarge { limit: 1000 })));
        assert_eq!((set.get(TREE, b"b"), set.size), (None, size));
        set.set(TREE, b"a", Some(b"2")).unwrap();
    }

    #[test]
    #[should_panic(expected = "can be undone as long as that is there")]
    fn nothing_is_undone_to_a_mark_that_is_gone() {
        let mut set = WriteSet::new(1 << 20);
        set.mark();
        set.set(TREE, b"a", Some(b"1")).unwrap();
        let mark = set.mark();
        set.forget_undo();
        set.undo_to(mark);
    }

    #[test]
    fn bounds_that_enclose_nothing_find_nothing() {
        let mut writes = TreeWrites::new();
        writes.insert(Box::from(*b"b"), None);
        let find = |from, to| first_within(&writes, from, to, false).is_some();
        assert!(find(Bound::Included(b"b".as_slice()), Bound::Included(b"b".as_slice())));
        assert!(!find(Bound::Excluded(b"b".as_slice()), Bound::Excluded(b"b".as_slice())));
        assert!(!find(Bound::Included(b"c".as_slice()), Bound::Excluded(b"a".as_slice())));
        assert!(find(Bound::Unbounded, Bound::Unbounded));
    }
}
