//! What the fuzz targets share: proof that a parser's memory is bounded by what it was given.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// The system's allocator, counting what is in use and the most that ever was.
struct Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;
static IN_USE: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

// SAFETY: everything is passed on to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let now = IN_USE.fetch_add(layout.size(), Relaxed) + layout.size();
        PEAK.fetch_max(now, Relaxed);
        // SAFETY: as the caller promises.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        IN_USE.fetch_sub(layout.size(), Relaxed);
        // SAFETY: as the caller promises.
        unsafe { System.dealloc(pointer, layout) }
    }
}

/// What a parser may use whatever it is given: buffers that it reserves ahead, and a decompressed page or two.
const FIXED: usize = 256 * 1024;
/// What it may use beyond that for each byte it was given: a text of one-letter words makes a vector of strings.
const PER_BYTE: usize = 64;

/// Runs `parse` on `input` and aborts if it had more memory in use at one time than the input accounts for.
pub fn bounded(input: &[u8], parse: impl FnOnce(&[u8])) {
    bounded_by(PER_BYTE, input, parse);
}

/// The same for what makes more of each byte than a text of words does.
pub fn bounded_by(per_byte: usize, input: &[u8], parse: impl FnOnce(&[u8])) {
    bounded_in(FIXED + per_byte * input.len(), input, parse);
}

/// The same for what makes its own input of what it was given.
pub fn bounded_in(allowed: usize, input: &[u8], parse: impl FnOnce(&[u8])) {
    let before = IN_USE.load(Relaxed);
    PEAK.store(before, Relaxed);
    parse(input);
    let used = PEAK.load(Relaxed).saturating_sub(before);
    assert!(used <= allowed, "{used} bytes of memory for {} bytes of input", input.len());
}
