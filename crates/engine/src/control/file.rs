//! The control file's bytes. Source: `ControlFileData` in `catalog/pg_control.h`.
//!
//! | offset | field | | offset | field |
//! |---|---|---|---|---|
//! | 0 | u64 system identifier | | 172 | i32 wal_level |
//! | 8 | u32 layout version, 1300 | | 176 | u8 wal_log_hints |
//! | 12 | u32 catalogue version, walwriter's own | | 180 | i32 max_connections |
//! | 16 | u32 state | | 184 | i32 max_worker_processes |
//! | 24 | i64 time of the last update | | 188 | i32 max_wal_senders |
//! | 32 | u64 latest checkpoint record | | 192 | i32 max_prepared_xacts |
//! | 40 | its 88 bytes | | 196 | i32 max_locks_per_xact |
//! | 128 | u64 LSN for unlogged tables | | 200 | u8 track_commit_timestamp |
//! | 136 | u64 minimum recovery point | | 204..252 | how the server was compiled |
//! | 144 | u32 its timeline | | 252 | u32 data checksum version |
//! | 152 | u64 backup start | | 256 | 32 bytes for authentication |
//! | 160 | u64 backup end | | 288 | u32 CRC-32C of all before |
//! | 168 | u8 backup end required | | | |

use replication::waldir::{CATALOG_VERSION, EARLIER_CATALOG_VERSION};
use wal::payload::CheckPoint;
use wal::{Lsn, SegmentSize, SystemId, TimelineId, WalVersion};

use super::{ClusterState, ControlFileError};

/// The file's length in bytes; what is not used is zero.
pub(super) const FILE_LEN: usize = 8192;
const VERSION: u32 = 1300;
const CHECKPOINT_AT: usize = 40;
const CHECKPOINT_LEN: usize = 88;
const CRC_AT: usize = 288;
/// Where the counter for unlogged tables starts (`FirstNormalUnloggedLSN`).
const UNLOGGED_LSN: u64 = 1000;
const FLOAT_FORMAT: f64 = 1_234_567.0;

/// The numbers by which a tool sees that it was compiled as the server was: offset and value.
const COMPILED: [(usize, u32); 9] = [
    (204, 8),       // maximum alignment
    (216, 8192),    // block size
    (220, 131_072), // blocks in a relation file
    (224, 8192),    // WAL block size
    (232, 64),      // bytes in a name
    (236, 32),      // columns in an index
    (240, 1996),    // TOAST chunk
    (244, 2048),    // large-object chunk
    (248, 1),       // float8 by value
];

/// The settings that a hot standby compares with its own (`XLOG_PARAMETER_CHANGE` carries them too).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Settings {
    /// `wal_level`: 0 minimal, 1 replica, 2 logical.
    pub wal_level: i32,
    /// `wal_log_hints`.
    pub wal_log_hints: bool,
    /// `max_connections`.
    pub max_connections: i32,
    /// `max_worker_processes`.
    pub max_worker_processes: i32,
    /// `max_wal_senders`.
    pub max_wal_senders: i32,
    /// `max_prepared_transactions`.
    pub max_prepared_xacts: i32,
    /// `max_locks_per_transaction`.
    pub max_locks_per_xact: i32,
    /// `track_commit_timestamp`.
    pub track_commit_timestamp: bool,
}

impl Default for Settings {
    /// PostgreSQL's defaults.
    fn default() -> Self {
        Self {
            wal_level: 1,
            wal_log_hints: false,
            max_connections: 100,
            max_worker_processes: 8,
            max_wal_senders: 10,
            max_prepared_xacts: 0,
            max_locks_per_xact: 64,
            track_commit_timestamp: false,
        }
    }
}

/// The control file of a data directory in PostgreSQL 15's layout.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ControlFile {
    /// The cluster.
    pub system_id: SystemId,
    /// What the server is doing, or was when it stopped.
    pub state: ClusterState,
    /// When the file was last written, in seconds since 1970.
    pub time: i64,
    /// The latest checkpoint's record.
    pub checkpoint: Lsn,
    /// What that record says. Recovery starts at its redo position.
    pub checkpoint_copy: CheckPoint,
    /// A standby must not be read before it has replayed this far; 0/0 on a leader. Never behind what is in a standby's
    /// files.
    pub min_recovery_point: Lsn,
    /// The timeline of `min_recovery_point`; 0 on a leader.
    pub min_recovery_timeline: TimelineId,
    /// Where the backup began that this directory was restored from, until its end was replayed; otherwise 0/0.
    pub backup_start: Lsn,
    /// Where that backup ended, if it was taken from a standby; otherwise 0/0.
    pub backup_end: Lsn,
    /// Whether the record of that backup's end must be replayed first.
    pub backup_end_required: bool,
    /// The leader's settings.
    pub settings: Settings,
    /// The size of the log's segments.
    pub segment_size: SegmentSize,
    /// Whether pages carry checksums.
    pub data_checksums: bool,
    /// Secret bytes from which answers are made up for users who do not exist.
    pub authentication_nonce: [u8; 32],
}

impl ControlFile {
    /// Reads the file's content: PostgreSQL 15's layout, walwriter's catalogue alone. Earlier versions called that what
    /// PostgreSQL 15 calls its own: which of them it is, is for [`replication::waldir::owner_of`] to tell.
    pub fn decode(bytes: &[u8]) -> Result<Self, ControlFileError> {
        // Checks version and checksum.
        let facts = replication::waldir::ControlFile::parse(bytes)?;
        let known = [CATALOG_VERSION, EARLIER_CATALOG_VERSION].contains(&facts.catalog_version);
        for (field, value, is_known) in [
            ("version", facts.version, facts.version == VERSION),
            ("catalog version", facts.catalog_version, known),
        ] {
            if !is_known {
                return Err(ControlFileError::Field { field, value });
            }
        }
        let fields = Fields(bytes);
        let copy = bytes.get(CHECKPOINT_AT..CHECKPOINT_AT + CHECKPOINT_LEN).unwrap_or_default();
        let checkpoint_copy = CheckPoint::decode(copy, WalVersion::V15);
        Ok(Self {
            system_id: facts.system_id,
            state: facts.state,
            time: fields.i64(24)?,
            checkpoint: facts.checkpoint,
            checkpoint_copy: checkpoint_copy.map_err(|_| ControlFileError::Short(bytes.len()))?,
            min_recovery_point: facts.min_recovery_point,
            min_recovery_timeline: facts.min_recovery_timeline,
            backup_start: Lsn::new(fields.u64(152)?),
            backup_end: Lsn::new(fields.u64(160)?),
            backup_end_required: fields.flag(168)?,
            settings: Settings {
                wal_level: fields.i32(172)?,
                wal_log_hints: fields.flag(176)?,
                max_connections: fields.i32(180)?,
                max_worker_processes: fields.i32(184)?,
                max_wal_senders: fields.i32(188)?,
                max_prepared_xacts: fields.i32(192)?,
                max_locks_per_xact: fields.i32(196)?,
                track_commit_timestamp: fields.flag(200)?,
            },
            segment_size: facts.segment_size,
            data_checksums: facts.data_checksums,
            authentication_nonce: fields.take(256)?,
        })
    }

    /// The file's content, 8192 bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = vec![0; FILE_LEN];
        let mut put = |at: usize, value: &[u8]| {
            if let Some(place) = bytes.get_mut(at..at + value.len()) {
                place.copy_from_slice(value);
            }
        };
        put(0, &self.system_id.as_u64().to_le_bytes());
        put(8, &VERSION.to_le_bytes());
        put(12, &CATALOG_VERSION.to_le_bytes());
        put(16, &self.state.as_number().to_le_bytes());
        put(24, &self.time.to_le_bytes());
        put(32, &self.checkpoint.as_u64().to_le_bytes());
        put(CHECKPOINT_AT, &self.checkpoint_copy.encode(WalVersion::V15));
        put(128, &UNLOGGED_LSN.to_le_bytes());
        put(136, &self.min_recovery_point.as_u64().to_le_bytes());
        put(144, &self.min_recovery_timeline.as_u32().to_le_bytes());
        put(152, &self.backup_start.as_u64().to_le_bytes());
        put(160, &self.backup_end.as_u64().to_le_bytes());
        put(168, &[u8::from(self.backup_end_required)]);
        let settings = &self.settings;
        put(172, &settings.wal_level.to_le_bytes());
        put(176, &[u8::from(settings.wal_log_hints)]);
        put(180, &settings.max_connections.to_le_bytes());
        put(184, &settings.max_worker_processes.to_le_bytes());
        put(188, &settings.max_wal_senders.to_le_bytes());
        put(192, &settings.max_prepared_xacts.to_le_bytes());
        put(196, &settings.max_locks_per_xact.to_le_bytes());
        put(200, &[u8::from(settings.track_commit_timestamp)]);
        for (at, value) in COMPILED {
            put(at, &value.to_le_bytes());
        }
        put(208, &FLOAT_FORMAT.to_le_bytes());
        put(228, &self.segment_size.bytes().to_le_bytes());
        put(252, &u32::from(self.data_checksums).to_le_bytes());
        put(256, &self.authentication_nonce);
        let crc = crc32c::crc32c(bytes.get(..CRC_AT).unwrap_or_default());
        if let Some(place) = bytes.get_mut(CRC_AT..CRC_AT + 4) {
            place.copy_from_slice(&crc.to_le_bytes());
        }
        bytes
    }
}

struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn take<const LEN: usize>(&self, at: usize) -> Result<[u8; LEN], ControlFileError> {
        let rest = self.0.get(at..).unwrap_or_default();
        rest.first_chunk().copied().ok_or(ControlFileError::Short(self.0.len()))
    }

    fn flag(&self, at: usize) -> Result<bool, ControlFileError> {
        self.take::<1>(at).map(|[byte]| byte != 0)
    }

    fn i32(&self, at: usize) -> Result<i32, ControlFileError> {
        self.take(at).map(i32::from_le_bytes)
    }

    fn u64(&self, at: usize) -> Result<u64, ControlFileError> {
        self.take(at).map(u64::from_le_bytes)
    }

    fn i64(&self, at: usize) -> Result<i64, ControlFileError> {
        self.take(at).map(i64::from_le_bytes)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use wal::record::Xid;

    pub(crate) fn sample() -> ControlFile {
        let checkpoint_copy = CheckPoint {
            redo: Lsn::new(0x100_0028),
            timeline: TimelineId::FIRST,
            previous_timeline: TimelineId::FIRST,
            full_page_writes: true,
            wal_level: 0,
            next_xid: 735,
            next_oid: 24576,
            next_multi: 1,
            next_multi_offset: 0,
            oldest_xid: Xid::new(716),
            oldest_xid_database: 1,
            oldest_multi: 1,
            oldest_multi_database: 1,
            time: 1_795_000_000,
            oldest_commit_timestamp_xid: Xid::INVALID,
            newest_commit_timestamp_xid: Xid::INVALID,
            oldest_active_xid: Xid::INVALID,
        };
        ControlFile {
            system_id: SystemId::new(0x6b02_1cdb_98ac_d7ee),
            state: ClusterState::ShutDown,
            time: 1_795_000_001,
            checkpoint: Lsn::new(0x100_0028),
            checkpoint_copy,
            min_recovery_point: Lsn::new(1),
            min_recovery_timeline: TimelineId::new(2),
            backup_start: Lsn::new(3),
            backup_end: Lsn::new(4),
            backup_end_required: true,
            settings: Settings { max_connections: 12, wal_level: 2, ..Settings::default() },
            segment_size: SegmentSize::DEFAULT,
            data_checksums: true,
            authentication_nonce: [9; 32],
        }
    }

    #[test]
    fn what_is_written_is_read_back() {
        let bytes = sample().encode();
        assert_eq!(bytes.len(), FILE_LEN);
        assert_eq!(ControlFile::decode(&bytes), Ok(sample()));
        // Everything lies in one sector, and the rest is zero.
        assert!(bytes.iter().skip(CRC_AT + 4).all(|&byte| byte == 0));
    }

    #[test]
    fn a_file_cut_short_damaged_or_of_another_version_is_refused() {
        let good = sample().encode();
        for length in [0, 8, 12, 100, CRC_AT + 3] {
            assert!(ControlFile::decode(good.get(..length).unwrap_or_default()).is_err(), "{length}");
        }
        let mut damaged = good.clone();
        damaged[60] ^= 1;
        assert!(matches!(ControlFile::decode(&damaged), Err(ControlFileError::Checksum { .. })));
        let mut newer = good;
        for foreign in [202_307_071, CATALOG_VERSION + 1] {
            newer[12..16].copy_from_slice(&foreign.to_le_bytes());
            let crc = crc32c::crc32c(&newer[..CRC_AT]);
            newer[CRC_AT..CRC_AT + 4].copy_from_slice(&crc.to_le_bytes());
            let refused = ControlFileError::Field { field: "catalog version", value: foreign };
            assert_eq!(ControlFile::decode(&newer), Err(refused));
        }
    }
}
