//! From the startup packet to the first ReadyForQuery.

use bytes::Bytes;

use super::connection::{Connection, unexpected};
use super::error::AttemptError;
use super::{Client, Replication};
use crate::auth::{AuthStep, ClientAuth};
use crate::conninfo::{ConnInfo, Password};
use crate::frame::Phase;
use crate::message::{BackendMessage, FirstPacket, FrontendMessage, PROTOCOL_3_0, StartupMessage};

/// The database that a physical replication connection names, for `pg_hba.conf` and password files.
pub(super) const REPLICATION_DATABASE: &str = "replication";

/// The database to name in the startup packet.
pub(super) fn database(info: &ConnInfo, replication: Replication) -> &str {
    match replication {
        Replication::Physical => REPLICATION_DATABASE,
        Replication::Database | Replication::Off => info.dbname.as_deref().unwrap_or(&info.user),
    }
}

fn startup(info: &ConnInfo, replication: Replication) -> FirstPacket {
    let mut parameters = Vec::new();
    let mut add = |name: &str, value: &str| parameters.push((name.to_owned(), value.to_owned()));
    add("user", &info.user);
    add("database", database(info, replication));
    match replication {
        Replication::Physical => add("replication", "true"),
        Replication::Database => add("replication", "database"),
        Replication::Off => (),
    }
    if let Some(options) = &info.options {
        add("options", options);
    }
    if !info.application_name.is_empty() {
        add("application_name", &info.application_name);
    }
    if let Some(encoding) = &info.client_encoding {
        add("client_encoding", encoding);
    }
    FirstPacket::Startup(StartupMessage { protocol: PROTOCOL_3_0, parameters })
}

/// Logs in over a fresh stream. `tls` is `None` without TLS, else the hash to bind to, if there is one.
pub(super) async fn log_in(
    mut connection: Connection,
    info: &ConnInfo,
    replication: Replication,
    password: Option<Password>,
    tls: Option<Option<Vec<u8>>>,
    target: String,
) -> Result<Client, AttemptError> {
    let encrypted = tls.is_some();
    let mut auth =
        ClientAuth::new(&info.user, password, info.channel_binding, info.require_auth.clone(), tls);
    startup(info, replication).encode(&mut connection.out);
    connection.flush().await?;
    let mut key: Option<(u32, Bytes)> = None;
    let mut authenticated = false;
    loop {
        match connection.next_message().await? {
            BackendMessage::Authentication(request) if !authenticated => match auth.step(request)? {
                AuthStep::Send(body) => {
                    connection.queue(&FrontendMessage::Authentication(body));
                    connection.flush().await?;
                }
                AuthStep::Wait => (),
                AuthStep::Done => authenticated = true,
            },
            BackendMessage::BackendKeyData { process_id, secret_key } if authenticated => {
                key = Some((process_id, Bytes::copy_from_slice(&secret_key)));
            }
            // A server that speaks only an older minor version, or not some option, goes on all the same.
            BackendMessage::NegotiateProtocolVersion { .. } if !authenticated => (),
            BackendMessage::ReadyForQuery(_) if authenticated => {
                connection.decoder.set_phase(Phase::Server);
                return Ok(Client { connection, key, target, encrypted });
            }
            other => return Err(unexpected(&other).into()),
        }
    }
}
