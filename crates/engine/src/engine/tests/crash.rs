//! Crashes at any moment: what was flushed is there, and nothing is half there.

use disk::CrashChoices;

use super::*;
use crate::effort::cases;

/// How many of the disks that a power cut at one moment can leave are looked at.
const STATES: usize = 12;

#[test]
fn after_a_crash_every_flushed_commit_is_there_and_none_in_part() {
    for seed in 1..=u64::from(cases(3)) {
        crash_everywhere(seed);
    }
}

fn crash_everywhere(seed: u64) {
    let dir = Path::new("/data");
    let disk = SimDisk::new();
    // A small pool, so that pages reach their files between the commits.
    let options = EngineOptions { shared_buffers: 8 << 13, ..EngineOptions::default() };
    let engine = open(&disk, dir, options.clone());
    let mut random = Random::new(seed);
    // The content after each commit, and which of them was flushed once the disk had done so many operations.
    let mut history = vec![Rows::new()];
    let mut flushed = vec![(disk.operations(), 0)];
    for _ in 0..25 {
        let mut transaction = engine.begin(Isolation::ReadCommitted, false);
        let mut rows = history.last().cloned().unwrap();
        for _ in 0..1 + random.below(8) {
            let key = random.key();
            if random.below(3) == 0 {
                transaction.delete(CATALOG, &key).unwrap();
                rows.remove(&key);
            } else {
                let value = random.value();
                transaction.put(CATALOG, &key, &value).unwrap();
                rows.insert(key, value);
            }
        }
        let commit = transaction.commit().unwrap();
        history.push(rows);
        if random.below(2) == 0 {
            engine.log().flush(commit.lsn).unwrap();
            flushed.push((disk.operations(), history.len() - 1));
        }
    }
    drop(engine);
    let start = flushed[0].0;
    for _ in 0..6 {
        let moment = start + random.below(disk.operations() - start + 1);
        let at_least = flushed.iter().rev().find(|&&(operations, _)| operations <= moment).unwrap().1;
        let choices = CrashChoices { exhaustive_up_to: 4, samples: 2, seed };
        // Evenly spread over all of them: what is lost, what is kept, and what is torn.
        let every = disk.count_crash_states(moment, choices).div_ceil(STATES).max(1);
        let first = random.below(every);
        for (number, state) in disk.crash_states(moment, choices).enumerate().skip(first).step_by(every) {
            let what = format!("seed {seed}, after {moment} operations, state {number}");
            let engine = open(&state, dir, options.clone());
            let found = rows_now(&engine, CATALOG);
            let at = history.iter().rposition(|rows| *rows == found);
            assert!(
                at.is_some_and(|at| at >= at_least),
                "{what}: {at:?}, not {at_least}\n{}",
                disk.log_text()
            );
            crate::btree::BTree::new(CATALOG).check(&crate::buffer::latest_view(engine.pool())).expect(&what);
            // It goes on from there, and what it writes now survives as well.
            put(&engine, &[("after", "the crash")]);
            flush(&engine);
            drop(engine);
            let mut expected = found;
            expected.insert(b"after".to_vec(), b"the crash".to_vec());
            assert_eq!(rows_now(&open(&state, dir, options.clone()), CATALOG), expected, "{what}");
        }
    }
}
