//! One server put together: a data directory's storage, and the executor over it.
//!
//! A leader's node recovers its directory and serves; a standby's replays until its pages are consistent before anybody
//! is let in, and can be made a leader without its sessions noticing.

mod database;
mod host;

use std::sync::Arc;

use tracing::warn;
use wal::Lsn;

use crate::config::Config;
use crate::exec::{Executor, Host};
use crate::process::{Node, Opening};
use crate::shipping::Shipping;
use crate::storage::{Storage, StorageOptions};
use host::ServerHost;

/// A running server.
pub struct ServerNode {
    executor: Executor,
    storage: Arc<Storage>,
}

impl ServerNode {
    /// Opens the directory. Blocks while it recovers, and a standby's until it can be read. `accept_loss` is as in
    /// [`StorageOptions`].
    ///
    /// # Errors
    /// Whatever is wrong with the directory or the configuration.
    pub fn open(
        opening: Opening,
        shipping: Arc<Shipping>,
        accept_loss: Option<Lsn>,
    ) -> anyhow::Result<Arc<Self>> {
        let Opening { directory, disk, config, port, registry, promoted, early } = opening;
        let now = config.current();
        let options = StorageOptions {
            directory: &directory,
            disk,
            config: &now,
            port,
            shipping,
            promoted,
            early,
            accept_loss,
        };
        let storage = Arc::new(Storage::open(options)?);
        let host: Arc<dyn Host> = Arc::new(ServerHost::new(Arc::clone(&storage), config, registry, port));
        let executor = Executor::new(Arc::clone(storage.engine()), host);
        executor.check_catalog()?;
        Ok(Arc::new(Self { executor, storage }))
    }
}

impl Node for ServerNode {
    fn promote(&self) -> anyhow::Result<()> {
        self.storage.promote_now()
    }

    fn reload(&self, config: &Config) {
        if let Err(error) = self.storage.reload(config) {
            warn!("some settings stay as they were: {error:#}");
        }
        self.executor.reload();
        self.storage.reload_passwords();
    }

    fn shutdown(&self) -> anyhow::Result<()> {
        self.storage.shutdown()
    }
}
