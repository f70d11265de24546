//! Creating and dropping the receiver's slot (`--create-slot`, `--drop-slot`).

use replication::client::{Client, ClientError, SlotOptions};
use replication::error::SqlState;

/// Creates a physical slot. As with `pg_receivewal` it keeps WAL from its first use on, not from now.
pub async fn create(client: &mut Client, name: &str, if_not_exists: bool) -> Result<(), ClientError> {
    match client.create_physical_slot(name, SlotOptions::default()).await {
        Err(error) if if_not_exists && error.code() == Some(SqlState::DUPLICATE_OBJECT) => Ok(()),
        done => done,
    }
}

/// Drops a slot.
pub async fn drop(client: &mut Client, name: &str) -> Result<(), ClientError> {
    client.drop_slot(name).await
}
