use disk::{CrashChoices, OpenMode, OsDisk, SimDisk};

use super::*;
use crate::fatal::{Fatal, panic_instead_of_abort};

const TREE: TreeId = TreeId::new(16384);

fn simulated() -> (SimDisk, RelationFiles) {
    let disk = SimDisk::new();
    disk::durable_create_dir_all(&disk, "/data/base/5".as_ref()).unwrap();
    let files = RelationFiles::new(Arc::new(disk.clone()), "/data".as_ref());
    (disk, files)
}

fn page(mark: u8) -> Box<Page> {
    let mut page = Page::zeroed();
    page.bytes_mut().fill(mark);
    page
}

fn mark(files: &RelationFiles, block: u32) -> Result<u8, EngineError> {
    let mut page = Page::zeroed();
    files.read_block(PageId::new(TREE, block), &mut page)?;
    assert!(page.bytes().iter().all(|&byte| byte == page.bytes()[0]));
    Ok(page.bytes()[0])
}

#[test]
fn blocks_are_written_in_any_order_and_gaps_are_zeros() {
    let (_disk, files) = simulated();
    assert_eq!(files.blocks(TREE).unwrap(), 0);
    files.write_block(PageId::new(TREE, 3), &page(3)).unwrap();
    files.write_block(PageId::new(TREE, 1), &page(1)).unwrap();
    assert_eq!(files.blocks(TREE).unwrap(), 4);
    assert_eq!((0..4).map(|block| mark(&files, block).unwrap()).collect::<Vec<_>>(), [0, 1, 0, 3]);
}

#[test]
fn a_missing_block_is_named_with_its_file() {
    let (disk, files) = simulated();
    assert!(matches!(mark(&files, 0), Err(EngineError::NoTree(TREE))));
    files.write_block(PageId::new(TREE, 0), &page(1)).unwrap();
    let error = mark(&files, 1).unwrap_err().to_string();
    assert_eq!(error, "block 1 of base/5/16384 is damaged: file \"base/5/16384\" ends before it");
    disk.open("/data/base/5/16384".as_ref(), OpenMode::ReadWrite).unwrap().set_len(8192 + 512).unwrap();
    let error = mark(&files, 1).unwrap_err().to_string();
    assert_eq!(
        error,
        "block 1 of base/5/16384 is damaged: file \"base/5/16384\" ends after 512 of its 8192 bytes"
    );
    let error = mark(&files, BLOCKS_PER_FILE).unwrap_err().to_string();
    assert!(error.ends_with("file \"base/5/16384.1\" does not exist"), "{error}");
}

#[test]
fn files_hold_a_gigabyte_each_and_those_before_the_last_are_full() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(dir.path().join("base/5")).unwrap();
    let files = RelationFiles::new(Arc::new(OsDisk::new()), dir.path());
    files.write_block(PageId::new(TREE, 2 * BLOCKS_PER_FILE + 7), &page(9)).unwrap();
    files.write_block(PageId::new(TREE, BLOCKS_PER_FILE), &page(8)).unwrap();
    files.sync_dirty();
    let len = |name: &str| std::fs::metadata(dir.path().join("base/5").join(name)).unwrap().len();
    assert_eq!((len("16384"), len("16384.1"), len("16384.2")), (1 << 30, 1 << 30, 8 * 8192));
    assert_eq!(files.blocks(TREE).unwrap(), 2 * BLOCKS_PER_FILE + 8);
    let blocks = [0, BLOCKS_PER_FILE - 1, BLOCKS_PER_FILE, 2 * BLOCKS_PER_FILE, 2 * BLOCKS_PER_FILE + 7];
    assert_eq!(blocks.map(|block| mark(&files, block).unwrap()), [0, 0, 8, 0, 9]);
    files.remove(TREE).unwrap();
    assert_eq!(std::fs::read_dir(dir.path().join("base/5")).unwrap().count(), 0);
    assert_eq!(files.blocks(TREE).unwrap(), 0);
}

#[test]
fn a_first_file_cut_short_by_a_crash_is_filled_up_before_the_second_is_written() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(dir.path().join("base/5")).unwrap();
    std::fs::write(dir.path().join("base/5/16384"), [0; 100]).unwrap();
    std::fs::write(dir.path().join("base/5/16384.1"), [7; 8192]).unwrap();
    let files = RelationFiles::new(Arc::new(OsDisk::new()), dir.path());
    assert_eq!(mark(&files, BLOCKS_PER_FILE).unwrap(), 7);
    files.write_block(PageId::new(TREE, BLOCKS_PER_FILE + 1), &page(8)).unwrap();
    assert_eq!(files.blocks(TREE).unwrap(), BLOCKS_PER_FILE + 2);
}

#[test]
fn trees_are_the_files_named_by_a_number() {
    let (disk, files) = simulated();
    for name in ["1259", "16384", "16384.1", "16385_fsm", "PG_VERSION", "007", "t1_16386"] {
        let path = format!("/data/base/5/{name}");
        disk.open(path.as_ref(), OpenMode::CreateNew).unwrap();
    }
    assert_eq!(files.trees().unwrap(), [TreeId::CATALOG, TREE]);
}

#[test]
fn what_is_synced_survives_a_power_cut_with_its_name() {
    let (disk, files) = simulated();
    files.write_block(PageId::new(TREE, 0), &page(1)).unwrap();
    files.write_block(PageId::new(TREE, 1), &page(2)).unwrap();
    files.sync_dirty();
    let choices = CrashChoices::default();
    let survivors = disk.crash_states(disk.operations(), choices).map(|state| {
        let files = RelationFiles::new(Arc::new(state), "/data".as_ref());
        (mark(&files, 0).unwrap(), mark(&files, 1).unwrap())
    });
    assert!(survivors.into_iter().all(|marks| marks == (1, 2)));
    let before = disk.operations();
    files.sync_dirty();
    assert_eq!(disk.operations(), before, "nothing left to sync");
    files.remove(TREE).unwrap();
    files.sync_dirty();
    let gone =
        |state: SimDisk| RelationFiles::new(Arc::new(state), "/data".as_ref()).trees().unwrap().is_empty();
    assert!(disk.crash_states(disk.operations(), choices).all(gone));
}

#[test]
fn a_failed_sync_ends_the_process() {
    panic_instead_of_abort();
    for nth in [1, 2] {
        let (disk, files) = simulated();
        files.write_block(PageId::new(TREE, 0), &page(1)).unwrap();
        disk.fail_sync(nth);
        let payload = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| files.sync_dirty()))
            .expect_err("does not return");
        let message = &payload.downcast_ref::<Fatal>().expect("ended on purpose").0;
        assert!(message.starts_with("could not fsync "), "{message}");
    }
}

#[test]
fn more_trees_are_written_than_files_stay_open() {
    let (disk, files) = simulated();
    let trees: Vec<TreeId> = (20_000..20_600).map(TreeId::new).collect();
    for &tree in &trees {
        files.write_block(PageId::new(tree, 0), &page(5)).unwrap();
    }
    files.sync_dirty();
    let state =
        disk.crash_states(disk.operations(), CrashChoices { samples: 1, ..CrashChoices::default() }).next();
    let files = RelationFiles::new(Arc::new(state.unwrap()), "/data".as_ref());
    assert_eq!(files.trees().unwrap(), trees);
    for &tree in &trees {
        let mut page = Page::zeroed();
        files.read_block(PageId::new(tree, 0), &mut page).unwrap();
        assert_eq!(page.bytes()[8191], 5);
    }
}
