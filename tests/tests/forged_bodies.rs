//! Records that PostgreSQL's own reader refuses although their checksum is right: our validator refuses them too.

use wal::record::{RecordError, record_crc};
use wal::{Expectations, Lsn, SegmentSize, TimelineHistory, Validator, WalErrorKind};
use walship_tests::receiver::records_in;
use walship_tests::{Options, Postgres, Random, TempRoot, Tool, Version};

/// How many records are forged; `WALSHIP_TEST_EFFORT=50` makes fifty times as many.
fn cases() -> u64 {
    let effort = std::env::var("WALSHIP_TEST_EFFORT").ok().and_then(|effort| effort.parse().ok());
    effort.unwrap_or(1) * 80
}

/// Where pg_waldump stops, which has to read on past `from`; `None` if it gets past it.
fn stops_at(root: &TempRoot, segment: &std::path::Path, from: Lsn) -> bool {
    let dump = Tool::postgres(root, Version::V15, "pg_waldump").args(["-q", "-n", "1"]);
    let finished = dump.args(["-s", &from.to_string()]).arg(segment).run();
    assert!(finished.code.is_some(), "{finished}");
    finished.code != Some(0)
}

#[test]
fn the_validator_refuses_every_record_that_postgresql_refuses() {
    let root = TempRoot::new("forged-bodies");
    let options = Options::default().wal_segment_mib(1).setting("checkpoint_timeout", "1h");
    let options = options.setting("wal_compression", "lz4").setting("full_page_writes", "on");
    let leader = Postgres::start_new(&root, "leader", Version::V15, options);
    leader.script(
        "create table t as select n, md5(n::text) as text from generate_series(1, 3000) n; create index on t (text);
         checkpoint; update t set n = -n where n % 3 = 0; select pg_switch_wal(); checkpoint;
         update t set n = n + 1 where n % 5 = 0; delete from t where n % 7 = 0; select pg_switch_wal();",
    );
    let size = SegmentSize::new(1 << 20).unwrap();
    let directory = leader.wal_dir();
    // Short ones and ones with images, whole on one page, so that they can be forged in place.
    let all = records_in(&root, &directory, None);
    let whole: Vec<_> = all
        .iter()
        .filter(|record| record.length > 40 && record.start.as_u64() % 8192 + record.length < 8192)
        .collect();
    assert!(whole.len() > 500, "{} records", whole.len());
    let mut random = Random::new();
    let (mut refused, mut stricter) = (0, 0);
    for case in 0..cases() {
        let record = whole[random.below(whole.len() as u64) as usize];
        let name = size.segment_of(record.start).file_name(wal::TimelineId::FIRST, size);
        let mut segment = std::fs::read(directory.join(&name)).unwrap();
        let at = size.offset_of(record.start) as usize;
        let length = record.length as usize;
        // The sub-headers come first: there, one to three bytes become others.
        for _ in 0..=random.below(3) {
            let byte = at + 24 + random.below((length as u64 - 24).min(34)) as usize;
            segment[byte] = match random.below(3) {
                0 => segment[byte] ^ (1 << random.below(8)),
                1 => random.below(256) as u8,
                _ => segment[byte].wrapping_add(1),
            };
        }
        let crc = record_crc(&segment[at..at + length]);
        segment[at + 20..at + 24].copy_from_slice(&crc.to_le_bytes());
        let forged = root.file(root.dir(format!("forged-{case}")).join(&name), &segment);
        let theirs = stops_at(&root, &forged, record.start);
        let page = at / 8192 * 8192;
        let expect = Expectations::new(size, TimelineHistory::root());
        let start = size.start_of(size.segment_of(record.start)).saturating_add(page as u64);
        let mut validator = Validator::new(start, expect);
        let outcome = validator.feed(&segment[page..page + 8192]);
        let ours = outcome.err().filter(|error| error.lsn == record.start);
        let what =
            format!("record {} of {name}, body {:?}", record.start, &segment[at + 24..at + 60.min(length)]);
        match (&ours, theirs) {
            (Some(_), true) => refused += 1,
            (None, true) => panic!("PostgreSQL alone refuses {what}"),
            // Images that PostgreSQL would only fail to restore.
            (Some(error), false) => {
                let image = matches!(
                    error.reason,
                    WalErrorKind::Structure(
                        RecordError::ImageFlags(..) | RecordError::ImageHole(_) | RecordError::ImageLength(_)
                    )
                );
                assert!(image, "we alone refuse {what}: {error}");
                stricter += 1;
            }
            (None, false) => {}
        }
        std::fs::remove_file(forged).unwrap();
    }
    println!("{refused} refused by both, {stricter} by us alone, of {}", cases());
    assert!(refused > cases() / 8, "{refused} refused: not much was forged");
}
