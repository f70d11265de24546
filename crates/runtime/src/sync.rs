//! Locks without poisoning: std's, of which only the value is handed out.
//!
//! Poisoning is for programs that go on after a panic, and these do not: a panic in any thread ends the process before it
//! unwinds (`program::end_on_panic`), so no thread of a program ever meets a lock whose holder died. Where panics do
//! unwind, in tests and in programs that embed the libraries, the next thread takes the lock as it finds it.

// The one place where std's locks are named: everybody else takes these.
#![expect(clippy::disallowed_types, reason = "these are what the ban points at")]

use std::sync::PoisonError;
use std::time::Duration;

pub use std::sync::{MutexGuard, RwLockReadGuard, RwLockWriteGuard, WaitTimeoutResult};

/// One holder at a time. Taken again by the thread that holds it, it waits for ever, as std's does.
#[derive(Debug, Default)]
pub struct Mutex<T: ?Sized>(std::sync::Mutex<T>);

impl<T> Mutex<T> {
    /// An unlocked one around `value`.
    #[inline]
    pub const fn new(value: T) -> Self {
        Self(std::sync::Mutex::new(value))
    }

    /// The value, of a mutex that nobody else has any more.
    #[inline]
    pub fn into_inner(self) -> T {
        self.0.into_inner().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T: ?Sized> Mutex<T> {
    /// Waits until nobody else holds it, and takes it until the guard is dropped.
    #[inline]
    pub fn lock(&self) -> MutexGuard<'_, T> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Many readers or one writer at a time.
#[derive(Debug, Default)]
pub struct RwLock<T: ?Sized>(std::sync::RwLock<T>);

impl<T> RwLock<T> {
    /// An unlocked one around `value`.
    #[inline]
    pub const fn new(value: T) -> Self {
        Self(std::sync::RwLock::new(value))
    }
}

impl<T: ?Sized> RwLock<T> {
    /// Waits until nobody writes, and reads until the guard is dropped.
    #[inline]
    pub fn read(&self) -> RwLockReadGuard<'_, T> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until it is alone, and may write until the guard is dropped.
    #[inline]
    pub fn write(&self) -> RwLockWriteGuard<'_, T> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Where threads that hold a [`Mutex`] wait for what it guards to change. May wake without a reason.
#[derive(Debug, Default)]
pub struct Condvar(std::sync::Condvar);

impl Condvar {
    /// One that nobody waits at.
    #[inline]
    pub const fn new() -> Self {
        Self(std::sync::Condvar::new())
    }

    /// Gives the mutex back, waits to be notified, and takes it again.
    #[inline]
    pub fn wait<'a, T>(&self, guard: MutexGuard<'a, T>) -> MutexGuard<'a, T> {
        self.0.wait(guard).unwrap_or_else(PoisonError::into_inner)
    }

    /// As [`wait`](Self::wait), for as long as `condition` holds.
    #[inline]
    pub fn wait_while<'a, T, F>(&self, guard: MutexGuard<'a, T>, condition: F) -> MutexGuard<'a, T>
    where
        F: FnMut(&mut T) -> bool,
    {
        self.0.wait_while(guard, condition).unwrap_or_else(PoisonError::into_inner)
    }

    /// As [`wait`](Self::wait), for at most `limit`; the second value says whether that had passed.
    #[inline]
    pub fn wait_timeout<'a, T>(
        &self,
        guard: MutexGuard<'a, T>,
        limit: Duration,
    ) -> (MutexGuard<'a, T>, WaitTimeoutResult) {
        self.0.wait_timeout(guard, limit).unwrap_or_else(PoisonError::into_inner)
    }

    /// As [`wait_while`](Self::wait_while), for at most `limit` altogether.
    #[inline]
    pub fn wait_timeout_while<'a, T, F>(
        &self,
        guard: MutexGuard<'a, T>,
        limit: Duration,
        condition: F,
    ) -> (MutexGuard<'a, T>, WaitTimeoutResult)
    where
        F: FnMut(&mut T) -> bool,
    {
        self.0.wait_timeout_while(guard, limit, condition).unwrap_or_else(PoisonError::into_inner)
    }

    /// Wakes one that waits, if there is one.
    #[inline]
    pub fn notify_one(&self) {
        self.0.notify_one();
    }

    /// Wakes everybody who waits.
    #[inline]
    pub fn notify_all(&self) {
        self.0.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::sync::Arc;
    use std::thread;

    use super::*;

    /// Runs `holding` in a thread of its own, which panics while it holds what `holding` took.
    fn die(holding: impl FnOnce() + Send + 'static) {
        thread::spawn(holding).join().expect_err("the holder panics");
    }

    #[test]
    fn a_lock_whose_holder_panicked_is_taken_as_it_is() {
        let mutex = Arc::new(Mutex::new(1));
        let theirs = Arc::clone(&mutex);
        die(move || {
            *theirs.lock() = 2;
            let _held = theirs.lock();
            panic!("while it is held");
        });
        assert_eq!(*mutex.lock(), 2);

        let lock = Arc::new(RwLock::new(1));
        let theirs = Arc::clone(&lock);
        die(move || {
            let mut held = theirs.write();
            *held = 2;
            panic!("while it is held");
        });
        assert_eq!(*lock.read(), 2);
        assert_eq!(*lock.write(), 2);
        let mutex = Arc::into_inner(mutex).unwrap();
        assert_eq!(mutex.into_inner(), 2);
    }

    #[test]
    fn a_waiter_goes_on_after_a_holder_that_panicked() {
        let shared = Arc::new((Mutex::new(false), Condvar::new()));
        let theirs = Arc::clone(&shared);
        let waiter = thread::spawn(move || *theirs.1.wait_while(theirs.0.lock(), |done| !*done));
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            let mut done = shared.0.lock();
            *done = true;
            shared.1.notify_all();
            panic!("while it is held");
        }));
        assert!(outcome.is_err() && waiter.join().unwrap());
        let timed = shared.1.wait_timeout_while(shared.0.lock(), Duration::ZERO, |done| *done);
        assert!(timed.1.timed_out() && *timed.0);
    }
}
