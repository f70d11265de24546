//! Where a node is cut in two.
//!
//! Even halves serve keys that arrive in no order. Keys that ascend or descend, in the whole tree or in one part of it, are
//! recognised by where the last cells were put: a node whose newest cells are the direct neighbours of the new entry. They
//! leave full pages behind. Around the middle the cut goes where the separator becomes shortest ("prefix B-trees",
//! Bayer and Unterauer, 1977).

use crate::EngineError;

use super::layout::BODY_SIZE;
use super::node::{Cell, Node};

/// How the keys of a node arrive.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Arrival {
    /// Each after the one before.
    Ascending,
    /// Each before the one before.
    Descending,
    /// Anyhow.
    Mixed,
}

impl Arrival {
    /// How keys have arrived at `node`, if the next one goes before entry `index`.
    pub(super) fn at(node: &Node<'_>, index: usize) -> Result<Self, EngineError> {
        // Cells are put one below the other: the newest is the lowest.
        let newest = node.upper();
        if index >= 2 {
            let (start, _, end) = node.extent(index - 1)?;
            if start == newest && node.extent(index - 2)?.0 == end {
                return Ok(Self::Ascending);
            }
        }
        if index + 1 < node.count() {
            let (start, _, end) = node.extent(index)?;
            if start == newest && node.extent(index + 1)?.0 == end {
                return Ok(Self::Descending);
            }
        }
        Ok(Self::Mixed)
    }
}

/// How many of `cells`, which do not fit one node, go to the left one. At least one goes to each side.
/// `new`: which of them is new, and how it arrives. None if there is no way to cut them.
pub(super) fn cut(cells: &[Cell<'_>], leaf: bool, new: Option<(usize, Arrival)>) -> Option<usize> {
    let total: usize = cells.iter().map(Cell::space).sum();
    let fits = |at: usize| {
        let left: usize = cells.get(..at)?.iter().map(Cell::space).sum();
        (at > 0 && at < cells.len() && left <= BODY_SIZE && total - left <= BODY_SIZE).then_some(at)
    };
    let preferred = match new {
        // What ascends goes on ascending left of what lies above it, and on a page of its own where nothing does.
        Some((index, Arrival::Ascending)) if index + 1 < cells.len() => {
            fits(index + 1).or_else(|| fits(index))
        }
        Some((index, Arrival::Ascending)) => fits(index),
        Some((0, Arrival::Descending)) => fits(1),
        Some((index, Arrival::Descending)) => fits(index).or_else(|| fits(index + 1)),
        _ => None,
    };
    let at = preferred.or_else(|| even_cut(cells, leaf, total))?;
    assert!(0 < at && at < cells.len(), "at least one entry goes to each side of a cut");
    Some(at)
}

/// A cut that leaves both sides about the same, with a short separator.
fn even_cut(cells: &[Cell<'_>], leaf: bool, total: usize) -> Option<usize> {
    let mut best: Option<((bool, usize, usize), usize)> = None;
    let mut left = 0;
    for at in 1..cells.len() {
        left += cells[at - 1].space();
        if left > BODY_SIZE || total - left > BODY_SIZE {
            continue;
        }
        let imbalance = (2 * left).abs_diff(total);
        let uneven = imbalance > total / 8;
        let length = if uneven { 0 } else { separator(cells, at, leaf).len() };
        let cost = (uneven, length, imbalance);
        if best.is_none_or(|(least, _)| cost < least) {
            best = Some((cost, at));
        }
    }
    best.map(|(_, at)| at)
}

/// What leads to the entries from `at` on: in a leaf the shortest key above the entry before.
pub(super) fn separator<'a>(cells: &[Cell<'a>], at: usize, leaf: bool) -> &'a [u8] {
    let key = cells[at].key;
    if leaf { shortest_above(cells[at - 1].key, key) } else { key }
}

/// The shortest prefix of `key` that is greater than `below`, which is less than `key`.
pub(super) fn shortest_above<'a>(below: &[u8], key: &'a [u8]) -> &'a [u8] {
    let common = below.iter().zip(key).take_while(|(a, b)| a == b).count();
    key.get(..=common).unwrap_or(key)
}

#[cfg(test)]
mod tests {
    use super::super::node::Stored;
    use super::*;

    fn cell(key: &[u8], length: usize) -> Cell<'_> {
        const ZEROS: [u8; 2040] = [0; 2040];
        Cell { key, stored: Stored { bytes: &ZEROS[..length], in_chain: false } }
    }

    #[test]
    fn a_separator_is_no_longer_than_it_takes() {
        assert_eq!(shortest_above(b"abcd", b"abdzz"), b"abd");
        assert_eq!(shortest_above(b"ab", b"abc"), b"abc");
        assert_eq!(shortest_above(b"", b"x"), b"x");
        assert_eq!(shortest_above(b"a\xff", b"bcd"), b"b");
    }

    #[test]
    fn even_cuts_are_near_the_middle_and_prefer_short_separators() {
        let keys: Vec<Vec<u8>> = (0..100u32).map(|n| n.to_be_bytes().to_vec()).collect();
        let mut cells: Vec<_> = keys.iter().map(|key| cell(key, 80)).collect();
        assert_eq!(cut(&cells, true, None), Some(50));
        cells[48].key = b"\0\0\0/z";
        cells[49].key = b"\0\x01";
        cells[50].key = b"\0\x01\0\x01";
        assert_eq!(cut(&cells, true, None), Some(49));
    }

    #[test]
    fn entries_of_any_size_can_be_cut() {
        let keys: Vec<Vec<u8>> = (0..6u8).map(|n| vec![n]).collect();
        let cells: Vec<_> =
            keys.iter().zip([2031, 2031, 2031, 2031, 3]).map(|(key, length)| cell(key, length)).collect();
        let at = cut(&cells, true, Some((4, Arrival::Mixed))).unwrap();
        assert!((1..4).contains(&at));
    }

    #[test]
    fn ordered_arrival_leaves_full_pages() {
        let keys: Vec<Vec<u8>> = (0..82u8).map(|n| vec![n]).collect();
        let cells: Vec<_> = keys.iter().map(|key| cell(key, 93)).collect();
        assert_eq!(cut(&cells, true, Some((81, Arrival::Ascending))), Some(81));
        assert_eq!(cut(&cells, true, Some((0, Arrival::Descending))), Some(1));
        assert_eq!(cut(&cells, true, Some((30, Arrival::Ascending))), Some(31));
        assert_eq!(cut(&cells, true, Some((30, Arrival::Descending))), Some(30));
        assert_eq!(cut(&cells, true, Some((30, Arrival::Mixed))), Some(41));
    }
}
