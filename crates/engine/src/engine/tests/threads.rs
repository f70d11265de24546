//! Many threads at once.

use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Wake;
use std::thread;

use super::*;

const ACCOUNTS: u32 = 20;

struct Unpark(thread::Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Moves an amount from one account to another; whether it was possible.
fn transfer(transaction: &mut Transaction, accounts: [u32; 2], waker: &Waker) -> Result<(), EngineError> {
    for (account, change) in accounts.iter().zip([-1_i64, 1]) {
        let key = account.to_be_bytes();
        while transaction.lock_row(CATALOG, &key, waker)? == Locked::Wait {
            thread::park();
        }
        let balance = transaction.get_locked(CATALOG, &key)?.unwrap();
        let balance = i64::from_le_bytes(balance.try_into().unwrap()) + change;
        transaction.put(CATALOG, &key, &balance.to_le_bytes())?;
    }
    Ok(())
}

fn total(transaction: &Transaction) -> i64 {
    let rows = rows(transaction, CATALOG);
    assert_eq!(rows.len(), ACCOUNTS as usize);
    rows.values().map(|value| i64::from_le_bytes(value.as_slice().try_into().unwrap())).sum()
}

#[test]
fn money_is_neither_made_nor_lost_whoever_looks_and_whenever() {
    let (disk, dir) = (SimDisk::new(), Path::new("/data"));
    let engine = open(&disk, dir, EngineOptions::default());
    let mut transaction = engine.begin(Isolation::ReadCommitted, false);
    for account in 0..ACCOUNTS {
        transaction.put(CATALOG, &account.to_be_bytes(), &100_i64.to_le_bytes()).unwrap();
    }
    transaction.commit().unwrap();
    flush(&engine);
    let done = AtomicBool::new(false);
    let committed = std::sync::atomic::AtomicUsize::new(0);
    thread::scope(|scope| {
        let writers: Vec<_> = (0..3)
            .map(|seed| {
                let (engine, committed) = (&engine, &committed);
                scope.spawn(move || {
                    let mut random = Random::new(seed + 1);
                    let waker = Waker::from(Arc::new(Unpark(thread::current())));
                    for round in 0..300 {
                        let isolation = [Isolation::ReadCommitted, Isolation::RepeatableRead][round % 2];
                        let mut transaction = engine.begin(isolation, false);
                        transaction.begin_statement();
                        let accounts = [random.below(20) as u32, random.below(20) as u32];
                        match transfer(&mut transaction, accounts, &waker) {
                            Ok(()) => {
                                let commit = transaction.commit().unwrap();
                                committed.fetch_add(1, Ordering::Relaxed);
                                if round % 8 == 0 {
                                    engine.log().flush(commit.lsn).unwrap();
                                }
                            }
                            Err(EngineError::Deadlock | EngineError::Serialization) => transaction.rollback(),
                            Err(error) => panic!("{error}"),
                        }
                    }
                })
            })
            .collect();
        let readers: Vec<_> = (0..2)
            .map(|_| {
                let (engine, done) = (&engine, &done);
                scope.spawn(move || {
                    let mut last = Lsn::INVALID;
                    while !done.load(Ordering::Relaxed) {
                        let transaction = engine.begin(Isolation::RepeatableRead, true);
                        assert!(transaction.snapshot_lsn() >= last, "never backwards");
                        last = transaction.snapshot_lsn();
                        assert_eq!(total(&transaction), 100 * i64::from(ACCOUNTS));
                    }
                })
            })
            .collect();
        for writer in writers {
            writer.join().unwrap();
        }
        done.store(true, Ordering::Relaxed);
        for reader in readers {
            reader.join().unwrap();
        }
    });
    assert!(committed.into_inner() > 100);
    flush(&engine);
    drop(engine);
    let engine = open(&disk, dir, EngineOptions::default());
    assert_eq!(total(&engine.begin(Isolation::ReadCommitted, true)), 100 * i64::from(ACCOUNTS));
}
