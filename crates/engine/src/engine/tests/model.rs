//! Several transactions at a time against a model that knows the rows as of every commit.

use super::*;

/// By key; `None` is a deletion.
type Writes = BTreeMap<Vec<u8>, Option<Vec<u8>>>;

/// A transaction and what it should see.
struct Session {
    transaction: Transaction,
    /// Its own writes.
    own: Writes,
    savepoints: Vec<(crate::Savepoint, Writes)>,
}

struct World {
    engine: Arc<Engine>,
    /// The rows as of each commit's end, ascending.
    history: Vec<(Lsn, Rows)>,
    sessions: Vec<Session>,
    random: Random,
    conflicts: usize,
    waits: usize,
}

impl World {
    fn as_of(&self, lsn: Lsn) -> &Rows {
        let at = self.history.partition_point(|(commit, _)| *commit <= lsn);
        &self.history[at - 1].1
    }

    fn latest(&self) -> &Rows {
        &self.history.last().unwrap().1
    }

    fn begin(&mut self) {
        let isolation = [Isolation::ReadCommitted, Isolation::RepeatableRead][self.random.below(2)];
        let mut transaction = self.engine.begin(isolation, false);
        transaction.begin_statement();
        self.sessions.push(Session { transaction, own: BTreeMap::new(), savepoints: Vec::new() });
    }

    /// Everything a session sees is what the model says.
    fn check(&mut self, at: usize) {
        let session = &self.sessions[at];
        let mut expected = self.as_of(session.transaction.snapshot_lsn()).clone();
        for (key, value) in &session.own {
            match value {
                Some(value) => expected.insert(key.clone(), value.clone()),
                None => expected.remove(key),
            };
        }
        assert!(rows(&session.transaction, CATALOG) == expected);
        let key = self.random.key();
        let session = &self.sessions[at];
        assert_eq!(session.transaction.get(CATALOG, &key).unwrap().as_ref(), expected.get(&key));
    }

    /// Locks, reads and writes a row; gives up the transaction on a conflict.
    fn write(&mut self, at: usize) {
        let (key, value) = (self.random.key(), self.random.value());
        let deletes = self.random.below(4) == 0;
        let latest = self.latest().get(&key).cloned();
        let session = &mut self.sessions[at];
        match session.transaction.lock_row(CATALOG, &key, Waker::noop()) {
            Ok(Locked::Granted) => {}
            Ok(Locked::Wait) => return self.waits += 1,
            Err(EngineError::Deadlock) => return self.end(at, false),
            Err(error) => panic!("{error}"),
        }
        let own = session.own.get(&key).cloned();
        match session.transaction.get_locked(CATALOG, &key) {
            Ok(found) => assert_eq!(found, own.unwrap_or(latest)),
            Err(EngineError::Serialization) => {
                assert_eq!(session.transaction.isolation(), Isolation::RepeatableRead);
                let snapshot = session.transaction.snapshot_lsn();
                assert_ne!(self.as_of(snapshot).get(&key), latest.as_ref());
                self.conflicts += 1;
                return self.end(at, false);
            }
            Err(error) => panic!("{error}"),
        }
        if deletes {
            session.transaction.delete(CATALOG, &key).unwrap();
            session.own.insert(key, None);
        } else {
            session.transaction.put(CATALOG, &key, &value).unwrap();
            session.own.insert(key, Some(value));
        }
    }

    fn savepoint(&mut self, at: usize) {
        let choice = self.random.below(3);
        let session = &mut self.sessions[at];
        match (choice, session.savepoints.pop()) {
            (0, Some((savepoint, own))) => {
                session.transaction.rollback_to(savepoint);
                session.own = own.clone();
                session.savepoints.push((savepoint, own));
            }
            (1, Some((savepoint, _))) => session.transaction.release(savepoint),
            (_, kept) => {
                session.savepoints.extend(kept);
                let savepoint = session.transaction.savepoint();
                session.savepoints.push((savepoint, session.own.clone()));
            }
        }
    }

    fn end(&mut self, at: usize, commits: bool) {
        let session = self.sessions.swap_remove(at);
        if !commits {
            return session.transaction.rollback();
        }
        let mut rows = self.latest().clone();
        for (key, value) in session.own {
            match value {
                Some(value) => rows.insert(key, value),
                None => rows.remove(&key),
            };
        }
        let commit = session.transaction.commit().unwrap();
        if commit.xid == Xid::INVALID {
            assert!(rows == *self.latest());
        } else {
            self.history.push((commit.lsn, rows));
        }
    }

    fn step(&mut self) {
        if self.sessions.len() < 5 {
            self.begin();
        }
        let at = self.random.below(self.sessions.len());
        match self.random.below(20) {
            0..10 => self.write(at),
            10..12 => self.check(at),
            12..14 => self.savepoint(at),
            14 => self.sessions[at].transaction.begin_statement(),
            15 | 16 => self.end(at, true),
            17 => self.end(at, false),
            18 => flush(&self.engine),
            _ => {
                let pages = self.engine.pool().begin_checkpoint();
                for page in pages {
                    self.engine.pool().write_back(page).unwrap();
                }
            }
        }
    }
}

#[test]
fn transactions_see_their_snapshot_and_their_own_writes_whatever_others_do() {
    let (disk, dir) = (SimDisk::new(), Path::new("/data"));
    let options = EngineOptions { shared_buffers: 16 << 13, ..EngineOptions::default() };
    let (mut conflicts, mut waits) = (0, 0);
    let mut rows = Rows::new();
    for seed in 1..=8 {
        // Each round goes on where the one before ended, without an orderly end.
        let engine = open(&disk, dir, options.clone());
        assert!(rows_now(&engine, CATALOG) == rows);
        let history = vec![(Lsn::INVALID, rows)];
        let random = Random::new(seed);
        let mut world = World { engine, history, sessions: Vec::new(), random, conflicts: 0, waits: 0 };
        for _ in 0..600 {
            world.step();
        }
        flush(&world.engine);
        (conflicts, waits) = (conflicts + world.conflicts, waits + world.waits);
        world.sessions.clear();
        rows = world.latest().clone();
    }
    assert!(conflicts > 10 && waits > 10, "{conflicts} conflicts, {waits} waits: the test tests little");
}
