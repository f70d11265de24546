//! A file mapped into several processes, as 64-bit words that change atomically.
//!
//! Words have the machine's byte order: the file never leaves the host. The only 32-bit word is the wake-up word at
//! byte [`WAKE_OFFSET`]. Nobody shortens such a file while it may be mapped.

use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering, fence};
use std::time::Duration;

use disk::{Disk, DiskFile, OpenMode};
use memmap2::{MmapOptions, MmapRaw};
use rustix::fs::Timespec;
use rustix::io::Errno;
use rustix::thread::futex;

/// Where the futex is: an `u32` that whoever changes the file increments.
pub(super) const WAKE_OFFSET: usize = 16;

#[derive(Debug)]
pub(super) struct Mapping {
    file: Box<dyn DiskFile>,
    map: MmapRaw,
    words: usize,
    writable: bool,
}

impl Mapping {
    /// Opens the file for reading and writing, creating it and reserving its space if need be: a mapped page that the
    /// disk has no room for would kill the process.
    pub(super) fn create(disk: &dyn Disk, path: &Path, len: usize) -> io::Result<Self> {
        let file = disk.open(path, OpenMode::Create)?;
        file.allocate(0, len as u64)?;
        let map = MmapOptions::new().len(len).map_raw(&Descriptor(&*file).get()?)?;
        Ok(Self { file, map, words: len / 8, writable: true })
    }

    /// Opens the file for reading.
    pub(super) fn open(disk: &dyn Disk, path: &Path, len: usize) -> io::Result<Self> {
        let file = disk.open(path, OpenMode::Read)?;
        if file.len()? < len as u64 {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "file is shorter than its layout"));
        }
        let map = MmapOptions::new().len(len).map_raw_read_only(&Descriptor(&*file).get()?)?;
        Ok(Self { file, map, words: len / 8, writable: false })
    }

    /// The descriptor, for locks.
    pub(super) fn file(&self) -> io::Result<std::os::fd::BorrowedFd<'_>> {
        Descriptor(&*self.file).get()
    }

    /// All words. Through a read-only mapping they may only be loaded, relaxed.
    pub(super) fn words(&self) -> &[AtomicU64] {
        // SAFETY: the mapping is page-aligned, at least `words * 8` bytes long, and lives as long as `self`; it is
        // only ever accessed as atomics. A file cut short meanwhile would raise SIGBUS, which the module forbids.
        unsafe { std::slice::from_raw_parts(self.map.as_ptr().cast::<AtomicU64>(), self.words) }
    }

    fn wake_word(&self) -> &AtomicU32 {
        // SAFETY: as above; the offset is a multiple of 4 inside the first page, and no 64-bit access overlaps it.
        unsafe { &*self.map.as_ptr().add(WAKE_OFFSET).cast::<AtomicU32>() }
    }

    /// The wake-up word's value, to be handed to [`Mapping::wait`]; read it before reading what it announces.
    pub(super) fn wakes(&self) -> u32 {
        let value = self.wake_word().load(Ordering::Relaxed);
        fence(Ordering::Acquire);
        value
    }

    /// Announces a change to everybody waiting, in whatever process.
    pub(super) fn wake(&self) {
        assert!(self.writable, "only a writer wakes");
        self.wake_word().fetch_add(1, Ordering::Release);
        // Not private: the waiters are in other processes. Waking cannot fail on a mapped word.
        let _ = futex::wake(self.wake_word(), futex::Flags::empty(), i32::MAX as u32);
    }

    /// Blocks the thread until the wake-up word differs from `seen`, at most `timeout`.
    pub(super) fn wait(&self, seen: u32, timeout: Duration) {
        let timeout =
            Timespec { tv_sec: timeout.as_secs().cast_signed(), tv_nsec: i64::from(timeout.subsec_nanos()) };
        loop {
            match futex::wait(self.wake_word(), futex::Flags::empty(), seen, Some(&timeout)) {
                // A signal: waiting a little longer than asked is harmless.
                Err(Errno::INTR) => {}
                _ => return,
            }
        }
    }
}

/// The descriptor that a mapping and its locks need, and that a simulated disk does not have.
struct Descriptor<'a>(&'a dyn DiskFile);

impl<'a> Descriptor<'a> {
    fn get(self) -> io::Result<std::os::fd::BorrowedFd<'a>> {
        self.0.as_fd().ok_or_else(|| io::Error::from(io::ErrorKind::Unsupported))
    }
}

/// Changes words so that no reader sees a mix: `sequence` is odd meanwhile. One writer at a time.
pub(super) fn write_consistently(sequence: &AtomicU64, change: impl FnOnce()) {
    // A writer that died half-way left it odd; start from there.
    let before = sequence.load(Ordering::Relaxed) & !1;
    sequence.store(before.wrapping_add(1), Ordering::Relaxed);
    fence(Ordering::Release);
    change();
    sequence.store(before.wrapping_add(2), Ordering::Release);
}

/// How often a reader tries without giving way, then giving way, then sleeping: a writer may lose its processor in the
/// middle of a change, and on a busy machine it can be long until it has one again.
const SPINS: u32 = 100;
const YIELDS: u32 = 1_000;
const SLEEPS: u32 = 2_000;
const SLEEP: Duration = Duration::from_micros(100);

/// Reads words that belong together; `None` if a writer was in the middle of a change for a fifth of a second, which is a
/// writer that stopped or died there.
pub(super) fn read_consistently<T>(sequence: &AtomicU64, read: impl Fn() -> T) -> Option<T> {
    for attempt in 0..SPINS + YIELDS + SLEEPS {
        let before = sequence.load(Ordering::Relaxed);
        fence(Ordering::Acquire);
        if before.is_multiple_of(2) {
            let value = read();
            fence(Ordering::Acquire);
            if sequence.load(Ordering::Relaxed) == before {
                return Some(value);
            }
        }
        if attempt < SPINS {
            std::hint::spin_loop();
        } else if attempt < SPINS + YIELDS {
            std::thread::yield_now();
        } else {
            std::thread::sleep(SLEEP);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_that_belong_together_are_read_together() {
        let sequence = AtomicU64::new(0);
        let words: Vec<AtomicU64> = (0..64).map(|_| AtomicU64::new(0)).collect();
        std::thread::scope(|scope| {
            let reader = scope.spawn(|| {
                let mut reads = 0;
                while reads < 20_000 {
                    let read = || words.iter().map(|word| word.load(Ordering::Relaxed)).collect::<Vec<_>>();
                    // On a busy machine a writer may be without a processor for longer than a reader waits.
                    let Some(seen) = read_consistently(&sequence, read) else { continue };
                    assert!(seen.iter().all(|word| *word == seen[0]), "{seen:?}");
                    reads += 1;
                }
            });
            let mut number = 0;
            while !reader.is_finished() {
                number += 1;
                write_consistently(&sequence, || {
                    words.iter().for_each(|word| word.store(number, Ordering::Relaxed));
                });
                if number % 64 == 0 {
                    std::thread::yield_now();
                }
            }
        });
    }

    #[test]
    fn a_writer_that_died_half_way_is_noticed_and_its_successor_goes_on() {
        let sequence = AtomicU64::new(7);
        assert_eq!(read_consistently(&sequence, || 1), None);
        write_consistently(&sequence, || {});
        assert_eq!(read_consistently(&sequence, || 1), Some(1));
    }
}
