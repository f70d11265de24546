//! `target_session_attrs`: is this the kind of server that was asked for? Source: fe-connect.c, CONNECTION_CHECK_TARGET.

use super::Client;
use super::error::{AttemptError, ClientError};
use crate::conninfo::TargetSessionAttrs;

/// Refuses `client` unless its server is of the kind `wanted`.
pub(super) async fn check(client: &mut Client, wanted: TargetSessionAttrs) -> Result<(), AttemptError> {
    match wanted {
        TargetSessionAttrs::Any => Ok(()),
        TargetSessionAttrs::ReadWrite if is_read_only(client).await? => {
            Err(AttemptError::WrongServer("session is read-only"))
        }
        TargetSessionAttrs::ReadOnly if !is_read_only(client).await? => {
            Err(AttemptError::WrongServer("session is not read-only"))
        }
        TargetSessionAttrs::Primary if is_standby(client).await? => {
            Err(AttemptError::WrongServer("server is in hot standby mode"))
        }
        TargetSessionAttrs::Standby | TargetSessionAttrs::PreferStandby if !is_standby(client).await? => {
            Err(AttemptError::WrongServer("server is not in hot standby mode"))
        }
        _ => Ok(()),
    }
}

/// By what the server told (PostgreSQL 14 and later), else by asking.
async fn is_read_only(client: &mut Client) -> Result<bool, ClientError> {
    let told = |name: &str| client.parameter(name).map(|value| value == "on");
    match (told("default_transaction_read_only"), told("in_hot_standby")) {
        (Some(default), Some(standby)) => Ok(default || standby),
        _ => Ok(client.show("transaction_read_only").await? == "on"),
    }
}

/// By what the server told (PostgreSQL 14 and later), else by asking, which takes a connection that can do SQL.
async fn is_standby(client: &mut Client) -> Result<bool, ClientError> {
    if let Some(value) = client.parameter("in_hot_standby") {
        return Ok(value == "on");
    }
    let results = client.simple_query("SELECT pg_catalog.pg_is_in_recovery()").await?;
    Ok(results.first().and_then(|result| result.text(0, 0)) == Some("t"))
}
