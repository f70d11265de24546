//! The end of an unfinished segment: cut off anywhere it is clean and not beyond what is there; one flipped bit is damage.
#![no_main]

use libfuzzer_sys::arbitrary::{Result, Unstructured};
use libfuzzer_sys::fuzz_target;
use wal::record::{Record, ResourceManager, Xid};
use wal::writer::{LogIdentity, LogWriter};
use wal::{
    Expectations, Lsn, SegmentSize, Stop, SystemId, Tail, TimelineHistory, TimelineId, Validator, WalError,
    WalVersion, Walk,
};

const PAGE: usize = 8192;
const START: Lsn = Lsn::new(1 << 20);
const SHORT_HEADER: usize = 24;
const LONG_HEADER: usize = 40;
/// Where a page header has its flags, and the one among them of which both values are right.
const FLAGS: usize = 2;
const BKP_REMOVABLE: u8 = 0x04;

fuzz_target!(|input: &[u8]| {
    walship_fuzz::bounded(input, garbage);
    let _ = generated(&mut Unstructured::new(input));
});

/// Bytes from anywhere.
fn garbage(input: &[u8]) {
    let whole = looked_at(input);
    let half = looked_at(&input[..input.len() / 2]);
    assert!(half.end <= whole.end && whole.end <= START.saturating_add(input.len() as u64));
    // Nothing but whole records: there is nothing to doubt.
    if whole.stopped_by.is_none() && whole.end == START.saturating_add(input.len() as u64) {
        assert!(whole.clean);
    }
}

/// A log made of records as the input says: whole, then cut off, then with one bit flipped.
fn generated(input: &mut Unstructured<'_>) -> Result<()> {
    let identity = LogIdentity {
        system_id: SystemId::new(7_000),
        segment_size: segment_size(),
        version: WalVersion::V15,
    };
    let mut writer = LogWriter::new(identity, TimelineId::FIRST, START, Lsn::new(0x40));
    // Of every byte of the data several bits are set: what is missing of a record is more than one bit.
    let data = [0x5A; 2 * PAGE];
    let mut second = START;
    for number in 0..input.int_in_range(2..=10)? {
        let length = *input.choose(&[8, 9, 200, 255, 256, PAGE - 100, PAGE, data.len()])?;
        let record = Record::new(ResourceManager::LOGICAL_MESSAGE, 0, Xid::new(901), &data[..length]);
        let placed = writer.append(&record).expect("a record of this length");
        if number == 1 {
            second = placed.start;
        }
    }
    let end = writer.position();
    let mut log = writer.drain();
    let written = log.len();
    log.resize(written + input.int_in_range(0..=2 * PAGE)?, 0);
    let whole = looked_at(&log);
    assert!(whole.clean && whole.end == end, "{} of {end}", whole.end);

    let cut = input.int_in_range(LONG_HEADER..=written)?;
    let in_header = cut > PAGE && (1..SHORT_HEADER).contains(&(cut % PAGE));
    let mut zeroed = log.clone();
    zeroed[cut..].fill(0);
    for cut_off in [&zeroed[..], &zeroed[..cut]] {
        let found = looked_at(cut_off);
        // A record's padding is zeros, whether it was there or not.
        let last = START.saturating_add(cut as u64).align8().min(START.saturating_add(cut_off.len() as u64));
        assert!(found.end <= last, "cut at {cut}: {}", found.end);
        // A page header of which a part is there is neither the one nor the other.
        assert!(in_header || found.clean, "cut at {cut}: {:?}", found.stopped_by);
    }

    // In front of that only the records' links tell what they are.
    let from = second.bytes_since(START) as usize;
    let (byte, bit) = (input.int_in_range(from..=written - 1)?, 1 << input.int_in_range(0..=7)?);
    log[byte] ^= bit;
    let may_be_either = byte % PAGE == FLAGS && bit == BKP_REMOVABLE;
    let found = looked_at(&log);
    assert!(may_be_either || !found.clean, "bit {bit:#x} of byte {byte} of {written}");
    Ok(())
}

/// What a log turned out to be.
struct Found {
    end: Lsn,
    clean: bool,
    stopped_by: Option<WalError>,
}

/// Walks over `log` in both ways, and asks whether it ends cleanly.
fn looked_at(log: &[u8]) -> Found {
    let limit = START.saturating_add(log.len() as u64);
    let mut source = |lsn: Lsn, buffer: &mut [u8]| -> std::result::Result<usize, ()> {
        let rest = log.get(lsn.bytes_since(START) as usize..).unwrap_or_default();
        let count = rest.len().min(buffer.len()).min(5000);
        buffer[..count].copy_from_slice(&rest[..count]);
        Ok(count)
    };
    let mut walk = Walk::new(validator());
    let stopped_by = match walk.advance(&mut source, limit) {
        Ok(()) => None,
        Err(Stop::Invalid(error)) => Some(error),
        Err(other) => panic!("{other:?}"),
    };
    let mut pushed = Walk::new(validator());
    assert_eq!(pushed.take(START, log, limit).err(), stopped_by);
    let end = walk.validator().record_end();
    assert_eq!(pushed.validator().record_end(), end);
    let mut given = Walk::for_records(validator());
    let mut records = 0;
    let stopped = loop {
        let stopped = given.validator().position() >= limit || given.step(&mut source, limit).is_err();
        let mut found = given.records();
        records += found.by_ref().count() as u64;
        let passed = found.position();
        given.pass(passed);
        if stopped {
            break passed;
        }
    };
    assert!(stopped <= end && records <= walk.validator().records());
    let record = walk.validator().record_under_way();
    let tail =
        Tail { log, start: START, segment_size: segment_size(), record, stopped_by: stopped_by.as_ref() };
    Found { end, clean: tail.is_clean(), stopped_by }
}

fn validator() -> Validator {
    Validator::new(START, Expectations::new(segment_size(), TimelineHistory::root()))
}

fn segment_size() -> SegmentSize {
    SegmentSize::new(1 << 20).expect("1 MiB is a segment size")
}
