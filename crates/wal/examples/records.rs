//! Takes apart every record of consecutive segment files and puts it together again: `records SEGMENT...`
//!
//! Counts records by resource manager and page images by compression, restores every image, and fails if a record does not
//! come back byte for byte.

use std::collections::BTreeMap;

use wal::page::PageHeader;
use wal::payload::{TransactionEnd, XlogRecord};
use wal::reader::Records;
use wal::record::Record;
use wal::{Expectations, SegmentSize, TimelineHistory};

fn main() {
    if let Err(error) = run() {
        eprintln!("records: error: {error}");
        std::process::exit(1);
    }
}

fn run() -> Result<(), Box<dyn std::error::Error>> {
    let mut log = Vec::new();
    for file in std::env::args().skip(1) {
        log.extend(std::fs::read(file)?);
    }
    let header = PageHeader::decode(&log)?;
    let segment_size = header.long.ok_or("the first page has no long header")?.segment_size;
    let segment_size = SegmentSize::new(u64::from(segment_size))?;
    let timelines = TimelineHistory::without_ancestors(header.timeline);
    let expect = Expectations::new(segment_size, timelines);
    let records = Records::new(&log, header.page_addr, expect);
    println!(
        "{} up to {}; {:?}",
        header.version,
        records.end(),
        records.stopped_by().map(ToString::to_string)
    );
    let mut counts: BTreeMap<String, u64> = BTreeMap::new();
    for found in records {
        let fail = |what: &dyn std::fmt::Display| format!("record at {}: {what}", found.start);
        let record = Record::decode(&found.bytes, header.version).map_err(|error| fail(&error))?;
        *counts.entry(record.header.resource_manager.to_string()).or_default() += 1;
        for block in &record.blocks {
            if let Some(image) = &block.image {
                image.restore().map_err(|error| fail(&error))?;
                *counts.entry(format!("image {:?}", image.compression)).or_default() += 1;
            }
        }
        let xlog = XlogRecord::decode(&record, header.version).transpose().map_err(|error| fail(&error))?;
        let end =
            TransactionEnd::decode(&record, header.version).transpose().map_err(|error| fail(&error))?;
        if xlog.is_some_and(|xlog| !matches!(xlog, XlogRecord::Other(_))) || end.is_some() {
            *counts.entry("payload understood".to_owned()).or_default() += 1;
        }
        let again = record.encode().map_err(|error| fail(&error))?;
        if again[..] != found.bytes[..] {
            return Err(fail(&"does not come back as it was").into());
        }
    }
    for (what, count) in counts {
        println!("{count:>10} {what}");
    }
    Ok(())
}
