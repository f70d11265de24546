use std::fs;

use tempfile::TempDir;
use wal::SegmentNo;

use super::*;
use crate::generated::{given_up, grow, log, promote, size, start, wal};

/// Two finished segments and the beginning of a third, and where its last record ends.
fn archive() -> (TempDir, Lsn) {
    let root = tempfile::tempdir().unwrap();
    let stream = wal(2_400_000);
    put(&root, 1, &stream, 0);
    (root, start().saturating_add(stream.len() as u64))
}

/// Puts a stream's segments from number `first` on; the last one as an unfinished one.
fn put(root: &TempDir, timeline: u32, stream: &[u8], first: usize) {
    let whole = size().bytes() as usize;
    for (offset, part) in stream.chunks(whole).enumerate().skip(first) {
        let mut content = part.to_vec();
        content.resize(whole, 0);
        let suffix = if part.len() < whole { ".partial" } else { "" };
        fs::write(root.path().join(name_on(timeline, offset as u64) + suffix), content).unwrap();
    }
}

fn name_on(timeline: u32, offset: u64) -> String {
    let number = size().segment_of(start()).as_u64() + offset;
    SegmentNo::new(number).file_name(TimelineId::new(timeline), size())
}

fn name(offset: u64) -> String {
    name_on(1, offset)
}

fn fetched(root: &TempDir, file: &str) -> Result<Option<Vec<u8>>, FetchError> {
    let target = root.path().join("RECOVERYXLOG");
    let outcome =
        fetch(&WalDir::on_os(root.path()), file, &target).inspect_err(|_| assert!(!target.exists()))?;
    let content = fs::read(&target);
    let _ = fs::remove_file(&target);
    Ok((outcome == Fetched::Copied).then(|| content.unwrap()))
}

#[track_caller]
fn assert_hole(root: &TempDir, file: &str, from: Lsn) {
    match fetched(root, file) {
        Err(FetchError::Hole { from: found, file: named, .. }) => {
            assert_eq!((found, &*named), (from, file));
        }
        other => panic!("{file}: {:?}", other.map(|content| content.map(|content| content.len()))),
    }
}

fn start_of(offset: u64) -> Lsn {
    start().saturating_add(offset << 20)
}

fn remove(root: &TempDir, file: &str) {
    fs::remove_file(root.path().join(file)).unwrap();
}

/// Timeline 1 up to the middle of its third segment, and timeline 2, which goes on from there into its fifth; and where.
fn promoted() -> (TempDir, Lsn, Vec<u8>) {
    let root = tempfile::tempdir().unwrap();
    let mut log = log();
    let mut stream = grow(&mut log, 2_400_000, |at| vec![at as u8; 3000]);
    let switch = log.position();
    put(&root, 1, &stream, 0);
    stream.extend(promote(&mut log, 1, 2));
    stream.extend(grow(&mut log, 2_000_000, |at| vec![at as u8; 2000]));
    put(&root, 2, &stream, 2);
    history(&root, 2, &[(1, switch)]);
    (root, switch, stream)
}

fn history(root: &TempDir, timeline: u32, ancestors: &[(u32, Lsn)]) {
    let lines: Vec<_> = ancestors.iter().map(|(parent, at)| format!("{parent}\t{at}\twhy\n")).collect();
    fs::write(root.path().join(format!("{timeline:08X}.history")), lines.join("\n")).unwrap();
}

fn text(content: Option<Vec<u8>>) -> Option<String> {
    content.map(|content| String::from_utf8(content).unwrap())
}

#[test]
fn a_finished_segment_comes_as_it_is() {
    let (root, _) = archive();
    assert_eq!(fetched(&root, &name(1)).unwrap(), Some(fs::read(root.path().join(name(1))).unwrap()));
}

#[test]
fn an_unfinished_segment_comes_as_far_as_it_is_valid_and_whole_in_size() {
    let (root, end) = archive();
    let path = root.path().join(name(2) + ".partial");
    let mut content = fs::read(&path).unwrap();
    let whole_records = content.clone();
    let valid = size().offset_of(end) as usize;
    // The beginning of one more record, of which the rest has not come.
    content[valid..valid + 4].copy_from_slice(&5000_u32.to_le_bytes());
    fs::write(&path, &content).unwrap();
    assert_eq!(fetched(&root, &name(2)).unwrap(), Some(whole_records));
}

#[test]
fn an_unfinished_segment_that_is_damaged_is_not_handed_out() {
    let (root, end) = archive();
    let path = root.path().join(name(2) + ".partial");
    let sound = fs::read(&path).unwrap();
    let valid = size().offset_of(end) as usize;
    // In the middle, behind the end, in the last record's data and in its length.
    for at in [valid / 2, valid + 5000, valid - 1000, valid - 3024, valid - 3023] {
        let mut damaged = sound.clone();
        damaged[at] ^= 0x10;
        fs::write(&path, &damaged).unwrap();
        let error = fetched(&root, &name(2)).unwrap_err();
        assert!(matches!(error, FetchError::Damaged { .. }), "byte {at} of {valid}: {error}");
    }
}

#[test]
fn absent_files_are_absent_and_strange_names_too() {
    let (root, _) = archive();
    for file in [&*name(3), "00000002.history", "../../etc/passwd", "", "x.backup"] {
        assert_eq!(fetched(&root, file).unwrap(), None, "{file}");
    }
}

#[test]
fn damage_is_an_error_and_leaves_no_target() {
    let (root, _) = archive();
    let path = root.path().join(name(1));
    // In a record that began in the segment before, and in one of its own.
    for at in [100, 700_000] {
        let sound = fs::read(&path).unwrap();
        let mut damaged = sound.clone();
        damaged[at] ^= 1;
        fs::write(&path, &damaged).unwrap();
        let error = fetched(&root, &name(1)).unwrap_err();
        assert!(matches!(error, FetchError::Damaged { .. }), "byte {at}: {error}");
        assert!(!root.path().join("RECOVERYXLOG").exists());
        fs::write(&path, &sound).unwrap();
    }
}

#[test]
fn a_segment_that_is_missing_before_others_is_a_hole() {
    let (root, _) = archive();
    for offset in [1, 0] {
        remove(&root, &name(offset));
        assert_hole(&root, &name(offset), start_of(offset));
    }
    // Of an unfinished one in between, what was not received is missing.
    fs::write(root.path().join(name(1) + ".partial"), &wal(1_500_000)[1 << 20..]).unwrap();
    let end = start().saturating_add(wal(1_500_000).len() as u64);
    assert_hole(&root, &name(1), end);
}

#[test]
fn what_the_server_has_itself_need_not_be_in_the_archive() {
    let (root, _) = archive();
    let data = tempfile::tempdir().unwrap();
    let target = data.path().join("RECOVERYXLOG");
    let own = data.path().join(name(1));
    fs::rename(root.path().join(name(1)), &own).unwrap();
    let dir = WalDir::on_os(root.path());
    assert_eq!(fetch(&dir, &name(1), &target).unwrap(), Fetched::Absent);
    // What it was before it was recycled is no use to it.
    fs::write(&own, fs::read(root.path().join(name(0))).unwrap()).unwrap();
    assert!(matches!(fetch(&dir, &name(1), &target), Err(FetchError::Hole { .. })));
}

#[test]
fn without_the_new_timelines_first_segment_there_is_a_hole_at_the_switch() {
    let (root, switch, _) = promoted();
    assert!(fetched(&root, &name_on(2, 2)).unwrap().is_some());
    remove(&root, &name_on(2, 2));
    // Its parent's file has the bytes up to the switch.
    assert_hole(&root, &name_on(2, 2), switch);
    remove(&root, &(name(2) + ".partial"));
    assert_hole(&root, &name_on(2, 2), start_of(2));
}

#[test]
fn up_to_a_switch_every_relatives_file_is_as_good() {
    let (root, switch, stream) = promoted();
    let head = {
        let from = switch.bytes_since(start_of(2)) as usize;
        let mut head = stream[2 << 20..3 << 20].to_vec();
        head[from..].fill(0);
        head
    };
    // The old timeline's end was not archived: the new one has it.
    remove(&root, &(name(2) + ".partial"));
    assert_eq!(fetched(&root, &name(2)).unwrap().as_ref(), Some(&head));
    // Nothing of the new timeline came but its history: it ends where it began.
    put(&root, 1, &stream[..switch.bytes_since(start()) as usize], 0);
    for offset in 2..4 {
        remove(&root, &name_on(2, offset));
    }
    remove(&root, &(name_on(2, 4) + ".partial"));
    assert_eq!(fetched(&root, &name_on(2, 2)).unwrap(), Some(head));
    assert_eq!(fetched(&root, &name_on(2, 3)).unwrap(), None);
    // The old one goes on, but not the new one with it.
    let beyond = grow(&mut log(), 3_500_000, |at| vec![at as u8; 3000]);
    put(&root, 1, &beyond, 0);
    remove(&root, &(name(2) + ".partial"));
    let tail = fetched(&root, &name_on(2, 2)).unwrap().unwrap();
    assert!(tail[switch.bytes_since(start_of(2)) as usize..].iter().all(|&byte| byte == 0));
}

#[test]
fn a_timeline_that_began_after_a_record_that_was_given_up_has_its_beginning_from_its_parent() {
    let root = tempfile::tempdir().unwrap();
    let page = given_up(&mut |timeline, stream| put(&root, timeline, stream, 0));
    history(&root, 2, &[(1, page)]);
    let own = fetched(&root, &name(2)).unwrap().unwrap();
    let head = fetched(&root, &name_on(2, 2)).unwrap().unwrap();
    let (end, written) =
        (page.bytes_since(start_of(2)) as usize, |bytes: &[u8]| bytes.iter().any(|&byte| byte != 0));
    assert!(
        written(&head[end - 100..end]) && !written(&head[end..]),
        "the page before is there, and nothing more"
    );
    // Whether the old timeline's own file has the beginning of what was given up does not matter.
    assert!(head.starts_with(&own[..own.iter().rposition(|&byte| byte != 0).unwrap() + 1]));
}

#[test]
fn an_old_timeline_that_ends_before_the_switch_is_a_hole() {
    let (root, switch, stream) = promoted();
    for offset in 2..4 {
        remove(&root, &name_on(2, offset));
    }
    remove(&root, &(name_on(2, 4) + ".partial"));
    let short = &stream[..switch.bytes_since(start()) as usize - 3032];
    put(&root, 1, short, 2);
    let end = start().saturating_add(short.len() as u64);
    for timeline in [1, 2] {
        let error = fetched(&root, &name_on(timeline, 2)).unwrap_err();
        // Where the last whole record ends.
        let last = Lsn::new(end.as_u64() - 3100)..=end;
        assert!(matches!(error, FetchError::Hole { from, .. } if last.contains(&from)), "{error}, not {end}");
    }
    remove(&root, &name(1));
    assert_hole(&root, &name(1), start_of(1));
}

#[test]
fn a_history_that_says_that_the_timeline_began_elsewhere_is_found_out() {
    let (root, switch, _) = promoted();
    history(&root, 2, &[(1, Lsn::new(switch.as_u64() - 8))]);
    let error = fetched(&root, &name_on(2, 2)).unwrap_err();
    assert!(matches!(error, FetchError::Begin { .. }), "{error}");
}

#[test]
fn skipped_timelines_get_histories_up_to_the_newest() {
    let (root, switch, _) = promoted();
    let later = start_of(4).saturating_add(40);
    history(&root, 7, &[(1, switch), (2, later)]);
    for timeline in 3..=6 {
        let file = format!("{timeline:08X}.history");
        let content = text(fetched(&root, &file).unwrap()).unwrap();
        let lines: Vec<_> = content.lines().filter(|line| !line.is_empty()).collect();
        assert_eq!(lines[0], format!("1\t{switch}\twhy"));
        assert!(lines[1].starts_with(&format!("2\t{later}\t")) && lines.len() == 2, "{content}");
        assert_eq!(text(fetched(&root, &file).unwrap()), Some(content), "the same every time");
    }
    assert_eq!(fetched(&root, "00000008.history").unwrap(), None);
    // The file of one that is known by a descendant's is not made up, but repeated.
    let own = fs::read(root.path().join("00000002.history")).unwrap();
    remove(&root, "00000002.history");
    assert_eq!(fetched(&root, "00000002.history").unwrap(), Some(own));
    // The other file of a skipped one's: nothing.
    assert_eq!(fetched(&root, &name_on(5, 2)).unwrap(), None);
}

#[test]
fn histories_that_are_lost_or_contradict_each_other_are_errors() {
    let (root, switch, _) = promoted();
    remove(&root, "00000002.history");
    for file in ["00000002.history".to_owned(), name_on(2, 2), name_on(2, 3)] {
        let error = fetched(&root, &file).unwrap_err();
        assert!(matches!(error, FetchError::LostHistory { .. }), "{file}: {error}");
    }
    // Above nothing is known, but what is there came from somewhere.
    fs::rename(root.path().join(name_on(2, 3)), root.path().join(name_on(4, 3))).unwrap();
    assert!(fetched(&root, "00000003.history").is_err());
    assert_eq!(fetched(&root, "00000005.history").unwrap(), None);
    history(&root, 2, &[(1, switch)]);
    history(&root, 4, &[(1, start_of(1)), (2, start_of(4))]);
    for file in ["00000002.history", "00000004.history"] {
        let error = fetched(&root, file).unwrap_err();
        assert!(matches!(error, FetchError::History { .. }), "{file}: {error}");
    }
}

#[test]
fn a_directory_that_is_gone_is_an_error_and_not_the_end_of_the_archive() {
    let root = tempfile::tempdir().unwrap();
    let gone = WalDir::on_os(root.path().join("gone"));
    assert!(fetch(&gone, &name(1), &root.path().join("t")).is_err());
}

#[test]
fn a_target_that_cannot_be_written_is_an_error() {
    let (root, _) = archive();
    let target = root.path().join("none").join("t");
    let error = fetch(&WalDir::on_os(root.path()), &name(1), &target).unwrap_err();
    assert!(error.to_string().starts_with("could not write file"), "{error}");
}
