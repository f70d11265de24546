//! Which errors of the disk leave nothing in doubt, and which do.

use std::io;

use disk::{DirEntry, DiskFile, Metadata};

use super::*;
use crate::receive::ReceiverError;

#[test]
fn a_full_disk_in_the_middle_of_writing_is_no_lack_of_space_for_a_segment() {
    for naming in [Naming::Partial, Naming::Final] {
        let error = ArchiveError::on("write", "f")(io::ErrorKind::StorageFull.into());
        assert!(ReceiverError::from(error).is_disk_failure());
        let disk = disk();
        disk.limit_space(Some(0));
        let files = SegmentFiles { naming, ..files(&disk) };
        assert!(!files.has_space().unwrap());
        let error = files.open_partial(size().segment_of(start())).unwrap_err();
        let error = ReceiverError::from(error);
        assert!(error.is_out_of_space() && !error.is_disk_failure() && error.is_final(), "{error}");
        disk.limit_space(None);
        assert!(files.has_space().unwrap());
        assert!(disk.read_dir(Path::new(DIR)).unwrap().is_empty(), "files are left");
        // What is made durable and cannot be is a failure all the same.
        disk.fail_sync(1);
        assert!(naming == Naming::Partial || files.open_partial(size().segment_of(start())).is_err());
    }
}

#[test]
fn a_directory_that_cannot_be_looked_at_is_not_taken_for_one_without_the_file() {
    let disk = disk();
    let stream = wal(1_300_000);
    run(&disk, start(), &stream, &[200_000]);
    let partial = "000000010000000000000004.partial";
    let before = prove(&disk).proven;
    assert!(before > start().saturating_add(1 << 20));
    for refuses in [Refuses::Metadata(partial), Refuses::Reading(partial)] {
        let dir = WalDir::new(DIR, Arc::new(Unreadable { disk: disk.clone(), refuses }));
        let at = StreamingStart { timeline: TimelineId::FIRST, lsn: start().saturating_add(1 << 20) };
        let refused =
            resume::prove(&dir, at, &TimelineHistory::root(), SYSTEM, size(), true, Naming::Partial);
        let line = refused.map(|point| point.proven).unwrap_err().to_string();
        assert!(line.contains(partial) && line.contains("Input/output error"), "{refuses:?}: {line}");
    }
    // Nor is a finished segment made anew.
    let finished = "000000010000000000000003";
    let refuses = Refuses::Metadata(finished);
    let unreadable = Arc::new(Unreadable { disk: disk.clone(), refuses });
    let files = SegmentFiles { disk: unreadable, ..files(&disk) };
    let line = files.open_partial(size().segment_of(start())).unwrap_err().to_string();
    assert!(line.contains(finished) && line.contains("Input/output error"), "{line}");
}

/// What a disk refuses, with EIO, of the file of a name.
#[derive(Clone, Copy, Debug)]
enum Refuses {
    Metadata(&'static str),
    Reading(&'static str),
}

/// A disk that refuses something.
#[derive(Debug)]
struct Unreadable {
    disk: SimDisk,
    refuses: Refuses,
}

impl Unreadable {
    fn check(&self, path: &Path, asked: fn(&'static str) -> Refuses) -> io::Result<()> {
        let (Refuses::Metadata(name) | Refuses::Reading(name)) = self.refuses;
        let same = std::mem::discriminant(&self.refuses) == std::mem::discriminant(&asked(name));
        if same && path.ends_with(name) { Err(io::Error::from_raw_os_error(libc::EIO)) } else { Ok(()) }
    }
}

impl Disk for Unreadable {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Box<dyn DiskFile>> {
        if mode == OpenMode::Read {
            self.check(path, Refuses::Reading)?;
        }
        self.disk.open(path, mode)
    }

    fn read_dir(&self, path: &Path) -> io::Result<Vec<DirEntry>> {
        self.disk.read_dir(path)
    }

    fn metadata(&self, path: &Path) -> io::Result<Metadata> {
        self.check(path, Refuses::Metadata)?;
        self.disk.metadata(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.disk.rename(from, to)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.disk.remove_file(path)
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        self.disk.remove_dir(path)
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        self.disk.create_dir(path)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.disk.sync_dir(path)
    }
}

/// A pipeline of a synchronous standby over `disk`, with `bytes` written.
fn pipeline(disk: &SimDisk, stream: &[u8]) -> (Pipeline, Arc<Heard>, Result<(), ArchiveError>) {
    let mode = SyncMode::AtOnce;
    let files = SegmentFiles { naming: Naming::Final, ..files(disk) };
    let (writer, syncer) = ArchiveWriter::new(files, start(), start(), mode, Arc::new(|_: &Path| {}));
    let heard = Arc::new(Heard::default());
    let pipeline = Pipeline::start(writer, syncer, mode, Arc::clone(&heard) as Arc<dyn Observer>).unwrap();
    let offered = stream.chunks(30_000).try_for_each(|chunk| {
        let chunk = Chunk { bytes: bytes::Bytes::copy_from_slice(chunk), lagging: false };
        let refused = pipeline.offer(chunk)?;
        assert!(refused.is_none(), "nothing waits before it");
        Ok(())
    });
    (pipeline, heard, offered)
}

#[test]
fn a_sync_that_fails_when_the_connection_is_given_up_is_told() {
    let disk = disk();
    let (pipeline, heard, offered) = pipeline(&disk, &wal(300_000));
    offered.unwrap();
    // That of the segment's file, and that of its name, are made before.
    disk.fail_sync(1);
    pipeline.sync_now();
    let error = pipeline.abandon().unwrap_err();
    assert!(ReceiverError::from(error.clone()).is_disk_failure(), "{error}");
    assert_eq!(*heard.durable.lock(), Lsn::INVALID);
}

#[test]
fn what_was_written_before_the_disk_was_full_becomes_durable_and_is_told() {
    let (disk, stream) = (disk(), wal(3_300_000));
    let third = start().saturating_add(2 << 20);
    disk.limit_space(Some(2 << 20));
    let (pipeline, heard, offered) = pipeline(&disk, &stream);
    let refused = ReceiverError::from(offered.unwrap_err());
    assert!(refused.is_out_of_space(), "{refused}");
    let error = ReceiverError::from(pipeline.close().unwrap_err());
    assert!(error.is_out_of_space() && error.to_string().contains(&third.to_string()), "{error}");
    assert_eq!(*heard.durable.lock(), third);
    for state in disk.crash_states(disk.operations(), CrashChoices::default()) {
        assert_holds(&state, third, &stream, "told");
    }
}
