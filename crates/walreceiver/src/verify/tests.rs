//! Archives with everything that can be wrong with them.

use std::fs;
use std::path::PathBuf;

use tempfile::TempDir;
use wal::record::{
    BlockImage, BlockNumber, BlockRef, Fork, ImageCompression, Record, RelFileLocator, ResourceManager, Xid,
};

use super::*;
use crate::generated::{given_up, grow, log, promote, size, start, wal};

mod agreement;

struct Archive {
    root: TempDir,
}

fn name(timeline: u32, offset: u64) -> String {
    let number = size().segment_of(start()).as_u64() + offset;
    SegmentNo::new(number).file_name(TimelineId::new(timeline), size())
}

impl Archive {
    /// Five finished segments and an unfinished one, of one timeline.
    fn new() -> Self {
        let archive = Self { root: tempfile::tempdir().unwrap() };
        archive.put(1, &wal(5_500_000));
        archive
    }

    fn put(&self, timeline: u32, stream: &[u8]) {
        let whole = size().bytes() as usize;
        for (offset, part) in stream.chunks(whole).enumerate() {
            let mut name = name(timeline, offset as u64);
            let mut content = part.to_vec();
            if content.len() < whole {
                name += ".partial";
                content.resize(whole, 0);
            }
            fs::write(self.path(&name), content).unwrap();
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    fn change(&self, name: &str, at: usize, change: impl FnOnce(u8) -> u8) {
        let mut content = fs::read(self.path(name)).unwrap();
        content[at] = change(content[at]);
        fs::write(self.path(name), content).unwrap();
    }

    /// Moves the files' times back, so that they count as settled.
    fn settle(&self) {
        std::thread::sleep(std::time::Duration::from_millis(120)); // ctime cannot be set
    }

    /// Looks at everything, or (not `full`) at what is not remembered as proved.
    fn verify_with(&self, full: bool) -> Verification {
        let progress = Progress::default();
        let options = VerifyOptions { full, jobs: NonZero::new(2).unwrap(), progress: &progress };
        verify(&WalDir::on_os(self.root.path()), &options).unwrap()
    }

    fn verify(&self) -> Verification {
        self.verify_with(false)
    }

    fn failures(&self) -> Vec<String> {
        let found = self.verify();
        assert_eq!(found.proved, found.findings.iter().all(|finding| !finding.is_failure()));
        found.findings.iter().filter(|finding| finding.is_failure()).map(ToString::to_string).collect()
    }
}

#[test]
fn a_sound_archive_is_proved_and_a_second_look_reads_only_what_is_unfinished() {
    let archive = Archive::new();
    archive.settle();
    let first = archive.verify();
    assert!(first.proved, "{first:?}");
    assert_eq!((first.segments, first.remembered), (6, 0));
    assert!(matches!(&first.findings[..], [Finding::Unfinished { .. }]), "{first:?}");
    let second = archive.verify();
    assert_eq!((second.proved, second.remembered), (true, 5));
    assert!(second.bytes < first.bytes / 2, "{second:?}");
    assert_eq!(second.timelines, first.timelines);
    assert_eq!(archive.verify_with(true).remembered, 0);
}

#[test]
fn one_flipped_bit_anywhere_is_found_and_its_file_named() {
    let archive = Archive::new();
    archive.settle();
    assert!(archive.verify().proved);
    let file = name(1, 2);
    for at in [0, 17, 39, 40, 9_000, 500_000, 1_048_575] {
        archive.change(&file, at, |byte| byte ^ 0x10);
        let failures = archive.failures();
        assert!(!failures.is_empty(), "byte {at}: not found");
        assert!(failures.iter().all(|failure| failure.contains("damaged")), "byte {at}: {failures:?}");
        archive.change(&file, at, |byte| byte ^ 0x10);
        assert_eq!(archive.failures(), [""; 0], "byte {at}: mended");
    }
}

#[test]
fn damage_does_not_hide_damage_after_it() {
    let archive = Archive::new();
    for offset in [1, 3] {
        archive.change(&name(1, offset), 500_000, |byte| byte ^ 1);
    }
    let failures = archive.failures();
    assert_eq!(failures.len(), 2, "{failures:?}");
    assert!(failures[0].contains(&name(1, 1)) && failures[1].contains(&name(1, 3)));
}

#[test]
fn a_missing_segment_is_a_hole() {
    let archive = Archive::new();
    fs::remove_file(archive.path(&name(1, 2))).unwrap();
    assert_eq!(archive.failures(), [format!("hole: segment \"{}\" of timeline 1 is missing", name(1, 2))]);
}

#[test]
fn swapped_and_short_segments_are_found() {
    let archive = Archive::new();
    let (one, two) = (archive.path(&name(1, 1)), archive.path(&name(1, 2)));
    let (first, second) = (fs::read(&one).unwrap(), fs::read(&two).unwrap());
    fs::write(&one, &second).unwrap();
    fs::write(&two, &first).unwrap();
    assert_eq!(archive.failures().len(), 2);
    fs::write(&one, &first).unwrap();
    fs::write(&two, &second[..1000]).unwrap();
    assert!(archive.failures().iter().any(|failure| failure.starts_with("wrong size")));
}

#[test]
fn a_segment_from_another_run_of_the_same_length_breaks_the_seam() {
    // Valid in itself, and where it should be; only the records before and after do not belong to it.
    let archive = Archive::new();
    let other = grow(&mut log(), 5_500_000, |at| vec![at as u8; 2968]);
    let whole = size().bytes() as usize;
    fs::write(archive.path(&name(1, 2)), &other[2 * whole..3 * whole]).unwrap();
    assert!(!archive.failures().is_empty());
}

#[test]
fn an_unfinished_segment_ends_with_zeros_or_half_a_record_but_not_with_damage() {
    let archive = Archive::new();
    let partial = name(1, 5) + ".partial";
    let content = fs::read(archive.path(&partial)).unwrap();
    let written = content.iter().rposition(|&byte| byte != 0).unwrap() + 1;
    let mut torn = content.clone();
    torn[written - 700..].fill(0);
    fs::write(archive.path(&partial), &torn).unwrap();
    assert_eq!(archive.failures(), [""; 0], "half a record");
    let mut damaged = content.clone();
    damaged[written / 2] ^= 1;
    fs::write(archive.path(&partial), &damaged).unwrap();
    let failures = archive.failures();
    assert!(failures.len() == 1 && failures[0].contains(&partial), "{failures:?}");
    let mut hole = content;
    hole[8192..16_384].fill(0);
    fs::write(archive.path(&partial), &hole).unwrap();
    assert_eq!(archive.failures().len(), 1, "zeros in the middle");
}

/// The unfinished segment's content after a change of it.
type Changed = (&'static str, Box<dyn Fn(&mut [u8])>);

#[test]
fn the_seam_to_an_unfinished_segment_is_proved_as_far_as_that_has_come() {
    let (archive, finished) = (Archive::new(), 128);
    let stream = wal(finished * size().bytes() as usize + 9000);
    archive.put(1, &stream);
    let partial = archive.path(&(name(1, finished as u64) + ".partial"));
    let content = fs::read(&partial).unwrap();
    let continued = u32::from_le_bytes(content[16..20].try_into().unwrap()) as usize;
    assert!(continued > 500, "a record goes on in the unfinished segment");
    let cut = |at: usize| move |content: &mut [u8]| content[at..].fill(0);
    let sound: [Changed; 5] = [
        ("several records", Box::new(|_| {})),
        ("nothing", Box::new(cut(0))),
        ("the first bytes of the record that goes on", Box::new(cut(40 + 100))),
        ("that record alone", Box::new(cut(40 + continued.next_multiple_of(8)))),
        ("half of the next record, too", Box::new(cut(40 + continued + 1000))),
    ];
    for (what, change) in sound {
        let mut changed = content.clone();
        change(&mut changed);
        fs::write(&partial, &changed).unwrap();
        let found = archive.verify_with(true);
        assert!(found.proved, "{what}: {:?}", found.findings);
    }
    for (what, at) in
        [("the record that goes on", 60), ("the link of the next", 40 + continued.next_multiple_of(8) + 8)]
    {
        let mut changed = content.clone();
        changed[at] ^= 1;
        fs::write(&partial, &changed).unwrap();
        assert!(!archive.verify_with(true).proved, "{what} is damaged");
    }
}

#[test]
fn compressed_segments_are_verified_too() {
    let archive = Archive::new();
    let plain = archive.path(&name(1, 1));
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    std::io::Write::write_all(&mut encoder, &fs::read(&plain).unwrap()).unwrap();
    let packed = encoder.finish().unwrap();
    fs::remove_file(&plain).unwrap();
    let path = archive.path(&(name(1, 1) + ".gz"));
    fs::write(&path, &packed).unwrap();
    assert_eq!(archive.failures(), [""; 0]);
    fs::write(&path, &packed[..packed.len() / 2]).unwrap();
    assert!(archive.failures().iter().any(|failure| failure.contains(".gz")));
}

/// Timeline 1 with a promotion in its third segment: timeline 2 has a copy of that segment's head, and goes on.
fn promoted(after_switch: usize) -> (Archive, Lsn) {
    let archive = Archive { root: tempfile::tempdir().unwrap() };
    let mut one = log();
    let mut stream = grow(&mut one, 2_300_000, |at| vec![at as u8; 3000]);
    let switch = one.position();
    let head = stream.clone();
    let mut two = one.clone();
    stream.extend(grow(&mut one, after_switch, |_| vec![1; 100]));
    archive.put(1, &stream);
    let mut child = head;
    child.extend(promote(&mut two, 1, 2));
    child.extend(grow(&mut two, 1_000_000, |_| vec![2; 500]));
    archive.put(2, &child);
    for offset in 0..2 {
        fs::remove_file(archive.path(&name(2, offset))).unwrap();
    }
    fs::write(archive.path("00000002.history"), format!("1\t{switch}\tno recovery target specified\n"))
        .unwrap();
    (archive, switch)
}

#[test]
fn a_promotion_is_followed_over_both_timelines() {
    let (archive, _) = promoted(0);
    let found = archive.verify();
    assert!(found.proved, "{:?}", found.findings);
    assert_eq!(found.timelines.len(), 2);
}

#[test]
fn a_timeline_that_began_after_a_record_that_was_given_up_is_no_hole() {
    let archive = Archive { root: tempfile::tempdir().unwrap() };
    let page = given_up(&mut |timeline, stream| archive.put(timeline, stream));
    fs::write(archive.path("00000002.history"), format!("1\t{page}\tno recovery target specified\n"))
        .unwrap();
    let found = archive.verify();
    assert!(found.proved, "{:?}", found.findings);
    for timeline in [1, 2] {
        let line = stretches(&found, timeline);
        assert!(line.len() == 1 && !line[0].2, "timeline {timeline}: {line:?}");
    }
    // What is behind that page is nothing to the timeline that left there.
    let at = page.bytes_since(start()) as usize - (2 << 20) + 5000;
    archive.change(&(name(1, 2) + ".partial"), at, |_| 1);
    let found = archive.verify();
    assert!(!found.proved && stretches(&found, 1)[0].2, "{found:?}");
    assert!(!stretches(&found, 2)[0].2, "{found:?}");
}

#[test]
fn a_parent_that_goes_on_is_a_fork_that_is_named() {
    let (archive, switch) = promoted(50_000);
    let found = archive.verify();
    let fork = found.findings.iter().find(|finding| matches!(finding, Finding::Fork { .. })).unwrap();
    assert!(fork.to_string().starts_with(&format!("fork: timeline 2 left timeline 1 at {switch}")), "{fork}");
}

#[test]
fn a_child_that_differs_from_its_parent_before_the_switch_is_a_fork_that_fails() {
    let (archive, _) = promoted(0);
    let content = fs::read(archive.path(&name(2, 2))).unwrap();
    archive.change(&(name(1, 2) + ".partial"), 100_000, |_| content[100_000] ^ 1);
    assert!(archive.failures().iter().any(|failure| failure.contains("before timeline 2 left it")));
}

#[test]
fn a_missing_history_leaves_its_timeline_unproved() {
    let (archive, _) = promoted(0);
    fs::remove_file(archive.path("00000002.history")).unwrap();
    let failures = archive.failures();
    assert!(failures.iter().any(|failure| failure.starts_with("missing history: \"00000002.history\"")));
}

#[test]
fn a_hole_between_parent_and_child_is_found() {
    let (archive, _) = promoted(0);
    fs::remove_file(archive.path(&name(1, 1))).unwrap();
    fs::remove_file(archive.path(&(name(1, 2) + ".partial"))).unwrap();
    assert_eq!(archive.failures(), [format!("hole: segment \"{}\" of timeline 1 is missing", name(1, 1))]);
}

/// The stretches of a timeline's line, and whether a server is stopped at the end of each.
fn stretches(found: &Verification, timeline: u32) -> Vec<(String, String, bool)> {
    let summary = found.timelines.iter().find(|summary| summary.timeline == timeline).unwrap();
    let stretch =
        |stretch: &Stretch| (stretch.from.clone(), stretch.to.clone(), stretch.stopped_by.is_some());
    summary.stretches.iter().map(stretch).collect()
}

fn start_of(offset: u64) -> String {
    start().saturating_add(offset << 20).to_string()
}

#[test]
fn a_sound_line_is_one_stretch_and_a_hole_at_a_switch_makes_it_two() {
    let (archive, switch) = promoted(0);
    let found = archive.verify();
    let end = found.timelines[1].end.clone();
    assert_eq!(stretches(&found, 1), [(start_of(0), switch.to_string(), false)]);
    assert_eq!(stretches(&found, 2), [(start_of(0), end.clone(), false)]);
    fs::remove_file(archive.path(&name(2, 2))).unwrap();
    let found = archive.verify();
    assert!(!found.proved);
    let failures: Vec<_> = found.findings.iter().filter(|finding| finding.is_failure()).collect();
    assert!(failures.len() == 1 && failures[0].to_string().contains(&name(2, 2)), "{failures:?}");
    let both = stretches(&found, 2);
    assert!(both[0].2 && !both[1].2 && both[1].1 == end, "{both:?}");
    assert_eq!((&both[0].0, &both[1].0), (&start_of(0), &start_of(3)));
}

#[test]
fn damage_stops_whoever_comes_to_it_and_nobody_else() {
    let archive = Archive::new();
    archive.change(&name(1, 2), 500_000, |byte| byte ^ 1);
    let found = archive.verify();
    let both = stretches(&found, 1);
    assert!(both.len() == 2 && both[0].2 && !both[1].2, "{both:?}");
    assert_eq!((&both[0].0, &both[1].0), (&start_of(0), &start_of(3)));
    // A wrong length is as bad, also if a partial file of that name is beside it.
    fs::write(archive.path(&(name(1, 2) + ".partial")), &wal(2_500_000)[2 << 20..]).unwrap();
    fs::write(archive.path(&name(1, 2)), b"short").unwrap();
    let found = archive.verify();
    assert_eq!(stretches(&found, 1)[1].0, start_of(3));
    assert!(found.findings.iter().any(|finding| matches!(finding, Finding::WrongSize { .. })));
}

#[test]
fn a_flipped_bit_in_the_last_record_is_damage() {
    let archive = Archive::new();
    let file = name(1, 5) + ".partial";
    let content = fs::read(archive.path(&file)).unwrap();
    let written = content.iter().rposition(|&byte| byte != 0).unwrap() + 1;
    // The length, which then hides that the record is whole; the link; the data.
    for at in [written - 3029, written - 3028, written - 3029 + 9, written - 10] {
        archive.change(&file, at, |byte| byte ^ 0x20);
        let failures = archive.failures();
        assert!(failures.len() == 1 && failures[0].contains(&file), "byte {at} of {written}: {failures:?}");
        archive.change(&file, at, |byte| byte ^ 0x20);
    }
}

#[test]
fn a_page_image_that_does_not_decompress_is_damage_with_its_lsn() {
    let archive = Archive { root: tempfile::tempdir().unwrap() };
    let mut log = log();
    let mut stream = grow(&mut log, 1_500_000, |at| vec![at as u8; 3000]);
    let image = BlockImage {
        hole_offset: 0,
        hole_length: 0,
        apply: true,
        compression: Some(ImageCompression::Lz4),
        stored: vec![0x5A; 300].into(),
    };
    let mut record = Record::new(ResourceManager::XLOG, 0xB0, Xid::INVALID, &[]);
    record.blocks.push(BlockRef {
        id: 0,
        relation: RelFileLocator { tablespace: 1663, database: 5, relation: 16384 },
        fork: Fork::MAIN,
        block: BlockNumber::new(0),
        will_init: false,
        image: Some(image),
        data: &[],
    });
    let at = log.append(&record).unwrap().start;
    stream.extend(log.drain());
    stream.extend(grow(&mut log, 1_500_000, |at| vec![at as u8; 3000]));
    archive.put(1, &stream);
    let found = archive.verify();
    let failures: Vec<_> = found.findings.iter().filter(|finding| finding.is_failure()).collect();
    let [Finding::Damaged { file, lsn, .. }] = &failures[..] else { panic!("{failures:?}") };
    assert_eq!((file, lsn), (&name(1, 1), &at.to_string()));
    let both = stretches(&found, 1);
    assert_eq!((both.len(), both[0].2, &both[1].0), (2, true, &start_of(2)), "{both:?}");
}

#[test]
fn segments_of_another_system_or_size_are_named_wherever_they_lie() {
    let archive = Archive::new();
    let foreign = |offset: u64| {
        let mut content = fs::read(archive.path(&name(1, offset))).unwrap();
        content[24] ^= 0x55;
        fs::write(archive.path(&name(1, offset)), content).unwrap();
    };
    for offset in [0, 1] {
        foreign(offset);
    }
    let failures = archive.failures();
    for offset in [0, 1] {
        assert!(failures.iter().any(|failure| failure.contains(&name(1, offset))), "{failures:?}");
    }
    // A newest segment of another size does not make every other one a stranger.
    let mut other = vec![0; 16 << 20];
    other[..40].copy_from_slice(&fs::read(archive.path(&name(1, 2))).unwrap()[..40]);
    other[34] = 0;
    other[35] = 1;
    let newest = name(1, 9);
    fs::write(archive.path(&newest), other).unwrap();
    let failures = archive.failures();
    assert!(failures.iter().any(|failure| failure.starts_with("wrong size") && failure.contains(&newest)));
    assert!(failures.iter().all(|failure| !failure.contains(&name(1, 3))), "{failures:?}");
}

#[test]
fn skipped_numbers_are_told_and_what_has_wal_but_no_history_is_a_failure() {
    let (archive, switch) = promoted(0);
    let history = archive.path("00000002.history");
    fs::rename(&history, archive.path("00000007.history")).unwrap();
    for file in fs::read_dir(archive.root.path()).unwrap() {
        let name = file.unwrap().file_name().into_string().unwrap();
        if let Some(rest) = name.strip_prefix("00000002") {
            fs::rename(archive.path(&name), archive.path(&format!("00000007{rest}"))).unwrap();
        }
    }
    fs::write(archive.path("00000009.history"), format!("1\t{switch}\tx\n\n7\t{}\tx\n", start_of(4)))
        .unwrap();
    let found = archive.verify();
    let skipped: Vec<_> = found.findings.iter().filter(|f| matches!(f, Finding::Skipped { .. })).collect();
    assert_eq!(skipped, [&Finding::Skipped { first: 2, last: 6 }, &Finding::Skipped { first: 8, last: 8 }]);
    fs::remove_file(archive.path("00000009.history")).unwrap();
    fs::remove_file(archive.path("00000007.history")).unwrap();
    let failures = archive.failures();
    assert!(failures.iter().any(|failure| failure.contains("00000007.history")), "{failures:?}");
}

#[test]
fn a_child_that_follows_another_file_than_before_is_read_again() {
    let (archive, _) = promoted(0);
    archive.settle();
    assert!(archive.verify().proved);
    assert!(archive.verify().remembered > 1);
    // An older copy of the parent's last whole segment: good in itself, but not what the child goes on from.
    let other = grow(&mut log(), 2_500_000, |at| vec![at as u8; 2968]);
    fs::write(archive.path(&name(1, 1)), &other[1 << 20..2 << 20]).unwrap();
    let _ = fs::remove_file(archive.path(&(name(1, 2) + ".partial")));
    let found = archive.verify();
    assert!(!found.proved, "{found:?}");
}

#[test]
fn an_empty_directory_is_not_proved() {
    let archive = Archive { root: tempfile::tempdir().unwrap() };
    assert_eq!(archive.failures(), ["no WAL in this directory"]);
}
