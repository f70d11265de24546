//! One follower, as words.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use wal::{Lsn, TimelineId};

use crate::sender::Lags;
use crate::waldir::UnixMicros;

/// `WALFOLL` and version 2, as bytes on a little-endian machine.
pub(super) const MAGIC: u64 = u64::from_le_bytes(*b"WALFOLL\x02");
pub(super) const MAGIC_WORD: usize = 0;
pub(super) const CAPACITY: usize = 128;
const HEADER_LEN: usize = 4096;
const ENTRY_LEN: usize = 512;
pub(super) const FILE_LEN: usize = HEADER_LEN + CAPACITY * ENTRY_LEN;

const NUMBERS: usize = 12;
const TEXTS: usize = 4;
const TEXT_WORDS: usize = 8;
const TEXT_LEN: usize = TEXT_WORDS * 8;
const _: () = assert!((1 + NUMBERS + TEXTS * TEXT_WORDS) * 8 <= ENTRY_LEN);

/// The byte locked by the owner of entry `index`.
pub(super) fn owner_lock(index: usize) -> u64 {
    index as u64
}

/// The byte locked once entry `index` is its owner's word.
pub(super) fn valid_lock(index: usize) -> u64 {
    (CAPACITY + index) as u64
}

/// The sequence word and the fields of entry `index`.
pub(super) fn entry_words(words: &[AtomicU64], index: usize) -> Option<(&AtomicU64, &[AtomicU64])> {
    let start = (HEADER_LEN + index * ENTRY_LEN) / 8;
    words.get(start..start + ENTRY_LEN / 8)?.split_first()
}

/// What a follower is doing (`pg_stat_replication.state`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FollowerState {
    /// Connected, not streaming yet.
    Startup,
    /// Being sent WAL that was there before it came.
    Catchup,
    /// Being sent WAL as it arrives.
    Streaming,
    /// Being let go at shutdown, or at the end of a timeline.
    Stopping,
    /// Claims to have more than there is of its timeline: whoever serves it has lost WAL. Its word does not count; its
    /// positions are what it claims.
    Ahead,
}

impl FollowerState {
    /// The word that PostgreSQL uses.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Startup => "startup",
            Self::Catchup => "catchup",
            Self::Streaming => "streaming",
            Self::Stopping => "stopping",
            Self::Ahead => "ahead",
        }
    }

    fn from_word(word: u64) -> Self {
        match word {
            1 => Self::Catchup,
            2 => Self::Streaming,
            3 => Self::Stopping,
            4 => Self::Ahead,
            _ => Self::Startup,
        }
    }
}

impl std::fmt::Display for FollowerState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One follower of a directory. Positions other than `sent` are its own word, as far as that is about what its connection
/// has sent: see [`Positions`](crate::sender::Positions).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Follower {
    /// The process that serves it.
    pub sender_pid: u32,
    /// What it is doing.
    pub state: FollowerState,
    /// The timeline of the positions.
    pub timeline: TimelineId,
    /// When it connected.
    pub connected_at: Option<UnixMicros>,
    /// End of what it has been sent. Moved by the sender after each send.
    pub sent: Lsn,
    /// End of what it says it has written; 0/0 if it has not said.
    pub write: Lsn,
    /// End of what it says is durable with it; 0/0 if it has not said.
    pub flush: Lsn,
    /// End of what it says it has replayed; 0/0 if it has not said, or replays nothing.
    pub apply: Lsn,
    /// When its last status message came; `None` if none has.
    pub last_reply_at: Option<UnixMicros>,
    /// How far behind it is, as time.
    pub lags: Lags,
    /// Its user. This text and the others are cut to 64 bytes in the table.
    pub user: String,
    /// Its `application_name`.
    pub application_name: String,
    /// Where it connected from: `address:port`, or `[local]`.
    pub peer: String,
    /// The slot it uses; empty if none.
    pub slot: String,
}

impl Follower {
    /// A follower of this process that has just connected.
    pub fn new(
        application_name: impl Into<String>,
        peer: impl Into<String>,
        slot: impl Into<String>,
    ) -> Self {
        Self {
            sender_pid: std::process::id(),
            state: FollowerState::Startup,
            timeline: TimelineId::FIRST,
            connected_at: Some(UnixMicros::now()),
            sent: Lsn::INVALID,
            write: Lsn::INVALID,
            flush: Lsn::INVALID,
            apply: Lsn::INVALID,
            last_reply_at: None,
            lags: Lags::default(),
            user: String::new(),
            application_name: application_name.into(),
            peer: peer.into(),
            slot: slot.into(),
        }
    }

    pub(super) fn store(&self, fields: &[AtomicU64]) {
        let numbers: [u64; NUMBERS] = [
            self.sender_pid.into(),
            self.state as u64,
            self.timeline.as_u32().into(),
            UnixMicros::to_word(self.connected_at),
            self.sent.as_u64(),
            self.write.as_u64(),
            self.flush.as_u64(),
            self.apply.as_u64(),
            UnixMicros::to_word(self.last_reply_at),
            lag_word(self.lags.write),
            lag_word(self.lags.flush),
            lag_word(self.lags.apply),
        ];
        let texts: [&str; TEXTS] = [&self.user, &self.application_name, &self.peer, &self.slot];
        let texts = texts.into_iter().flat_map(text_words);
        for (word, value) in fields.iter().zip(numbers.into_iter().chain(texts)) {
            word.store(value, Ordering::Relaxed);
        }
    }

    pub(super) fn load(fields: &[AtomicU64]) -> Self {
        let mut words = fields.iter().map(|word| word.load(Ordering::Relaxed));
        let mut next = || words.next().unwrap_or_default();
        Self {
            sender_pid: u32::try_from(next()).unwrap_or_default(),
            state: FollowerState::from_word(next()),
            timeline: TimelineId::new(u32::try_from(next()).unwrap_or_default()),
            connected_at: UnixMicros::new(next()),
            sent: Lsn::new(next()),
            write: Lsn::new(next()),
            flush: Lsn::new(next()),
            apply: Lsn::new(next()),
            last_reply_at: UnixMicros::new(next()),
            lags: Lags { write: lag_of(next()), flush: lag_of(next()), apply: lag_of(next()) },
            user: text(&mut next),
            application_name: text(&mut next),
            peer: text(&mut next),
            slot: text(&mut next),
        }
    }
}

/// Microseconds and one more; 0 for none.
fn lag_word(lag: Option<Duration>) -> u64 {
    lag.map_or(0, |lag| u64::try_from(lag.as_micros()).unwrap_or(u64::MAX).saturating_add(1))
}

fn lag_of(word: u64) -> Option<Duration> {
    word.checked_sub(1).map(Duration::from_micros)
}

fn text_words(text: &str) -> [u64; TEXT_WORDS] {
    let mut bytes = [0; TEXT_LEN];
    let cut = text.floor_char_boundary(TEXT_LEN);
    bytes.split_at_mut(cut).0.copy_from_slice(text.as_bytes().split_at(cut).0);
    let mut words = [0; TEXT_WORDS];
    for (word, chunk) in words.iter_mut().zip(bytes.as_chunks::<8>().0) {
        *word = u64::from_le_bytes(*chunk);
    }
    words
}

fn text(next: &mut impl FnMut() -> u64) -> String {
    let mut bytes = [0; TEXT_LEN];
    for chunk in bytes.as_chunks_mut::<8>().0 {
        *chunk = next().to_le_bytes();
    }
    let used = bytes.split(|&byte| byte == 0).next().unwrap_or_default();
    String::from_utf8_lossy(used).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_field_comes_back_and_long_texts_are_cut_between_characters() {
        let words: Vec<AtomicU64> = (0..ENTRY_LEN / 8).map(|_| AtomicU64::new(u64::MAX)).collect();
        let mut follower = Follower::new("é".repeat(40), "[::1]:5432", "s");
        follower.state = FollowerState::Streaming;
        follower.timeline = TimelineId::new(2);
        follower.sent = Lsn::new(4);
        (follower.write, follower.flush, follower.apply) = (Lsn::new(3), Lsn::new(2), Lsn::new(1));
        follower.last_reply_at = UnixMicros::new(9);
        follower.user = "me".to_owned();
        follower.lags =
            Lags { write: Some(Duration::ZERO), flush: Some(Duration::from_micros(7)), apply: None };
        follower.store(&words);
        follower.application_name = "é".repeat(32);
        assert_eq!(Follower::load(&words), follower);
    }
}
