//! What a program that writes or receives the log itself gives a server within it: whose log it is at the moment, and whom
//! to tell of followers.

use std::fmt;
use std::sync::Arc;

use wal::Lsn;

/// Is called whenever a follower of this server has said how far it is, after its entry in the directory's table has
/// changed, on the thread that serves it.
#[derive(Clone, Default)]
pub struct FollowersMoved(pub Option<Arc<dyn Fn() + Send + Sync>>);

impl FollowersMoved {
    pub(super) fn tell(&self) {
        if let Some(hook) = &self.0 {
            hook();
        }
    }
}

impl fmt::Debug for FollowersMoved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("FollowersMoved").field(&self.0.is_some()).finish()
    }
}

/// Whether the WAL that is served is written here, or received (`in_hot_standby`).
#[derive(Clone, Default)]
pub enum Origin {
    /// It is received from elsewhere, or nobody writes it any more.
    #[default]
    Received,
    /// By this, while it does not receive it.
    Writer(Arc<dyn LogWriter>),
}

/// Whoever writes the log that is served, in this process.
pub trait LogWriter: Send + Sync {
    /// Whether it receives the log from elsewhere at the moment, and writes nothing itself.
    fn is_received(&self) -> bool;

    /// A follower begins to follow at `end`, where the log ends as far as is known. If it still ends there, a record that
    /// means nothing (`XLOG_NOOP`) is to be appended and made durable: its link back to the record before it is what a
    /// follower with another log finds to be wrong. May block for as long as a flush takes.
    fn go_on_after(&self, end: Lsn);
}

impl Origin {
    /// Whether it is received at the moment.
    pub(super) fn is_received(&self) -> bool {
        match self {
            Self::Received => true,
            Self::Writer(writer) => writer.is_received(),
        }
    }

    /// See [`LogWriter::go_on_after`].
    pub(super) fn go_on_after(&self, end: Lsn) {
        if let Self::Writer(writer) = self {
            writer.go_on_after(end);
        }
    }
}

impl fmt::Debug for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_received() { "Received" } else { "Written" })
    }
}
