//! The slots of the directory, which are in its files.
//!
//! Temporary slots end with their connection or this process, and have files too, for who removes WAL may be another process.
//! Only in a directory where nothing is written they are in memory alone. Both kinds share one space of names.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use replication::command::validate_slot_name;
use replication::error::{ServerError, SqlState};
use replication::waldir::{Slot, SlotError, SlotInfo, SlotName, Slots, WalClaim};
use runtime::sync::{Mutex, MutexGuard};
use wal::{Lsn, SegmentSize, TimelineId};

/// All slots of the directory.
#[derive(Debug)]
pub(crate) struct SlotKeeper {
    lasting: Slots,
    /// Those of this process.
    temporary: Mutex<HashMap<String, Temporary>>,
    most: usize,
    /// Whether the directory is another server's, where nothing is written.
    read_only: bool,
}

/// A temporary slot of this process.
#[derive(Debug)]
struct Temporary {
    /// Where it stands.
    info: SlotInfo,
    /// Its file, for other processes. `None` where nothing is written.
    file: Option<Slot>,
}

/// The temporary slots of one connection: gone when this is dropped.
#[derive(Debug)]
pub(super) struct TemporarySlots {
    keeper: Arc<super::Shared>,
    names: Vec<String>,
}

/// A slot in use by a stream.
#[derive(Debug)]
pub(super) enum SlotInUse {
    Lasting(Slot),
    Temporary(Arc<super::Shared>, String),
}

impl SlotKeeper {
    pub(crate) fn new(lasting: Slots, most: usize, read_only: bool) -> Self {
        Self { lasting, temporary: Mutex::default(), most, read_only }
    }

    /// Whether slots can last here.
    fn check_writable(&self) -> Result<(), Box<ServerError>> {
        if !self.read_only {
            return Ok(());
        }
        let message = "replication slots cannot be kept in the pg_wal of another server";
        Err(ServerError::error(SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE, message)
            .hint("Create the slot at that server: a slot here would keep none of its WAL.")
            .into())
    }

    fn temporary(&self) -> MutexGuard<'_, HashMap<String, Temporary>> {
        self.temporary.lock()
    }

    /// Whether another process has a temporary slot of this name.
    fn is_anothers(&self, name: &SlotName) -> Result<bool, Box<ServerError>> {
        let ours = self.temporary().contains_key(name.as_str());
        let there = self.lasting.list_temporary().map_err(|error| answer(&error))?;
        Ok(!ours && there.contains(name))
    }

    /// Where a slot stands; `None` if there is none of this name.
    pub(super) fn read(&self, name: &str) -> Result<Option<SlotInfo>, Box<ServerError>> {
        if let Some(slot) = self.temporary().get(name) {
            return Ok(Some(slot.info));
        }
        let Some(slot) = SlotName::new(name) else { return Ok(None) };
        if self.is_anothers(&slot)? {
            return self.lasting.read_temporary(&slot).map_err(|error| answer(&error));
        }
        self.lasting.read(&slot).map_err(|error| answer(&error))
    }

    /// Makes a slot that lasts, and keeps WAL from its first use on.
    pub(super) fn create(&self, name: &str) -> Result<(), Box<ServerError>> {
        self.check_writable()?;
        let name = self.new_name(name)?;
        self.lasting.create(&name, SlotInfo::default()).map(drop).map_err(|error| answer(&error))
    }

    /// Makes a slot that lasts, and keeps WAL from `position` on.
    pub(super) fn reserve(
        &self,
        name: &str,
        size: SegmentSize,
        position: impl FnOnce() -> SlotInfo,
    ) -> Result<(), Box<ServerError>> {
        self.check_writable()?;
        let name = self.new_name(name)?;
        self.lasting.reserve(&name, size, position).map(drop).map_err(|error| answer(&error))
    }

    /// Checks that a slot of this name can be made.
    fn new_name(&self, name: &str) -> Result<SlotName, Box<ServerError>> {
        validate_slot_name(name).map_err(ServerError::from)?;
        let slot = SlotName::new(name).ok_or_else(|| missing(name))?;
        let lasting = self.lasting.list().map_err(|error| answer(&error))?;
        let others = self.lasting.list_temporary().map_err(|error| answer(&error))?;
        let temporary = self.temporary();
        if lasting.contains(&slot) || others.contains(&slot) || temporary.contains_key(name) {
            return Err(answer(&SlotError::Exists(slot)));
        }
        // Those of this process are among the others, where they have files.
        if lasting.len() + others.len().max(temporary.len()) >= self.most {
            let error = ServerError::error(
                SqlState::CONFIGURATION_LIMIT_EXCEEDED,
                "all replication slots are in use",
            );
            return Err(error.hint("Free one or increase max_replication_slots.").into());
        }
        Ok(slot)
    }

    /// Removes a slot that nobody uses.
    pub(super) fn drop(&self, name: &str) -> Result<(), Box<ServerError>> {
        let slot = SlotName::new(name).ok_or_else(|| missing(name))?;
        if self.temporary().contains_key(name) {
            return Err(answer(&SlotError::Active(slot)));
        }
        self.check_writable()?;
        self.lasting.drop(&slot).map_err(|error| answer(&error))
    }

    /// Whether somebody uses the slot.
    pub(super) fn is_active(&self, name: &str) -> bool {
        self.temporary().contains_key(name)
            || SlotName::new(name).is_some_and(|name| self.lasting.is_active(&name).unwrap_or(false))
    }
}

impl TemporarySlots {
    pub(super) const fn new(keeper: Arc<super::Shared>) -> Self {
        Self { keeper, names: Vec::new() }
    }

    pub(super) fn create(&mut self, name: &str) -> Result<(), Box<ServerError>> {
        self.add(name, SlotInfo::default())
    }

    /// Makes one that keeps WAL from `position` on.
    pub(super) fn reserve(
        &mut self,
        name: &str,
        size: SegmentSize,
        position: impl FnOnce() -> SlotInfo,
    ) -> Result<(), Box<ServerError>> {
        let keeper = Arc::clone(&self.keeper);
        // Another server knows neither of the slot nor of this.
        let claim = (!keeper.slots.read_only).then(|| WalClaim::acquire(keeper.source.dir()));
        let claim = claim.transpose().map_err(|error| answer(&error))?;
        let info = position();
        keeper.slots.lasting.check_there(info, size).map_err(|error| answer(&error))?;
        self.add(name, info)?;
        drop(claim);
        Ok(())
    }

    fn add(&mut self, name: &str, info: SlotInfo) -> Result<(), Box<ServerError>> {
        let slots = &self.keeper.slots;
        let slot = slots.new_name(name)?;
        let file = (!slots.read_only).then(|| slots.lasting.create_temporary(&slot, info)).transpose();
        let file = file.map_err(|error| answer(&error))?;
        slots.temporary().insert(name.to_owned(), Temporary { info, file });
        self.names.push(name.to_owned());
        Ok(())
    }

    /// Whether `name` is one of these; it then is one no more.
    pub(super) fn drop_one(&mut self, name: &str) -> bool {
        let before = self.names.len();
        self.names.retain(|own| own != name);
        let mine = self.names.len() < before;
        if mine {
            self.keeper.slots.temporary().remove(name);
        }
        mine
    }

    /// Ends all of them: any error on their connection does that, as in PostgreSQL.
    pub(super) fn clear(&mut self) {
        let mut temporary = self.keeper.slots.temporary();
        for name in self.names.drain(..) {
            temporary.remove(&name);
        }
    }

    /// Takes a slot into use: one of these, or a lasting one.
    pub(super) fn acquire(&self, name: &str) -> Result<SlotInUse, Box<ServerError>> {
        let keeper = &self.keeper;
        if self.names.iter().any(|own| own == name) {
            return Ok(SlotInUse::Temporary(keeper.clone(), name.to_owned()));
        }
        let slot = SlotName::new(name).ok_or_else(|| missing(name))?;
        if keeper.slots.temporary().contains_key(name) || keeper.slots.is_anothers(&slot)? {
            return Err(answer(&SlotError::Active(slot)));
        }
        keeper.slots.check_writable()?;
        keeper.slots.lasting.acquire(&slot).map(SlotInUse::Lasting).map_err(|error| answer(&error))
    }
}

impl Drop for TemporarySlots {
    fn drop(&mut self) {
        self.clear();
    }
}

impl SlotInUse {
    /// The slot's name.
    pub(super) fn name(&self) -> &str {
        match self {
            Self::Lasting(slot) => slot.name().as_str(),
            Self::Temporary(_, name) => name,
        }
    }

    /// Moves the slot to what the follower says is durable with it.
    pub(super) fn advance(&mut self, flush: Lsn, timeline: TimelineId) -> Result<(), SlotError> {
        match self {
            Self::Lasting(slot) => slot.advance(flush, timeline, Instant::now()),
            Self::Temporary(keeper, name) => {
                let mut temporary = keeper.slots.temporary();
                let Some(slot) = temporary.get_mut(name.as_str()) else { return Ok(()) };
                slot.info = SlotInfo::at(flush, timeline);
                match &mut slot.file {
                    Some(file) => file.advance(flush, timeline, Instant::now()),
                    None => Ok(()),
                }
            }
        }
    }

    /// Writes down what has not been yet.
    pub(super) fn flush(&mut self) -> Result<(), SlotError> {
        match self {
            Self::Lasting(slot) => slot.flush(),
            Self::Temporary(..) => Ok(()),
        }
    }
}

fn missing(name: &str) -> Box<ServerError> {
    Box::new(ServerError::error(
        SqlState::UNDEFINED_OBJECT,
        format!("replication slot \"{name}\" does not exist"),
    ))
}

/// What a client is told.
fn answer(error: &SlotError) -> Box<ServerError> {
    let code = match error {
        SlotError::Exists(_) => SqlState::DUPLICATE_OBJECT,
        SlotError::Missing(_) => SqlState::UNDEFINED_OBJECT,
        SlotError::Active(_) => SqlState::OBJECT_IN_USE,
        SlotError::Gone { .. } => SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE,
        SlotError::Damaged(_) | SlotError::Io { .. } => SqlState::INTERNAL_ERROR,
    };
    Box::new(ServerError::error(code, error.to_string()))
}
