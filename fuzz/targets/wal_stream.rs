//! The validator: valid logs are accepted however they are cut, one flipped bit is noticed, garbage is refused in time.
#![no_main]

use libfuzzer_sys::arbitrary::{Result, Unstructured};
use libfuzzer_sys::fuzz_target;
use wal::record::{Record, ResourceManager, Xid};
use wal::writer::{LogIdentity, LogWriter};
use wal::{Expectations, Lsn, SegmentSize, SystemId, TimelineHistory, TimelineId, Validator, WalVersion};

const PAGE: usize = 8192;
/// Where a page header has its flags, and the one among them of which both values are right.
const FLAGS: usize = 2;
const BKP_REMOVABLE: u8 = 0x04;

fuzz_target!(|input: &[u8]| {
    garbage(input);
    let _ = generated(&mut Unstructured::new(input));
});

/// Bytes from anywhere: the outcome does not depend on how they are cut, and nothing is allocated for what they claim.
fn garbage(input: &[u8]) {
    walship_fuzz::bounded(input, |input| {
        let start = Lsn::new(1 << 20);
        let (mut whole, mut cut) =
            (Validator::new(start, expectations()), Validator::new(start, expectations()));
        let outcome = whole.feed(input);
        let pieces = input.chunks(1 + input.len() / 3).try_for_each(|piece| cut.feed(piece));
        assert_eq!(outcome, pieces);
        assert_eq!(whole.record_end(), cut.record_end());
        assert!(whole.record_end() <= start.saturating_add(input.len() as u64));
    });
}

/// A log made of records as the input says, fed in pieces as it says; then once more with one bit flipped.
fn generated(input: &mut Unstructured<'_>) -> Result<()> {
    let version = *input.choose(&[WalVersion::V15, WalVersion::V16, WalVersion::V17, WalVersion::V18])?;
    let system_id = SystemId::new(7_000);
    let identity = LogIdentity { system_id, segment_size: segment_size(), version };
    let expect = Expectations { system_id: Some(system_id), version: Some(version), ..expectations() };
    // A start shortly before a segment's end, so that logs cross it.
    let start = Lsn::new((2 << 20) - (PAGE as u64) * input.int_in_range(1..=4)?);
    let mut writer = LogWriter::new(identity, TimelineId::FIRST, start, Lsn::INVALID);
    let data = [0x5A; 3 * PAGE];
    for _ in 0..input.int_in_range(1..=12)? {
        let length = *input.choose(&[0, 1, 7, 8, 200, 255, 256, PAGE - 100, PAGE, data.len()])?;
        let length = length.saturating_sub(input.int_in_range(0..=9)?);
        let record = Record::new(ResourceManager::LOGICAL_MESSAGE, 0, Xid::new(1), &data[..length]);
        writer.append(&record).expect("a record of this length");
    }
    let end = writer.position();
    let mut log = writer.drain();
    // Not so many pieces that a run takes long.
    let piece = input.int_in_range(1 + log.len() / 500..=log.len())?;
    let mut validator = Validator::new(start, expect.clone());
    log.chunks(piece).try_for_each(|piece| validator.feed(piece)).expect("the log is valid");
    assert_eq!((validator.position(), validator.record_end()), (end, end));

    let (byte, bit) = (input.int_in_range(0..=log.len() - 1)?, 1 << input.int_in_range(0..=7)?);
    log[byte] ^= bit;
    let mut validator = Validator::new(start, expect);
    let outcome = log.chunks(piece).try_for_each(|piece| validator.feed(piece));
    let may_be_either = byte % PAGE == FLAGS && bit == BKP_REMOVABLE;
    // Zeros where the length of the last record should be are what the end of a log looks like: no error, no record.
    assert!(
        may_be_either || outcome.is_err() || validator.record_end() < end,
        "bit {bit:#x} of byte {byte} unnoticed"
    );
    Ok(())
}

fn segment_size() -> SegmentSize {
    SegmentSize::new(1 << 20).expect("1 MiB is a segment size")
}

fn expectations() -> Expectations {
    Expectations::new(segment_size(), TimelineHistory::root())
}
