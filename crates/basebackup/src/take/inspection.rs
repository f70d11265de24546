//! What an archive may contain, and what a backup must, whatever it is stored as.
//!
//! Archives that are kept as they are (`-Ft`) are unpacked one day, by tools that follow what lies on their way. So every
//! archive is held to what unpacking it here would demand: a member lies in a directory that was sent before, links are
//! those of announced tablespaces, and nothing comes that only this side, or a server's start, may put there.

use std::collections::HashSet;

use wal::{Lsn, SystemId, TimelineId};

use super::error::TakeError;
use super::fetched_wal::FetchedWal;
use super::tablespace::Tablespace;
use super::tree::{CONTROL_FILE, UNFINISHED_CONTROL_FILE};
use crate::RelativePath;
use crate::manifest::{self, Manifest};
use crate::tar::{Header, MemberKind};
use crate::verify::control;

/// Where the backup starts, for the server that is started from it.
const LABEL: &str = "backup_label";
/// Links that the server that is started from it makes.
const TABLESPACE_MAP: &str = "tablespace_map";
/// The most that is kept of a file whose content is looked at: of every file's beginning enough.
const LOOKED_AT: usize = 1 << 20;
/// Bits of a mode that make a program run as somebody else.
const SET_ID: u32 = 0o6000;

/// Looks at every member of every archive.
#[derive(Debug, Default)]
pub(super) struct Inspection {
    announced: Vec<Tablespace>,
    /// Whether the server was asked for `tablespace_map`.
    wants_map: bool,
    /// The archive under way is that of the data directory.
    is_main: bool,
    /// The directories and links of the archive under way.
    directories: HashSet<RelativePath>,
    links: HashSet<RelativePath>,
    looking_at: Option<&'static str>,
    label: Option<Vec<u8>>,
    map: Option<Vec<u8>>,
    control: Option<Vec<u8>>,
    /// The WAL, if it is in the main archive.
    fetched: Option<FetchedWal>,
}

/// What a complete backup must agree with.
#[derive(Debug, Clone, Copy)]
pub(super) struct Agreed {
    /// Where the server said that it starts.
    pub(super) start: Lsn,
    pub(super) timeline: TimelineId,
    /// Where the server said that it ends.
    pub(super) end: Lsn,
    pub(super) end_timeline: TimelineId,
    pub(super) system_id: SystemId,
}

impl Agreed {
    /// The manifest, too, should be that of this backup.
    pub(super) fn check_manifest(&self, manifest: &Manifest) -> Result<(), TakeError> {
        let Self { start, end, system_id, .. } = self;
        if let Some(other) = manifest.system_id.filter(|other| other != system_id) {
            let why = format!("the manifest's system identifier is {other}, but the server's is {system_id}");
            return wrong(why);
        }
        let first = manifest.wal_ranges.iter().map(|range| range.start).min();
        let last = manifest.wal_ranges.iter().map(|range| range.end).max();
        if (first, last) == (Some(*start), Some(*end)) {
            return Ok(());
        }
        wrong(format!("the manifest's WAL ranges are not those of the backup, {start} to {end}"))
    }
}

impl Inspection {
    /// Of a backup with the tablespaces `announced`, and with its WAL in the main archive if that is `fetched`.
    pub(super) fn new(announced: &[Tablespace], wants_map: bool, fetched: Option<FetchedWal>) -> Self {
        Self { announced: announced.to_vec(), wants_map, fetched, ..Self::default() }
    }

    /// An archive begins.
    pub(super) fn archive(&mut self, is_main: bool) {
        self.is_main = is_main;
        self.directories.clear();
        self.links.clear();
    }

    /// A member begins.
    pub(super) fn begin(&mut self, header: &Header) -> Result<(), TakeError> {
        let path = &header.path;
        if let Some(parent) = path.parent()
            && !self.directories.contains(&parent)
        {
            return refuse(format!("\"{path}\" is in a directory that was not sent before"));
        }
        if self.links.contains(path) {
            return refuse(format!("\"{path}\" was sent as a link before"));
        }
        match &header.kind {
            MemberKind::Directory => {
                self.directories.insert(path.clone());
                Ok(())
            }
            MemberKind::Symlink(to) => self.link(path, to),
            MemberKind::File => self.file(path, header),
        }
    }

    fn link(&mut self, path: &RelativePath, to: &[u8]) -> Result<(), TakeError> {
        let is_announced = self.announced.iter().any(|tablespace| {
            *path == tablespace.path && to == tablespace.location.as_bytes() && !tablespace.in_place
        });
        if !(self.is_main && is_announced) || self.directories.contains(path) {
            let to = String::from_utf8_lossy(to);
            return refuse(format!("link \"{path}\" to \"{}\" is of no tablespace", to.escape_debug()));
        }
        self.links.insert(path.clone());
        Ok(())
    }

    fn file(&mut self, path: &RelativePath, header: &Header) -> Result<(), TakeError> {
        if header.mode & SET_ID != 0 {
            return refuse(format!("file \"{path}\" would run as somebody else (mode {:o})", header.mode));
        }
        if self.directories.contains(path) {
            return refuse(format!("file \"{path}\" was sent as a directory before"));
        }
        self.looking_at = None;
        let name = path.to_string();
        if let Some(wal) = &mut self.fetched {
            wal.begin(name.strip_prefix("pg_wal/").filter(|_| self.is_main), header.size);
        }
        if !self.is_main {
            return Ok(());
        }
        let is = |name: &str| path.as_bytes() == name.as_bytes();
        if is(manifest::FILE_NAME) || is(UNFINISHED_CONTROL_FILE) || is(TABLESPACE_MAP) && !self.wants_map {
            return refuse(format!("file \"{path}\" does not belong into an archive"));
        }
        self.looking_at = [LABEL, TABLESPACE_MAP, CONTROL_FILE].into_iter().find(|name| is(name));
        if let Some(content) = self.content() {
            *content = Some(Vec::new());
        }
        Ok(())
    }

    /// Contents of the member.
    pub(super) fn data(&mut self, bytes: &[u8]) {
        if let Some(wal) = &mut self.fetched {
            wal.data(bytes);
        }
        if let Some(Some(content)) = self.content() {
            let room = LOOKED_AT.saturating_sub(content.len()).min(bytes.len());
            content.extend_from_slice(bytes.get(..room).unwrap_or_default());
        }
    }

    fn content(&mut self) -> Option<&mut Option<Vec<u8>>> {
        match self.looking_at? {
            LABEL => Some(&mut self.label),
            TABLESPACE_MAP => Some(&mut self.map),
            _ => Some(&mut self.control),
        }
    }

    /// Everything has come: it should be a backup, and the one that was agreed on.
    pub(super) fn conclude(&self, agreed: &Agreed) -> Result<(), TakeError> {
        self.check_label(agreed)?;
        self.check_map()?;
        self.check_control(agreed)?;
        match &self.fetched {
            Some(wal) => wal.conclude(agreed.end, agreed.end_timeline).or_else(wrong),
            None => Ok(()),
        }
    }

    /// Without a label, or with another's, a server would recover from the wrong place and call it consistent.
    fn check_label(&self, agreed: &Agreed) -> Result<(), TakeError> {
        let Some(label) = &self.label else { return wrong(format!("server sent no \"{LABEL}\"")) };
        let text = String::from_utf8_lossy(label);
        let value = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
        let start =
            value("START WAL LOCATION:").and_then(|value| value.split(' ').next()?.parse::<Lsn>().ok());
        let timeline = value("START TIMELINE:").and_then(|value| value.parse().ok()).map(TimelineId::new);
        let Agreed { start: told, timeline: told_timeline, .. } = agreed;
        if (start, timeline) == (Some(*told), Some(*told_timeline)) {
            return Ok(());
        }
        wrong(format!("\"{LABEL}\" does not start at {told} on timeline {told_timeline}, as the server said"))
    }

    /// A server that is started makes the links that the map names, wherever they lead.
    fn check_map(&self) -> Result<(), TakeError> {
        if !self.wants_map {
            return Ok(());
        }
        let mut named: Vec<(u32, String)> = Vec::new();
        for line in map_lines(self.map.as_deref().unwrap_or_default()) {
            let Some((oid, location)) =
                line.split_once(' ').and_then(|(oid, to)| Some((oid.parse().ok()?, to)))
            else {
                return wrong(format!("\"{TABLESPACE_MAP}\" has a line \"{}\"", line.escape_debug()));
            };
            named.push((oid, location.to_owned()));
        }
        let is_named = |tablespace: &Tablespace| {
            named.iter().any(|(oid, location)| (*oid, location) == (tablespace.oid, &tablespace.location))
        };
        // Whether those that live in the data directory are named too depends on the server's version.
        let complete = self.announced.iter().all(|tablespace| tablespace.in_place || is_named(tablespace));
        if complete && named.len() == self.announced.iter().filter(|tablespace| is_named(tablespace)).count()
        {
            return Ok(());
        }
        wrong(format!("\"{TABLESPACE_MAP}\" does not name the tablespaces that the server announced"))
    }

    fn check_control(&self, agreed: &Agreed) -> Result<(), TakeError> {
        let Some(content) = &self.control else { return wrong(format!("server sent no \"{CONTROL_FILE}\"")) };
        match control::check(content, Some(agreed.system_id)) {
            None => Ok(()),
            Some(error) => wrong(format!("\"{CONTROL_FILE}\": {error}")),
        }
    }
}

/// The lines of a map; a backslash takes what follows it as it is (`do_pg_backup_start`).
fn map_lines(map: &[u8]) -> Vec<String> {
    let mut lines = vec![String::new()];
    let text = String::from_utf8_lossy(map);
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        match character {
            '\n' => lines.push(String::new()),
            '\\' => lines.last_mut().into_iter().for_each(|line| line.extend(characters.next())),
            other => lines.last_mut().into_iter().for_each(|line| line.push(other)),
        }
    }
    lines.retain(|line| !line.is_empty());
    lines
}

fn refuse<T>(what: String) -> Result<T, TakeError> {
    Err(TakeError::Refused(what))
}

fn wrong<T>(what: String) -> Result<T, TakeError> {
    Err(TakeError::Answer(what))
}

#[cfg(test)]
mod tests;
