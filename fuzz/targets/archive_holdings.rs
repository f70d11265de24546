//! A directory's files and histories: whatever is there, what is said of a segment agrees with the files.
#![no_main]

use std::path::Path;
use std::sync::Arc;

use disk::{OpenMode, SimDisk};
use libfuzzer_sys::arbitrary::{Result, Unstructured};
use libfuzzer_sys::fuzz_target;
use replication::waldir::{
    Compression, HistoryAnswer, Holdings, LineWalk, Reach, SegmentAnswer, SegmentFile, Stand, WalDir, Worth,
    find_end_of_wal,
};
use wal::record::{Record, ResourceManager, Xid};
use wal::writer::{LogIdentity, LogWriter};
use wal::{Lsn, SegmentNo, SegmentSize, SystemId, TimelineId, WalVersion};

/// Numbers of timelines and of segments that occur.
const TIMELINES: u32 = 6;
const SEGMENTS: u64 = 5;
const DIR: &str = "/archive";

/// What a look at so few segments may use: each a few times, for the simulated disk remembers what was written.
const MEMORY: usize = 64 << 20;

fuzz_target!(|input: &[u8]| {
    walship_fuzz::bounded_in(MEMORY, input, |input| {
        let _ = generated(&mut Unstructured::new(input));
    });
});

fn generated(input: &mut Unstructured<'_>) -> Result<()> {
    let dir = WalDir::new(DIR, Arc::new(SimDisk::new()));
    dir.disk().create_dir_all(Path::new(DIR)).expect("a directory");
    let log = log(input)?;
    let mut furthest = Lsn::INVALID;
    for _ in 0..input.int_in_range(0..=6)? {
        furthest = furthest.max(put_segment(&dir, &log, input)?);
    }
    for _ in 0..input.int_in_range(0..=4)? {
        put_history(&dir, input)?;
    }
    let holdings = Holdings::read(&dir, size()).expect("a directory that can be read");
    for timeline in (1..=TIMELINES + 1).map(TimelineId::new) {
        histories_agree(&holdings, timeline);
        for segment in (0..=SEGMENTS + 1).map(SegmentNo::new) {
            files_agree(&dir, &holdings, timeline, segment);
        }
    }
    if let Ok(Some(end)) = find_end_of_wal(&dir, None) {
        assert!(end.lsn <= furthest, "{} of {furthest}", end.lsn);
    }
    prefix_ends_earlier(input)
}

/// A log over the first segments.
fn log(input: &mut Unstructured<'_>) -> Result<Vec<u8>> {
    let identity =
        LogIdentity { system_id: SystemId::new(7_000), segment_size: size(), version: WalVersion::V15 };
    let mut writer =
        LogWriter::new(identity, TimelineId::FIRST, size().start_of(SegmentNo::new(1)), Lsn::INVALID);
    let data = vec![0x5A; 500_000];
    for _ in 0..input.int_in_range(1..=4)? {
        let length = *input.choose(&[8, 3000, 100_000, data.len()])?;
        let record = Record::new(ResourceManager::LOGICAL_MESSAGE, 0, Xid::new(901), &data[..length]);
        writer.append(&record).expect("a record of this length");
    }
    Ok(writer.drain())
}

/// Puts a file in its place: with a part of the log, or with bytes from anywhere. Up to where it reaches.
fn put_segment(dir: &WalDir, log: &[u8], input: &mut Unstructured<'_>) -> Result<Lsn> {
    let timeline = TimelineId::new(input.int_in_range(1..=TIMELINES)?);
    let number = input.int_in_range(0..=SEGMENTS)?;
    let segment = SegmentNo::new(number);
    let whole = size().bytes() as usize;
    let from = whole * usize::try_from(number.saturating_sub(1)).unwrap_or(0);
    let mut content = log.get(from..).unwrap_or_default().to_vec();
    content.truncate(whole);
    match input.int_in_range(0..=4)? {
        0 => content.resize(whole, 0),
        1 => content.truncate(input.int_in_range(0..=whole)?),
        2 => content = input.bytes(input.len().min(500))?.to_vec(),
        3 if !content.is_empty() => {
            let at = input.int_in_range(0..=content.len() - 1)?;
            content[at] ^= 1 << input.int_in_range(0..=7)?;
            content.resize(whole, 0);
        }
        _ => content.resize(8192, 0),
    }
    let compression =
        *input.choose(&[Compression::None, Compression::None, Compression::Gzip, Compression::Lz4])?;
    let name = SegmentFile::name_of(timeline, segment, size(), compression, input.arbitrary()?);
    let file = dir.disk().open(&dir.path().join(name), OpenMode::Create).expect("a file");
    file.write_all_at(&content, 0).expect("a file can be written");
    Ok(size().end_of(segment))
}

/// A history of a few ancestors, or a text from anywhere.
fn put_history(dir: &WalDir, input: &mut Unstructured<'_>) -> Result<()> {
    let timeline = TimelineId::new(input.int_in_range(2..=TIMELINES)?);
    let mut content = Vec::new();
    for _ in 0..input.int_in_range(0..=3)? {
        let (parent, at) = (input.int_in_range(1..=TIMELINES)?, input.int_in_range(0..=SEGMENTS << 20)?);
        content.extend(format!("{parent}\t{}\tno reason\n\n", Lsn::new(at)).into_bytes());
    }
    if input.ratio(1, 4)? {
        content = input.bytes(input.len().min(100))?.to_vec();
    }
    let path = dir.path().join(timeline.history_file_name());
    let file = dir.disk().open(&path, OpenMode::Create).expect("a file");
    file.write_all_at(&content, 0).expect("a file can be written");
    Ok(())
}

/// What is answered for a history's name.
fn histories_agree(holdings: &Holdings, timeline: TimelineId) {
    let _ = holdings.contradiction(timeline);
    let is_file = holdings.history_files().any(|other| other == timeline);
    match holdings.history_answer(timeline) {
        HistoryAnswer::File => assert!(is_file),
        HistoryAnswer::Made(history) => {
            assert!(!is_file && history.timeline() == timeline && timeline > TimelineId::FIRST);
            assert!(history.entries().iter().all(|entry| entry.timeline < timeline));
        }
        HistoryAnswer::Lost(_) => assert!(!is_file && timeline > TimelineId::FIRST),
        // Nobody has begun this one, nor a later one: a server's search ends here.
        HistoryAnswer::Absent if timeline > TimelineId::FIRST => {
            assert!(holdings.timelines().iter().all(|&other| other < timeline), "{timeline}");
        }
        HistoryAnswer::Absent => {}
    }
}

/// Which files stand for a segment, and what a walk says of them.
fn files_agree(dir: &WalDir, holdings: &Holdings, timeline: TimelineId, segment: SegmentNo) {
    let (start, end) = (size().start_of(segment), size().end_of(segment));
    let needed = holdings.must_reach(timeline, segment);
    assert!(needed.as_ref().is_none_or(|&(needed, _)| start < needed && needed <= end));
    let stands = holdings.stands(timeline, segment);
    for stand in &stands {
        assert!(holdings.files().contains_key(&(stand.file.timeline, segment)));
        assert!(stand.end == Lsn::MAX || (start..=end).contains(&stand.end));
        assert_eq!(stand.end == Lsn::MAX, stand.file.timeline == timeline, "its own counts to its end");
    }
    let prove = |stand: Stand<'_>| -> std::result::Result<Option<(Reach, Lsn)>, String> {
        let Some(history) = holdings.history(timeline) else { return Ok(None) };
        let Ok(Some(content)) = holdings.content(dir, stand.file) else { return Ok(None) };
        let form = holdings.form(dir, segment, content.partial).map_err(|error| error.to_string())?;
        let end = end.min(stand.end);
        let mut bytes = |at: Lsn, buffer: &mut [u8]| -> std::result::Result<usize, ()> {
            let rest = content.bytes.get(at.bytes_since(start) as usize..).unwrap_or_default();
            let count = rest.len().min(buffer.len());
            buffer[..count].copy_from_slice(&rest[..count]);
            Ok(count)
        };
        let mut walk = LineWalk::new(start, size(), &history);
        let reach = match walk.segment(&mut bytes, segment, end, form) {
            Worth::Whole => Reach { end, page: None },
            Worth::Beginning(_) => Reach { end: walk.validator().record_end(), page: None },
            other => return Err(format!("{other:?}")),
        };
        assert!(reach.end <= start.saturating_add(content.bytes.len() as u64), "nothing is made up");
        Ok(Some((reach, reach.end)))
    };
    match holdings.find(timeline, segment, prove) {
        Ok(SegmentAnswer::Found(end)) => assert!(needed.is_none_or(|(needed, _)| needed <= end)),
        Ok(SegmentAnswer::Hole { from, .. }) => assert!(needed.is_some_and(|(needed, _)| from < needed)),
        Ok(SegmentAnswer::Nothing) => assert!(needed.is_none()),
        Err(_) => assert!(!stands.is_empty()),
    }
}

/// Of a log that was cut off the end is found where its last whole record ends: not later than the whole's.
fn prefix_ends_earlier(input: &mut Unstructured<'_>) -> Result<()> {
    let log = log(input)?;
    let cut = input.int_in_range(0..=log.len())?;
    let end_of = |bytes: &[u8]| {
        let dir = WalDir::new(DIR, Arc::new(SimDisk::new()));
        dir.disk().create_dir_all(Path::new(DIR)).expect("a directory");
        for (segment, part) in (1..).map(SegmentNo::new).zip(bytes.chunks(size().bytes() as usize)) {
            let partial = part.len() < size().bytes() as usize;
            let name = SegmentFile::name_of(TimelineId::FIRST, segment, size(), Compression::None, partial);
            let file = dir.disk().open(&dir.path().join(name), OpenMode::Create).expect("a file");
            file.write_all_at(part, 0).expect("a file can be written");
        }
        find_end_of_wal(&dir, None).ok().flatten().map(|end| end.lsn)
    };
    let (Some(prefix), Some(whole)) = (end_of(&log[..cut]), end_of(&log)) else { return Ok(()) };
    let start = size().start_of(SegmentNo::new(1));
    assert!(prefix <= whole, "{prefix} of {whole}, cut at {cut}");
    assert!(prefix <= start.saturating_add(cut as u64), "{prefix}, cut at {cut}");
    Ok(())
}

fn size() -> SegmentSize {
    SegmentSize::new(1 << 20).expect("1 MiB is a segment size")
}
