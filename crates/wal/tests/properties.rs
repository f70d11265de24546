//! Properties: what is put together comes apart the same, and nothing that can be fed makes anything panic.

#![allow(clippy::unwrap_used, reason = "a test that cannot build its log has failed")]

mod forge;

use std::borrow::Cow;

use forge::{Forge, START, expectations, validate};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use wal::page::PageHeader;
use wal::reader::Records;
use wal::record::{
    BLOCK_SIZE, BlockImage, BlockNumber, BlockRef, Fork, ImageCompression, Record, RecordHeader,
    RelFileLocator, ResourceManager, Xid,
};
use wal::{Lsn, TimelineHistory, TimelineId, Validator, ValidatorState, WalVersion};

const V15: WalVersion = WalVersion::V15;

/// What a record is made of, owned.
#[derive(Debug, Clone)]
struct Parts {
    resource_manager: u8,
    info: u8,
    xid: u32,
    blocks: Vec<Block>,
    origin: Option<u16>,
    top_xid: Option<u32>,
    main_data: Vec<u8>,
}

#[derive(Debug, Clone)]
struct Block {
    gap: u8,
    relation: u32,
    fork: u8,
    number: u32,
    will_init: bool,
    page: Option<Page>,
    data: Vec<u8>,
}

#[derive(Debug, Clone)]
struct Page {
    bytes: Box<[u8; BLOCK_SIZE]>,
    hole: std::ops::Range<u16>,
    compression: Option<ImageCompression>,
}

fn page_bytes() -> impl Strategy<Value = Box<[u8; BLOCK_SIZE]>> {
    (vec(any::<u8>(), 1..200), any::<bool>()).prop_map(|(pattern, noisy)| {
        let mut page = Box::new([0; BLOCK_SIZE]);
        let mut noise = 1_u32;
        for (byte, pattern) in page.iter_mut().zip(pattern.into_iter().cycle()) {
            noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            *byte = if noisy { pattern ^ (noise >> 24) as u8 } else { pattern };
        }
        page
    })
}

fn compression() -> impl Strategy<Value = Option<ImageCompression>> {
    prop::sample::select(vec![
        None,
        Some(ImageCompression::Pglz),
        Some(ImageCompression::Lz4),
        Some(ImageCompression::Zstd),
    ])
}

fn block() -> impl Strategy<Value = Block> {
    let image = (page_bytes(), 24..4000_u16, 0..4000_u16, compression());
    let image = image.prop_map(|(mut bytes, start, length, compression)| {
        bytes[usize::from(start)..usize::from(start + length)].fill(0);
        Page { bytes, hole: start..start + length, compression }
    });
    (0..3_u8, 1..3_u32, 0..4_u8, any::<u32>(), any::<bool>(), option::of(image), vec(any::<u8>(), 0..300))
        .prop_map(|(gap, relation, fork, number, will_init, page, data)| Block {
            gap,
            relation,
            fork,
            number,
            will_init,
            page,
            data,
        })
}

fn parts() -> impl Strategy<Value = Parts> {
    let resource_manager = prop_oneof![Just(1_u8), Just(10), Just(20), Just(200)];
    let main = prop_oneof![vec(any::<u8>(), 0..300), vec(any::<u8>(), 0..30_000)];
    (
        resource_manager,
        any::<u8>(),
        any::<u32>(),
        vec(block(), 0..4),
        option::of(any::<u16>()),
        option::of(any::<u32>()),
        main,
    )
        .prop_map(|(resource_manager, info, xid, blocks, origin, top_xid, main_data)| Parts {
            resource_manager,
            info,
            xid,
            blocks,
            origin,
            top_xid,
            main_data,
        })
}

impl Parts {
    fn record(&self) -> Record<'_> {
        let resource_manager = ResourceManager::new(self.resource_manager);
        let mut record = Record::new(resource_manager, self.info, Xid::new(self.xid), &self.main_data);
        let mut id = 0;
        for block in &self.blocks {
            id += block.gap;
            record.blocks.push(block.reference(id));
            id += 1;
        }
        record.origin = self.origin;
        record.top_xid = self.top_xid.map(Xid::new);
        record
    }
}

impl Block {
    fn reference(&self, id: u8) -> BlockRef<'_> {
        let image = self.page.as_ref().map(|page| {
            let image = BlockImage::of_page(&page.bytes, page.hole.clone()).unwrap();
            page.compression.map_or(image.clone(), |method| image.compressed(method))
        });
        BlockRef {
            id,
            relation: RelFileLocator { tablespace: 1663, database: 5, relation: self.relation },
            fork: Fork::new(self.fork),
            block: BlockNumber::new(self.number),
            will_init: self.will_init,
            image,
            data: &self.data,
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(64) })]

    #[test]
    fn a_record_comes_apart_as_it_was_put_together(parts in parts()) {
        let record = parts.record();
        let bytes = record.encode().unwrap();
        let again = Record::decode(&bytes, V15).unwrap();
        prop_assert_eq!(&again.blocks, &record.blocks);
        prop_assert_eq!(again.main_data, record.main_data);
        prop_assert_eq!((again.origin, again.top_xid), (record.origin, record.top_xid));
        prop_assert_eq!(&again.encode().unwrap(), &bytes);
        for (block, parts) in again.blocks.iter().zip(&parts.blocks) {
            if let (Some(image), Some(page)) = (&block.image, &parts.page) {
                prop_assert_eq!(&image.restore().unwrap()[..], &page.bytes[..]);
            }
        }
    }

    #[test]
    fn a_log_of_any_records_in_any_feeds_is_valid(
        records in vec(parts(), 1..8),
        sizes in vec(1..20_000_usize, 1..8),
    ) {
        let mut forge = Forge::new();
        for parts in &records {
            forge.add(&parts.record());
        }
        let mut validator = forge::validator();
        let mut rest = forge.log.as_slice();
        for size in sizes.iter().cycle() {
            let (now, later) = rest.split_at(rest.len().min(*size));
            validator.feed(now).unwrap();
            rest = later;
            if rest.is_empty() {
                break;
            }
        }
        prop_assert_eq!(validator.record_end(), forge.end());
        prop_assert_eq!(validator.records(), records.len() as u64);
        let found: Vec<_> = Records::new(&forge.log, START, expectations()).collect();
        prop_assert_eq!(found.len(), records.len());
        for (found, parts) in found.iter().zip(&records) {
            prop_assert_eq!(Record::decode(&found.bytes, V15).unwrap().main_data, &parts.main_data[..]);
        }
    }

    #[test]
    fn damage_is_the_same_in_any_feeds(
        records in vec(parts(), 1..4),
        damage in vec((any::<prop::sample::Index>(), any::<u8>()), 0..3),
        size in 1..9000_usize,
    ) {
        let mut forge = Forge::new();
        for parts in &records {
            forge.add(&parts.record());
        }
        for (at, byte) in damage {
            let at = at.index(forge.log.len());
            forge.log[at] = byte;
        }
        let (whole, outcome) = validate(&forge.log);
        let mut validator = forge::validator();
        let chunked = forge.log.chunks(size).try_for_each(|chunk| validator.feed(chunk));
        prop_assert_eq!(chunked, outcome);
        prop_assert_eq!(validator.checkpoint(), whole.checkpoint());
        for record in Records::new(&forge.log, START, expectations()) {
            prop_assert!(Record::decode(&record.bytes, V15).is_ok());
        }
    }

    #[test]
    fn garbage_is_refused_and_never_panics(bytes in vec(any::<u8>(), 0..20_000), start in any::<u64>()) {
        let _ = PageHeader::decode(&bytes);
        let _ = RecordHeader::decode(&bytes);
        let _ = Record::decode_unchecked(&bytes, V15);
        let _ = ValidatorState::from_bytes(&bytes);
        let _ = TimelineHistory::parse(TimelineId::new(7), &bytes);
        let _ = Validator::new(Lsn::new(start), expectations()).feed(&bytes);
        let mut inside = forge::small_log().log[..200].to_vec();
        inside.extend(&bytes);
        let (validator, _) = validate(&inside);
        prop_assert!(validator.record_end() <= validator.position());
    }

    #[test]
    fn a_garbled_record_with_a_right_length_never_panics(parts in parts(), damage in vec((any::<prop::sample::Index>(), any::<u8>()), 1..8)) {
        let mut bytes = parts.record().encode().unwrap();
        for (at, byte) in damage {
            if bytes.len() > 24 {
                let at = 24 + at.index(bytes.len() - 24);
                bytes[at] = byte;
            }
        }
        if let Ok(record) = Record::decode_unchecked(&bytes, V15) {
            for block in &record.blocks {
                let _ = block.image.as_ref().map(BlockImage::restore);
            }
            let _ = record.encode();
        }
    }

    #[test]
    fn a_garbled_image_never_panics(
        stored in vec(any::<u8>(), 0..9000),
        hole_offset in any::<u16>(),
        hole_length in any::<u16>(),
        compression in compression(),
    ) {
        let image = BlockImage { hole_offset, hole_length, apply: true, compression, stored: Cow::Borrowed(&stored) };
        let _ = image.restore();
    }
}
