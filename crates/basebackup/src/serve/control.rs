//! The control file of a backup.

use super::StopPoint;

const STATE: usize = 16;
const IN_ARCHIVE_RECOVERY: u32 = 5;
const MIN_RECOVERY_POINT: usize = 136;
const MIN_RECOVERY_TIMELINE: usize = 144;
/// Of layout 1300, PostgreSQL 13 to 16.
const CHECKSUM: usize = 288;

/// The control file of a server that has to replay up to `stop` before it is consistent; `None` if `file` is too short
/// to be one.
pub(super) fn recover_to(mut file: Vec<u8>, stop: &StopPoint) -> Option<Vec<u8>> {
    let mut put = |at: usize, bytes: &[u8]| {
        file.get_mut(at..at + bytes.len())?.copy_from_slice(bytes);
        Some(())
    };
    put(STATE, &IN_ARCHIVE_RECOVERY.to_le_bytes())?;
    put(MIN_RECOVERY_POINT, &stop.end.as_u64().to_le_bytes())?;
    put(MIN_RECOVERY_TIMELINE, &stop.timeline.as_u32().to_le_bytes())?;
    let checksum = crc32c::crc32c(file.get(..CHECKSUM)?);
    file.get_mut(CHECKSUM..CHECKSUM + 4)?.copy_from_slice(&checksum.to_le_bytes());
    Some(file)
}
