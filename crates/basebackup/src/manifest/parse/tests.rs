use proptest::prelude::*;

use super::*;

/// A manifest that PostgreSQL 15 wrote, shortened to three files; its checksum recomputed over what is left.
const VERSION_1: &str = r#"{ "PostgreSQL-Backup-Manifest-Version": 1,
"Files": [
{ "Path": "backup_label", "Size": 225, "Last-Modified": "2026-11-21 22:42:22 GMT", "Checksum-Algorithm": "CRC32C", "Checksum": "43872087" },
{ "Encoded-Path": "62617365ff", "Size": 0, "Last-Modified": "2026-11-21 22:42:22 GMT", "Checksum-Algorithm": "CRC32C", "Checksum": "00000000" },
{ "Path": "pg_tblspc/16387/PG_15_202209061/5/16388", "Size": 8192, "Last-Modified": "2026-11-21 22:42:22 GMT" }
],
"WAL-Ranges": [
{ "Timeline": 1, "Start-LSN": "0/1400028", "End-LSN": "0/1400100" }
],
"#;

fn sealed(text: &str) -> Vec<u8> {
    let digest = encode_hex(&Sha256::digest(text.as_bytes()));
    format!("{text}\"Manifest-Checksum\": \"{digest}\"}}\n").into_bytes()
}

#[test]
fn the_servers_bytes_come_back_exactly() {
    let bytes = sealed(VERSION_1);
    let manifest = Manifest::parse(&bytes).unwrap();
    assert_eq!(manifest.version(), 1);
    assert_eq!(manifest.files.len(), 3);
    assert_eq!(manifest.files[1].path.as_bytes(), b"base\xff");
    assert_eq!(manifest.wal_ranges[0].start, Lsn::new(0x1400028));
    assert_eq!(manifest.to_bytes(), bytes);
}

#[test]
fn version_2_names_the_system() {
    let text =
        VERSION_1.replace("Version\": 1,\n", "Version\": 2,\n\"System-Identifier\": 7710757245570185278,\n");
    let bytes = sealed(&text);
    let manifest = Manifest::parse(&bytes).unwrap();
    assert_eq!(manifest.system_id, Some(SystemId::new(7710757245570185278)));
    assert_eq!(manifest.to_bytes(), bytes);
}

#[test]
fn any_changed_byte_is_noticed() {
    let bytes = sealed(VERSION_1);
    for at in 0..bytes.len() {
        let mut damaged = bytes.clone();
        damaged[at] ^= 1;
        let same = Manifest::parse(&damaged);
        assert!(same.is_err(), "byte {at} of the manifest can be changed unnoticed");
    }
    for length in 0..bytes.len() {
        assert!(Manifest::parse(&bytes[..length]).is_err(), "cut to {length} bytes");
    }
}

#[test]
fn strictness_is_that_of_postgresql() {
    let refuse = |from: &str, to: &str, why: &str| {
        let text = VERSION_1.replace(from, to);
        assert_ne!(text, VERSION_1);
        let error = Manifest::parse(&sealed(&text)).expect_err(to).to_string();
        assert!(error.contains(why), "{to}: {error}");
    };
    refuse("\"Size\": 225", "\"Size\": -1", "invalid value");
    refuse("\"Size\": 225", "\"Size\": 1.5", "invalid type");
    refuse("\"Size\": 225", "\"Size\": 225, \"Extra\": 1", "unknown field");
    refuse("\"Size\": 225", "\"Size\": 225, \"Size\": 225", "duplicate field");
    refuse("\"Size\": 225, ", "", "missing field");
    refuse("Version\": 1", "Version\": 2", "version");
    refuse("Version\": 1", "Version\": 3", "version");
    refuse("Checksum\": \"43872087\"", "Checksum\": \"4387208\"", "invalid checksum");
    refuse(
        "\"CRC32C\", \"Checksum\": \"43872087\"",
        "\"MD5\", \"Checksum\": \"43872087\"",
        "invalid checksum",
    );
    refuse(", \"Checksum\": \"43872087\"", "", "invalid checksum");
    refuse("62617365ff", "62617365f", "could not decode");
    refuse("62617365ff", "6261636b75705f6c6162656c", "duplicate path name");
    refuse("\"backup_label\"", "\"../backup_label\"", "unsafe file name");
    refuse("\"backup_label\"", "\"/etc/passwd\"", "unsafe file name");
    refuse("0/1400100", "0/14", "invalid WAL range");
    refuse("0/1400100", "14", "invalid WAL range");
    refuse("\"Timeline\": 1", "\"Timeline\": 0", "invalid WAL range");
}

fn entry() -> impl Strategy<Value = FileEntry> {
    let checksum = prop_oneof![
        Just(None),
        (proptest::sample::select(ChecksumAlgorithm::ALL.to_vec()), any::<Vec<u8>>()).prop_map(
            |(algorithm, bytes)| {
                let mut hasher = algorithm.hasher();
                hasher.update(&bytes);
                Some(hasher.finish())
            }
        )
    ];
    (proptest::collection::vec(any::<u8>(), 1..40), any::<bool>(), any::<u64>(), ".{0,30}", checksum)
        .prop_filter_map("not a path", |(path, force, size, last_modified, checksum)| {
            let path = RelativePath::new(&path).ok()?;
            let encoded = force || std::str::from_utf8(path.as_bytes()).is_err();
            Some(FileEntry { path, encoded, size, last_modified, checksum })
        })
}

proptest! {
    #[test]
    fn what_is_written_reads_back(
        mut files in proptest::collection::vec(entry(), 0..20),
        ranges in proptest::collection::vec((1..u32::MAX, any::<u32>(), any::<u32>()), 0..4),
        system in proptest::option::of(any::<u64>()),
    ) {
        files.sort_by(|a, b| a.path.cmp(&b.path));
        files.dedup_by(|a, b| a.path == b.path);
        let wal_ranges = ranges
            .into_iter()
            .map(|(timeline, start, length)| WalRange {
                timeline: TimelineId::new(timeline),
                start: Lsn::new(u64::from(start)),
                end: Lsn::new(u64::from(start) + u64::from(length)),
            })
            .collect();
        let manifest = Manifest { system_id: system.map(SystemId::new), files, wal_ranges };
        let parsed = Manifest::parse(&manifest.to_bytes()).unwrap();
        prop_assert_eq!(parsed, manifest);
    }

    #[test]
    fn garbage_is_an_error(bytes in any::<Vec<u8>>(), text in "[{}\\[\\]\",:a-zA-Z0-9\\\\ \n-]{0,200}") {
        prop_assert!(Manifest::parse(&bytes).is_err());
        prop_assert!(Manifest::parse(&sealed(&text)).is_err());
    }
}
