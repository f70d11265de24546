//! Putting an engine together from its parts.

use std::sync::atomic::AtomicBool;
use std::sync::{Arc, OnceLock};

use runtime::sync::Mutex;
use wal::Lsn;

use super::admission::Admission;
use super::dropped::DroppedTrees;
use super::durability::Durability;
use super::publishing::Publishing;
use super::visibility::Visibility;
use super::{Engine, Numbers, Writer};
use crate::EngineOptions;
use crate::buffer::BufferPool;
use crate::lock::LockTable;
use crate::log::Log;
use crate::run::RunBuffers;

/// What an engine is made of once the pages are as of the log's end, or of a standby's start.
pub(crate) struct Parts {
    pub(crate) options: EngineOptions,
    pub(crate) pool: Arc<BufferPool>,
    pub(crate) log: Arc<Log>,
    pub(crate) numbers: Numbers,
    /// Up to where the pages are applied.
    pub(crate) applied: Lsn,
    pub(crate) read_only: bool,
}

impl Engine {
    /// An engine whose first snapshot is at `applied`.
    pub(crate) fn assemble(parts: Parts) -> Arc<Self> {
        // A standby shows what it replays; whether that is confirmed is its leader's concern.
        let confirmed = parts.read_only || parts.applied <= parts.options.known_confirmed;
        let visibility = Arc::new(Visibility::new(parts.applied, confirmed, Arc::clone(&parts.pool)));
        let durability = Arc::new(Durability::new(Arc::clone(&visibility), confirmed));
        let admission = Arc::new(Admission::default());
        let (pool, admits) = (Arc::downgrade(&parts.pool), Arc::clone(&admission));
        visibility.observe(Box::new(move |_| {
            if let Some(pool) = pool.upgrade()
                && pool.is_crowded()
                && pool.relieve()
            {
                admits.wake();
            }
        }));
        // Weak, because the pool behind it has the log: neither would ever be dropped.
        let on_flush = Arc::downgrade(&durability);
        parts.log.subscribe(move |flushed| {
            if let Some(durability) = on_flush.upgrade() {
                durability.flushed(flushed);
            }
        });
        Arc::new(Self {
            options: parts.options,
            pool: parts.pool,
            log: parts.log,
            locks: LockTable::new(),
            publishing: Publishing::default(),
            visibility,
            durability,
            admission,
            writer: Mutex::new(Writer { buffers: RunBuffers::default(), numbers: parts.numbers }),
            dropped: DroppedTrees::default(),
            checkpointer: OnceLock::new(),
            restart: Mutex::default(),
            read_only: AtomicBool::new(parts.read_only),
        })
    }
}
