use std::path::Path;

use bytes::Bytes;
use replication::stream::BackupMessage;

use super::*;
use crate::RelativePath;
use crate::manifest::{FileEntry, WalRange};
use crate::take::feed::{Delivery, channel};
use crate::take::options::{Destination, Format, ManifestRequest, Slot, WalMethod};
use crate::take::tree::CONTROL_FILE;
use crate::tar::{Header, MemberKind, Owner, TRAILER, padding};

const FILES: [(&str, &[u8]); 3] =
    [("backup_label", b"label"), ("postgresql.auto.conf", b"# settings\n"), (CONTROL_FILE, &[3; 8192])];

fn options(directory: &Path, format: Format, compression: Option<&str>) -> Options {
    Options {
        destination: Destination::Directory(directory.to_owned()),
        format,
        wal: WalMethod::None,
        slot: Slot::None,
        recovery_configuration: false,
        fast_checkpoint: true,
        label: String::new(),
        max_rate: None,
        compression: compression.and_then(|text| crate::compression::Specification::parse(text).unwrap()),
        manifest: Some(ManifestRequest { checksums: Some(Default::default()), force_encode: false }),
        verify_checksums: true,
        tablespace_mapping: Vec::new(),
        wal_directory: None,
        no_clean: false,
        no_sync: false,
        estimate_size: true,
        progress: false,
        verbose: false,
        status_interval: 10,
        server_timeout: None,
    }
}

fn member(name: &str, contents: &[u8], out: &mut Vec<u8>) {
    let (name, kind) = match name.strip_suffix('/') {
        Some(name) => (name, MemberKind::Directory),
        None => (name, MemberKind::File),
    };
    let path = RelativePath::new(name.as_bytes()).unwrap();
    let header = Header { path, kind, mode: 0o700, size: contents.len() as u64, modified: 0 };
    out.extend(header.encode(Owner { uid: 0, gid: 0 }).unwrap());
    out.extend(contents);
    out.extend(vec![0; padding(contents.len() as u64)]);
}

fn base() -> Vec<u8> {
    let mut out = Vec::new();
    member("global/", b"", &mut out);
    for (name, contents) in FILES {
        member(name, contents, &mut out);
    }
    out.extend(TRAILER);
    out
}

fn manifest() -> Manifest {
    let files = FILES.map(|(name, contents)| {
        let mut hasher = crate::manifest::ChecksumAlgorithm::Crc32c.hasher();
        hasher.update(contents);
        FileEntry {
            path: RelativePath::new(name.as_bytes()).unwrap(),
            encoded: false,
            size: contents.len() as u64,
            last_modified: String::new(),
            checksum: Some(hasher.finish()),
        }
    });
    let range =
        WalRange { timeline: wal::TimelineId::FIRST, start: wal::Lsn::new(40), end: wal::Lsn::new(80) };
    Manifest { system_id: None, files: files.into(), wal_ranges: vec![range] }
}

fn begin(name: &str) -> BackupMessage {
    BackupMessage::NewArchive { name: name.to_owned(), tablespace_path: String::new() }
}

fn data(bytes: &[u8]) -> impl Iterator<Item = BackupMessage> {
    bytes
        .chunks(700)
        .map(|chunk| BackupMessage::Data(Bytes::copy_from_slice(chunk)))
        .collect::<Vec<_>>()
        .into_iter()
}

fn compress(text: &str, bytes: &[u8]) -> Vec<u8> {
    let settings = crate::compression::Specification::parse(text).unwrap().unwrap().settings().unwrap();
    let mut encoder = Encoder::new(Some(settings), Vec::new()).unwrap();
    io::Write::write_all(&mut encoder, bytes).unwrap();
    encoder.finish().unwrap()
}

fn receiver(options: Options, feed: Feed, output: Output, settings: Option<String>) -> Receiver {
    let (options, tablespaces) = (Arc::new(options), Vec::new());
    Receiver { options, feed, output, tablespaces, settings, file_mode: 0o600, fetched: None }
}

fn receive(
    options: Options,
    settings: Option<&str>,
    messages: Vec<BackupMessage>,
) -> Result<Received, TakeError> {
    let Destination::Directory(root) = options.destination.clone() else { unreachable!("a test's options") };
    let output = match options.format {
        Format::Plain => Output::Tree(Tree::new(&root, true)),
        Format::Tar => Output::Archives(ArchiveStore::in_directory(&root, 0o600, true)),
    };
    let (sender, feed) = channel();
    sender.try_send(Delivery::Batch(messages)).ok().unwrap();
    sender.try_send(Delivery::End).ok().unwrap();
    let settings = settings.map(str::to_owned);
    receiver(options, feed, output, settings).run()
}

fn backup(name: &str, archive: &[u8], manifest: &Manifest) -> Vec<BackupMessage> {
    let head = std::iter::once(begin(name)).chain(data(archive));
    head.chain([BackupMessage::Manifest]).chain(data(&manifest.to_bytes())).collect()
}

#[test]
fn a_server_may_compress_in_any_way() {
    for (text, suffix) in [("server-gzip", ".gz"), ("server-lz4", ".lz4"), ("server-zstd", ".zst")] {
        let temp = tempfile::tempdir().unwrap();
        let packed = compress(text, &base());
        let messages = backup(&format!("base.tar{suffix}"), &packed, &manifest());
        let received =
            receive(options(temp.path(), Format::Plain, Some(text)), None, messages.clone()).unwrap();
        let Output::Tree(mut tree) = received.output else { panic!("not a tree") };
        tree.finish_files().unwrap();
        tree.reveal().unwrap();
        for (name, contents) in FILES {
            assert_eq!(std::fs::read(temp.path().join(name)).unwrap(), contents, "{name}");
        }
        // And stored, the bytes are the server's.
        let temp = tempfile::tempdir().unwrap();
        let received = receive(options(temp.path(), Format::Tar, Some(text)), None, messages).unwrap();
        let Output::Archives(mut store) = received.output else { panic!("not archives") };
        store.finish_files().unwrap();
        store.reveal().unwrap();
        assert_eq!(std::fs::read(temp.path().join(format!("base.tar{suffix}"))).unwrap(), packed);
    }
}

#[test]
fn settings_are_added_to_an_archive() {
    let temp = tempfile::tempdir().unwrap();
    let messages = backup("base.tar", &base(), &manifest());
    let received = receive(options(temp.path(), Format::Tar, None), Some("new = 'x'\n"), messages).unwrap();
    let Output::Archives(mut store) = received.output else { panic!("not archives") };
    store.finish_files().unwrap();
    store.reveal().unwrap();
    let bytes = std::fs::read(temp.path().join("base.tar")).unwrap();
    let (mut reader, mut input, mut members) = (crate::tar::Reader::new(), bytes.as_slice(), Vec::new());
    while let Some(event) = reader.next(&mut input).unwrap() {
        match event {
            crate::tar::Event::Begin(header) => members.push((header.path.to_string(), Vec::<u8>::new())),
            crate::tar::Event::Data(data) => members.last_mut().unwrap().1.extend(data),
            crate::tar::Event::End => {}
        }
    }
    reader.finish().unwrap();
    let names: Vec<_> = members.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["global", "backup_label", "postgresql.auto.conf", CONTROL_FILE, "standby.signal"]);
    assert_eq!(members[2].1, b"# settings\nnew = 'x'\n");
}

#[test]
fn a_damaged_file_fails_the_backup() {
    let temp = tempfile::tempdir().unwrap();
    let mut archive = base();
    let at = archive.len() - 3000;
    archive[at] ^= 1;
    let messages = backup("base.tar", &archive, &manifest());
    let received = receive(options(temp.path(), Format::Plain, None), None, messages).unwrap();
    assert_eq!(
        TakeError::Differences(received.differences).to_string(),
        "backup does not match its manifest: checksum mismatch for file \"global/pg_control\""
    );
}

#[test]
fn a_server_that_keeps_the_backup_sends_no_data() {
    let receive_elsewhere = |messages| {
        let (sender, feed) = channel();
        sender.try_send(Delivery::Batch(messages)).ok().unwrap();
        sender.try_send(Delivery::End).ok().unwrap();
        let options = options(Path::new("/nowhere"), Format::Plain, None);
        receiver(options, feed, Output::Elsewhere, None).run()
    };
    let told =
        vec![begin("16384.tar"), begin("base.tar"), BackupMessage::Progress(7), BackupMessage::Manifest];
    assert!(receive_elsewhere(told).is_ok());
    let sent = vec![begin("base.tar"), BackupMessage::Data(Bytes::from_static(b"x"))];
    assert!(receive_elsewhere(sent).is_err());
}

#[test]
fn what_is_out_of_order_or_missing_is_refused() {
    let archive = base();
    let whole = backup("base.tar", &archive, &manifest());
    let manifest_first: Vec<_> = std::iter::once(BackupMessage::Manifest)
        .chain(data(&manifest().to_bytes()))
        .chain([begin("base.tar")])
        .chain(data(&archive))
        .collect();
    let cases = [
        ("no manifest", std::iter::once(begin("base.tar")).chain(data(&archive)).collect()),
        ("nothing", Vec::new()),
        ("truncated", backup("base.tar", &archive[..archive.len() - 1024], &manifest())),
        ("twice", whole.iter().chain(&whole).cloned().collect()),
        ("manifest first", manifest_first),
        ("not asked to be compressed", backup("base.tar.gz", &archive, &manifest())),
        ("other name", backup("../base.tar", &archive, &manifest())),
        ("unknown tablespace", backup("16384.tar", &archive, &manifest())),
    ];
    for (what, messages) in cases {
        let temp = tempfile::tempdir().unwrap();
        assert!(receive(options(temp.path(), Format::Plain, None), None, messages).is_err(), "{what}");
    }
    let temp = tempfile::tempdir().unwrap();
    assert!(receive(options(temp.path(), Format::Plain, None), None, whole).is_ok());
}
