//! Against the standard library's stable sort.

use proptest::prelude::*;

use super::ExternalSort;
use super::temporary::{BUFFER, TemporaryFile};

type Entry = (Vec<u8>, Vec<u8>);

fn sorted(limit: usize, dir: &tempfile::TempDir, entries: &[Entry]) -> Vec<Entry> {
    let mut sort = ExternalSort::new(limit, "work_mem", Some(dir.path().join("pgsql_tmp")));
    for (key, payload) in entries {
        sort.push(key, payload).unwrap();
    }
    sort.finish().unwrap();
    let mut found = Vec::new();
    while let Some((key, payload)) = sort.next().unwrap() {
        found.push((key.to_vec(), payload.to_vec()));
    }
    assert!(sort.next().unwrap().is_none());
    found
}

fn entries() -> impl Strategy<Value = Vec<Entry>> {
    let length = prop_oneof![8 => 0..60usize, 1 => BUFFER - 20..BUFFER + 20, 1 => 2 * BUFFER..2 * BUFFER + 3];
    let entry = (proptest::collection::vec(0..4u8, 0..4), length, any::<u8>());
    proptest::collection::vec(entry.prop_map(|(key, length, byte)| (key, vec![byte; length])), 0..300)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_entries_come_out_in_order_and_equal_ones_as_they_came(entries in entries(), limit in 0..20_000usize) {
        let dir = tempfile::tempdir().unwrap();
        let mut expected = entries.clone();
        expected.sort_by(|a, b| a.0.cmp(&b.0));
        prop_assert!(sorted(limit, &dir, &entries) == expected);
    }
}

#[test]
fn runs_are_merged_before_there_are_too_many_and_nothing_is_left_in_the_directory() {
    let dir = tempfile::tempdir().unwrap();
    // About 1500 runs, of which eight are merged at once: four levels.
    let entries: Vec<Entry> = (0..30_000u32)
        .map(|number| {
            (number.wrapping_mul(2_654_435_761).to_be_bytes()[..2].to_vec(), number.to_be_bytes().to_vec())
        })
        .collect();
    let mut expected = entries.clone();
    expected.sort_by(|a, b| a.0.cmp(&b.0));
    assert!(sorted(600, &dir, &entries) == expected);
    assert_eq!(std::fs::read_dir(dir.path().join("pgsql_tmp")).unwrap().count(), 0);
}

#[test]
fn without_a_directory_memory_is_the_limit() {
    let mut sort = ExternalSort::new(1000, "work_mem", None);
    let failed = (0..100).find_map(|_| sort.push(b"key", &[1; 50]).err()).unwrap();
    assert_eq!(failed.sqlstate(), "53200");
    assert!(failed.into_error().hint.unwrap().contains("raise work_mem"));
}

#[test]
#[should_panic(expected = "one run at a time is written")]
fn runs_do_not_get_mixed_up_in_their_file() {
    let dir = tempfile::tempdir().unwrap();
    let file = TemporaryFile::create(dir.path()).unwrap();
    let (mut one, mut other) = (file.append(), file.append());
    one.push(b"key", &[1; BUFFER]).unwrap();
    other.push(b"key", &[2; BUFFER]).unwrap();
}
