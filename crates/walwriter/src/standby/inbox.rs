//! What wakes the standby's thread.

use std::time::Instant;

use runtime::sync::{Condvar, Mutex};
use wal::{Lsn, TimelineId};
use walreceiver::standby::DurableListener;

/// Things that happened since the thread last looked.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct News {
    /// What the receiver made durable: moved by its threads, only forward on one connection.
    pub(super) durable: Option<Lsn>,
    /// The leader's history has been compared, and is this directory's.
    pub(super) history_agrees: bool,
    /// The receiver is through.
    pub(super) receiver_ended: bool,
    /// A promotion was asked for.
    pub(super) promote: bool,
    /// The settings have changed.
    pub(super) reconnect: bool,
    /// The server stops.
    pub(super) stop: bool,
}

/// Where others leave news for the thread.
#[derive(Debug, Default)]
pub(super) struct Inbox {
    news: Mutex<News>,
    changed: Condvar,
}

impl Inbox {
    /// Waits for news, at most until `until`, and takes them. A request to stop stays.
    pub(super) fn wait(&self, until: Option<Instant>) -> News {
        let mut news = self.news.lock();
        while *news == News::default() {
            news = match until {
                None => self.changed.wait(news),
                Some(until) => {
                    let left = until.saturating_duration_since(Instant::now());
                    if left.is_zero() {
                        break;
                    }
                    self.changed.wait_timeout(news, left).0
                }
            };
        }
        let taken = *news;
        *news = News { stop: taken.stop, ..News::default() };
        taken
    }

    /// What became durable since the last look. That a receiver ended is of interest no more.
    pub(super) fn take_durable(&self) -> Option<Lsn> {
        let mut news = self.news.lock();
        news.receiver_ended = false;
        news.durable.take()
    }

    /// What there is at the moment, which stays.
    pub(super) fn peek(&self) -> News {
        *self.news.lock()
    }

    pub(super) fn promote(&self) {
        self.put(|news| news.promote = true);
    }

    pub(super) fn reconnect(&self) {
        self.put(|news| news.reconnect = true);
    }

    pub(super) fn receiver_ended(&self) {
        self.put(|news| news.receiver_ended = true);
    }

    pub(super) fn stop(&self) {
        self.put(|news| news.stop = true);
    }

    fn put(&self, change: impl FnOnce(&mut News)) {
        change(&mut self.news.lock());
        self.changed.notify_all();
    }
}

impl DurableListener for Inbox {
    fn durable(&self, _timeline: TimelineId, position: Lsn) {
        self.put(|news| news.durable = news.durable.max(Some(position)));
    }

    fn history_agrees(&self) {
        self.put(|news| news.history_agrees = true);
    }
}
