//! Verifying archives: `base.tar`, an archive per tablespace, and `pg_wal.tar`, compressed or not.

mod archived_wal;

use std::collections::{HashMap, HashSet};
use std::fs;
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use runtime::sync::Mutex;
use wal::SegmentNo;

use super::wal_check::{self, Directory};
use super::{Context, Problem, VerifyError, control};
use crate::RelativePath;
use crate::compression::{Decoder, Method};
use crate::file_error::{FileError, reason};
use crate::manifest::{FileEntry, Hasher};
use crate::take::CONTROL_FILE;
use crate::tar::{Event, Header, MemberKind, Reader, TarError};
use archived_wal::Wal;

/// How much is read, and unpacked, at a time.
const BUFFER: usize = 256 << 10;

/// A control file is this long; more is not looked at.
const CONTROL_FILE_SIZE: usize = 8192;

const MAIN: &str = "base.tar";
const WAL: &str = "pg_wal.tar";

/// Whether `directory` looks like a backup in archives.
pub(super) fn has_main_archive(directory: &Path) -> bool {
    let suffixes = [""].into_iter().chain(Method::ALL.map(Method::suffix));
    suffixes.into_iter().any(|suffix| directory.join(format!("{MAIN}{suffix}")).is_file())
}

/// One archive.
struct Archive {
    path: PathBuf,
    name: String,
    compression: Option<Method>,
    contents: Contents,
}

/// What an archive holds.
#[derive(Clone, PartialEq, Eq)]
enum Contents {
    Main,
    /// A tablespace, whose files are below this path in the manifest.
    Tablespace(RelativePath),
    Wal,
}

/// Verifies the archives; gives the number of WAL records read.
pub(super) fn verify(context: &Context<'_>) -> Result<Option<u64>, VerifyError> {
    let archives = list(context)?;
    let check = Check {
        context,
        entries: context.manifest.files.iter().map(|entry| (&entry.path, entry)).collect(),
        found: Mutex::default(),
        wal: Mutex::new(Wal::new(context)),
    };
    let next = AtomicUsize::new(0);
    let work = || {
        while let Some(archive) = archives.get(next.fetch_add(1, Ordering::Relaxed)) {
            if context.stopped() {
                return;
            }
            check.archive(archive);
        }
    };
    std::thread::scope(|scope| {
        for _ in 1..context.threads().min(archives.len()) {
            scope.spawn(work);
        }
        work();
    });
    let Check { found, wal, .. } = check;
    let found = found.into_inner();
    for entry in &context.manifest.files {
        if !found.contains(&entry.path) && !context.ignores(&entry.path) {
            context.report(Problem::Missing(entry.path.clone()));
        }
    }
    Ok((!context.options.no_parse_wal).then(|| match &context.options.wal_directory {
        Some(directory) => wal_check::verify(context, Directory::new(directory.clone())),
        None => wal.into_inner().finish(context),
    }))
}

/// The archives in the backup, the largest first; anything else in there is a problem.
fn list(context: &Context<'_>) -> Result<Vec<Archive>, VerifyError> {
    let directory = &context.options.directory;
    let mut archives = Vec::new();
    for entry in fs::read_dir(directory).map_err(FileError::on("open directory", directory))? {
        let entry = entry.map_err(FileError::on("read directory", directory))?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if RelativePath::new(name.as_bytes()).is_ok_and(|path| context.ignores(&path)) {
            continue;
        }
        let size = entry.metadata().map_or(0, |metadata| metadata.len());
        match Archive::recognise(entry.path(), &name) {
            Some(archive) => archives.push((size, archive)),
            None => context.report(Problem::UnexpectedArchive(name)),
        }
    }
    archives.sort_by_key(|(size, _)| std::cmp::Reverse(*size));
    Ok(archives.into_iter().map(|(_, archive)| archive).collect())
}

impl Archive {
    fn recognise(path: PathBuf, name: &str) -> Option<Self> {
        let (stem, compression) = Method::split_suffix(name);
        let contents = match stem {
            MAIN => Contents::Main,
            WAL => Contents::Wal,
            _ => {
                let oid: u32 = stem.strip_suffix(".tar")?.parse().ok()?;
                Contents::Tablespace(RelativePath::new(format!("pg_tblspc/{oid}").as_bytes()).ok()?)
            }
        };
        Some(Self { path, name: name.to_owned(), compression, contents })
    }

    fn open(&self) -> io::Result<Box<dyn Read>> {
        let file = fs::File::open(&self.path)?;
        Ok(match self.compression {
            None => Box::new(file),
            Some(method) => Box::new(Decoder::new(method, BufReader::with_capacity(BUFFER, file))?),
        })
    }
}

/// What all threads share.
struct Check<'c, 'm> {
    context: &'c Context<'m>,
    entries: HashMap<&'m RelativePath, &'m FileEntry>,
    found: Mutex<HashSet<&'m RelativePath>>,
    wal: Mutex<Wal>,
}

/// Why an archive could not be read to its end.
#[derive(Debug, thiserror::Error)]
enum ArchiveError {
    #[error("{}", reason(.0))]
    Read(#[from] io::Error),
    #[error(transparent)]
    Tar(#[from] TarError),
}

impl<'m> Check<'_, 'm> {
    fn archive(&self, archive: &Archive) {
        if let Err(error) = self.members(archive) {
            let (archive, error) = (archive.name.clone(), error.to_string());
            self.context.report(Problem::Archive { archive, error });
        }
    }

    fn members(&self, archive: &Archive) -> Result<(), ArchiveError> {
        let mut input = archive.open()?;
        let mut reader = Reader::new();
        let mut buffer = vec![0; BUFFER];
        let mut member = Member::Skipped;
        loop {
            let length = input.read(&mut buffer)?;
            let Some(mut bytes) = buffer.get(..length).filter(|bytes| !bytes.is_empty()) else { break };
            while let Some(event) = reader.next(&mut bytes)? {
                match event {
                    Event::Begin(header) => member = self.begin(archive, &header),
                    Event::Data(data) => self.data(&mut member, data),
                    Event::End => self.end(std::mem::replace(&mut member, Member::Skipped)),
                }
            }
            if self.context.stopped() {
                return Ok(());
            }
        }
        Ok(reader.finish()?)
    }

    fn begin(&self, archive: &Archive, header: &Header) -> Member<'m> {
        if header.kind != MemberKind::File {
            return Member::Skipped;
        }
        let (path, segment) = match &archive.contents {
            Contents::Wal => (None, Some(header.path.to_string())),
            Contents::Tablespace(prefix) => (Some(header.path.prefixed(prefix)), None),
            Contents::Main => {
                let segment = header.path.to_string().strip_prefix("pg_wal/").map(str::to_owned);
                (Some(header.path.clone()), segment)
            }
        };
        if let Some(segment) = segment {
            let started = self.wal().begin(&segment, header.size, self.context);
            return started.map_or(Member::Skipped, |segment| Member::Wal { segment, offset: 0 });
        }
        let Some(path) = path.filter(|path| !self.context.ignores(path)) else { return Member::Skipped };
        let Some(entry) = self.entries.get(&path).copied() else {
            self.context.report(Problem::Extra(path));
            return Member::Skipped;
        };
        self.found.lock().insert(&entry.path);
        if header.size != entry.size {
            self.context.report(Problem::Size { path, actual: header.size, expected: entry.size });
            return Member::Skipped;
        }
        let hasher = entry.checksum.as_ref().filter(|_| !self.context.options.skip_checksums);
        let control = (entry.path.as_bytes() == CONTROL_FILE.as_bytes()).then(Vec::new);
        Member::File { entry, hasher: hasher.map(|checksum| checksum.algorithm().hasher()), control }
    }

    fn data(&self, member: &mut Member<'_>, data: &[u8]) {
        match member {
            Member::Skipped => return,
            Member::File { hasher, control, .. } => {
                if let Some(hasher) = hasher {
                    hasher.update(data);
                }
                if let Some(control) = control {
                    let room = CONTROL_FILE_SIZE.saturating_sub(control.len()).min(data.len());
                    control.extend_from_slice(data.get(..room).unwrap_or_default());
                }
            }
            Member::Wal { segment, offset } => {
                self.wal().feed(*segment, *offset, data, self.context);
                *offset += data.len() as u64;
            }
        }
        self.context.count_bytes(data.len() as u64);
    }

    fn end(&self, member: Member<'_>) {
        let Member::File { entry, hasher, control } = member else { return };
        if hasher.is_some_and(|hasher| Some(hasher.finish()) != entry.checksum) {
            self.context.report(Problem::Checksum(entry.path.clone()));
        }
        let system = self.context.manifest.system_id;
        if let Some(wrong) =
            control.filter(|_| system.is_some()).and_then(|bytes| control::check(&bytes, system))
        {
            self.context.report(Problem::ControlFile(wrong));
        }
    }

    fn wal(&self) -> runtime::sync::MutexGuard<'_, Wal> {
        self.wal.lock()
    }
}

/// The member being read.
enum Member<'m> {
    Skipped,
    File { entry: &'m FileEntry, hasher: Option<Hasher>, control: Option<Vec<u8>> },
    Wal { segment: SegmentNo, offset: u64 },
}
