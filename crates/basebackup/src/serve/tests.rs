//! Backups of directories made up here, read back with the client's own reader and verifier.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use bytes::{Buf as _, BytesMut};
use engine::page::{PAGE_SIZE, Page};
use replication::command::ReplicationOption;
use replication::error::ServerError;
use replication::stream::BackupMessage;
use wal::{Lsn, SegmentSize, TimelineId};

use super::{BackupRequest, BackupSource, BackupStream, StartPoint, StopPoint};
use crate::compression::{Decoder, Method};
use crate::manifest::Manifest;
use crate::tar::{Event, MemberKind, Reader};

const START: StartPoint = StartPoint {
    redo: Lsn::new(0x0100_0028),
    checkpoint: Lsn::new(0x0100_0060),
    timeline: TimelineId::new(1),
};
const STOP: StopPoint = StopPoint { end: Lsn::new(0x0120_0000), timeline: TimelineId::new(1) };

struct Directory {
    root: tempfile::TempDir,
}

impl Directory {
    fn new() -> Self {
        let directory = Self { root: tempfile::tempdir().unwrap() };
        for path in ["base/5", "global", "pg_wal/archive_status", "pg_replslot/old", "pg_tblspc"] {
            fs::create_dir_all(directory.path(path)).unwrap();
        }
        directory.write("PG_VERSION", b"15\n");
        directory.write("postmaster.pid", b"1\n");
        directory.write("walship.lock", b"");
        directory.write("pg_replslot/old/state", b"x");
        directory.write("global/pg_control", &[7; 8192]);
        directory.write("pg_wal/000000010000000000000001", &vec![1; 1 << 20]);
        directory.write("base/5/16384", &pages(300, Lsn::new(0x0100_0000)));
        directory
    }

    fn path(&self, path: &str) -> PathBuf {
        self.root.path().join(path)
    }

    fn write(&self, path: &str, bytes: &[u8]) {
        fs::write(self.path(path), bytes).unwrap();
    }

    fn backup(&self, options: &[ReplicationOption]) -> Result<Backup, Box<ServerError>> {
        let request = BackupRequest::interpret(options).unwrap();
        let mut stream = BackupStream::begin(Source(self.root.path().to_owned()), request)?;
        let (mut backup, mut out) = (Backup::default(), BytesMut::new());
        loop {
            let more = stream.next(&mut out)?;
            backup.take(&mut out);
            if !more {
                assert_eq!(stream.finish()?, STOP);
                return Ok(backup);
            }
        }
    }
}

struct Source(PathBuf);

impl BackupSource for Source {
    fn data_directory(&self) -> &Path {
        &self.0
    }

    fn segment_size(&self) -> SegmentSize {
        SegmentSize::new(1 << 20).unwrap()
    }

    fn start(&mut self, _fast: bool) -> Result<StartPoint, Box<ServerError>> {
        Ok(START)
    }

    fn stop(&mut self) -> Result<StopPoint, Box<ServerError>> {
        Ok(STOP)
    }
}

/// What a client has received.
#[derive(Default)]
struct Backup {
    name: String,
    archive: Vec<u8>,
    manifest: Vec<u8>,
    in_manifest: bool,
    progress: u64,
}

impl Backup {
    fn take(&mut self, out: &mut BytesMut) {
        while !out.is_empty() {
            assert_eq!(out.get_u8(), b'd');
            let length = out.get_u32() as usize - 4;
            match BackupMessage::decode(out.split_to(length).freeze()).unwrap() {
                BackupMessage::NewArchive { name, tablespace_path } => {
                    assert_eq!(tablespace_path, "");
                    self.name = name;
                }
                BackupMessage::Data(data) if self.in_manifest => self.manifest.extend_from_slice(&data),
                BackupMessage::Data(data) => self.archive.extend_from_slice(&data),
                BackupMessage::Manifest => self.in_manifest = true,
                BackupMessage::Progress(bytes) => self.progress = bytes,
            }
        }
    }

    /// The members' names, with `/` after a directory's, and what the files hold.
    fn members(&self) -> Vec<(String, Vec<u8>)> {
        let (mut members, mut reader, mut input) = (Vec::new(), Reader::new(), self.archive.as_slice());
        while let Some(event) = reader.next(&mut input).unwrap() {
            match event {
                Event::Begin(header) => {
                    let slash = if header.kind == MemberKind::Directory { "/" } else { "" };
                    members.push((format!("{}{slash}", header.path), Vec::new()));
                }
                Event::Data(data) => members.last_mut().unwrap().1.extend_from_slice(data),
                _ => {}
            }
        }
        reader.finish().unwrap();
        members
    }

    fn names(&self) -> Vec<String> {
        self.members().into_iter().map(|(name, _)| name).collect()
    }
}

/// Pages with data and checksums, the first of them block 0.
fn pages(count: u32, lsn: Lsn) -> Vec<u8> {
    let mut bytes = Vec::new();
    for block in 0..count {
        let mut page = Page::zeroed();
        page.init(0);
        page.set_lsn(lsn);
        page.bytes_mut()[100] = block as u8;
        page.set_checksum(block);
        bytes.extend_from_slice(page.bytes());
    }
    bytes
}

#[test]
fn everything_that_belongs_to_a_backup_is_in_it_and_in_its_manifest() {
    let directory = Directory::new();
    let options = [ReplicationOption::text("manifest", "yes"), ReplicationOption::text("label", "one\ntwo")];
    let backup = directory.backup(&options).unwrap();
    assert_eq!(backup.name, "base.tar");
    let expected = [
        "backup_label",
        "PG_VERSION",
        "base/",
        "base/5/",
        "base/5/16384",
        "global/",
        "pg_replslot/",
        "pg_tblspc/",
        "pg_wal/",
        "pg_wal/archive_status/",
        "global/pg_control",
    ];
    assert_eq!(backup.names(), expected);
    let manifest = Manifest::parse(&backup.manifest).unwrap();
    let members = backup.members();
    let mut read = 0;
    for file in &manifest.files {
        let (_, content) = members.iter().find(|(name, _)| *name == file.path.to_string()).unwrap();
        assert_eq!(file.size, content.len() as u64);
        assert_eq!(file.checksum, Some(crate::manifest::Checksum::crc32c(crc32c::crc32c(content))));
        read += file.size;
    }
    assert_eq!(manifest.files.len(), 4);
    assert_eq!(backup.progress, read);
    assert_eq!((manifest.wal_ranges[0].start, manifest.wal_ranges[0].end), (START.redo, STOP.end));
    let label = String::from_utf8(members[0].1.clone()).unwrap();
    assert!(
        label.starts_with(
            "START WAL LOCATION: 0/1000028 (file 000000010000000000000010)\n\
             CHECKPOINT LOCATION: 0/1000060\nBACKUP METHOD: streamed\nBACKUP FROM: standby\nSTART TIME: "
        ),
        "{label}"
    );
    assert!(label.ends_with(" UTC\nLABEL: one two\nSTART TIMELINE: 1\n"), "{label}");
    let control = &members.last().unwrap().1;
    assert_eq!(control[136..144], STOP.end.as_u64().to_le_bytes());
    assert_eq!(control[288..292], crc32c::crc32c(&control[..288]).to_le_bytes());
}

#[test]
fn every_compression_unpacks_to_the_same_archive() {
    use std::io::Read as _;
    let directory = Directory::new();
    let plain = directory.backup(&[]).unwrap().names();
    for method in Method::ALL {
        let option = ReplicationOption::text("compression", method.name());
        let mut backup = directory.backup(&[option]).unwrap();
        assert_eq!(backup.name, format!("base.tar{}", method.suffix()));
        let mut unpacked = Vec::new();
        Decoder::new(method, backup.archive.as_slice()).unwrap().read_to_end(&mut unpacked).unwrap();
        backup.archive = unpacked;
        assert_eq!(backup.names(), plain);
    }
}

#[test]
fn a_damaged_page_is_sent_and_then_told_of() {
    let directory = Directory::new();
    let file = OpenOptions::new().write(true).open(directory.path("base/5/16384")).unwrap();
    file.write_all_at(&[1], 7 * PAGE_SIZE as u64 + 4000).unwrap();
    let error = directory.backup(&[]).err().unwrap();
    assert_eq!(error.message, "checksum verification failure during base backup");
    assert!(directory.backup(&[ReplicationOption::integer("verify_checksums", 0)]).is_ok());
    // What the WAL brings back whole is not looked at.
    directory.write("base/5/16384", &pages(8, Lsn::new(0x0100_0040)));
    file.write_all_at(&[1], 7 * PAGE_SIZE as u64 + 4000).unwrap();
    assert!(directory.backup(&[]).is_ok());
}

#[test]
fn the_wal_comes_along_if_asked_for_and_a_missing_segment_is_named() {
    let directory = Directory::new();
    let wal = [ReplicationOption::flag("wal")];
    let error = directory.backup(&wal).err().unwrap();
    assert_eq!(error.message, "could not find WAL file \"000000010000000000000010\"");
    for name in ["000000010000000000000010", "000000010000000000000011", "00000002.history"] {
        directory.write(&format!("pg_wal/{name}"), &vec![1; 1 << 20]);
    }
    let names = directory.backup(&wal).unwrap().names();
    let wal: Vec<_> = names.iter().skip_while(|name| *name != "global/pg_control").skip(1).collect();
    assert_eq!(
        wal,
        [
            "pg_wal/000000010000000000000010",
            "pg_wal/archive_status/000000010000000000000010.done",
            "pg_wal/000000010000000000000011",
            "pg_wal/archive_status/000000010000000000000011.done",
            "pg_wal/00000002.history",
            "pg_wal/archive_status/00000002.history.done",
        ]
    );
}

#[test]
fn a_blackhole_swallows_everything_but_the_progress() {
    let directory = Directory::new();
    let backup = directory.backup(&[ReplicationOption::text("target", "blackhole")]).unwrap();
    assert!(backup.archive.is_empty());
    assert!(backup.progress > 300 * PAGE_SIZE as u64);
}

#[test]
fn wrong_options_are_refused_as_postgresql_refuses_them() {
    for (options, message) in [
        (vec![ReplicationOption::flag("mystery")], "unrecognized base backup option: \"mystery\""),
        (vec![ReplicationOption::flag("wal"), ReplicationOption::flag("wal")], "duplicate option \"wal\""),
        (
            vec![ReplicationOption::text("manifest_checksums", "SHA256")],
            "manifest checksums require a backup manifest",
        ),
        (
            vec![ReplicationOption::integer("max_rate", 31)],
            "31 is outside the valid range for parameter \"MAX_RATE\" (32 .. 1048576)",
        ),
        (
            vec![ReplicationOption::text("compression", "brotli")],
            "unrecognized compression algorithm: \"brotli\"",
        ),
        (vec![ReplicationOption::text("target_detail", "/x")], "target detail cannot be used without target"),
    ] {
        assert_eq!(BackupRequest::interpret(&options).unwrap_err().message, message);
    }
}
