use wal::record::{Record, ResourceManager, Xid};
use wal::writer::{LogIdentity, LogWriter};
use wal::{SegmentNo, WalVersion};

use super::*;

const MIB: usize = 1 << 20;
/// The log begins at the segment 3, the backup some records on in it.
const FIRST: u64 = 3;

fn size() -> SegmentSize {
    SegmentSize::new(MIB as u64).unwrap()
}

fn shape() -> LogShape {
    LogShape { segment_size: size(), system_id: SystemId::new(77), history: TimelineHistory::root() }
}

/// A log over a bit more than three segments, where each of its records ends, and where it changed to timeline 2.
struct Log {
    bytes: Vec<u8>,
    ends: Vec<Lsn>,
    switch: Lsn,
}

impl Log {
    fn new(changes_timeline: bool) -> Self {
        let identity =
            LogIdentity { system_id: SystemId::new(77), segment_size: size(), version: WalVersion::V15 };
        let start = size().start_of(SegmentNo::new(FIRST));
        let mut writer = LogWriter::new(identity, TimelineId::FIRST, start, Lsn::INVALID);
        let (mut ends, mut switch) = (Vec::new(), Lsn::INVALID);
        for number in 0..650 {
            if changes_timeline && number == 300 {
                writer.set_timeline(TimelineId::new(2));
                switch = writer.position();
            }
            let record = Record::new(ResourceManager::XLOG, 0x20, Xid::INVALID, &[7; 5000]);
            ends.push(writer.append(&record).unwrap().end);
        }
        Self { bytes: writer.drain(), ends, switch }
    }

    /// Its segments; the rest of the last one is left of something else.
    fn segments(&self, timeline: u32) -> Vec<(String, Vec<u8>)> {
        let chunks = self.bytes.chunks(MIB).zip(FIRST..);
        let segments = chunks.map(|(chunk, number)| {
            let mut segment = chunk.to_vec();
            segment.resize(MIB, 0x5a);
            (SegmentNo::new(number).file_name(TimelineId::new(timeline), size()), segment)
        });
        segments.collect()
    }

    fn start(&self) -> Lsn {
        self.ends[40]
    }

    fn end(&self) -> Lsn {
        *self.ends.last().unwrap()
    }
}

fn fetched(shape: LogShape, log: &Log, segments: &[(String, Vec<u8>)]) -> FetchedWal {
    let mut wal = FetchedWal::new(shape, log.start());
    for (name, content) in segments {
        wal.begin(None, 3);
        wal.data(b"abc");
        wal.begin(Some(name), content.len() as u64);
        content.chunks(70_000).for_each(|bytes| wal.data(bytes));
    }
    wal
}

#[track_caller]
fn assert_wrong(log: &Log, segments: &[(String, Vec<u8>)], words: &str) {
    let error = fetched(shape(), log, segments).conclude(log.end(), TimelineId::FIRST).unwrap_err();
    assert!(error.contains(words), "{words}: {error}");
}

#[test]
fn the_wal_of_a_backup_is_valid_from_its_start_to_its_end_and_may_be_anything_else() {
    let log = Log::new(false);
    let good = log.segments(1);
    assert!(good.len() > 3);
    fetched(shape(), &log, &good).conclude(log.end(), TimelineId::FIRST).unwrap();
    // Neither before the page of the start, nor behind the end.
    let mut segments = good.clone();
    segments[0].1[500] ^= 1;
    segments.last_mut().unwrap().1[MIB - 1] ^= 1;
    fetched(shape(), &log, &segments).conclude(log.end(), TimelineId::FIRST).unwrap();
    let earlier = log.ends[log.ends.len() - 300];
    fetched(shape(), &log, &good[..3]).conclude(earlier, TimelineId::FIRST).unwrap();
}

#[test]
fn what_is_damaged_or_missing_is_named() {
    let log = Log::new(false);
    let good = log.segments(1);
    let names: Vec<_> = good.iter().map(|(name, _)| name.clone()).collect();
    for segment in 0..good.len() {
        let mut segments = good.clone();
        let at = if segment == 0 { MIB - 9 } else { 30_000 };
        segments[segment].1[at] ^= 1;
        assert_wrong(&log, &segments, "damaged: invalid WAL at ");
        let mut segments = good.clone();
        segments.remove(segment);
        assert_wrong(&log, &segments, &names[segment]);
        let mut segments = good.clone();
        segments[segment].1.truncate(MIB / 2);
        assert_wrong(&log, &segments, &names[segment]);
    }
    assert_wrong(&log, &log.segments(2), &names[0]);
    let beyond = log.end().saturating_add(8);
    let error = fetched(shape(), &log, &good).conclude(beyond, TimelineId::FIRST).unwrap_err();
    assert!(error.contains("damaged"), "{error}");
    let mut other = shape();
    other.system_id = SystemId::new(78);
    let error = fetched(other, &log, &good).conclude(log.end(), TimelineId::FIRST).unwrap_err();
    assert!(error.contains("from system 77"), "{error}");
}

#[test]
fn a_log_that_changed_its_timeline_is_read_along_its_history() {
    let log = Log::new(true);
    let two = TimelineId::new(2);
    let history = TimelineHistory::root().child(two, log.switch, "").unwrap();
    let at = usize::try_from(size().segment_of(log.switch).as_u64() - FIRST).unwrap();
    // Of the segment with the switch the old timeline's file comes too, which ends there.
    let (old, new) = (log.segments(1), log.segments(2));
    let mut left = old[at].clone();
    left.1[size().offset_of(log.switch) as usize..].fill(0xff);
    let of_two = || LogShape { history: history.clone(), ..shape() };
    for order in [[left.clone(), new[at].clone()], [new[at].clone(), left.clone()]] {
        let segments = [&old[..at], &order[..], &new[at + 1..]].concat();
        fetched(of_two(), &log, &segments).conclude(log.end(), two).unwrap();
        // Unknown when the backup began.
        let error = fetched(shape(), &log, &segments).conclude(log.end(), two).unwrap_err();
        assert!(error.contains("changed to timeline 2"), "{error}");
    }
    // Before the change the old timeline's file is enough, behind it the new one's.
    let (old_alone, new_alone) = ([&old[..at], &[left]].concat(), [&old[..at], &new[at..]].concat());
    fetched(of_two(), &log, &old_alone).conclude(log.switch, two).unwrap();
    let error = fetched(of_two(), &log, &old_alone).conclude(log.end(), two).unwrap_err();
    assert!(error.contains(&new[at].0), "{error}");
    fetched(of_two(), &log, &new_alone).conclude(log.end(), two).unwrap();
}
