//! Records whose checksum is right and whose parts do not fit together: none passes, wherever it lies and however it
//! comes. Each is one that PostgreSQL's `DecodeXLogRecord` refuses, but for the last few, which it would fail to restore.

#![allow(clippy::unwrap_used, reason = "a test that cannot build its log has failed")]

mod forge;

use forge::{Forge, PAGE, refusal, validate, validator};
use wal::WalErrorKind;
use wal::record::{RecordError, record_crc};

const RELATION: [u8; 12] = [0x7f, 6, 0, 0, 5, 0, 0, 0, 0x15, 0x40, 0, 0];
const BLOCK: [u8; 4] = [9, 0, 0, 0];
const HAS_IMAGE: u8 = 0x10;
const HAS_DATA: u8 = 0x20;
const SAME_RELATION: u8 = 0x80;
const HAS_HOLE: u8 = 0x01;
const LZ4: u8 = 0x08;

/// A block reference up to where an image's sub-header or the relation comes.
fn reference(id: u8, flags: u8, data: u16) -> Vec<u8> {
    [&[id, flags][..], &data.to_le_bytes()].concat()
}

/// A whole block reference with an image of these claims, followed by the image.
fn image(length: u16, hole_offset: u16, info: u8, hole_length: Option<u16>) -> Vec<u8> {
    let mut body = reference(0, HAS_IMAGE, 0);
    body.extend(length.to_le_bytes());
    body.extend(hole_offset.to_le_bytes());
    body.push(info);
    body.extend(hole_length.into_iter().flat_map(u16::to_le_bytes));
    body.extend(RELATION);
    body.extend(BLOCK);
    body.extend(vec![0x5A; usize::from(length)]);
    body
}

fn whole(id: u8, flags: u8, data: u16) -> Vec<u8> {
    [&reference(id, flags, data)[..], &RELATION, &BLOCK].concat()
}

/// Bodies with what is wrong with them.
fn bodies() -> Vec<(&'static str, Vec<u8>, RecordError)> {
    use RecordError::{
        BlockId, BlockOrder, DataFlag, ImageFlags, ImageHole, ImageLength, Length, NoRelation,
    };
    let page = PAGE as u16;
    let same = [&reference(0, SAME_RELATION, 0)[..], &BLOCK].concat();
    vec![
        ("a block id after the last", [33_u8; 20].to_vec(), BlockId(33)),
        ("a block id before the first of the others", [251_u8; 20].to_vec(), BlockId(251)),
        ("ids that descend", [whole(1, 0, 0), whole(0, 0, 0)].concat(), BlockOrder(0)),
        ("the same id twice", [whole(4, 0, 0), whole(4, 0, 0)].concat(), BlockOrder(4)),
        ("data announced, none there", whole(0, HAS_DATA, 0), DataFlag(0)),
        ("data there, none announced", [whole(0, 0, 3), vec![1; 3]].concat(), DataFlag(0)),
        ("a relation as before, none before", same, NoRelation(0)),
        ("a hole without a place", image(8000, 0, HAS_HOLE, None), ImageHole(0)),
        ("a hole in a whole page", image(page, 40, HAS_HOLE, None), ImageHole(0)),
        ("a hole of no length, compressed", image(100, 40, HAS_HOLE | LZ4, Some(0)), ImageHole(0)),
        ("a hole without a place, compressed", image(100, 0, HAS_HOLE | LZ4, Some(99)), ImageHole(0)),
        ("a place without a hole", image(page, 40, 0, None), ImageHole(0)),
        ("a hole of which no flag tells", image(8000, 40, 0, None), ImageHole(0)),
        ("a flag without a hole", image(page, 0, HAS_HOLE, None), ImageHole(0)),
        ("a place without a hole, compressed", image(100, 40, LZ4, None), ImageHole(0)),
        ("an image too short for a page", image(8000, 0, 0, None), ImageHole(0)),
        ("an image as long as a page, compressed", image(page, 0, LZ4, None), ImageLength(0)),
        ("the end in a block reference", vec![0], Length),
        ("the end in a data length", vec![0, 0, 0], Length),
        ("the end in an image's sub-header", vec![0, HAS_IMAGE, 0, 0, 1, 0, 0], Length),
        ("the end in a hole's length", vec![0, HAS_IMAGE, 0, 0, 1, 0, 1, 0, HAS_HOLE | LZ4, 1], Length),
        ("the end in a relation", vec![0, 0, 0, 0, 1, 2, 3], Length),
        ("the end in a block number", [&reference(0, 0, 0)[..], &RELATION, &[1]].concat(), Length),
        ("the end in an origin", vec![253, 1], Length),
        ("the end in a transaction", vec![252, 1, 0, 0], Length),
        ("the end in a short length", vec![255], Length),
        ("the end in a long length", vec![254, 1, 0], Length),
        ("main data longer than the record", vec![255, 4, 1, 2, 3], Length),
        ("main data shorter than the record", vec![255, 2, 1, 2, 3], Length),
        ("long main data longer than the record", vec![254, 0xFF, 0xFF, 0xFF, 0xFF, 1], Length),
        ("a block's data longer than the record", whole(0, HAS_DATA, 7), Length),
        ("an image longer than a page", image(page + 1, 0, 0, None), ImageLength(0)),
        ("a hole past the page's end", image(8000, 8100, HAS_HOLE, None), ImageHole(0)),
        ("two compressions", image(100, 0, LZ4 | 0x10, None), ImageFlags(0, LZ4 | 0x10)),
    ]
}

/// A log in which a record with `body` comes second on its page, or begins `before_end` bytes before the page's end.
fn log_with(body: &[u8], before_end: Option<usize>) -> (Forge, usize) {
    let mut forge = Forge::new();
    forge.message(64);
    if let Some(before_end) = before_end {
        forge.fill_page_to(before_end);
    }
    // A record of that length that is good, of which the body is then replaced.
    let total = 24 + body.len();
    let filler = total.max(27);
    let placed = forge.message(filler);
    let at = forge.index(placed.start);
    (forge, at)
}

/// Replaces the record at `at`, which may go on over pages, by one with `body` and a right checksum.
fn replace(log: &mut Vec<u8>, at: usize, body: &[u8]) {
    // The header may be split too: 24 bytes of page header stand between.
    let room = PAGE - at % PAGE;
    let mut record: Vec<u8> = (0..24).map(|n| log[at + n + if n < room { 0 } else { 24 }]).collect();
    record[..4].copy_from_slice(&(24 + body.len() as u32).to_le_bytes());
    record.extend(body);
    let crc = record_crc(&record);
    record[20..24].copy_from_slice(&crc.to_le_bytes());
    let mut to = at;
    for (index, byte) in record.iter().enumerate() {
        if to.is_multiple_of(PAGE) {
            log[to + 16..to + 20].copy_from_slice(&((record.len() - index) as u32).to_le_bytes());
            to += 24;
        }
        log[to] = *byte;
        to += 1;
    }
    log.truncate(to);
    log.resize(to.next_multiple_of(8), 0);
}

#[test]
fn none_passes_wherever_it_lies_and_however_it_comes() {
    for (what, body, reason) in bodies() {
        for before_end in [None, Some(8), Some(24), Some(32)] {
            let (mut forge, at) = log_with(&body, before_end);
            let start = forge.placed.last().unwrap().start;
            replace(&mut forge.log, at, &body);
            let error = refusal(&forge.log);
            let expected = (start, WalErrorKind::Structure(reason));
            assert_eq!(
                (error.lsn, error.reason.clone()),
                expected,
                "{what}, {before_end:?} before a page's end"
            );
            for piece in [1, 7, 1000] {
                let mut validator = validator();
                let outcome = forge.log.chunks(piece).try_for_each(|piece| validator.feed(piece));
                assert_eq!(outcome, Err(error.clone()), "{what}, in pieces of {piece}");
                assert_eq!(validator.record_end(), start, "{what}, in pieces of {piece}");
            }
        }
    }
}

#[test]
fn what_is_put_in_their_place_is_good_if_the_body_is() {
    for body in
        [vec![255, 3, 1, 2, 3], whole(0, 0, 0), image(100, 40, HAS_HOLE | LZ4, Some(50)), vec![253, 1, 0]]
    {
        for before_end in [None, Some(8), Some(24)] {
            let (mut forge, at) = log_with(&body, before_end);
            replace(&mut forge.log, at, &body);
            assert_eq!(validate(&forge.log).1, Ok(()), "{body:?}");
        }
    }
}
