//! Opening the directory of a log that is to be appended to.
//!
//! After a crash the files may hold anything behind the last valid record: beginnings of records, or whole ones
//! whose predecessors were lost. One of those could be reached again by a new record that happens to end where it starts;
//! it would then be a valid part of the log, although it was never durable and never confirmed. So everything behind the
//! end is wiped before anything is appended. After an orderly end there is nothing of the kind: files made ahead hold
//! zeros, and recycled ones records whose prev-links point elsewhere.

use disk::{DirLock, DiskFile, OpenMode, fill_zeros};
use wal::{Lsn, SegmentNo, TimelineId, WalFileName};

use super::LogStart;
use super::segments::{SegmentFiles, TEMPORARY};
use crate::EngineError;

const CHUNK: usize = 64 << 10;

/// Takes the right to write in the directory.
pub(super) fn lock_directory(files: &SegmentFiles) -> Result<DirLock, EngineError> {
    let lock = DirLock::acquire(&**files.disk(), files.dir());
    lock.map_err(|error| EngineError::Directory(error.to_string()))
}

/// Makes the files fit for appending at `start`, and tells the segment files what is there.
pub(super) fn prepare(files: &SegmentFiles, start: &LogStart) -> Result<(), EngineError> {
    remove_temporaries(files)?;
    let size = files.size();
    let position = start.position.align8();
    let current = size.segment_of(position);
    if !start.clean {
        let inside = size.offset_of(position) != 0;
        remove_from(files, files.timeline(), if inside { current.next() } else { current })?;
        // Before the end is wiped: what a second crash leaves there must not look like a loss (`engine::lost_wal`).
        files.sync_dir()?;
    }
    // Recovery has believed these bytes; they may have come from the page cache of a process that was killed.
    sync(files, size.segment_ending_at(position))?;
    let mut ready = SegmentNo::new(current.as_u64().saturating_sub(1));
    complete(files, current, size.offset_of(position).into())?;
    let is_there = exists(files, current)?;
    if !is_there && size.offset_of(position) != 0 {
        return Err(EngineError::Directory(format!(
            "WAL segment file \"{}\" is missing or cut short: the log cannot go on at {position}",
            files.path(current).display()
        )));
    }
    if is_there {
        if !start.clean {
            wipe(files, current, size.offset_of(position).into())?;
        }
        ready = current;
        while exists(files, ready.next())? {
            ready = ready.next();
            sync(files, ready)?;
        }
    }
    files.sync_dir()?;
    files.begin_at(current, ready);
    Ok(())
}

/// Before a timeline is begun at `position`: removes what an attempt left that was given up. Without a history nobody has ever
/// believed it.
pub(super) fn remove_attempt(
    files: &SegmentFiles,
    timeline: TimelineId,
    position: Lsn,
) -> Result<(), EngineError> {
    remove_temporaries(files)?;
    remove_from(files, timeline, files.size().segment_of(position))?;
    files.sync_dir()
}

/// Gives `segment`'s file its full length if it is shorter and has all that counts, up to `offset`: a receiver that was
/// killed, or whose disk was full, may have left it so.
fn complete(files: &SegmentFiles, segment: SegmentNo, offset: u64) -> Result<(), EngineError> {
    let (path, whole) = (files.path(segment), u64::from(files.size().bytes()));
    let found = match files.disk().metadata(&path) {
        Ok(found) => found.len,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(EngineError::file("stat", path, error)),
    };
    if found >= whole || found < offset || offset == 0 {
        return Ok(());
    }
    let file = files.disk().open(&path, OpenMode::ReadWrite);
    let file = file.map_err(|source| EngineError::file("open", &path, source))?;
    let filled = fill_zeros(&*file, found, whole - found).and_then(|()| file.sync_all());
    filled.map_err(|source| EngineError::file("extend", path, source))
}

/// Whether `segment` has a file of full length.
fn exists(files: &SegmentFiles, segment: SegmentNo) -> Result<bool, EngineError> {
    let path = files.path(segment);
    match files.disk().metadata(&path) {
        Ok(found) => Ok(found.len == u64::from(files.size().bytes())),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(EngineError::file("stat", path, error)),
    }
}

fn remove_temporaries(files: &SegmentFiles) -> Result<(), EngineError> {
    for name in names(files)?.iter().filter(|name| name.starts_with(TEMPORARY)) {
        remove(files, name)?;
    }
    Ok(())
}

/// Removes the files of the timeline's segments from `first` on.
fn remove_from(files: &SegmentFiles, timeline: TimelineId, first: SegmentNo) -> Result<(), EngineError> {
    for name in names(files)? {
        if let Some(WalFileName::Segment(of, segment)) = WalFileName::parse(&name, files.size())
            && of == timeline
            && segment >= first
        {
            remove(files, &name)?;
        }
    }
    Ok(())
}

fn names(files: &SegmentFiles) -> Result<Vec<String>, EngineError> {
    let entries = files.disk().read_dir(files.dir());
    let entries = entries.map_err(|source| EngineError::file("read", files.dir(), source))?;
    Ok(entries.into_iter().filter(|entry| !entry.is_dir).map(|entry| entry.name).collect())
}

fn remove(files: &SegmentFiles, name: &str) -> Result<(), EngineError> {
    let path = files.dir().join(name);
    files.disk().remove_file(&path).map_err(|source| EngineError::file("remove", path, source))
}

/// Syncs a segment's file. It is missing if nothing is in it yet, or if only the parent timeline has it.
fn sync(files: &SegmentFiles, segment: SegmentNo) -> Result<(), EngineError> {
    if !exists(files, segment)? {
        return Ok(());
    }
    let path = files.path(segment);
    let file = files.disk().open(&path, OpenMode::ReadWrite);
    let file = file.map_err(|source| EngineError::file("open", &path, source))?;
    file.sync_all().map_err(|source| EngineError::file("fsync", path, source))
}

/// Overwrites with zeros what is not zero in `segment` from `offset` on, and syncs.
fn wipe(files: &SegmentFiles, segment: SegmentNo, offset: u64) -> Result<(), EngineError> {
    let path = files.path(segment);
    let file = files.disk().open(&path, OpenMode::ReadWrite);
    let file = file.map_err(|source| EngineError::file("open", &path, source))?;
    wipe_file(&*file, offset, files.size().bytes().into())
        .map_err(|source| EngineError::file("write", path, source))
}

fn wipe_file(file: &dyn DiskFile, mut offset: u64, end: u64) -> std::io::Result<()> {
    let mut chunk = vec![0; CHUNK];
    while offset < end {
        let length = (end - offset).min(CHUNK as u64) as usize;
        let bytes = chunk.split_at_mut(length).0;
        file.read_exact_at(bytes, offset)?;
        if bytes.iter().any(|&byte| byte != 0) {
            fill_zeros(file, offset, length as u64)?;
        }
        offset += length as u64;
    }
    file.sync_all()
}
