//! Promotion: a new timeline that leaves its parent inside a segment.
//! Source: `XLogInitNewTimeline` and `exitArchiveRecovery` in `access/transam/xlog.c`.

use std::path::{Path, PathBuf};

use disk::{Disk, OpenMode, durable_write};
use wal::writer::LogLayout;
use wal::{Lsn, SegmentNo, TimelineHistory, TimelineId, WalFileName};

use super::segments::SegmentFiles;
use super::{Log, LogStart, NewTimeline, start};
use crate::EngineError;

const CHUNK: usize = 64 << 10;

impl Log {
    /// Makes a standby's log ([`Log::follow`]) one that can be appended to, on a new timeline. Whoever received WAL into the
    /// directory must have stopped, and given up the status file.
    ///
    /// The order makes a crash at any moment leave either the old timeline alone or the new one complete: first the
    /// segment that holds the switch point is copied to the new timeline up to there, then the history file is written,
    /// which is what makes the timeline exist. The old timeline's later segments go last. No segments are made ahead before
    /// [`Log::make_segments_ahead`]: whoever waits for the promotion would wait for these files too. What the timeline's first
    /// records need is there before its history, though, so that a full disk leaves a standby, which can try again.
    ///
    /// # Errors
    /// If [`EngineError::is_disk_full`], nothing has happened, and this can be called again. After others the log is of no
    /// use.
    pub fn begin_timeline(&self, new: &NewTimeline) -> Result<TimelineHistory, EngineError> {
        let shared = &self.shared;
        let position = new.position.align8();
        let parent = new.parent.timeline();
        let history = new.parent.child(new.timeline, position, &new.reason);
        let history = history.ok_or_else(|| {
            EngineError::Directory(format!("timeline {} is not newer than {parent}", new.timeline))
        })?;
        let mut layout = shared.layout.lock();
        let mut output = shared.output.lock();
        output.close();
        let segments = &shared.segments;
        assert!(segments.is_resting(), "a timeline is begun by a standby's log");
        let flushed = shared.flushed.load().align8();
        assert!(position <= flushed, "a timeline begins, at {position}, in what is durable, up to {flushed}");
        let lock = start::lock_directory(segments)?;
        start::remove_attempt(segments, new.timeline, position)?;
        let ready = make_first_segments(segments, parent, new.timeline, position)?;
        let path = segments.dir().join(new.timeline.history_file_name());
        durable_write(&**segments.disk(), &path, &history.to_bytes())
            .map_err(|source| EngineError::file("write", path, source))?;
        shared.keep_lock(lock);
        segments.set_timeline(new.timeline);
        let start = LogStart {
            system_id: layout.identity().system_id,
            timeline: new.timeline,
            timeline_start: position,
            position,
            prev: new.prev,
            clean: false,
            aborted: None,
        };
        segments.hold_back();
        segments.begin_at(segments.size().segment_of(position), ready);
        // The timeline exists: whatever fails from here on is not to be tried again.
        remove_left_behind(segments, parent, segments.size().segment_ending_at(position))
            .map_err(|error| EngineError::Directory(error.chain()))?;
        *layout = LogLayout::new(layout.identity(), new.timeline, position, new.prev);
        shared.pending.lock().restart(position);
        shared.inserted.store(position);
        shared.written.store(position);
        shared.flushed.store(position);
        shared.status.take_over(segments, &start)?;
        Ok(history)
    }

    /// After a promotion: makes segments ahead of the one being written from now on. The first checkpoint asks for it.
    pub fn make_segments_ahead(&self) {
        self.shared.segments.make_ahead();
    }
}

/// How much of the log has its files before a new timeline exists: its first record, a few of those that find and free
/// space, and the checkpoint that they wait for.
const FIRST_RECORDS: u64 = 16 << 10;

/// Gives the new timeline the segment that `position` lies in, with the parent's bytes before it and zeros from there on, and
/// the next one if its first records go on there. The last of them.
fn make_first_segments(
    files: &SegmentFiles,
    parent: TimelineId,
    timeline: TimelineId,
    position: Lsn,
) -> Result<SegmentNo, EngineError> {
    let size = files.size();
    let (first, last) = (size.segment_of(position), size.segment_of(position.saturating_add(FIRST_RECORDS)));
    let length = u64::from(size.offset_of(position));
    let from = if length == 0 { None } else { Some(received(files, parent, first)?) };
    make_segment(files, timeline, first, from.as_deref(), length)?;
    let mut made = first;
    while made < last {
        made = made.next();
        make_segment(files, timeline, made, None, 0)?;
    }
    Ok(made)
}

/// Makes a segment with the first `length` bytes of `from`, and zeros after them. It gets its name, durably, once it is
/// durable itself.
fn make_segment(
    files: &SegmentFiles,
    timeline: TimelineId,
    segment: SegmentNo,
    from: Option<&Path>,
    length: u64,
) -> Result<(), EngineError> {
    let to = files.dir().join(segment.file_name(timeline, files.size()));
    let temporary = files.dir().join(format!("{}{}", super::segments::TEMPORARY, std::process::id()));
    let disk = &**files.disk();
    copy(disk, from.map(|from| (from, length)), &temporary, files.size().bytes().into()).map_err(
        |source| {
            // Space is what is most likely missing.
            let _ = disk.remove_file(&temporary);
            EngineError::file("make", &to, source)
        },
    )?;
    disk::durable_rename(disk, &temporary, &to)
        .map_err(|source| EngineError::file("rename", temporary, source))
}

/// The file that the parent's `segment` was received into: a receiver has given it its final name, or not yet.
fn received(files: &SegmentFiles, parent: TimelineId, segment: SegmentNo) -> Result<PathBuf, EngineError> {
    let finished = files.dir().join(segment.file_name(parent, files.size()));
    let partial = finished.with_extension("partial");
    let found = files.disk().exists(&finished);
    let found = found.map_err(|source| EngineError::file("stat", &finished, source))?;
    Ok(if found { finished } else { partial })
}

/// Makes `to` with so many bytes of another file, and `whole` bytes long.
fn copy(disk: &dyn Disk, from: Option<(&Path, u64)>, to: &Path, whole: u64) -> std::io::Result<()> {
    let to = disk.open(to, OpenMode::Create)?;
    to.set_len(0)?;
    // Reserved, not written: writing zeros takes most of a tenth of a second, which nobody can write in meanwhile.
    to.allocate(0, whole)?;
    if let Some((from, length)) = from {
        let from = disk.open(from, OpenMode::Read)?;
        let mut chunk = vec![0; CHUNK];
        let mut at = 0;
        while at < length {
            let bytes = chunk.split_at_mut((length - at).min(CHUNK as u64) as usize).0;
            from.read_exact_at(bytes, at)?;
            to.write_all_at(bytes, at)?;
            at += bytes.len() as u64;
        }
    }
    to.sync_all()
}

/// Removes the parent's segments after `last`, which the new timeline does not have.
fn remove_left_behind(files: &SegmentFiles, parent: TimelineId, last: SegmentNo) -> Result<(), EngineError> {
    let disk = files.disk();
    let entries =
        disk.read_dir(files.dir()).map_err(|source| EngineError::file("read", files.dir(), source))?;
    for entry in entries.iter().filter(|entry| !entry.is_dir) {
        let path = files.dir().join(&entry.name);
        match WalFileName::parse(&entry.name, files.size()) {
            Some(WalFileName::Segment(timeline, segment)) if timeline == parent && segment > last => {
                disk.remove_file(&path).map_err(|source| EngineError::file("remove", path, source))?;
            }
            _ => {}
        }
    }
    files.sync_dir()
}
