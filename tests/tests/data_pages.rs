//! Pages and relation files: PostgreSQL and the engine accept, and reject, each other's.

use std::fs;
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::Path;
use std::sync::Arc;

use disk::OsDisk;
use engine::buffer::{BufferPool, PoolOptions, WalBeforeData};
use engine::page::{Page, SharedPage};
use engine::relation::{BLOCKS_PER_FILE, RelationFiles};
use engine::{EngineError, PageId, TreeId};
use wal::Lsn;
use walship_tests::{Options, Postgres, Shutdown, TempRoot, Tool, Version};

/// A cluster with checksums and some data, shut down.
fn stopped_cluster(root: &TempRoot) -> Postgres {
    let mut server = Postgres::start_new(root, "cluster", Version::V15, Options::default().data_checksums());
    server.pgbench(["-i", "-q", "-s", "2"]);
    server.sql("delete from pgbench_accounts where aid % 3 = 0");
    server.sql("vacuum pgbench_accounts");
    server.stop(Shutdown::Fast);
    server
}

/// The blocks of a file, each with the number that it has in its relation.
fn blocks_of(path: &Path, first: u32) -> Vec<(u32, Box<Page>)> {
    let content = fs::read(path).unwrap();
    let page = |(number, bytes): (usize, &[u8])| {
        let mut page = Page::zeroed();
        page.bytes_mut().copy_from_slice(bytes);
        (first + u32::try_from(number).unwrap(), page)
    };
    content.chunks_exact(8192).enumerate().map(page).collect()
}

#[test]
fn every_page_of_a_postgresql_cluster_has_the_checksum_that_is_computed() {
    let root = TempRoot::new("data-pages");
    let server = stopped_cluster(&root);
    let (mut pages, mut new) = (0, 0);
    for database in fs::read_dir(server.data().join("base")).unwrap() {
        for file in fs::read_dir(database.unwrap().path()).unwrap() {
            let file = file.unwrap();
            let name = file.file_name().into_string().unwrap();
            if !name.starts_with(|first: char| first.is_ascii_digit()) {
                continue; // PG_VERSION, pg_filenode.map and the like are no relation files
            }
            let segment: u32 = name.split_once('.').map_or(0, |(_, segment)| segment.parse().unwrap());
            for (block, page) in blocks_of(&file.path(), segment * BLOCKS_PER_FILE) {
                page.verify(PageId::new(TreeId::CATALOG, block))
                    .unwrap_or_else(|error| panic!("{name}: {error}"));
                pages += 1;
                if page.is_new() {
                    new += 1;
                } else {
                    assert_eq!(page.checksum(block), page.stored_checksum());
                    assert_ne!(page.checksum(block + 1), page.stored_checksum());
                }
            }
        }
    }
    assert!(pages > 6000 && new < pages / 10, "{pages} pages, {new} of them new");
}

/// A log that is durable as far as it will ever reach.
struct Durable;

impl WalBeforeData for Durable {
    fn flush(&self, _: Lsn) -> Result<(), EngineError> {
        Ok(())
    }

    fn flushed(&self) -> Lsn {
        Lsn::MAX
    }
}

#[test]
fn pg_checksums_accepts_what_the_pool_writes_and_finds_what_was_damaged_since() {
    let root = TempRoot::new("data-pages");
    let server = stopped_cluster(&root);
    let tree = TreeId::new(50_000);
    let files = Arc::new(RelationFiles::new(Arc::new(OsDisk::new()), server.data()));
    let options = PoolOptions { capacity_bytes: 64 * 8192, version_bytes: 64 * 8192 };
    let pool = BufferPool::new(Arc::clone(&files), Arc::new(Durable), options);
    // Blocks on both sides of a file's end, more than fit in the pool, in descending order and with gaps.
    let blocks: Vec<u32> = (0..200).chain(BLOCKS_PER_FILE..BLOCKS_PER_FILE + 200).step_by(2).collect();
    for &block in blocks.iter().rev() {
        let mut page = Page::zeroed();
        page.init(16);
        page.set_lsn(Lsn::new(0x0100_0000 + u64::from(block)));
        page.bytes_mut()[5000..5004].copy_from_slice(&block.to_le_bytes());
        pool.publish([(PageId::new(tree, block), SharedPage::from(&*page))]);
    }
    for page in pool.begin_checkpoint() {
        pool.write_back(page).unwrap();
    }
    files.sync_dirty();

    let name = |segment: &str| server.data().join(format!("{tree}{segment}"));
    for segment in ["", ".1"] {
        fs::set_permissions(name(segment), fs::Permissions::from_mode(0o644)).unwrap();
    }
    let check =
        || Tool::postgres(&root, Version::V15, "pg_checksums").arg("--check").arg("-D").arg(server.data());
    let report = check().succeed();
    let scanned = report.lines().find_map(|line| line.strip_prefix("Blocks scanned:")).unwrap();
    let expected = BLOCKS_PER_FILE + 199;
    assert!(scanned.trim().parse::<u32>().unwrap() >= expected, "{report}");

    let second = fs::OpenOptions::new().write(true).open(name(".1")).unwrap();
    second.write_all_at(b"x", 4 * 8192 + 6000).unwrap();
    let finished = check().run();
    assert!(finished.stdout.contains("Bad checksums:  1"), "{}{}", finished.stdout, finished.stderr);
    let error = read_page(&files, PageId::new(tree, BLOCKS_PER_FILE + 4)).unwrap_err();
    assert!(matches!(error, EngineError::Damaged { .. }), "{error}");
}

/// A page as its file has it.
fn read_page(files: &RelationFiles, id: PageId) -> Result<Box<Page>, EngineError> {
    let mut page = Page::zeroed();
    files.read_block(id, &mut page)?;
    page.verify(id)?;
    Ok(page)
}
