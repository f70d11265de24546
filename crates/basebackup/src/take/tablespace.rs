//! The tablespaces of a backup, as the server announces them and as they are laid out here.

use std::path::{Path, PathBuf};

use replication::client::ResultSet;

use super::error::TakeError;
use super::options::Options;
use crate::RelativePath;

/// A tablespace other than the main data directory.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Tablespace {
    /// Its number, which names its archive and its link.
    pub oid: u32,
    /// `pg_tblspc/OID`, under which its files are listed in the manifest.
    pub path: RelativePath,
    /// The directory on the server.
    pub location: String,
    /// The directory here. For archives it has no meaning.
    pub directory: PathBuf,
    /// Whether it is a directory inside of the data directory (`allow_in_place_tablespaces`).
    pub in_place: bool,
}

/// What the server announces.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Announcement {
    /// All but the main one.
    pub tablespaces: Vec<Tablespace>,
    /// An estimate of the bytes to come, if asked for.
    pub total: Option<u64>,
}

impl Announcement {
    /// Reads the second result of BASE_BACKUP: OID, location and size in kB, with the main directory's row last and
    /// without the first two.
    pub(super) fn read(result: &ResultSet, root: &Path, options: &Options) -> Result<Self, TakeError> {
        let bad = |what: String| TakeError::Answer(format!("invalid tablespace list from server: {what}"));
        let mut tablespaces = Vec::new();
        let mut total = options.estimate_size.then_some(0u64);
        let mut mains = 0;
        for row in 0..result.rows.len() {
            let size = result.text(row, 2).and_then(|size| size.parse::<u64>().ok());
            total = total.and_then(|total| Some(total.saturating_add(size?.saturating_mul(1024))));
            match (result.text(row, 0), result.text(row, 1)) {
                (None, _) => mains += 1,
                (Some(oid), Some(location)) => {
                    let oid = oid.parse().map_err(|_| bad(format!("OID \"{oid}\"")))?;
                    tablespaces.push(Tablespace::new(oid, location, root, options)?);
                }
                (Some(oid), None) => return Err(bad(format!("tablespace {oid} has no location"))),
            }
        }
        if mains != 1 {
            return Err(bad("it does not list the main data directory once".to_owned()));
        }
        let mut oids: Vec<_> = tablespaces.iter().map(|tablespace| tablespace.oid).collect();
        oids.sort_unstable();
        if let Some([twice, _]) = oids.array_windows().find(|[a, b]| a == b) {
            return Err(bad(format!("tablespace {twice} is listed twice")));
        }
        Ok(Self { tablespaces, total })
    }
}

impl Tablespace {
    fn new(oid: u32, location: &str, root: &Path, options: &Options) -> Result<Self, TakeError> {
        let path = RelativePath::new(format!("pg_tblspc/{oid}").as_bytes());
        let path = path.map_err(|error| TakeError::Answer(error.to_string()))?;
        let in_place = !location.starts_with('/');
        let directory = if !in_place {
            options.map_tablespace(Path::new(location))
        } else if location == path.to_string() {
            root.join(location)
        } else {
            return Err(TakeError::Refused(format!("tablespace location \"{}\"", location.escape_debug())));
        };
        Ok(Self { oid, path, location: location.to_owned(), directory, in_place })
    }
}
