//! `global/pg_control`, as far as a WAL directory's readers need it (`catalog/pg_control.h`).

use wal::{Lsn, SegmentSize, SystemId, TimelineId};

/// What of a cluster's control file concerns its WAL.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ControlFile {
    /// The cluster.
    pub system_id: SystemId,
    /// The file's layout: 1300 for PostgreSQL 13 to 16, 1700 and 1800 for those versions.
    pub version: u32,
    /// The catalogue's version, which tells PostgreSQL versions with one layout apart, and walwriter from them (see
    /// [`super::owner_of`]).
    pub catalog_version: u32,
    /// What the server was doing when it wrote the file.
    pub state: ClusterState,
    /// The latest checkpoint's record.
    pub checkpoint: Lsn,
    /// Where recovery from that checkpoint starts.
    pub redo: Lsn,
    /// The checkpoint's timeline.
    pub timeline: TimelineId,
    /// Up to where a standby must replay to be consistent; 0/0 on a primary.
    pub min_recovery_point: Lsn,
    /// The timeline of `min_recovery_point`; 0 on a primary.
    pub min_recovery_timeline: TimelineId,
    /// The cluster's segment size.
    pub segment_size: SegmentSize,
    /// Whether pages carry checksums.
    pub data_checksums: bool,
}

/// What a server is doing, or was when it stopped (`DBState`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ClusterState {
    /// Starting up.
    StartingUp,
    /// Shut down in order.
    ShutDown,
    /// A standby, shut down in order.
    ShutDownInRecovery,
    /// Shutting down.
    ShuttingDown,
    /// Recovering from a crash.
    CrashRecovery,
    /// Recovering from an archive, or following as a standby.
    ArchiveRecovery,
    /// In production.
    InProduction,
}

/// Bytes that are not a control file we know.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ControlFileError {
    /// Not long enough.
    #[error("control file is cut short after {0} bytes")]
    Short(usize),
    /// Longer than any control file.
    #[error("control file is longer than one can be")]
    Long,
    /// Another version, or another byte order.
    #[error("control file has version {0}, expected 1300, 1700 or 1800 (PostgreSQL 13 to 18)")]
    Version(u32),
    /// The checksum does not match: damaged, or read while it was being written.
    #[error("control file has checksum {found:08X}, computed {computed:08X}")]
    Checksum {
        /// The one in the file.
        found: u32,
        /// That of the bytes.
        computed: u32,
    },
    /// A number that no server writes.
    #[error("control file has an invalid {field}: {value}")]
    Field {
        /// Which.
        field: &'static str,
        /// The number.
        value: u32,
    },
}

impl ControlFile {
    /// Reads the file's content.
    pub fn parse(bytes: &[u8]) -> Result<Self, ControlFileError> {
        let fields = Fields(bytes);
        let version = fields.u32(8)?;
        let checksum_at = match version {
            1300 | 1700 => 288,
            1800 => 292,
            other => return Err(ControlFileError::Version(other)),
        };
        let found = fields.u32(checksum_at)?;
        let covered = bytes.get(..checksum_at).ok_or(ControlFileError::Short(bytes.len()))?;
        let computed = crc32c::crc32c(covered);
        if found != computed {
            return Err(ControlFileError::Checksum { found, computed });
        }
        let segment_size = fields.u32(228)?;
        Ok(Self {
            system_id: SystemId::new(fields.u64(0)?),
            version,
            catalog_version: fields.u32(12)?,
            state: ClusterState::from_number(fields.u32(16)?)?,
            checkpoint: Lsn::new(fields.u64(32)?),
            redo: Lsn::new(fields.u64(40)?),
            timeline: TimelineId::new(fields.u32(48)?),
            min_recovery_point: Lsn::new(fields.u64(136)?),
            min_recovery_timeline: TimelineId::new(fields.u32(144)?),
            segment_size: SegmentSize::new(segment_size.into())
                .map_err(|_| ControlFileError::Field { field: "segment size", value: segment_size })?,
            data_checksums: fields.u32(252)? != 0,
        })
    }
}

impl ClusterState {
    /// The state that stands in the file as `number`.
    pub const fn from_number(number: u32) -> Result<Self, ControlFileError> {
        Ok(match number {
            0 => Self::StartingUp,
            1 => Self::ShutDown,
            2 => Self::ShutDownInRecovery,
            3 => Self::ShuttingDown,
            4 => Self::CrashRecovery,
            5 => Self::ArchiveRecovery,
            6 => Self::InProduction,
            value => return Err(ControlFileError::Field { field: "cluster state", value }),
        })
    }

    /// This state as it stands in the file.
    pub const fn as_number(self) -> u32 {
        match self {
            Self::StartingUp => 0,
            Self::ShutDown => 1,
            Self::ShutDownInRecovery => 2,
            Self::ShuttingDown => 3,
            Self::CrashRecovery => 4,
            Self::ArchiveRecovery => 5,
            Self::InProduction => 6,
        }
    }

    /// Whether a server in this state generates no WAL of its own (`pg_is_in_recovery`).
    pub const fn is_in_recovery(self) -> bool {
        matches!(self, Self::ShutDownInRecovery | Self::ArchiveRecovery)
    }
}

struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn take<const LEN: usize>(&self, at: usize) -> Result<[u8; LEN], ControlFileError> {
        let rest = self.0.get(at..).unwrap_or_default();
        rest.first_chunk().copied().ok_or(ControlFileError::Short(self.0.len()))
    }

    fn u32(&self, at: usize) -> Result<u32, ControlFileError> {
        self.take(at).map(u32::from_le_bytes)
    }

    fn u64(&self, at: usize) -> Result<u64, ControlFileError> {
        self.take(at).map(u64::from_le_bytes)
    }
}

#[cfg(test)]
pub(super) fn sample(version: u32, redo: Lsn, segment_size: u32) -> Vec<u8> {
    let mut bytes = vec![0; 8192];
    let mut put = |at: usize, value: &[u8]| bytes[at..at + value.len()].copy_from_slice(value);
    put(0, &7u64.to_le_bytes());
    put(8, &version.to_le_bytes());
    put(12, &202_209_061u32.to_le_bytes());
    put(16, &6u32.to_le_bytes());
    put(32, &(redo.as_u64() + 56).to_le_bytes());
    put(40, &redo.as_u64().to_le_bytes());
    put(48, &1u32.to_le_bytes());
    put(228, &segment_size.to_le_bytes());
    put(252, &1u32.to_le_bytes());
    let checksum_at = if version == 1800 { 292 } else { 288 };
    let checksum = crc32c::crc32c(&bytes[..checksum_at]);
    bytes[checksum_at..checksum_at + 4].copy_from_slice(&checksum.to_le_bytes());
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn every_known_layout_is_read() {
        for version in [1300, 1700, 1800] {
            let control = ControlFile::parse(&sample(version, Lsn::new(0x100_0028), 1 << 20)).unwrap();
            assert_eq!(control.system_id, SystemId::new(7));
            assert_eq!(control.state, ClusterState::InProduction);
            assert_eq!(control.redo, Lsn::new(0x100_0028));
            assert_eq!(control.segment_size.bytes(), 1 << 20);
            assert!(control.data_checksums);
        }
    }

    #[test]
    fn another_version_a_flipped_bit_and_a_cut_are_refused() {
        let good = sample(1300, Lsn::new(40), 1 << 24);
        assert_eq!(
            ControlFile::parse(&sample(1201, Lsn::new(40), 1 << 24)),
            Err(ControlFileError::Version(1201))
        );
        let mut damaged = good.clone();
        damaged[100] ^= 1;
        assert!(matches!(ControlFile::parse(&damaged), Err(ControlFileError::Checksum { .. })));
        assert_eq!(ControlFile::parse(&good[..280]), Err(ControlFileError::Short(280)));
        let odd = sample(1300, Lsn::new(40), 12345);
        assert!(matches!(ControlFile::parse(&odd), Err(ControlFileError::Field { .. })));
    }

    proptest! {
        #[test]
        fn garbage_never_panics(mut bytes in proptest::collection::vec(any::<u8>(), 0..400), version in 0..3usize) {
            if let Some(field) = bytes.get_mut(8..12) {
                field.copy_from_slice(&[1300u32, 1700, 1800][version].to_le_bytes());
            }
            prop_assert!(ControlFile::parse(&bytes).is_err());
        }
    }
}
