//! Pages that several hold.

use std::fmt;
use std::ops::Deref;
use std::process::abort;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicUsize, Ordering, fence};

use super::Page;
use super::memory::{self, Slot};

/// No program holds one page so often; counting on could overflow, as in `Arc`.
const MOST: usize = isize::MAX as usize;

/// A page that others may hold as well, and that changes only while nobody else does: an `SharedPage` whose memory comes
/// from `memory`'s chunks.
pub struct SharedPage(NonNull<Slot>);

// SAFETY: a page is bytes, which all who hold it may read; it is written to by the only one that holds it. The count is
// atomic, and giving up a page happens before its next use.
unsafe impl Send for SharedPage {}
// SAFETY: as above.
unsafe impl Sync for SharedPage {}

impl SharedPage {
    /// A page that nobody else holds, of zeros.
    pub fn zeroed() -> Self {
        let mut page = Self::of_anything();
        page.only().bytes_mut().fill(0);
        page
    }

    /// A page that nobody else holds, with anything on it.
    pub(crate) fn of_anything() -> Self {
        let slot = memory::take();
        // SAFETY: the slot is nobody else's; any bytes are a page.
        unsafe { (*slot.as_ptr()).count = AtomicUsize::new(1) };
        Self(slot)
    }

    /// The page to be changed, if nobody else holds it.
    pub fn get_mut(&mut self) -> Option<&mut Page> {
        // Pairs with the release of whoever held it last: what they read, they read before it is written to.
        (self.count().load(Ordering::Acquire) == 1).then(|| self.only())
    }

    /// The page to be changed: a copy of its own if others hold it.
    pub fn make_mut(&mut self) -> &mut Page {
        if self.is_shared() {
            *self = Self::from(&**self);
        }
        self.only()
    }

    /// Whether others hold it too. If not, nobody will before this one is cloned.
    pub fn is_shared(&self) -> bool {
        self.count().load(Ordering::Acquire) != 1
    }

    /// Whether both are the same page in the same memory.
    pub fn is_same(&self, other: &Self) -> bool {
        self.0 == other.0
    }

    /// Only when nobody else holds the page.
    fn only(&mut self) -> &mut Page {
        // SAFETY: callers know that nobody else holds it, and `self` is borrowed for as long.
        unsafe { &mut (*self.0.as_ptr()).page }
    }

    fn count(&self) -> &AtomicUsize {
        // SAFETY: the slot is held.
        unsafe { &(*self.0.as_ptr()).count }
    }
}

impl Clone for SharedPage {
    fn clone(&self) -> Self {
        // Who has one already needs no order to hold another.
        if self.count().fetch_add(1, Ordering::Relaxed) > MOST {
            abort();
        }
        Self(self.0)
    }
}

impl Drop for SharedPage {
    fn drop(&mut self) {
        if self.count().fetch_sub(1, Ordering::Release) == 1 {
            // All that others did with the page came before they gave it up.
            fence(Ordering::Acquire);
            // SAFETY: it was the last.
            unsafe { memory::put(self.0) };
        }
    }
}

impl Deref for SharedPage {
    type Target = Page;

    fn deref(&self) -> &Page {
        // SAFETY: the slot is held; it is not written to as long as it is borrowed, or others hold it.
        unsafe { &(*self.0.as_ptr()).page }
    }
}

impl From<&Page> for SharedPage {
    /// A copy.
    fn from(page: &Page) -> Self {
        let mut shared = Self::of_anything();
        shared.only().copy_from(page);
        shared
    }
}

impl fmt::Debug for SharedPage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    #[test]
    fn a_page_that_others_hold_is_copied_before_it_is_changed() {
        let mut page = SharedPage::zeroed();
        page.get_mut().unwrap().bytes_mut()[100] = 1;
        let other = page.clone();
        assert!(page.is_shared() && page.is_same(&other) && page.get_mut().is_none());
        page.make_mut().bytes_mut()[100] = 2;
        assert!(!page.is_shared() && !page.is_same(&other));
        assert_eq!((page.bytes()[100], other.bytes()[100]), (2, 1));
        drop(other);
        assert_eq!(SharedPage::from(&*page).bytes(), page.bytes());
    }

    #[test]
    fn threads_that_pass_pages_around_see_whole_ones() {
        let fill = |page: &mut Page, byte: u8| page.bytes_mut().fill(byte);
        let is_whole = |page: &Page| page.bytes().iter().all(|byte| *byte == page.bytes()[0]);
        let current = runtime::sync::Mutex::new(SharedPage::zeroed());
        thread::scope(|scope| {
            for number in 0..4u8 {
                let current = &current;
                scope.spawn(move || {
                    for round in 0..2000u32 {
                        let mut mine = current.lock().clone();
                        assert!(is_whole(&mine));
                        if round % 2 == u32::from(number % 2) {
                            fill(mine.make_mut(), round as u8);
                            *current.lock() = mine;
                        }
                    }
                });
            }
        });
        assert!(is_whole(&current.into_inner()));
    }
}
