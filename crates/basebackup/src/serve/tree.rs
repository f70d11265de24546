//! Which files of a data directory belong to a backup.

use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;

use crate::RelativePath;
use crate::tar::{Header, MemberKind};

/// Directories whose content no backup has, but which a server expects to be there.
const EMPTY: [&str; 9] = [
    "pg_wal",
    "pg_stat_tmp",
    "pg_replslot",
    "pg_dynshmem",
    "pg_notify",
    "pg_serial",
    "pg_snapshots",
    "pg_subtrans",
    "pgsql_tmp",
];
/// Files that say something about this server or about another backup.
const SKIPPED: [&str; 11] = [
    "postmaster.pid",
    "postmaster.opts",
    "backup_label",
    "backup_label.old",
    "tablespace_map",
    "tablespace_map.old",
    "backup_manifest",
    "standby.signal",
    "recovery.signal",
    "postgresql.auto.conf.tmp",
    "current_logfiles.tmp",
];
/// The file that is sent last, once it is known how far a backup has to be replayed.
pub(super) const CONTROL_FILE: &str = "global/pg_control";

/// The directories and files below `root` in an order that puts a directory before what is in it; without the control
/// file.
pub(super) fn list(root: &Path) -> io::Result<Vec<Header>> {
    let mut members = Vec::new();
    walk(root, "", &mut members)?;
    Ok(members)
}

fn walk(root: &Path, below: &str, members: &mut Vec<Header>) -> io::Result<()> {
    let mut names = Vec::new();
    for entry in fs::read_dir(root.join(below))? {
        // Nothing of the server's has a name that is not UTF-8.
        names.extend(entry?.file_name().into_string());
    }
    names.sort_unstable();
    for name in names {
        let path = if below.is_empty() { name.clone() } else { format!("{below}/{name}") };
        if is_skipped(&path, &name) {
            continue;
        }
        // Links are not followed, for they may lead anywhere, in circles too; but pg_wal may be one.
        let found = if path == "pg_wal" {
            fs::metadata(root.join(&path))
        } else {
            root.join(&path).symlink_metadata()
        };
        let found = match found {
            Ok(found) if found.is_dir() || found.is_file() => found,
            Ok(_) => {
                tracing::warn!("skipping special file \"{path}\": it is in no backup");
                continue;
            }
            // Dropped while we were looking.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error),
        };
        let kind = if found.is_dir() { MemberKind::Directory } else { MemberKind::File };
        let size = if found.is_dir() { 0 } else { found.len() };
        members.push(Header {
            path: RelativePath::new(path.as_bytes()).map_err(io::Error::other)?,
            kind,
            mode: found.permissions().mode() & 0o7777,
            size,
            modified: u64::try_from(found.mtime()).unwrap_or(0),
        });
        if found.is_dir() {
            if EMPTY.contains(&path.as_str()) {
                members.extend(empty_below(&path, members.last()));
            } else {
                walk(root, &path, members)?;
            }
        }
    }
    Ok(())
}

/// `pg_wal` has a directory of its own, which tools expect.
fn empty_below(path: &str, parent: Option<&Header>) -> Option<Header> {
    let parent = parent.filter(|_| path == "pg_wal")?;
    let path = RelativePath::new(b"pg_wal/archive_status").ok()?;
    Some(Header { path, ..parent.clone() })
}

fn is_skipped(path: &str, name: &str) -> bool {
    path == CONTROL_FILE
        || SKIPPED.contains(&path)
        || name.starts_with("pgsql_tmp") && path != "pgsql_tmp"
        || name.starts_with("walship.")
        || name.ends_with(".tmp")
}

/// The number of the tree's block that the file at `path` begins with; `None` if it does not consist of pages.
pub(super) fn first_block(path: &RelativePath) -> Option<u32> {
    let path = std::str::from_utf8(path.as_bytes()).ok()?;
    let mut parts = path.strip_prefix("base/")?.split('/');
    let (database, file, None) = (parts.next()?, parts.next()?, parts.next()) else { return None };
    let number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?;
    let _: u32 = number(database)?;
    let (relation, segment) = file.split_once('.').unwrap_or((file, "0"));
    let _: u32 = number(relation)?;
    number(segment)?.checked_mul(BLOCKS_PER_FILE)
}

/// Blocks in a relation file of 1 GiB.
const BLOCKS_PER_FILE: u32 = 131_072;
