//! Creating a data directory.
//!
//! It looks like one of PostgreSQL 15: `PG_VERSION`, `global/pg_control`, `pg_wal` with the first segment, and the
//! directories in which tools and a base backup expect to find, or not to find, something. What PostgreSQL's catalogs would be
//! is two trees, the catalogue and the registry of trees. The control file is written last: a directory without one is not a
//! data directory, however far its making got.
//!
//! Directories of before their control files said whose they are get a control file that does (`adopt`).

mod first_segment;
mod first_trees;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use disk::{Disk, OpenMode};
use replication::waldir::{Owner, owner_of};
use wal::payload::CheckPoint;
use wal::record::Xid;
use wal::{Lsn, SegmentSize, SystemId, TimelineId};

use crate::control::{ClusterState, ControlFile, ControlStore, Settings};
use crate::{EngineError, TreeId};

/// The PostgreSQL version whose directory it is.
pub const VERSION: &str = "15";
/// The first transaction that is not the making of the directory.
const FIRST_XID: u32 = 735;
/// The first number for a tree; smaller ones are PostgreSQL's own (`FirstNormalObjectId`), as the catalogue's is.
pub const FIRST_TREE: TreeId = TreeId::new(16384);

/// The directories besides `base` and `global`, as `initdb` makes them; parents first.
const DIRECTORIES: [&str; 23] = [
    "base",
    "global",
    "pg_commit_ts",
    "pg_dynshmem",
    "pg_logical",
    "pg_logical/mappings",
    "pg_logical/snapshots",
    "pg_multixact",
    "pg_multixact/members",
    "pg_multixact/offsets",
    "pg_notify",
    "pg_replslot",
    "pg_serial",
    "pg_snapshots",
    "pg_stat",
    "pg_stat_tmp",
    "pg_subtrans",
    "pg_tblspc",
    "pg_twophase",
    "pg_wal",
    "pg_wal/archive_status",
    "pg_xact",
    "base/5",
];

/// What a data directory is made with.
#[derive(Clone, Debug)]
pub struct InitOptions {
    /// The size of the log's segments.
    pub segment_size: SegmentSize,
    /// Files of the embedder's, by their path in the directory: `postgresql.conf` and the like.
    pub files: Vec<(PathBuf, Vec<u8>)>,
}

impl Default for InitOptions {
    fn default() -> Self {
        Self { segment_size: SegmentSize::DEFAULT, files: Vec::new() }
    }
}

/// Makes a data directory at `dir`, which must be missing or empty: shut down, holding no trees. Everything is durable
/// when this returns.
pub fn create(disk: &Arc<dyn Disk>, dir: &Path, options: &InitOptions) -> Result<SystemId, EngineError> {
    let disk = &**disk;
    refuse_occupied(disk, dir)?;
    disk::durable_create_dir_all(disk, dir).map_err(|source| EngineError::file("create", dir, source))?;
    for name in DIRECTORIES {
        let path = dir.join(name);
        disk.create_dir_all(&path).map_err(|source| EngineError::file("create", path, source))?;
    }
    let version = format!("{VERSION}\n").into_bytes();
    for name in ["PG_VERSION", "base/5/PG_VERSION"] {
        write(disk, &dir.join(name), &version)?;
    }
    for (name, content) in &options.files {
        write(disk, &dir.join(name), content)?;
    }
    let system_id = new_system_id();
    let checkpoint = first_checkpoint(options.segment_size);
    first_trees::write(disk, dir, checkpoint.redo)?;
    first_segment::write(disk, &dir.join("pg_wal"), options.segment_size, system_id, checkpoint)?;
    for name in DIRECTORIES {
        sync_dir(disk, &dir.join(name))?;
    }
    sync_dir(disk, dir)?;
    write(
        disk,
        &dir.join("global/pg_control"),
        &control(system_id, options.segment_size, checkpoint).encode(),
    )?;
    sync_dir(disk, &dir.join("global"))?;
    Ok(system_id)
}

/// Makes the control file of a directory that an earlier version has made say whose it is. Once: from then on it does, and
/// earlier versions refuse the directory. Durable when this returns, and whenever the power fails the directory is one that is
/// known as ours, before or after.
pub(crate) fn adopt(disk: &dyn Disk, dir: &Path, control: &ControlStore) -> Result<(), EngineError> {
    let ControlFile { state, checkpoint, segment_size, .. } = control.get();
    let never_served =
        state == ClusterState::ShutDown && checkpoint == first_segment::first_record(segment_size);
    if never_served {
        // Earlier versions made them with the first run of the log; if that is there, replay makes them again.
        first_trees::write(disk, dir, checkpoint)?;
        sync_dir(disk, &first_trees::directory(dir))?;
    }
    control.update(|_| {});
    tracing::info!("the directory is marked as walwriter's; earlier versions cannot open it any more");
    Ok(())
}

fn refuse_occupied(disk: &dyn Disk, dir: &Path) -> Result<(), EngineError> {
    match owner_of(disk, dir).map_err(|source| EngineError::file("read", dir, source))? {
        Owner::Missing | Owner::Empty => Ok(()),
        Owner::Other => {
            let dir = dir.display();
            Err(EngineError::Directory(format!("directory \"{dir}\" exists but is not empty")))
        }
        owner => {
            let dir = dir.display();
            Err(EngineError::Directory(format!("directory \"{dir}\" exists but is not empty: it {owner}")))
        }
    }
}

fn write(disk: &dyn Disk, path: &Path, content: &[u8]) -> Result<(), EngineError> {
    let write = || {
        let file = disk.open(path, OpenMode::CreateNew)?;
        file.write_all_at(content, 0)?;
        file.sync_all()
    };
    write().map_err(|source| EngineError::file("write", path, source))
}

fn sync_dir(disk: &dyn Disk, path: &Path) -> Result<(), EngineError> {
    disk.sync_dir(path).map_err(|source| EngineError::file("fsync", path, source))
}

/// Seconds, microseconds and process, as `initdb` puts them together: unique enough to tell clusters apart.
fn new_system_id() -> SystemId {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let process = u64::from(std::process::id() & 0xFFF);
    SystemId::new(since.as_secs() << 32 | u64::from(since.subsec_micros()) << 12 | process)
}

/// The checkpoint that the log begins with. It is its own redo point.
fn first_checkpoint(segment_size: SegmentSize) -> CheckPoint {
    CheckPoint {
        redo: first_segment::first_record(segment_size),
        timeline: TimelineId::FIRST,
        previous_timeline: TimelineId::FIRST,
        full_page_writes: true,
        wal_level: 0,
        next_xid: FIRST_XID.into(),
        next_oid: FIRST_TREE.as_u32(),
        next_multi: 1,
        next_multi_offset: 0,
        oldest_xid: Xid::new(FIRST_XID),
        oldest_xid_database: TreeId::DATABASE,
        oldest_multi: 1,
        oldest_multi_database: TreeId::DATABASE,
        time: crate::control::unix_seconds(),
        oldest_commit_timestamp_xid: Xid::INVALID,
        newest_commit_timestamp_xid: Xid::INVALID,
        oldest_active_xid: Xid::INVALID,
    }
}

fn control(system_id: SystemId, segment_size: SegmentSize, checkpoint: CheckPoint) -> ControlFile {
    ControlFile {
        system_id,
        state: ClusterState::ShutDown,
        time: checkpoint.time,
        checkpoint: checkpoint.redo,
        checkpoint_copy: checkpoint,
        min_recovery_point: Lsn::INVALID,
        min_recovery_timeline: TimelineId::new(0),
        backup_start: Lsn::INVALID,
        backup_end: Lsn::INVALID,
        backup_end_required: false,
        settings: Settings::default(),
        segment_size,
        data_checksums: true,
        authentication_nonce: nonce(),
    }
}

/// 32 bytes that nobody can guess: the standard library seeds its hashers from the system's random source.
fn nonce() -> [u8; 32] {
    use std::hash::{BuildHasher, RandomState};
    let mut nonce = [0; 32];
    for (number, word) in nonce.chunks_exact_mut(8).enumerate() {
        word.copy_from_slice(&RandomState::new().hash_one(number).to_le_bytes());
    }
    nonce
}
