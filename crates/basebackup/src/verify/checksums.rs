//! Computing files' checksums on all cores.
//!
//! Work is handed out in pieces, the largest files first. A CRC-32C is computed over pieces of a file independently and
//! combined, so one large file keeps all cores busy; a SHA checksum needs its whole file in order.

use std::fs;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use runtime::sync::Mutex;

use super::{Context, Problem};
use crate::manifest::{Checksum, ChecksumAlgorithm, FileEntry, Hasher};

/// How much of a file is one piece of work.
const PIECE: u64 = 32 << 20;

/// How much is read at a time: so little that it is still in the cache when its checksum is computed.
const BUFFER: usize = 128 << 10;

/// A file whose checksum is to be compared; its size is right.
pub(super) struct File<'m> {
    pub(super) path: PathBuf,
    pub(super) entry: &'m FileEntry,
}

/// A file being read, perhaps by several threads.
struct Job<'m> {
    file: File<'m>,
    expected: &'m Checksum,
    /// The CRC of each piece.
    crcs: Mutex<Vec<u32>>,
    /// Pieces not yet read, or `FAILED`.
    left: AtomicUsize,
    read: AtomicU64,
}

/// A file that could not be read is out of the race.
const FAILED: usize = usize::MAX / 2;

/// Reads `files` and reports those whose contents are not what the manifest says.
pub(super) fn verify(context: &Context<'_>, mut files: Vec<File<'_>>) {
    files.sort_by_key(|file| std::cmp::Reverse(file.entry.size));
    let jobs: Vec<_> = files.into_iter().filter_map(Job::new).collect();
    let pieces: Vec<_> =
        jobs.iter().flat_map(|job| (0..job.pieces()).map(move |piece| (job, piece))).collect();
    let next = AtomicUsize::new(0);
    let work = || {
        let mut buffer = vec![0; BUFFER];
        while let Some((job, piece)) = pieces.get(next.fetch_add(1, Ordering::Relaxed)) {
            if context.stopped() {
                return;
            }
            job.read_piece(context, *piece, &mut buffer);
        }
    };
    std::thread::scope(|scope| {
        for _ in 1..context.threads().min(pieces.len()) {
            scope.spawn(work);
        }
        work();
    });
}

impl<'m> Job<'m> {
    fn new(file: File<'m>) -> Option<Self> {
        let expected = file.entry.checksum.as_ref()?;
        let mut job = Self {
            file,
            expected,
            crcs: Mutex::default(),
            left: AtomicUsize::new(0),
            read: AtomicU64::new(0),
        };
        job.left = AtomicUsize::new(job.pieces());
        if job.pieces() > 1 {
            job.crcs = Mutex::new(vec![0; job.pieces()]);
        }
        Some(job)
    }

    fn pieces(&self) -> usize {
        match self.expected.algorithm() {
            ChecksumAlgorithm::Crc32c => {
                usize::try_from(self.file.entry.size.div_ceil(PIECE)).unwrap_or(1).max(1)
            }
            _ => 1,
        }
    }

    fn piece_length(&self, piece: usize) -> u64 {
        let size = self.file.entry.size;
        if self.pieces() == 1 { size } else { (size - piece as u64 * PIECE).min(PIECE) }
    }

    fn read_piece(&self, context: &Context<'_>, piece: usize, buffer: &mut [u8]) {
        let mut hasher = self.expected.algorithm().hasher();
        let read = fs::File::open(&self.file.path).and_then(|file| {
            let start = piece as u64 * PIECE;
            hash(&file, start, self.piece_length(piece), &mut hasher, buffer)
        });
        let read = match read {
            Ok(read) => read,
            Err(error) => {
                // Only one of several threads that fail on one file reports it.
                if self.left.swap(FAILED, Ordering::AcqRel) < FAILED / 2 {
                    context.report_io("read file", &self.file.path, error);
                }
                return;
            }
        };
        context.count_bytes(read);
        self.read.fetch_add(read, Ordering::Relaxed);
        if let Hasher::Crc32c(crc) = &hasher
            && let Some(slot) = self.crcs.lock().get_mut(piece)
        {
            *slot = *crc;
        }
        if self.left.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.compare(context, hasher);
        }
    }

    /// After the last piece, whose hasher this is.
    fn compare(&self, context: &Context<'_>, hasher: Hasher) {
        let FileEntry { path, size, .. } = self.file.entry;
        let (path, expected, actual) = (path.clone(), *size, self.read.load(Ordering::Relaxed));
        if actual != expected {
            return context.report(Problem::ShortRead { path, actual, expected });
        }
        let crcs = self.crcs.lock();
        let checksum = if crcs.is_empty() {
            hasher.finish()
        } else {
            let combine = |whole, (piece, crc): (usize, &u32)| {
                crc32c::crc32c_combine(whole, *crc, self.piece_length(piece) as usize)
            };
            Checksum::crc32c(crcs.iter().enumerate().fold(0, combine))
        };
        if checksum != *self.expected {
            context.report(Problem::Checksum(path));
        }
    }
}

/// Adds up to `length` bytes of `file` from `start` to `hasher`; says how many there were.
fn hash(
    file: &fs::File,
    start: u64,
    length: u64,
    hasher: &mut Hasher,
    buffer: &mut [u8],
) -> std::io::Result<u64> {
    let mut done = 0;
    while done < length {
        let wanted = usize::try_from(length - done).map_or(buffer.len(), |left| left.min(buffer.len()));
        let part = buffer.get_mut(..wanted).unwrap_or_default();
        match file.read_at(part, start + done) {
            Ok(0) => break,
            Ok(read) => {
                hasher.update(part.get(..read).unwrap_or_default());
                done += read as u64;
            }
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(done)
}
