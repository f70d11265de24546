//! The first segment of a new log, which holds one record: the checkpoint that recovery starts from.

use std::path::Path;

use disk::{Disk, OpenMode, fill_zeros};
use wal::payload::{CheckPoint, XlogRecord};
use wal::record::{Record, ResourceManager, Xid};
use wal::writer::{LogIdentity, LogWriter};
use wal::{Lsn, SegmentNo, SegmentSize, SystemId, TimelineId, WalVersion};

use crate::EngineError;

/// Segment 0 is never used, so that no record is at 0/0.
const SEGMENT: SegmentNo = SegmentNo::new(1);

/// Where the first record is: behind the segment's long page header.
pub(super) fn first_record(size: SegmentSize) -> Lsn {
    wal::page::first_record_position(size.start_of(SEGMENT), size)
}

pub(super) fn write(
    disk: &dyn Disk,
    dir: &Path,
    size: SegmentSize,
    system_id: SystemId,
    checkpoint: CheckPoint,
) -> Result<(), EngineError> {
    let identity = LogIdentity { system_id, segment_size: size, version: WalVersion::V15 };
    let mut writer = LogWriter::new(identity, TimelineId::FIRST, size.start_of(SEGMENT), Lsn::INVALID);
    let (info, data) = XlogRecord::CheckpointShutdown(checkpoint).encode(WalVersion::V15);
    let record = Record::new(ResourceManager::XLOG, info, Xid::INVALID, &data);
    writer.append(&record).map_err(|error| EngineError::Directory(error.to_string()))?;
    let path = dir.join(SEGMENT.file_name(TimelineId::FIRST, size));
    let bytes = writer.drain();
    let write = || {
        let file = disk.open(&path, OpenMode::CreateNew)?;
        fill_zeros(&*file, 0, size.bytes().into())?;
        file.write_all_at(&bytes, 0)?;
        file.sync_all()
    };
    write().map_err(|source| EngineError::file("write", &path, source))
}
