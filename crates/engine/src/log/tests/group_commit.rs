//! Many threads that append and wait.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use super::support::*;
use crate::fatal;

#[test]
fn every_thread_finds_its_record_durable_and_few_syncs_serve_them_all() {
    let disk = empty_disk();
    let log = open(&disk, fresh());
    let announced = Arc::new(AtomicU64::new(0));
    let observer = Arc::clone(&announced);
    log.subscribe(move |lsn| observer.store(lsn.as_u64(), Ordering::SeqCst));
    thread::scope(|scope| {
        for thread in 0..8_u8 {
            let (log, announced) = (&log, &announced);
            scope.spawn(move || {
                for number in 0..200_usize {
                    let mut appender = log.appender();
                    append(&mut appender, &[thread; 10]);
                    let placed = append(&mut appender, &vec![thread; 100 + number]);
                    drop(appender);
                    log.flush(placed.end).unwrap();
                    assert!(log.flushed() >= placed.end);
                    assert!(announced.load(Ordering::SeqCst) >= placed.end.as_u64());
                }
            });
        }
    });
    let (end, found) = read(&disk, &root());
    assert_eq!((end.position, found.len()), (log.inserted(), 8 * 200 * 2));
    assert_eq!(announced.load(Ordering::SeqCst), log.flushed().as_u64());
    // Runs are contiguous.
    for run in found.chunks(2) {
        assert_eq!(
            run.first().and_then(|found| found.body.last()),
            run.last().and_then(|found| found.body.last())
        );
    }
}

#[test]
fn a_failed_sync_ends_the_process_for_everybody() {
    fatal::panic_instead_of_abort();
    let disk = empty_disk();
    let log = open(&disk, fresh());
    append(&mut log.appender(), &[1; 100]);
    log.flush(log.inserted()).unwrap();
    let flushed = log.flushed();
    append(&mut log.appender(), &[2; 100]);
    // The thread that makes segments ahead may be syncing too.
    log.make_all_ahead().unwrap();
    disk.fail_sync(1);
    for _ in 0..2 {
        let outcome = thread::scope(|scope| scope.spawn(|| log.flush(log.inserted())).join());
        assert!(outcome.is_err_and(|panic| panic.is::<fatal::Fatal>()));
    }
    assert_eq!(log.flushed(), flushed);
}

#[test]
fn a_full_disk_ends_the_process_and_no_position_moves() {
    fatal::panic_instead_of_abort();
    let disk = empty_disk();
    let log = open(&disk, fresh());
    append(&mut log.appender(), &[1; 100]);
    log.flush(log.inserted()).unwrap();
    log.make_all_ahead().unwrap();
    let flushed = log.flushed();
    disk.limit_space(Some(0));
    // The segments made ahead take two megabytes; the third must be made now.
    let outcome = thread::scope(|scope| {
        let fill = || {
            for _ in 0..40 {
                append(&mut log.appender(), &vec![2; 100_000]);
            }
        };
        scope.spawn(fill).join()
    });
    assert!(outcome.is_err_and(|panic| panic.is::<fatal::Fatal>()));
    assert_eq!(log.flushed(), flushed);
}
