//! The thread that unpacks or stores what the connection receives.

use std::collections::HashSet;
use std::io::{self, BufRead, Read};
use std::sync::Arc;

use super::archive::{ArchiveStore, StoredArchive};
use super::error::TakeError;
use super::feed::{Feed, FeedError, Section, SectionReader};
use super::fetched_wal::FetchedWal;
use super::injector::Injector;
use super::inspection::Inspection;
use super::ledger::{Difference, Ledger};
use super::members::{Discard, MemberSink, Unpacker};
use super::options::Options;
use super::tablespace::Tablespace;
use super::tree::Tree;
use crate::compression::{Decoder, Encoder, Method, Settings};
use crate::file_error::FileError;
use crate::manifest::{self, Manifest};

/// A manifest larger than this is not believed; PostgreSQL's own tools cannot read one of 1 GiB.
const MANIFEST_LIMIT: usize = 1 << 30;

/// How much is unpacked at a time.
const UNPACKED: usize = 256 << 10;

/// Where what is received goes.
pub(super) enum Output {
    /// A data directory.
    Tree(Tree),
    /// Archives.
    Archives(ArchiveStore),
    /// Nothing is received: the server keeps it.
    Elsewhere,
}

/// The receiving side of a backup.
pub(super) struct Receiver {
    pub(super) options: Arc<Options>,
    pub(super) feed: Feed,
    pub(super) output: Output,
    pub(super) tablespaces: Vec<Tablespace>,
    /// Settings to add to the main archive.
    pub(super) settings: Option<String>,
    /// For files that are added.
    pub(super) file_mode: u32,
    /// What the WAL in the main archive is held against, if it is there.
    pub(super) fetched: Option<FetchedWal>,
}

/// What was received.
pub(super) struct Received {
    pub(super) output: Output,
    /// The manifest; `None` if none was asked for.
    pub(super) manifest: Option<(Vec<u8>, Manifest)>,
    /// In what it differs from what was received.
    pub(super) differences: Vec<Difference>,
    /// What was seen of the archives.
    pub(super) inspection: Inspection,
}

impl Receiver {
    /// Receives everything, up to the end of the copy.
    pub(super) fn run(mut self) -> Result<Received, TakeError> {
        let checksums = self.options.manifest.and_then(|manifest| manifest.checksums);
        let mut ledger = Ledger::new(checksums);
        let wants_map = self.options.wants_tablespace_map();
        let mut inspection = Inspection::new(&self.tablespaces, wants_map, self.fetched.take());
        let mut seen = HashSet::new();
        let (mut manifest, mut differences) = (None, Vec::new());
        let mut open = None;
        while let Some(section) = self.feed.next_section()? {
            runtime::fault::panic_if_wanted("panic in unpacking");
            match section {
                // The server only tells what it is doing; data would not be understood as that of any section.
                _ if matches!(self.output, Output::Elsewhere) => {}
                Section::Archive { name, tablespace_path } if manifest.is_none() && open.is_none() => {
                    let (tablespace, compression) = self.identify(&name, &tablespace_path)?;
                    if !seen.insert(tablespace.as_ref().map(|tablespace| tablespace.oid)) {
                        return Err(TakeError::Refused(format!("archive \"{name}\" was sent twice")));
                    }
                    open = self.archive(
                        &name,
                        tablespace.as_ref(),
                        compression,
                        (&mut ledger, &mut inspection),
                    )?;
                }
                Section::Manifest if manifest.is_none() && self.options.manifest.is_some() => {
                    let (bytes, parsed) = self.manifest()?;
                    differences = ledger.compare(&parsed);
                    manifest = Some((bytes, parsed));
                }
                _ => return Err(TakeError::Refused("archives or manifest out of order".to_owned())),
            }
        }
        self.check_complete(&seen, manifest.is_some())?;
        if let (Some(mut injector), Output::Archives(store)) = (open, &mut self.output) {
            if !differences.is_empty() {
                // What goes to standard output is not to end as an archive does.
                return Err(TakeError::Differences(differences));
            }
            if let Some((bytes, _)) = &manifest {
                injector.add_file(manifest::FILE_NAME, bytes)?;
            }
            let archive = injector.finish()?;
            store.finish(archive)?;
        }
        Ok(Received { output: self.output, manifest, differences, inspection })
    }

    /// Which tablespace an archive is of, and how it is compressed. Nothing about it may come as a surprise.
    fn identify(&self, name: &str, path: &str) -> Result<(Option<Tablespace>, Option<Method>), TakeError> {
        let (stem, compression) = Method::split_suffix(name);
        let expected = self.options.server_compression().map(|specification| specification.method);
        let tablespace = self.tablespaces.iter().find(|tablespace| stem == format!("{}.tar", tablespace.oid));
        let fits = match tablespace {
            Some(tablespace) => tablespace.location == path,
            None => stem == "base.tar" && path.is_empty(),
        };
        if fits && compression == expected {
            Ok((tablespace.cloned(), compression))
        } else {
            Err(TakeError::Refused(format!("unexpected archive \"{}\"", name.escape_debug())))
        }
    }

    /// Receives one archive. One that still waits for the manifest is given back.
    fn archive(
        &mut self,
        name: &str,
        tablespace: Option<&Tablespace>,
        compression: Option<Method>,
        (ledger, inspection): (&mut Ledger, &mut Inspection),
    ) -> Result<Option<Injector>, TakeError> {
        let unpacker = Unpacker::new(name, tablespace.map(|tablespace| &tablespace.path), ledger, inspection);
        let mut pump = Pump { feed: &mut self.feed, name, compression, unpacker };
        let store = match &mut self.output {
            Output::Elsewhere => return Ok(None),
            Output::Tree(tree) => {
                let mut sink = tree.archive(tablespace, &self.tablespaces);
                pump.run(&mut sink)?;
                pump.unpacker.finish()?;
                return Ok(None);
            }
            Output::Archives(store) => store,
        };
        let waits = store.is_stdout() && self.options.manifest.is_some();
        let settings = self.settings.take_if(|_| tablespace.is_none());
        let client = self.options.client_compression();
        let stored_name = |settings: Option<Settings>| match settings {
            Some(settings) => format!("{name}{}", settings.method.suffix()),
            None => name.to_owned(),
        };
        if settings.is_some() || waits {
            // What the server compressed is unpacked, added to, and compressed again in the same way.
            let again =
                self.options.server_compression().and_then(|specification| specification.settings().ok());
            let out = store.create(&stored_name(client))?;
            let out = Encoder::new(client.or(again), out).map_err(TakeError::writing)?;
            let mut injector = Injector::new(out, settings, self.file_mode);
            pump.run(&mut injector)?;
            pump.unpacker.finish()?;
            injector.finish_members()?;
            if waits {
                return Ok(Some(injector));
            }
            let stored = injector.finish()?;
            store.finish(stored)?;
        } else {
            let out = store.create(&stored_name(client))?;
            let out = Encoder::new(client, out).map_err(TakeError::writing)?;
            let stored = pump.run_raw(out)?;
            pump.unpacker.finish()?;
            store.finish(stored)?;
        }
        Ok(None)
    }

    /// Receives the manifest.
    fn manifest(&mut self) -> Result<(Vec<u8>, Manifest), TakeError> {
        let mut bytes = Vec::new();
        while let Some(chunk) = self.feed.next_data()? {
            if bytes.len() + chunk.len() > MANIFEST_LIMIT {
                return Err(TakeError::Refused("a manifest of more than 1 GiB".to_owned()));
            }
            bytes.extend_from_slice(&chunk);
        }
        let manifest = Manifest::parse(&bytes)?;
        Ok((bytes, manifest))
    }

    fn check_complete(&self, seen: &HashSet<Option<u32>>, manifest: bool) -> Result<(), TakeError> {
        if matches!(self.output, Output::Elsewhere) {
            return Ok(());
        }
        let missing = |what: &str| Err(TakeError::Answer(format!("server sent no {what}")));
        if !seen.contains(&None) {
            return missing("archive of the main data directory");
        }
        if let Some(tablespace) =
            self.tablespaces.iter().find(|tablespace| !seen.contains(&Some(tablespace.oid)))
        {
            return missing(&format!("archive of tablespace {}", tablespace.oid));
        }
        if self.options.manifest.is_some() && !manifest { missing("manifest") } else { Ok(()) }
    }
}

/// One archive on its way from the feed through the unpacker.
struct Pump<'a> {
    feed: &'a mut Feed,
    name: &'a str,
    compression: Option<Method>,
    unpacker: Unpacker<'a>,
}

impl Pump<'_> {
    /// Gives the archive's members to `sink`.
    fn run(&mut self, sink: &mut dyn MemberSink) -> Result<(), TakeError> {
        match self.compression {
            None => {
                while let Some(chunk) = self.feed.next_data()? {
                    self.unpacker.feed(&chunk, sink)?;
                }
                Ok(())
            }
            Some(method) => {
                let mut source = SectionReader::new(self.feed, None);
                decompress(method, &mut source, self.name, |bytes| self.unpacker.feed(bytes, sink))
            }
        }
    }

    /// Passes the archive's bytes on to `out` as they are, only looking at its members.
    fn run_raw(&mut self, mut out: Encoder<StoredArchive>) -> Result<StoredArchive, TakeError> {
        match self.compression {
            None => {
                while let Some(chunk) = self.feed.next_data()? {
                    io::Write::write_all(&mut out, &chunk).map_err(TakeError::writing)?;
                    self.unpacker.feed(&chunk, &mut Discard)?;
                }
            }
            Some(method) => {
                let mut source = SectionReader::new(self.feed, Some(&mut out));
                decompress(method, &mut source, self.name, |bytes| self.unpacker.feed(bytes, &mut Discard))?;
            }
        }
        out.finish().map_err(TakeError::writing)
    }
}

fn decompress(
    method: Method,
    source: &mut SectionReader<'_>,
    archive: &str,
    mut each: impl FnMut(&[u8]) -> Result<(), TakeError>,
) -> Result<(), TakeError> {
    let failed = |error| TakeError::reading(archive, error);
    let mut buffer = vec![0; UNPACKED];
    let mut decoder = Decoder::new(method, &mut *source).map_err(failed)?;
    loop {
        let length = decoder.read(&mut buffer).map_err(failed)?;
        match buffer.get(..length) {
            None | Some([]) => break,
            Some(bytes) => each(bytes)?,
        }
    }
    drop(decoder);
    if source.fill_buf().map_err(failed)?.is_empty() {
        Ok(())
    } else {
        Err(failed(io::Error::new(
            io::ErrorKind::InvalidData,
            "data after the end of the compressed archive",
        )))
    }
}

impl TakeError {
    /// An error of something that writes an archive, whose files name themselves.
    pub(super) fn writing(error: io::Error) -> Self {
        match error.downcast::<FileError>() {
            Ok(error) => Self::File(error),
            Err(source) => Self::File(FileError { action: "write", path: "archive".into(), source }),
        }
    }

    /// An error of something that reads an archive from the feed, and perhaps stores it on the way.
    fn reading(archive: &str, error: io::Error) -> Self {
        let error = match error.downcast::<FeedError>() {
            Ok(error) => return error.into(),
            Err(error) => error,
        };
        match error.downcast::<FileError>() {
            Ok(error) => Self::File(error),
            Err(source) => Self::Decompress { archive: archive.to_owned(), source },
        }
    }
}

#[cfg(test)]
mod tests;
