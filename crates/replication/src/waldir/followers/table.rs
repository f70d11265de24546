//! The table as a whole, for those who read it.

use std::io;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;

use disk::RangeLock;
use tokio::sync::watch;

use super::FOLLOWERS_FILE;
use super::layout::{CAPACITY, FILE_LEN, Follower, MAGIC, MAGIC_WORD, entry_words, valid_lock};
use crate::waldir::mapping::{Mapping, read_consistently};
use crate::waldir::{WATCH_INTERVAL, WalDir};

/// Reads a directory's followers. Needs no permission to write.
#[derive(Debug)]
pub struct FollowersReader {
    mapping: Mapping,
}

impl FollowersReader {
    /// Maps the directory's table; `None` if nobody has ever been served from it.
    pub fn open(dir: &WalDir) -> io::Result<Option<Self>> {
        match Mapping::open(&**dir.disk(), &dir.path().join(FOLLOWERS_FILE), FILE_LEN) {
            Ok(mapping) => Ok(Some(Self { mapping })),
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::InvalidData) => {
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// The followers being served now, in no particular order.
    pub fn list(&self) -> io::Result<Vec<Follower>> {
        let words = self.mapping.words();
        let file = self.mapping.file()?;
        let mut followers = Vec::new();
        if words[MAGIC_WORD].load(Ordering::Relaxed) != MAGIC {
            return Ok(followers);
        }
        for index in 0..CAPACITY {
            let Some((sequence, fields)) = entry_words(words, index) else { continue };
            // Most entries never had an owner: to look at their locks, too, would be most of the work.
            if sequence.load(Ordering::Relaxed) == 0 {
                continue;
            }
            // Before the words are read: an owner that holds this lock has replaced what was there before it.
            if RangeLock::is_held(file, valid_lock(index), 1)? {
                followers.extend(read_consistently(sequence, || Follower::load(fields)));
            }
        }
        Ok(followers)
    }

    /// A number that changes with every change of the table; take it before [`FollowersReader::list`].
    pub fn changes(&self) -> u32 {
        self.mapping.wakes()
    }

    /// Blocks this thread until [`FollowersReader::changes`] is no longer `seen`, at most for `timeout`. The death of
    /// a sender wakes nobody: look again from time to time.
    pub fn wait(&self, seen: u32, timeout: Duration) {
        self.mapping.wait(seen, timeout);
    }
}

/// Follows a directory's followers in a thread of its own, which ends soon after the last receiver is dropped.
/// Changes arrive at once, the first follower of all and the death of a sender within [`WATCH_INTERVAL`].
pub fn watch_followers(dir: &WalDir) -> io::Result<watch::Receiver<Vec<Follower>>> {
    let reader = FollowersReader::open(dir)?;
    let (sender, receiver) = watch::channel(Vec::new());
    let dir = dir.clone();
    thread::Builder::new().name("followers-watch".to_owned()).spawn(move || follow(&dir, reader, &sender))?;
    Ok(receiver)
}

fn follow(dir: &WalDir, mut reader: Option<FollowersReader>, sender: &watch::Sender<Vec<Follower>>) {
    let warn = |error: &io::Error| {
        tracing::warn!(directory = %dir.path().display(), %error, "could not read the table of followers");
    };
    while !sender.is_closed() {
        let Some(open) = &reader else {
            thread::sleep(WATCH_INTERVAL);
            reader = FollowersReader::open(dir).inspect_err(warn).ok().flatten();
            continue;
        };
        let seen = open.changes();
        let now = open.list().inspect_err(warn).unwrap_or_default();
        let empty = now.is_empty();
        sender.send_if_modified(|last| {
            let changed = *last != now;
            *last = now;
            changed
        });
        open.wait(seen, WATCH_INTERVAL);
        if empty {
            // The directory may have been made anew, with another file of this name.
            reader = FollowersReader::open(dir).inspect_err(warn).ok().flatten();
        }
    }
}
