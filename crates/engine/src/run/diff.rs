//! What differs between two versions of a page, as Generic records tell it.
//!
//! A fragment is u16 offset, u16 length, and the bytes of the newer version. The hole is never described: replay zeroes
//! it, and so does the writer, so that a page is the same bytes on every node. Nor are `pd_lsn` and `pd_checksum`, which
//! replay sets itself. Source: `computeDelta` in `access/transam/generic_xlog.c`.

use std::ops::Range;

use crate::page::{PAGE_SIZE, Page};

/// Bytes of a fragment's header; equal bytes between two differences are cheaper than another fragment up to here.
const FRAGMENT_HEADER: usize = 4;

/// `pd_lsn` and `pd_checksum`, which come first.
const LSN_AND_CHECKSUM: usize = 10;

/// Appends the fragments that make `after` of `before`. Both have nothing but zeros in their holes.
pub fn diff(before: &Page, after: &Page, fragments: &mut Vec<u8>) {
    let hole = hole(after);
    let regions = [LSN_AND_CHECKSUM..hole.start, hole.end..PAGE_SIZE];
    for region in regions {
        diff_region(before.bytes(), after.bytes(), region, fragments);
    }
}

/// The unused middle of a page; empty at the page's end if its header makes no sense.
pub(super) fn hole(page: &Page) -> Range<usize> {
    let (lower, upper) = (usize::from(page.lower()), usize::from(page.upper()));
    if crate::page::HEADER_SIZE <= lower && lower <= upper && upper <= PAGE_SIZE {
        lower..upper
    } else {
        PAGE_SIZE..PAGE_SIZE
    }
}

/// Fills the hole with zeros.
pub(super) fn clear_hole(page: &mut Page) {
    let hole = hole(page);
    if let Some(bytes) = page.bytes_mut().get_mut(hole) {
        bytes.fill(0);
    }
}

fn diff_region(before: &[u8], after: &[u8], region: Range<usize>, fragments: &mut Vec<u8>) {
    let (Some(old), Some(new)) = (before.get(region.clone()), after.get(region.clone())) else { return };
    let mut at = 0;
    while let Some(equal) = first_difference(rest(old, at), rest(new, at)) {
        let start = at + equal;
        let end = start + difference_length(rest(old, start), rest(new, start));
        fragments.extend_from_slice(&((region.start + start) as u16).to_le_bytes());
        fragments.extend_from_slice(&((end - start) as u16).to_le_bytes());
        fragments.extend_from_slice(new.get(start..end).unwrap_or_default());
        at = end;
    }
}

fn rest(bytes: &[u8], at: usize) -> &[u8] {
    bytes.get(at..).unwrap_or_default()
}

/// How many equal bytes two slices of one length begin with; `None` if they are equal.
fn first_difference(old: &[u8], new: &[u8]) -> Option<usize> {
    const BLOCK: usize = 128;
    let same =
        old.chunks_exact(BLOCK).zip(new.chunks_exact(BLOCK)).take_while(|(old, new)| old == new).count();
    let skip = same * BLOCK;
    let differs = rest(old, skip).iter().zip(rest(new, skip)).position(|(old, new)| old != new)?;
    Some(skip + differs)
}

/// How far a difference goes that starts with the first byte: up to more equal bytes than a fragment's header has.
fn difference_length(old: &[u8], new: &[u8]) -> usize {
    let mut end = 0;
    for (at, (old, new)) in old.iter().zip(new).enumerate() {
        if old != new {
            end = at + 1;
        } else if at - end >= FRAGMENT_HEADER {
            break;
        }
    }
    end
}

/// Applies `fragments` to a page, and clears its hole, as replay does. `None` if they do not fit on a page.
///
/// The hole was zero before: it is touched only if it is another one now or was written to. Clearing it every time would
/// bring a page's every cache line into the processor for a change of a few bytes.
pub fn apply_fragments(page: &mut Page, mut fragments: &[u8]) -> Option<()> {
    let hole_before = hole(page);
    let mut hole_written = false;
    while let Some((header, after)) = fragments.split_first_chunk::<FRAGMENT_HEADER>() {
        let offset = usize::from(u16::from_le_bytes([header[0], header[1]]));
        let length = usize::from(u16::from_le_bytes([header[2], header[3]]));
        let (bytes, after) = after.split_at_checked(length)?;
        page.bytes_mut().get_mut(offset..offset + length)?.copy_from_slice(bytes);
        hole_written |= offset < hole_before.end && offset + length > hole_before.start;
        fragments = after;
    }
    if !fragments.is_empty() {
        return None;
    }
    if hole_written || hole(page) != hole_before {
        clear_hole(page);
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn fragments(before: &Page, after: &Page) -> Vec<u8> {
        let mut fragments = Vec::new();
        diff(before, after, &mut fragments);
        fragments
    }

    #[test]
    fn equal_bytes_up_to_four_are_bridged() {
        let mut before = Page::zeroed();
        before.init(0);
        before.set_lower(100);
        let mut after = before.clone();
        for at in [40, 45, 51] {
            after.bytes_mut()[at] = 7;
        }
        let expected = [&[40, 0, 6, 0, 7, 0, 0, 0, 0, 7][..], &[51, 0, 1, 0, 7]].concat();
        assert_eq!(fragments(&before, &after), expected);
    }

    #[test]
    fn equal_pages_have_no_fragments_whatever_their_lsn() {
        let mut before = Page::zeroed();
        before.init(16);
        let mut after = before.clone();
        after.set_lsn(wal::Lsn::new(77));
        assert!(fragments(&before, &after).is_empty());
    }

    #[test]
    fn fragments_past_the_page_are_refused() {
        let mut page = Page::zeroed();
        assert!(apply_fragments(&mut page, &[255, 31, 2, 0, 1, 1]).is_none());
        assert!(apply_fragments(&mut page, &[0, 1, 2]).is_none());
        assert!(apply_fragments(&mut page, &[0, 1, 9, 0, 1]).is_none());
    }

    #[test]
    fn what_fragments_write_into_the_hole_is_not_kept() {
        let mut page = Page::zeroed();
        page.init(0);
        page.set_lower(100);
        let before = page.clone();
        apply_fragments(&mut page, &[0, 2, 2, 0, 1, 1]).unwrap();
        assert!(page.bytes() == before.bytes());
    }

    #[test]
    fn what_becomes_hole_is_cleared() {
        let mut page = Page::zeroed();
        page.init(0);
        page.set_lower(100);
        page.bytes_mut()[40..100].fill(7);
        let mut after = page.clone();
        after.set_lower(50);
        clear_hole(&mut after);
        let fragments = fragments(&page, &after);
        apply_fragments(&mut page, &fragments).unwrap();
        assert!(page.bytes() == after.bytes());
    }

    proptest! {
        #[test]
        fn fragments_make_the_newer_page_of_the_older(
            lower in 24..4000_u16, upper in 4000..8192_u16,
            edits in proptest::collection::vec((24..8192_usize, 1..300_usize, any::<u8>()), 0..20),
            grown in (24..4000_u16, 4000..8192_u16),
        ) {
            let mut before = Page::zeroed();
            before.init(0);
            before.set_lower(lower);
            before.set_upper(upper);
            let mut after = before.clone();
            after.set_lower(grown.0);
            after.set_upper(grown.1);
            for (at, length, value) in edits {
                let end = (at + length).min(PAGE_SIZE);
                after.bytes_mut()[at..end].fill(value);
            }
            clear_hole(&mut after);
            let mut replayed = before.clone();
            apply_fragments(&mut replayed, &fragments(&before, &after)).unwrap();
            prop_assert!(replayed.bytes() == after.bytes());
        }
    }
}
