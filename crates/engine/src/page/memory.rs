//! Memory of shared pages.
//!
//! It is taken from the system in chunks of 2 MiB, which Linux backs by one huge page each where it may
//! (`transparent_hugepage` is `madvise` or `always`): a server that jumps about in a gigabyte of pages misses the processor's
//! table of addresses with almost every one otherwise. A chunk is cut into slots, one for a page and the count of those
//! who hold it. The slots that nobody holds are used again, those of the chunk used last first; chunks without a page go
//! back to the system, but for a few.

use std::alloc::{Layout, handle_alloc_error};
use std::ptr::{NonNull, null_mut};
use std::sync::atomic::AtomicUsize;

use runtime::sync::{Mutex, MutexGuard};
use rustix::mm::{Advice, MapFlags, ProtFlags, madvise, mmap_anonymous, munmap};

use super::Page;

/// Bytes in a chunk, which is aligned to as many: a huge page of x86-64, and of ARM with pages of 4 KiB.
const CHUNK_SIZE: usize = 2 << 20;

/// Slots in a chunk.
const SLOTS: usize = 253;

/// So many chunks without a page are kept: 32 MiB.
const KEPT: usize = 16;

/// A page and how many hold it. What the count guards is said in [`super::SharedPage`].
#[repr(C, align(64))]
pub(super) struct Slot {
    pub(super) count: AtomicUsize,
    pub(super) page: Page,
}

#[repr(C)]
struct Chunk {
    head: Head,
    slots: [Slot; SLOTS],
}

/// What [`State`]'s lock guards. In fresh memory all is zero.
struct Head {
    /// How many of `free` count.
    free_count: usize,
    /// The numbers of the slots that nobody holds, the one given up last at the end.
    free: [u8; SLOTS],
    /// Where the chunk stands in [`State::available`], if any of its slots is free.
    place: usize,
}

const _: () = assert!(size_of::<Chunk>() <= CHUNK_SIZE && SLOTS <= u8::MAX as usize);

/// The chunks with free slots. Others are reached through their slots alone.
struct State {
    available: Vec<NonNull<Chunk>>,
    /// How many of them have free slots only.
    unused: usize,
}

// SAFETY: the pointers are to memory that belongs to nobody's thread, and are followed under the lock of `STATE` alone.
unsafe impl Send for State {}

static STATE: Mutex<State> = Mutex::new(State { available: Vec::new(), unused: 0 });

fn state() -> MutexGuard<'static, State> {
    STATE.lock()
}

/// A slot that nobody else holds. Its page has anything on it that was on one before, or zeros; its count is anything.
/// Without memory the process ends, as it does for other allocations.
pub(super) fn take() -> NonNull<Slot> {
    let mut state = state();
    let chunk = match state.available.last() {
        Some(chunk) => *chunk,
        None => state.add(Chunk::new()),
    };
    // SAFETY: the chunk is mapped, and its head is reached under the lock alone.
    let head = unsafe { &mut *Chunk::head(chunk) };
    if head.free_count == SLOTS {
        state.unused -= 1;
    }
    head.free_count -= 1;
    if head.free_count == 0 {
        state.available.pop();
    }
    Chunk::slot(chunk, head.free[head.free_count])
}

/// Gives up a slot.
///
/// # Safety
/// It came from [`take`], was not given up since, and nothing refers to it any more.
pub(super) unsafe fn put(slot: NonNull<Slot>) {
    let chunk = Chunk::of(slot);
    let mut state = state();
    // SAFETY: the chunk of a slot that was taken is mapped, and its head is reached under the lock alone.
    let head = unsafe { &mut *Chunk::head(chunk) };
    head.free[head.free_count] = Chunk::number_of(chunk, slot);
    head.free_count += 1;
    if head.free_count == 1 {
        head.place = state.available.len();
        state.available.push(chunk);
    }
    if head.free_count == SLOTS {
        state.unused += 1;
        if state.unused > KEPT {
            let place = head.place;
            state.withdraw(place);
            drop(state);
            // SAFETY: none of its slots is held, and nobody finds it any more.
            unsafe { Chunk::unmap(chunk) };
        }
    }
}

impl State {
    /// Makes a new chunk available.
    fn add(&mut self, chunk: NonNull<Chunk>) -> NonNull<Chunk> {
        // SAFETY: the chunk is mapped, and its head is reached under the lock alone.
        unsafe { (*Chunk::head(chunk)).place = self.available.len() };
        self.available.push(chunk);
        self.unused += 1;
        chunk
    }

    /// The unused chunk at this place is not available any more.
    fn withdraw(&mut self, place: usize) {
        self.unused -= 1;
        self.available.swap_remove(place);
        if let Some(moved) = self.available.get(place) {
            // SAFETY: as above; the chunk is another than the one withdrawn.
            unsafe { (*Chunk::head(*moved)).place = place };
        }
    }
}

impl Chunk {
    /// A chunk from the system, with all of its slots free.
    fn new() -> NonNull<Self> {
        let Some(chunk) = map() else { handle_alloc_error(Layout::new::<Self>()) };
        // SAFETY: the memory is mapped, zero, and nobody else's.
        let head = unsafe { &mut *Self::head(chunk) };
        for (free, number) in head.free.iter_mut().zip((0..SLOTS as u8).rev()) {
            *free = number;
        }
        head.free_count = SLOTS;
        chunk
    }

    fn head(chunk: NonNull<Self>) -> *mut Head {
        // SAFETY: stays within the chunk; nothing is read.
        unsafe { &raw mut (*chunk.as_ptr()).head }
    }

    fn slot(chunk: NonNull<Self>, number: u8) -> NonNull<Slot> {
        // SAFETY: stays within the chunk, as numbers are less than SLOTS; nothing is read.
        unsafe {
            NonNull::new_unchecked((&raw mut (*chunk.as_ptr()).slots).cast::<Slot>().add(usize::from(number)))
        }
    }

    /// The chunk that a slot is in.
    fn of(slot: NonNull<Slot>) -> NonNull<Self> {
        let offset = slot.as_ptr() as usize % CHUNK_SIZE;
        // SAFETY: chunks are aligned to their size, so that the chunk begins so many bytes before.
        unsafe { slot.cast::<u8>().sub(offset).cast() }
    }

    fn number_of(chunk: NonNull<Self>, slot: NonNull<Slot>) -> u8 {
        ((slot.as_ptr() as usize - Self::slot(chunk, 0).as_ptr() as usize) / size_of::<Slot>()) as u8
    }

    /// # Safety
    /// Nothing may refer to the chunk any more.
    unsafe fn unmap(chunk: NonNull<Self>) {
        // SAFETY: it was mapped by `map`. If the system refuses, the memory is lost, and nothing else.
        let _ignored = unsafe { munmap(chunk.as_ptr().cast(), CHUNK_SIZE) };
    }
}

/// Maps a chunk's memory, of zeros.
fn map() -> Option<NonNull<Chunk>> {
    // Twice as much has a chunk in it that is aligned to its size; the rest is given back.
    // SAFETY: a new mapping; all that is unmapped is part of it.
    unsafe {
        let mapped =
            mmap_anonymous(null_mut(), 2 * CHUNK_SIZE, ProtFlags::READ | ProtFlags::WRITE, MapFlags::PRIVATE)
                .ok()?;
        let before = mapped.align_offset(CHUNK_SIZE);
        let chunk = mapped.byte_add(before);
        if before > 0 {
            munmap(mapped, before).ok()?;
        }
        munmap(chunk.byte_add(CHUNK_SIZE), CHUNK_SIZE - before).ok()?;
        // Without huge pages it is as good, but for the speed.
        let _ignored = madvise(chunk, CHUNK_SIZE, Advice::LinuxHugepage);
        NonNull::new(chunk.cast())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn slots_do_not_overlap_and_chunks_come_and_go() {
        // Other tests of this process use the same memory: what is looked at is ours.
        let count = (KEPT + 8) * SLOTS;
        for _ in 0..3 {
            let mut slots: Vec<_> = (0..count).map(|_| take()).collect();
            let distinct: HashSet<_> = slots.iter().map(|slot| slot.as_ptr() as usize).collect();
            assert_eq!(distinct.len(), count);
            for (number, slot) in slots.iter().enumerate() {
                assert!(slot.as_ptr().is_aligned());
                // SAFETY: the slot was taken and is nobody else's.
                unsafe { (*slot.as_ptr()).page.bytes_mut().fill(number as u8) };
            }
            for (number, slot) in slots.iter().enumerate() {
                // SAFETY: as above.
                let page = unsafe { &(*slot.as_ptr()).page };
                assert!(page.bytes().iter().all(|&byte| byte == number as u8), "slot {number}");
            }
            // In an order that empties chunks from anywhere, not from the end of the list.
            for step in [7, 3, 1] {
                for at in (0..slots.len()).rev().step_by(step) {
                    // SAFETY: taken above, and removed from the list of those that we hold.
                    unsafe { put(slots.swap_remove(at)) };
                }
            }
            assert!(slots.is_empty());
            assert!(state().unused <= KEPT);
        }
    }
}
