//! What a server is asked for before it lets anybody in.
//!
//! A standby may wait for long, or for ever, before it can be read: for consistency, for its promotion (`hot_standby = off`), for
//! a source that is of its history. It can be promoted meanwhile, and led elsewhere by its configuration.

use std::fmt;
use std::sync::Arc;

use runtime::sync::Mutex;

use crate::config::Config;

/// Whoever can be asked while the server is being opened.
pub trait Early: Send + Sync {
    /// Become a leader as soon as that is possible. Does not block.
    fn promote(&self);

    /// The configuration was read again.
    fn reload(&self, config: &Config);
}

/// Between the process, which hears of requests, and what is being opened, which is there a little later.
#[derive(Default)]
pub struct EarlyRequests(Mutex<State>);

#[derive(Default)]
struct State {
    hears: Option<Arc<dyn Early>>,
    promote: bool,
}

impl fmt::Debug for EarlyRequests {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.0.lock();
        f.debug_struct("EarlyRequests").field("promote", &state.promote).finish_non_exhaustive()
    }
}

impl EarlyRequests {
    /// `hears` is told from now on, and of a promotion that was asked for before. Replaces whoever was told.
    pub fn hear(&self, hears: Arc<dyn Early>) {
        let promote = {
            let mut state = self.0.lock();
            state.hears = Some(Arc::clone(&hears));
            state.promote
        };
        if promote {
            hears.promote();
        }
    }

    /// Nobody is told any more: the server is open.
    pub fn close(&self) {
        self.0.lock().hears = None;
    }

    pub(super) fn promote(&self) {
        let hears = {
            let mut state = self.0.lock();
            state.promote = true;
            state.hears.clone()
        };
        if let Some(hears) = hears {
            hears.promote();
        }
    }

    pub(super) fn reload(&self, config: &Config) {
        let hears = self.0.lock().hears.clone();
        if let Some(hears) = hears {
            hears.reload(config);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    #[derive(Default)]
    struct Told {
        promotions: AtomicU32,
        reloads: AtomicU32,
    }

    impl Early for Told {
        fn promote(&self) {
            self.promotions.fetch_add(1, Ordering::Relaxed);
        }

        fn reload(&self, _: &Config) {
            self.reloads.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn a_promotion_that_was_asked_for_before_anybody_heard_is_told_when_somebody_does() {
        let (requests, told) = (EarlyRequests::default(), Arc::new(Told::default()));
        requests.promote();
        requests.reload(&Config::default());
        requests.hear(Arc::clone(&told) as _);
        assert_eq!(told.promotions.load(Ordering::Relaxed), 1);
        assert_eq!(told.reloads.load(Ordering::Relaxed), 0, "it has the configuration that is in force");
        requests.reload(&Config::default());
        assert_eq!(told.reloads.load(Ordering::Relaxed), 1);
        requests.close();
        requests.promote();
        assert_eq!(told.promotions.load(Ordering::Relaxed), 1);
    }
}
