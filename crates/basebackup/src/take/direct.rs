//! Writing large files past the page cache.
//!
//! A backup is written once and read, if ever, much later. Past the page cache, no memory is allocated for it, nothing is
//! copied into that, nothing is left to write back at the fsync, and what the server has cached stays cached. Blocks are
//! filled by the thread that unpacks and written by one of their own, in the order of the file.
//!
//! Only done where the file system says that it can (`STATX_DIOALIGN`, Linux 6.1); memory file systems and network file
//! systems do not say so, and get ordinary writes.

use std::fmt;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

use runtime::sync::Mutex;
use rustix::fs::{AtFlags, OFlags, StatxFlags};

use super::durability::{Failure, SyncQueue, Target, panicked};
use crate::file_error::FileError;

/// Files shorter than this are not worth it.
pub(super) const LEAST: u64 = BLOCK as u64;

/// How much is written at once.
const BLOCK: usize = 1 << 20;

/// What the addresses and lengths of direct writes are multiples of; no file system asks for more.
const ALIGNMENT: usize = 4096;

/// How many blocks wait to be written, at most.
const WAITING: usize = 16;

/// Memory whose filled part begins at a multiple of [`ALIGNMENT`].
struct Block {
    memory: Box<[u8]>,
    start: usize,
    filled: usize,
}

impl fmt::Debug for Block {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Block").field("filled", &self.filled).finish_non_exhaustive()
    }
}

impl Block {
    fn new() -> Self {
        let memory = vec![0; BLOCK + ALIGNMENT].into_boxed_slice();
        let start = memory.as_ptr().align_offset(ALIGNMENT);
        Self { memory, start, filled: 0 }
    }

    /// Takes what it has room for; says how much.
    fn fill(&mut self, bytes: &[u8]) -> usize {
        let length = bytes.len().min(BLOCK - self.filled);
        let start = self.start + self.filled;
        if let (Some(to), Some(from)) = (self.memory.get_mut(start..start + length), bytes.get(..length)) {
            to.copy_from_slice(from);
        }
        self.filled += length;
        length
    }

    fn is_full(&self) -> bool {
        self.filled == BLOCK
    }

    fn bytes(&self) -> &[u8] {
        self.memory.get(self.start..self.start + self.filled).unwrap_or_default()
    }
}

/// Blocks that were written and can be filled again. Never more of them than may wait, and two.
type Spare = Arc<Mutex<Vec<Block>>>;

/// What the writing thread is given.
struct Job {
    target: Arc<Target>,
    block: Block,
    /// Where the block belongs; a multiple of [`BLOCK`].
    offset: u64,
    /// The file ends with this block, which need not be full.
    last: bool,
}

/// The thread that writes blocks.
#[derive(Debug)]
pub(super) struct DirectWriter {
    queue: SyncSender<Job>,
    spare: Spare,
    failure: Failure,
    thread: JoinHandle<()>,
}

impl DirectWriter {
    /// Starts the thread, which gives complete files to `syncs`.
    pub(super) fn start(syncs: SyncQueue) -> Self {
        let (queue, waiting) = sync_channel(WAITING);
        let (spare, failure) = (Spare::default(), syncs.failure().clone());
        let thread = std::thread::spawn({
            let spare = Arc::clone(&spare);
            move || write_blocks(&waiting, &spare, &syncs)
        });
        Self { queue, spare, failure, thread }
    }

    /// `file`, empty, as one whose contents and fsync are this thread's; given back if its file system cannot.
    pub(super) fn take(&self, file: File, path: &Path) -> Result<DirectFile, File> {
        if !can_write_directly(&file) || set_direct(&file, true).is_err() {
            return Err(file);
        }
        Ok(DirectFile {
            target: Arc::new(Target { file, path: path.to_owned() }),
            queue: self.queue.clone(),
            spare: Arc::clone(&self.spare),
            failure: self.failure.clone(),
            block: Block::new(),
            offset: 0,
        })
    }

    /// Waits until everything is written. All files have to be finished.
    pub(super) fn finish(self) -> Result<(), FileError> {
        drop(self.queue);
        self.thread.join().map_err(|_| panicked("write files of"))
    }
}

/// A file being filled from its start to its end.
#[derive(Debug)]
pub(super) struct DirectFile {
    target: Arc<Target>,
    queue: SyncSender<Job>,
    spare: Spare,
    failure: Failure,
    /// Where it goes is `offset`.
    block: Block,
    offset: u64,
}

impl DirectFile {
    /// Takes the next bytes. An error may be that of earlier ones or of another file.
    pub(super) fn write_all(&mut self, mut bytes: &[u8]) -> Result<(), FileError> {
        while !bytes.is_empty() {
            if self.block.is_full() {
                self.hand_over(false)?;
            }
            let length = self.block.fill(bytes);
            bytes = bytes.get(length..).unwrap_or_default();
        }
        Ok(())
    }

    /// The file is complete.
    pub(super) fn finish(mut self) -> Result<(), FileError> {
        self.hand_over(true)
    }

    /// Waits while too many blocks are under way.
    fn hand_over(&mut self, last: bool) -> Result<(), FileError> {
        self.failure.check()?;
        let next = self.spare.lock().pop().unwrap_or_else(Block::new);
        let block = std::mem::replace(&mut self.block, next);
        let length = block.filled as u64;
        let job = Job { target: Arc::clone(&self.target), block, offset: self.offset, last };
        self.offset += length;
        self.queue.send(job).map_err(|_| panicked("write files of"))
    }
}

/// After a failure nothing is written any more, but everybody who hands over is let go on.
fn write_blocks(waiting: &Receiver<Job>, spare: &Spare, syncs: &SyncQueue) {
    let mut failed = false;
    for Job { target, mut block, offset, last } in waiting {
        if !failed {
            match write_block(&target.file, block.bytes(), offset) {
                Ok(()) if last => syncs.send(vec![target]),
                Ok(()) => {}
                Err(error) => {
                    failed = true;
                    syncs.failure().set(FileError::on("write to file", &target.path)(error));
                }
            }
        }
        block.filled = 0;
        spare.lock().push(block);
    }
}

fn write_block(file: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
    let (aligned, rest) = bytes.split_at(bytes.len() - bytes.len() % ALIGNMENT);
    match file.write_all_at(aligned, offset) {
        // Whatever it is that this file system wants, ordinary writes do not need it.
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => {
            set_direct(file, false)?;
            file.write_all_at(aligned, offset)?;
        }
        done => done?,
    }
    if !rest.is_empty() {
        set_direct(file, false)?;
        file.write_all_at(rest, offset + aligned.len() as u64)?;
    }
    Ok(())
}

fn can_write_directly(file: &File) -> bool {
    let wanted = StatxFlags::from_bits_retain(libc::STATX_DIOALIGN);
    let Ok(status) = rustix::fs::statx(file, c"", AtFlags::EMPTY_PATH, wanted) else { return false };
    let fits = |alignment: u32| alignment > 0 && ALIGNMENT.is_multiple_of(alignment as usize);
    status.stx_mask & libc::STATX_DIOALIGN != 0
        && fits(status.stx_dio_mem_align)
        && fits(status.stx_dio_offset_align)
}

fn set_direct(file: &File, direct: bool) -> io::Result<()> {
    let mut flags = rustix::fs::fcntl_getfl(file)?;
    flags.set(OFlags::DIRECT, direct);
    Ok(rustix::fs::fcntl_setfl(file, flags)?)
}

#[cfg(test)]
mod tests {
    use super::super::durability::Syncer;
    use super::*;

    /// Files of all kinds of lengths, written in pieces of `piece`; then read back.
    fn round_trip(directory: &Path, piece: usize) {
        let temp = tempfile::tempdir_in(directory).unwrap();
        let lengths = [0, 1, ALIGNMENT - 1, BLOCK, BLOCK + 1, 3 * BLOCK + ALIGNMENT + 512, 20 * BLOCK];
        let contents = |length: usize| -> Vec<u8> { (0..length).map(|n| (n % 251) as u8).collect() };
        let mut syncer = Syncer::start();
        for length in lengths {
            let path = temp.path().join(length.to_string());
            let mut file = syncer.file(File::create_new(&path).unwrap(), path, u64::MAX);
            for bytes in contents(length).chunks(piece) {
                file.write_all(bytes).unwrap();
            }
            syncer.submit(file).unwrap();
        }
        syncer.finish().unwrap();
        for length in lengths {
            let found = std::fs::read(temp.path().join(length.to_string())).unwrap();
            assert!(found == contents(length), "{length} bytes in pieces of {piece}");
        }
    }

    #[test]
    fn files_have_their_contents_whatever_the_pieces_and_the_file_system() {
        for directory in ["/var/tmp", "/dev/shm"] {
            for piece in [1000, 3 << 20] {
                round_trip(Path::new(directory), piece);
            }
        }
    }

    #[test]
    fn a_failed_write_is_reported() {
        let mut syncer = Syncer::start();
        let temp = tempfile::tempdir_in("/var/tmp").unwrap();
        let path = temp.path().join("file");
        std::fs::write(&path, b"").unwrap();
        // Open for reading only, so that writing fails.
        let mut file = syncer.file(File::open(&path).unwrap(), path.clone(), u64::MAX);
        let bytes = vec![1; BLOCK];
        let written = (0..=WAITING + 2).try_for_each(|_| file.write_all(&bytes));
        let error = written.and_then(|()| syncer.submit(file)).and_then(|()| syncer.finish()).unwrap_err();
        assert_eq!((error.action, error.path), ("write to file", path));
    }
}
