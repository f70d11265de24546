//! The same log makes the same files.

use super::*;
use crate::PageId;
use crate::page::Page;

/// All pages of all trees, as they are in the files.
pub(super) fn files(disk: &SimDisk, dir: &Path) -> BTreeMap<(TreeId, u32), Vec<u8>> {
    let files = RelationFiles::new(Arc::new(disk.clone()), dir);
    let mut pages = BTreeMap::new();
    for tree in files.trees().unwrap() {
        for block in 0..files.blocks(tree).unwrap() {
            let mut page = Page::zeroed();
            files.read_block(PageId::new(tree, block), &mut page).unwrap();
            page.verify(PageId::new(tree, block)).unwrap();
            pages.insert((tree, block), page.bytes().to_vec());
        }
    }
    pages
}

pub(super) fn write_all(pool: &BufferPool) {
    for page in pool.begin_checkpoint() {
        pool.write_back(page).unwrap();
    }
    pool.files().sync_dirty();
}

pub(super) fn copy(from: &SimDisk, to: &SimDisk, dir: &Path) {
    to.create_dir_all(dir).unwrap();
    for entry in from.read_dir(dir).unwrap() {
        let path = dir.join(&entry.name);
        if entry.is_dir {
            copy(from, to, &path);
        } else {
            // A segment made ahead gets its name meanwhile.
            let Ok(bytes) = disk::read_file(from, &path, 1 << 30) else { continue };
            let file = to.open(&path, disk::OpenMode::Create).unwrap();
            file.write_all_at(&bytes, 0).unwrap();
        }
    }
}

fn load(engine: &Arc<Engine>, random: &mut Random, transactions: usize) {
    for _ in 0..transactions {
        let mut transaction = engine.begin(Isolation::ReadCommitted, false);
        for _ in 0..1 + random.below(12) {
            let key = random.key();
            if random.below(3) == 0 {
                transaction.delete(CATALOG, &key).unwrap();
            } else {
                transaction.put(CATALOG, &key, &random.value()).unwrap();
            }
        }
        if random.below(10) == 0 {
            let tree = transaction.create_tree().unwrap();
            transaction.put(tree, b"k", &random.value()).unwrap();
        }
        if random.below(12) == 0 {
            transaction.rollback();
        } else {
            transaction.commit().unwrap();
        }
    }
}

#[test]
fn a_directory_that_replays_the_log_has_the_same_pages_byte_for_byte() {
    let methods = [None, Some(wal::record::ImageCompression::Lz4), Some(wal::record::ImageCompression::Pglz)];
    for (seed, wal_compression) in (1..).zip(methods) {
        let (leader, follower, dir) = (SimDisk::new(), SimDisk::new(), Path::new("/data"));
        let options = EngineOptions { shared_buffers: 64 << 13, wal_compression, ..EngineOptions::default() };
        let engine = open(&leader, dir, options.clone());
        let mut random = Random::new(seed);
        for _ in 0..3 {
            load(&engine, &mut random, 60);
            // As a checkpoint does: from here on images again.
            engine.log().appender().set_redo();
        }
        flush(&engine);
        write_all(engine.pool());
        let (end, next_xid) = (engine.log().inserted(), engine.writer().numbers.next_xid());
        // Its threads would rename files under the copy.
        drop(engine);
        copy(&leader, &follower, &dir.join("pg_wal"));
        let pool = pool(&follower, dir, Arc::new(AllDurable), &options);
        follower.create_dir_all(&dir.join("base/5")).unwrap();
        let recovered = recover(&pool, source(&follower, dir), &first_checkpoint(), Lsn::INVALID).unwrap();
        assert_eq!((recovered.end, recovered.numbers.next_xid()), (end, next_xid));
        write_all(&pool);
        let expected = files(&leader, dir);
        assert!(expected.len() > 10);
        assert!(files(&follower, dir) == expected);
        // Replaying again what is there already changes nothing.
        let again = super::pool(&follower, dir, Arc::new(AllDurable), &options);
        recover(&again, source(&follower, dir), &first_checkpoint(), Lsn::INVALID).unwrap();
        write_all(&again);
        assert!(files(&follower, dir) == expected);
    }
}

#[test]
fn a_run_without_its_commit_is_dropped_and_its_number_not_used_again() {
    let (disk, dir) = (SimDisk::new(), Path::new("/data"));
    let engine = open(&disk, dir, EngineOptions::default());
    put(&engine, &[("a", "1")]);
    flush(&engine);
    // The first records of a run, as if the machine had stopped before the last.
    let xid = Xid::new(engine.writer().numbers.next_xid() as u32);
    let mut transaction = engine.begin(Isolation::ReadCommitted, false);
    transaction.put(CATALOG, b"b", b"2").unwrap();
    let commit = transaction.commit().unwrap();
    assert_eq!(commit.xid, xid);
    flush(&engine);
    let end = commit.lsn.as_u64();
    drop(engine);
    // The COMMIT record is 34 bytes long, 40 with padding.
    let segment = dir
        .join("pg_wal")
        .join(segment_size().segment_of(commit.lsn).file_name(TimelineId::FIRST, segment_size()));
    let file = disk.open(&segment, disk::OpenMode::ReadWrite).unwrap();
    file.write_all_at(&[0; 40], (end - 40) % SEGMENT).unwrap();
    let engine = open(&disk, dir, EngineOptions::default());
    assert_eq!(rows_now(&engine, CATALOG).len(), 1);
    assert_eq!(engine.log().inserted(), Lsn::new(end - 40), "its records stay in the log");
    let after = put(&engine, &[("c", "3")]);
    assert!(after.xid > xid);
    flush(&engine);
    drop(engine);
    let keys: Vec<_> = rows_now(&open(&disk, dir, EngineOptions::default()), CATALOG).into_keys().collect();
    assert_eq!(keys, [b"a", b"c"]);
}
