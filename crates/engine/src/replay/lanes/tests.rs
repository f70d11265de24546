use std::path::Path;

use disk::SimDisk;
use wal::record::{BlockImage, BlockNumber, Fork};

use super::*;
use crate::buffer::PoolOptions;
use crate::engine::RecoveryWal;
use crate::page::{HEADER_SIZE, PAGE_SIZE, Page, SharedPage};
use crate::relation::RelationFiles;

const TREE: TreeId = TreeId::new(16384);
const PAGES: u32 = 150;

fn pool() -> Arc<BufferPool> {
    let disk = SimDisk::new();
    disk::durable_create_dir_all(&disk, "/base/5".as_ref()).unwrap();
    let files = Arc::new(RelationFiles::new(Arc::new(disk), Path::new("/")));
    let options = PoolOptions { capacity_bytes: 16 << 20, version_bytes: 1 << 20 };
    Arc::new(BufferPool::new(files, Arc::new(RecoveryWal::default()), options))
}

/// One record's block, and what it consists of.
struct Written {
    block: u32,
    image: Option<Box<Page>>,
    data: Vec<u8>,
}

impl Written {
    fn image(block: u32, fill: u8) -> Self {
        let mut page = Page::zeroed();
        page.init(0);
        page.set_upper(HEADER_SIZE as u16);
        page.bytes_mut()[HEADER_SIZE..].fill(fill);
        Self { block, image: Some(page), data: Vec::new() }
    }

    fn fragment(block: u32, offset: u16, bytes: &[u8]) -> Self {
        let header = [offset.to_le_bytes(), (bytes.len() as u16).to_le_bytes()];
        Self { block, image: None, data: [header.as_flattened(), bytes].concat() }
    }

    fn block(&self) -> BlockRef<'_> {
        BlockRef {
            id: 0,
            relation: TREE.locator(),
            fork: Fork::MAIN,
            block: BlockNumber::new(self.block),
            will_init: false,
            image: self.image.as_ref().map(|page| BlockImage::of_page(page.bytes(), 0..0).unwrap()),
            data: &self.data,
        }
    }
}

/// A log of so many records, each a run of its own: first an image of every page, then mostly small changes whose outcome
/// depends on their order.
fn log(records: u32) -> Vec<Written> {
    let mut state = 0x1234_5678_u64;
    let mut random = move |below: u32| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((state >> 33) % u64::from(below)) as u32
    };
    let images = (0..PAGES).map(|block| Written::image(block, block as u8)).collect::<Vec<_>>();
    let changes = (0..records).map(|at| match random(20) {
        0 => Written::image(random(PAGES), at as u8),
        _ => {
            let offset = HEADER_SIZE as u32 + random((PAGE_SIZE - HEADER_SIZE - 300) as u32);
            Written::fragment(random(PAGES), offset as u16, &vec![at as u8; 1 + random(300) as usize])
        }
    });
    images.into_iter().chain(changes.collect::<Vec<_>>()).collect()
}

fn end_of(record: usize) -> Lsn {
    Lsn::new(0x10_0000 + 8 * (record as u64 + 1))
}

fn replay(lanes: usize, log: &[Written]) -> Vec<SharedPage> {
    let pool = pool();
    let mut lanes = Lanes::with_lanes(Arc::clone(&pool), lanes);
    for (at, written) in log.iter().enumerate() {
        lanes.add(&written.block(), end_of(at), end_of(at)).unwrap();
        if at % 7919 == 0 {
            lanes.publish().unwrap();
        }
    }
    lanes.publish().unwrap();
    (0..PAGES)
        .map(|block| pool.latest(PageId { tree: TREE, block: BlockNumber::new(block) }).unwrap())
        .collect()
}

#[test]
fn any_number_of_lanes_makes_the_same_pages() {
    let log = log(40_000);
    let expected = replay(1, &log);
    for lanes in [2, 3, MOST_LANES] {
        let pages = replay(lanes, &log);
        assert!(
            expected.iter().zip(&pages).all(|(expected, page)| expected.bytes() == page.bytes()),
            "{lanes}"
        );
    }
}

#[test]
fn what_fails_in_a_thread_is_told_with_its_record() {
    let mut log = log(10_000);
    log[3000] = Written::fragment(7, PAGE_SIZE as u16 - 1, &[1, 2, 3]);
    let mut lanes = Lanes::with_lanes(pool(), 2);
    let mut failed = log
        .iter()
        .enumerate()
        .find_map(|(at, written)| lanes.add(&written.block(), end_of(at), end_of(at)).err());
    failed = failed.or_else(|| lanes.settle().err());
    assert!(
        matches!(failed, Some(EngineError::Replay { lsn, .. }) if lsn == end_of(3000)),
        "{failed:?} is not about {}",
        end_of(3000)
    );
}

#[test]
fn little_is_applied_without_a_thread() {
    let pool = pool();
    let mut lanes = Lanes::with_lanes(Arc::clone(&pool), 2);
    for (at, written) in log(0).iter().take(4).enumerate() {
        lanes.add(&written.block(), end_of(at), end_of(at)).unwrap();
    }
    lanes.publish().unwrap();
    assert!(lanes.lanes.iter().all(|lane| lane.worker.is_none()));
    assert_eq!(pool.latest(PageId { tree: TREE, block: BlockNumber::new(3) }).unwrap().lsn(), end_of(3));
}
