//! Forged logs: whatever is wrong with one, the validator names where and what.

#![allow(clippy::unwrap_used, reason = "a test that cannot build its log has failed")]

mod forge;

use forge::{
    Forge, PAGE, SEGMENT, START, identity, message, message_data, refusal, small_log, time, validate,
};
use wal::page::{LONG_HEADER, PageError, PageFlags};
use wal::record::{RecordError, record_crc};
use wal::writer::LogWriter;
use wal::{Lsn, SystemId, TimelineId, WalErrorKind, WalVersion};

/// Makes the checksum of the contiguous record at `start` right again.
fn reseal(log: &mut [u8], start: usize) {
    let length = u32::from_le_bytes(log[start..start + 4].try_into().unwrap()) as usize;
    let crc = record_crc(&log[start..start + length]);
    log[start + 20..start + 24].copy_from_slice(&crc.to_le_bytes());
}

#[test]
fn a_good_log_is_valid_to_its_end() {
    let forge = small_log();
    let (validator, outcome) = validate(&forge.log);
    assert_eq!(outcome, Ok(()));
    assert_eq!(validator.record_end(), forge.end());
    assert_eq!(validator.position(), forge.end());
    assert_eq!(validator.last_record(), Some(forge.placed.last().unwrap().start));
    assert_eq!(validator.records(), forge.placed.len() as u64);
    assert_eq!(validator.version(), Some(WalVersion::V15));
    assert_eq!(validator.system_id(), Some(identity().system_id));
    assert_eq!(validator.page_timeline(), Some(TimelineId::FIRST));
}

#[test]
fn zeros_end_a_log_where_the_next_record_would_start() {
    let mut forge = small_log();
    forge.log.resize(SEGMENT, 0);
    let error = refusal(&forge.log);
    assert_eq!((error.lsn, error.reason), (forge.end(), WalErrorKind::RecordTooShort(0)));
}

#[test]
fn zeros_end_a_log_at_a_page_boundary() {
    let mut forge = Forge::new();
    forge.fill_page_to(0);
    forge.log.resize(SEGMENT, 0);
    let error = refusal(&forge.log);
    assert_eq!((error.lsn, error.reason), (forge.end(), PageError::Magic(0).into()));
}

#[test]
fn a_record_shorter_than_its_header_is_refused() {
    let mut forge = small_log();
    let start = forge.placed[1].start;
    let at = forge.index(start);
    forge.log[at..at + 4].copy_from_slice(&23_u32.to_le_bytes());
    let error = refusal(&forge.log);
    assert_eq!((error.lsn, error.reason), (start, WalErrorKind::RecordTooShort(23)));
}

#[test]
fn a_claimed_gigabyte_is_refused_at_the_next_page() {
    let mut forge = small_log();
    let start = forge.placed[1].start;
    let at = forge.index(start);
    forge.log[at..at + 4].copy_from_slice(&0x3000_0000_u32.to_le_bytes());
    let error = refusal(&forge.log);
    assert_eq!(error.lsn, start);
    assert!(matches!(error.reason, WalErrorKind::ContinuationLength { .. }), "{error}");
    forge.log[at..at + 4].copy_from_slice(&u32::MAX.to_le_bytes());
    assert_eq!(refusal(&forge.log).reason, WalErrorKind::RecordTooLong(u32::MAX));
}

#[test]
fn an_unknown_resource_manager_is_refused() {
    let mut forge = small_log();
    let start = forge.placed[1].start;
    let at = forge.index(start);
    for (number, valid) in [(21, true), (22, false), (127, false), (128, true), (255, true)] {
        forge.log[at + 17] = number;
        reseal(&mut forge.log, at);
        let (_, outcome) = validate(&forge.log);
        let refused = outcome.map_err(|error| (error.lsn, error.reason));
        let expected = if valid { Ok(()) } else { Err((start, WalErrorKind::ResourceManager(number))) };
        assert_eq!(refused, expected);
    }
}

#[test]
fn a_wrong_prev_link_is_refused() {
    let mut forge = small_log();
    let [before, start] = [forge.placed[1].start, forge.placed[2].start];
    let at = forge.index(start);
    let wrong = Lsn::new(before.as_u64() - 8);
    forge.log[at + 8..at + 16].copy_from_slice(&wrong.as_u64().to_le_bytes());
    reseal(&mut forge.log, at);
    let error = refusal(&forge.log);
    assert_eq!((error.lsn, error.reason), (start, WalErrorKind::PrevLink { found: wrong, expected: before }));
}

#[test]
fn a_first_record_may_follow_any_record_before_it_and_none_after() {
    let first = |prev: u64| {
        let mut writer = LogWriter::new(identity(), TimelineId::FIRST, START, Lsn::new(prev));
        writer.append(&message(b"x")).unwrap();
        validate(&writer.drain()).1.map_err(|error| error.reason)
    };
    let own = START.as_u64() + 40;
    assert_eq!(first(0), Ok(()));
    assert_eq!(first(own - 8), Ok(()));
    assert_eq!(first(own), Err(WalErrorKind::PrevLinkAhead(Lsn::new(own))));
}

#[test]
fn a_wrong_checksum_is_refused() {
    let mut forge = small_log();
    let start = forge.placed[1].start;
    let at = forge.index(start);
    forge.log[at + 20] ^= 1;
    let error = refusal(&forge.log);
    assert_eq!(error.lsn, start);
    assert!(matches!(error.reason, WalErrorKind::Checksum { .. }), "{error}");
}

#[test]
fn parts_that_do_not_add_up_are_refused_under_a_right_checksum() {
    let mut forge = small_log();
    let start = forge.placed[1].start;
    let at = forge.index(start);
    forge.log[at + 25] += 1;
    reseal(&mut forge.log, at);
    let error = refusal(&forge.log);
    assert_eq!((error.lsn, error.reason), (start, RecordError::Length.into()));
}

/// Damages the header of the log's second page.
fn with_second_page(damage: impl FnOnce(&mut [u8])) -> (Lsn, WalErrorKind) {
    let mut forge = small_log();
    damage(&mut forge.log[PAGE..]);
    let error = refusal(&forge.log);
    (error.lsn, error.reason)
}

#[test]
fn a_page_that_is_none_or_belongs_elsewhere_is_refused() {
    let page = START.saturating_add(PAGE as u64);
    let magic = |version: WalVersion| version.magic().to_le_bytes();
    assert_eq!(with_second_page(|page| page[0] = 0x11), (page, PageError::Magic(0xD111).into()));
    assert_eq!(
        with_second_page(|page| page[..2].copy_from_slice(&magic(WalVersion::V16))),
        (page, WalErrorKind::Version { found: WalVersion::V16, expected: WalVersion::V15 })
    );
    assert_eq!(with_second_page(|page| page[2] = 0x15), (page, PageError::Flags(0x15).into()));
    assert_eq!(with_second_page(|page| page[9] ^= 0x20), (page, WalErrorKind::PageAddress(START)));
    assert_eq!(
        with_second_page(|page| page[4] = 2),
        (page, WalErrorKind::ForeignTimeline(TimelineId::new(2)))
    );
}

#[test]
fn a_segment_of_another_log_is_refused() {
    let first_page = |at: usize, byte: u8| {
        let mut forge = small_log();
        forge.log[at] = byte;
        let error = refusal(&forge.log);
        assert_eq!(error.lsn, START);
        error.reason
    };
    let expected = identity().system_id;
    let found = SystemId::new(expected.as_u64() & !0xFF);
    assert_eq!(first_page(24, 0), WalErrorKind::SystemId { found, expected });
    assert_eq!(first_page(34, 0x20), WalErrorKind::SegmentSize { found: 2 << 20, expected: 1 << 20 });
    assert_eq!(first_page(37, 0x40), WalErrorKind::BlockSize(16384));
    let mut forge = small_log();
    forge.log[2] &= !(PageFlags::LONG_HEADER.bits() as u8);
    assert_eq!(refusal(&forge.log).reason, WalErrorKind::MissingLongHeader);
}

#[test]
fn a_record_without_its_continuation_is_refused() {
    let start = small_log()
        .placed
        .iter()
        .rfind(|placed| placed.start.as_u64() < START.as_u64() + 8192)
        .unwrap()
        .start;
    let page = START.saturating_add(PAGE as u64);
    assert_eq!(with_second_page(|page| page[2] &= !1), (start, WalErrorKind::MissingContinuation(page)));
    let (lsn, reason) = with_second_page(|page| page[16] += 1);
    assert_eq!(lsn, start);
    assert_eq!(reason, WalErrorKind::ContinuationLength { page, found: 32, expected: 31 });
}

#[test]
fn a_continuation_of_nothing_is_refused() {
    let mut forge = Forge::new();
    forge.fill_page_to(0);
    forge.message(64);
    forge.log[PAGE + 2] |= 1;
    let page = START.saturating_add(PAGE as u64);
    assert_eq!(refusal(&forge.log).lsn, page);
    assert_eq!(refusal(&forge.log).reason, WalErrorKind::UnexpectedContinuation);
}

#[test]
fn swapped_segments_are_refused() {
    let mut forge = Forge::new();
    while forge.log.len() < 3 * SEGMENT {
        forge.message(5000);
    }
    assert_eq!(validate(&forge.log).1, Ok(()));
    let (first, rest) = forge.log.split_at_mut(2 * SEGMENT);
    first[SEGMENT..].swap_with_slice(&mut rest[..SEGMENT]);
    let error = refusal(&forge.log);
    assert_eq!(error.lsn, START.saturating_add(SEGMENT as u64));
    assert_eq!(error.reason, WalErrorKind::PageAddress(START.saturating_add(2 * SEGMENT as u64)));
}

#[test]
fn a_log_cut_short_anywhere_is_valid_up_to_the_last_whole_record() {
    let forge = small_log();
    for cut in 0..forge.log.len() {
        let (validator, outcome) = validate(&forge.log[..cut]);
        assert_eq!(outcome, Ok(()));
        let position = START.saturating_add(cut as u64);
        let whole = forge.placed.iter().take_while(|placed| placed.end <= position);
        assert_eq!(
            validator.record_end(),
            whole.last().map_or(START, |placed| placed.end),
            "cut at {position}"
        );
    }
}

#[test]
fn a_flipped_bit_anywhere_is_noticed_where_it_stands() {
    let mut forge = small_log();
    let starts: Vec<Lsn> = forge.placed.iter().map(|placed| placed.start).collect();
    for at in 0..forge.log.len() {
        let lsn = START.saturating_add(at as u64);
        // Everything that ended before the flipped bit stays valid, and nothing else does.
        let valid =
            forge.placed.iter().take_while(|placed| placed.end <= lsn).last().map_or(START, |p| p.end);
        for bit in 0..8 {
            if at % PAGE == 2 && 1 << bit == PageFlags::BKP_REMOVABLE.bits() {
                continue;
            }
            forge.log[at] ^= 1 << bit;
            let (validator, outcome) = validate(&forge.log);
            assert_eq!(validator.record_end(), valid, "bit {bit} of {lsn}: {outcome:?}");
            // A record made longer on the last page may just seem unfinished.
            if let Err(error) = outcome {
                let at_start = starts.contains(&error.lsn) || error.lsn.as_u64().is_multiple_of(PAGE as u64);
                assert!(at_start || error.lsn == lsn, "bit {bit} of {lsn}: {error}");
                // What a page header says wrongly may show only at the record after it.
                let last = lsn.saturating_add(LONG_HEADER as u64);
                assert!((valid..=last).contains(&error.lsn), "bit {bit} of {lsn}: {error}");
            }
            forge.log[at] ^= 1 << bit;
        }
    }
}

#[test]
fn a_switch_leaves_the_rest_of_its_segment_zero() {
    let mut forge = small_log();
    let switch = forge.switch();
    let next = forge.message(100);
    assert_eq!(next.start, START.saturating_add(SEGMENT as u64 + 40));
    let (validator, outcome) = validate(&forge.log);
    assert_eq!((outcome, validator.record_end()), (Ok(()), next.end));
    let (validator, outcome) = validate(&forge.log[..SEGMENT - 1]);
    assert_eq!((outcome, validator.record_end()), (Ok(()), switch.end));
    let (validator, outcome) = validate(&forge.log[..SEGMENT]);
    assert_eq!((outcome, validator.record_end()), (Ok(()), START.saturating_add(SEGMENT as u64)));
    forge.log[SEGMENT - 9] = 1;
    let error = refusal(&forge.log);
    assert_eq!(error.lsn, START.saturating_add(SEGMENT as u64 - 9));
    assert_eq!(error.reason, WalErrorKind::DataAfterSwitch(switch.start));
}

#[test]
fn a_switch_may_end_exactly_on_a_page_or_segment() {
    let mut forge = Forge::new();
    forge.fill_page_to(24);
    forge.switch();
    while forge.log.len() < 2 * SEGMENT - PAGE {
        forge.fill_page_to(0);
    }
    forge.fill_page_to(24);
    forge.switch();
    assert_eq!(forge.log.len(), 2 * SEGMENT);
    let last = forge.message(100);
    let (validator, outcome) = validate(&forge.log);
    assert_eq!((outcome, validator.record_end()), (Ok(()), last.end));
}

/// A log whose last record lacks its continuation, and the writer that goes on after the crash.
fn crashed() -> (Forge, Lsn) {
    let mut forge = Forge::new();
    forge.message(64);
    forge.fill_page_to(80);
    let kept = forge.writer.prev();
    let aborted = forge.message(20_000);
    forge.log.truncate(2 * PAGE);
    forge.placed.pop();
    let page = START.saturating_add(2 * PAGE as u64);
    forge.writer = LogWriter::new(identity(), TimelineId::FIRST, page, kept);
    (forge, aborted.start)
}

#[test]
fn an_overwritten_continuation_is_passed_over() {
    let (mut forge, aborted) = crashed();
    assert_eq!(validate(&forge.log).0.record_end(), forge.end());
    forge.writer.overwrite_contrecord(aborted, time()).unwrap();
    forge.flush();
    let last = forge.message(3000);
    let (validator, outcome) = validate(&forge.log);
    assert_eq!((outcome, validator.record_end()), (Ok(()), last.end));
    assert_eq!(validator.records(), forge.placed.len() as u64 + 1);
}

#[test]
fn an_overwrite_must_name_the_record_given_up() {
    let (mut forge, aborted) = crashed();
    let page = forge.writer.position();
    let named = Lsn::new(aborted.as_u64() - 8);
    forge.writer.overwrite_contrecord(named, time()).unwrap();
    let error = refusal(&forge.flush().log);
    assert_eq!(error.lsn, page.saturating_add(24));
    assert_eq!(error.reason, WalErrorKind::WrongOverwrite { named, aborted });
}

#[test]
fn an_overwrite_must_be_said_and_must_be_true() {
    let (mut forge, _) = crashed();
    forge.message(64);
    forge.log[2 * PAGE + 2] |= PageFlags::FIRST_IS_OVERWRITE_CONTRECORD.bits() as u8;
    assert_eq!(refusal(&forge.log).reason, WalErrorKind::MissingOverwrite);

    let mut forge = Forge::new();
    forge.fill_page_to(0);
    let kept = forge.placed[0].start;
    forge.writer.overwrite_contrecord(kept, time()).unwrap();
    assert_eq!(refusal(&forge.flush().log).reason, WalErrorKind::UnexpectedOverwrite);
    forge.log[PAGE + 2] &= !(PageFlags::FIRST_IS_OVERWRITE_CONTRECORD.bits() as u8);
    let reason = WalErrorKind::WrongOverwrite { named: kept, aborted: Lsn::INVALID };
    assert_eq!(refusal(&forge.log).reason, reason);
}

#[test]
fn padding_must_be_zero() {
    let mut forge = small_log();
    let at = forge.index(forge.placed[1].start);
    assert_eq!(forge.log[at - 5..at], [0; 5], "the first record has 27 bytes");
    forge.log[at - 1] = 1;
    let error = refusal(&forge.log);
    assert_eq!((error.lsn, error.reason), (START.saturating_add(at as u64 - 1), WalErrorKind::Padding));
}

#[test]
fn a_log_past_the_end_of_the_address_space_is_refused() {
    let start = Lsn::new(u64::MAX - PAGE as u64 + 1);
    let mut validator = wal::Validator::new(start, forge::expectations());
    let error = validator.feed(&message_data(PAGE + 40)).unwrap_err();
    assert_eq!(error.reason, WalErrorKind::AddressSpace);
}
