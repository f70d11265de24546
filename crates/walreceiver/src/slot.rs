//! The receiver's slot at its server: made and dropped by command (`--create-slot`, `--drop-slot`), or made when it is missing.

use replication::client::{Client, ClientError, SlotOptions};
use replication::error::SqlState;

/// Creates a physical slot. As with `pg_receivewal` it keeps WAL from its first use on, not from now.
pub async fn create(client: &mut Client, name: &str, if_not_exists: bool) -> Result<(), ClientError> {
    match client.create_physical_slot(name, SlotOptions::default()).await {
        Err(error) if if_not_exists && error.code() == Some(SqlState::DUPLICATE_OBJECT) => Ok(()),
        done => done,
    }
}

/// Creates the slot if the server has not got it, such as one that has just been promoted. It keeps WAL from now on at
/// once; whether older WAL that is needed is still there shows when that is asked for.
pub async fn create_if_missing(client: &mut Client, name: &str) -> Result<(), ClientError> {
    // Asked first, lest each connection leave an error in the server's log; older servers cannot be asked.
    if client.server_version().major() >= 15 && client.read_slot(name).await?.is_some() {
        return Ok(());
    }
    let options = SlotOptions { reserve_wal: true, ..SlotOptions::default() };
    match client.create_physical_slot(name, options).await {
        Err(error) if error.code() == Some(SqlState::DUPLICATE_OBJECT) => Ok(()),
        Ok(()) => {
            tracing::info!("created replication slot \"{name}\" on the server, which did not have it");
            Ok(())
        }
        Err(error) => Err(error),
    }
}

/// Drops a slot.
pub async fn drop(client: &mut Client, name: &str) -> Result<(), ClientError> {
    client.drop_slot(name).await
}
