//! Replication slots, as `pg_replication_slots` shows them. Source: `GetWALAvailability` in `access/transam/xlog.c`.

use replication::waldir::{SlotError, SlotInfo, SlotName, Slots, WalDir};
use wal::{Lsn, SegmentSize, TimelineId};

/// What became of the WAL that a slot needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WalStatus {
    /// It is there, within `max_wal_size`.
    Reserved,
    /// It is there, beyond that.
    Extended,
    /// It is still there, and the next checkpoint may remove it.
    Unreserved,
    /// Some of it is gone.
    Lost,
}

impl WalStatus {
    /// The word that PostgreSQL uses.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Reserved => "reserved",
            Self::Extended => "extended",
            Self::Unreserved => "unreserved",
            Self::Lost => "lost",
        }
    }
}

/// A slot in the directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SlotRow {
    /// Its name.
    pub name: String,
    /// Whether somebody uses it.
    pub active: bool,
    /// Whether it is gone with that use.
    pub temporary: bool,
    /// The oldest WAL that it keeps; `None` if it has reserved none.
    pub restart: Option<Lsn>,
    /// What became of that WAL.
    pub wal_status: Option<WalStatus>,
    /// Bytes of WAL that may be written before it may be lost; `None` without a limit.
    pub safe_wal_size: Option<i64>,
}

/// The slots of `dir`, whose log ends at `end`. `max_wal_size` and `most` (`max_slot_wal_keep_size`) are in bytes.
///
/// # Errors
/// The slots cannot be read.
pub fn slots(
    dir: &WalDir,
    segment_size: SegmentSize,
    end: Lsn,
    max_wal_size: u64,
    most: Option<u64>,
) -> Result<Vec<SlotRow>, SlotError> {
    let slots = Slots::new(dir.clone());
    let lost = Lost::look(dir, segment_size);
    let mut rows = Vec::new();
    let lasting = slots.list()?.into_iter().map(|name| (name, false));
    let temporary = slots.list_temporary()?.into_iter().map(|name| (name, true));
    for (name, temporary) in lasting.chain(temporary) {
        let info = match if temporary { slots.read_temporary(&name) } else { slots.read(&name) } {
            Ok(Some(info)) => info,
            // One that was dropped meanwhile is none.
            Ok(None) => continue,
            // No follower can use it. Until somebody drops it, it keeps all WAL that it may.
            Err(SlotError::Damaged(_)) => {
                let (name, wal_status) = (name.as_str().to_owned(), Some(WalStatus::Lost));
                let (active, restart, safe_wal_size) = (false, None, None);
                rows.push(SlotRow { name, active, temporary, restart, wal_status, safe_wal_size });
                continue;
            }
            Err(error) => return Err(error),
        };
        let restart = info.restart_lsn;
        let wal_status = restart.map(|restart| {
            let behind = end.bytes_since(restart);
            match () {
                () if lost.has(restart) => WalStatus::Lost,
                () if most.is_some_and(|most| behind > most) => WalStatus::Unreserved,
                () if behind > max_wal_size => WalStatus::Extended,
                () => WalStatus::Reserved,
            }
        });
        let safe_wal_size =
            restart.zip(most).filter(|_| wal_status != Some(WalStatus::Lost)).map(|(restart, most)| {
                i64::try_from(most).unwrap_or(i64::MAX)
                    - i64::try_from(end.bytes_since(restart)).unwrap_or(i64::MAX)
            });
        let (active, name) = (slots.is_active(&name)?, name.as_str().to_owned());
        rows.push(SlotRow { name, active, temporary, restart, wal_status, safe_wal_size });
    }
    Ok(rows)
}

/// Makes a lasting slot, which keeps WAL from its first use on.
///
/// # Errors
/// A name that is taken; files that cannot be written.
pub fn create_slot(dir: &WalDir, name: &SlotName) -> Result<(), SlotError> {
    Slots::new(dir.clone()).create(name, SlotInfo::default()).map(drop)
}

/// Makes a lasting slot, which keeps WAL from where `restart` says on, and says from where that is.
///
/// # Errors
/// A name that is taken; WAL that is gone; files that cannot be written.
pub fn reserve_slot(
    dir: &WalDir,
    name: &SlotName,
    segment_size: SegmentSize,
    restart: impl FnOnce() -> (Lsn, TimelineId),
) -> Result<Lsn, SlotError> {
    let mut from = Lsn::INVALID;
    let position = || {
        let (lsn, timeline) = restart();
        from = lsn;
        SlotInfo::at(lsn, timeline)
    };
    Slots::new(dir.clone()).reserve(name, segment_size, position)?;
    Ok(from)
}

/// Drops a slot that nobody uses.
///
/// # Errors
/// No such slot; one in use.
pub fn drop_slot(dir: &WalDir, name: &SlotName) -> Result<(), SlotError> {
    Slots::new(dir.clone()).drop(name)
}

/// Which WAL is gone.
#[derive(Debug, Clone, Copy)]
pub(super) struct Lost {
    segment_size: SegmentSize,
    /// The start of the oldest segment that is there; `None` if none is known.
    oldest: Option<Lsn>,
}

impl Lost {
    /// What is missing from the front of `dir` now.
    pub(super) fn look(dir: &WalDir, segment_size: SegmentSize) -> Self {
        let listing = dir.list(segment_size).ok();
        let starts = listing.and_then(|listing| {
            listing.segments.iter().map(|file| segment_size.start_of(file.segment)).min()
        });
        Self { segment_size, oldest: starts }
    }

    /// Whether the WAL at `restart` is gone.
    pub(super) fn has(&self, restart: Lsn) -> bool {
        self.oldest.is_some_and(|oldest| self.segment_size.floor(restart) < oldest)
    }
}
