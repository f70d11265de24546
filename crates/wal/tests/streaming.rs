//! The validator as a stream's reader: any cut into feeds, beginnings in the middle, timelines, going on later.

#![allow(clippy::unwrap_used, reason = "a test that cannot build its log has failed")]

mod forge;

use forge::{Forge, PAGE, SEGMENT, START, expectations, identity, message, small_log, time, validate};
use wal::page::PageHeader;
use wal::reader::Records;
use wal::writer::LogWriter;
use wal::{Expectations, Lsn, TimelineHistory, TimelineId, Validator, ValidatorState, WalErrorKind};

const SECOND: TimelineId = TimelineId::new(2);

#[test]
fn how_the_log_is_cut_into_feeds_changes_nothing() {
    let mut forge = small_log();
    forge.log.extend([0; 100]);
    let (whole, outcome) = validate(&forge.log);
    for size in [1, 2, 3, 7, 8, 23, 24, 25, 39, 40, 41, 1000, PAGE - 1, PAGE, PAGE + 1] {
        let mut validator = forge::validator();
        let chunked = forge.log.chunks(size).try_for_each(|chunk| validator.feed(chunk));
        assert_eq!(chunked, outcome, "in pieces of {size}");
        assert_eq!(validator.checkpoint(), whole.checkpoint(), "in pieces of {size}");
    }
}

/// Two segments and a bit, with a record of 20,000 bytes across each segment boundary.
fn long_log() -> Forge {
    let mut forge = Forge::new();
    for end in [SEGMENT, 2 * SEGMENT] {
        while forge.log.len() < end - 3 * PAGE {
            forge.message(900);
        }
        while forge.log.len() < end - 9000 {
            forge.message(33);
        }
        forge.message(20_000);
    }
    forge.message(100);
    forge
}

#[test]
fn a_segment_that_begins_inside_a_record_is_read_from_its_first_whole_record() {
    let forge = long_log();
    let second = START.saturating_add(SEGMENT as u64);
    let mut validator = Validator::new(second, expectations());
    validator.feed(&forge.log[SEGMENT..SEGMENT + 2 * PAGE]).unwrap();
    let first_whole = forge.placed.iter().find(|placed| placed.start >= second).unwrap();
    let before = validator.record_end();
    assert!(validator.last_record().is_some_and(|last| last >= first_whole.start), "up to {before}");
    validator.feed(&forge.log[SEGMENT + 2 * PAGE..]).unwrap();
    assert_eq!(validator.record_end(), forge.end());
    let whole = forge.placed.iter().filter(|placed| placed.start >= second).count();
    assert_eq!(validator.records(), whole as u64);
}

#[test]
fn what_is_skipped_is_never_called_valid() {
    let mut forge = Forge::new();
    forge.message(3 * SEGMENT);
    let second = START.saturating_add(SEGMENT as u64);
    let mut validator = Validator::new(second, expectations());
    validator.feed(&forge.log[SEGMENT..]).unwrap();
    assert_eq!((validator.record_end(), validator.last_record()), (second, None));
    forge.message(64);
    let mut validator = Validator::new(second, expectations());
    validator.feed(&forge.log[SEGMENT..]).unwrap();
    assert_eq!(validator.record_end(), forge.end());
}

#[test]
fn a_skipped_record_must_be_continued_too() {
    let forge = long_log();
    let second = START.saturating_add(SEGMENT as u64);
    let mut log = forge.log[SEGMENT..].to_vec();
    log[PAGE + 16] ^= 1;
    let error = Validator::new(second, expectations()).feed(&log).unwrap_err();
    assert!(matches!(error.reason, WalErrorKind::ContinuationLength { .. }), "{error}");
    log[PAGE + 2] &= !1;
    let error = Validator::new(second, expectations()).feed(&log).unwrap_err();
    assert!(matches!(error.reason, WalErrorKind::MissingContinuation(_)), "{error}");
}

#[test]
fn a_validator_may_begin_at_any_record() {
    let forge = small_log();
    for placed in &forge.placed {
        let mut validator = Validator::new(placed.start, expectations());
        validator.feed(&forge.log[forge.index(placed.start)..]).unwrap();
        assert_eq!(validator.record_end(), forge.end());
    }
}

#[test]
fn what_was_proved_need_not_be_read_again() {
    let mut forge = small_log();
    forge.switch();
    forge.message(5000);
    let (whole, _) = validate(&forge.log);
    for cut in (0..forge.log.len()).step_by(397) {
        let (validator, _) = validate(&forge.log[..cut]);
        let state = ValidatorState::from_bytes(&validator.checkpoint().to_bytes()).unwrap();
        assert_eq!(state, validator.checkpoint());
        let mut resumed = Validator::resume(state, expectations()).unwrap();
        assert_eq!(resumed.position(), validator.record_end());
        resumed.feed(&forge.log[forge.index(state.record_end)..]).unwrap();
        assert_eq!(resumed.checkpoint(), whole.checkpoint(), "cut at {cut}");
    }
}

#[test]
fn damage_after_resuming_is_named_as_without() {
    let mut forge = small_log();
    let (validator, _) = validate(&forge.log[..2000]);
    let state = validator.checkpoint();
    let at = forge.index(forge.placed[5].start);
    forge.log[at + 30] ^= 1;
    let (_, outcome) = validate(&forge.log);
    let mut resumed = Validator::resume(state, expectations()).unwrap();
    assert_eq!(resumed.feed(&forge.log[forge.index(state.record_end)..]), outcome);
}

#[test]
fn a_remembered_state_of_another_log_or_a_damaged_one_is_refused() {
    let (validator, _) = validate(&small_log().log);
    let state = validator.checkpoint();
    let mut other = expectations();
    other.system_id = Some(wal::SystemId::new(1));
    assert!(Validator::resume(state, other).is_err());
    let mut bytes = state.to_bytes();
    for bit in 0..bytes.len() * 8 {
        bytes[bit / 8] ^= 1 << (bit % 8);
        assert!(ValidatorState::from_bytes(&bytes).is_err());
        bytes[bit / 8] ^= 1 << (bit % 8);
    }
    assert!(ValidatorState::from_bytes(&bytes[1..]).is_err());
}

/// A log that changes to timeline 2 in the middle of its second page, and where.
fn promoted() -> (Forge, Lsn) {
    let mut forge = Forge::new();
    forge.fill_page_to(0);
    forge.message(1000);
    let switch_point = forge.end();
    forge.writer.set_timeline(SECOND);
    forge.message(64);
    forge.fill_page_to(0);
    forge.message(64);
    (forge, switch_point)
}

fn on_second(switch_point: Lsn) -> Expectations {
    let history =
        TimelineHistory::root().child(SECOND, switch_point, "no recovery target specified").unwrap();
    Expectations { timelines: history, ..expectations() }
}

#[test]
fn the_page_that_holds_a_switch_point_keeps_the_old_timeline() {
    let (forge, switch_point) = promoted();
    let timeline_of = |page: usize| PageHeader::decode(&forge.log[page * PAGE..]).unwrap().timeline;
    assert_eq!(
        [timeline_of(0), timeline_of(1), timeline_of(2)],
        [TimelineId::FIRST, TimelineId::FIRST, SECOND]
    );
    let mut validator = Validator::new(START, on_second(switch_point));
    validator.feed(&forge.log).unwrap();
    assert_eq!((validator.record_end(), validator.page_timeline()), (forge.end(), Some(SECOND)));
}

#[test]
fn a_page_on_the_wrong_side_of_a_switch_point_is_refused() {
    let (forge, switch_point) = promoted();
    let refusal = |switch_point: Lsn| {
        let error = Validator::new(START, on_second(switch_point)).feed(&forge.log).unwrap_err();
        (error.lsn.bytes_since(START) as usize / PAGE, error.reason)
    };
    let early = refusal(START.saturating_add(PAGE as u64));
    assert_eq!(early, (1, WalErrorKind::Timeline { found: TimelineId::FIRST, expected: SECOND }));
    let late = refusal(switch_point.saturating_add(2 * PAGE as u64));
    assert_eq!(late, (2, WalErrorKind::Timeline { found: SECOND, expected: TimelineId::FIRST }));
    let unknown = Validator::new(START, expectations()).feed(&forge.log).unwrap_err();
    assert_eq!(unknown.reason, WalErrorKind::ForeignTimeline(SECOND));
}

#[test]
fn records_are_found_whole_and_in_order() {
    let mut forge = long_log();
    forge.switch();
    forge.message(30_000);
    let records = Records::new(&forge.log, START, expectations());
    assert_eq!((records.stopped_by(), records.end()), (None, forge.end()));
    let found: Vec<_> = records.map(|record| (record.start, record.end)).collect();
    let placed: Vec<_> = forge.placed.iter().map(|placed| (placed.start, placed.end)).collect();
    assert_eq!(found, placed);
    let second = START.saturating_add(SEGMENT as u64);
    let later = Records::new(&forge.log[SEGMENT..], second, expectations()).count();
    assert_eq!(later, placed.iter().filter(|(start, _)| *start >= second).count());
}

#[test]
fn records_pass_over_one_that_was_given_up() {
    let mut forge = Forge::new();
    forge.fill_page_to(80);
    let kept = forge.writer.prev();
    let aborted = forge.message(20_000).start;
    forge.log.truncate(2 * PAGE);
    let page = START.saturating_add(2 * PAGE as u64);
    forge.writer = LogWriter::new(identity(), TimelineId::FIRST, page, kept);
    let said = forge.writer.overwrite_contrecord(aborted, time()).unwrap();
    forge.flush();
    let last = forge.writer.append(&message(b"on")).unwrap();
    forge.flush();
    let found: Vec<_> = Records::new(&forge.log, START, expectations()).map(|record| record.start).collect();
    assert_eq!(found[found.len() - 2..], [said.start, last.start]);
    assert!(!found.contains(&aborted));
    // Beginning at the page that says so, the record given up is not known, and need not be.
    let mut validator = Validator::new(page, expectations());
    validator.feed(&forge.log[2 * PAGE..]).unwrap();
    assert_eq!(validator.record_end(), last.end);
}
