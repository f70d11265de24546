//! Finding a server that lets us in: hosts, addresses, TLS or not, log-in, kind of server.

use std::future::Future;
use std::io;

use super::connection::Connection;
use super::error::{AttemptError, ConnectError, FailedAttempt};
use super::login::{database, log_in};
use super::password::prompt;
use super::socket::{Address, addresses, describe, open, tls_name};
use super::transport::{Duplex, Transport};
use super::{Client, Replication, target};
use crate::conninfo::{ConnInfo, Host, HostName, Password, SslMode, SslNegotiation, TargetSessionAttrs};
use crate::error::SqlState;
use crate::tls::{self, TlsError};

/// When a tool asks its user for a password.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum PasswordPrompt {
    /// `-w`: never.
    Never,
    /// If the server wants one and there is none.
    #[default]
    IfNeeded,
    /// `-W`: before connecting.
    Force,
}

/// Connects as [`Client::connect`] does, asking on the terminal for a password as PostgreSQL's tools do. A password
/// that was typed in stays in `info`, so that nobody is asked again at a reconnection.
pub async fn connect_prompting(
    info: &mut ConnInfo,
    replication: Replication,
    when: PasswordPrompt,
) -> Result<Client, ConnectError> {
    if when == PasswordPrompt::Force && info.password.is_none() {
        info.password = prompt();
    }
    match Client::connect(info, replication).await {
        Err(error) if error.needs_password() && when != PasswordPrompt::Never => {
            let Some(password) = prompt() else { return Err(error) };
            info.password = Some(password);
            Client::connect(info, replication).await
        }
        done => done,
    }
}

impl Client {
    /// Connects to the first host that lets us in and is of the kind `target_session_attrs` wants. Never asks for a
    /// password.
    pub async fn connect(info: &ConnInfo, replication: Replication) -> Result<Self, ConnectError> {
        let mut order: Vec<&Host> = info.hosts.iter().collect();
        if info.random_host_order {
            shuffle(&mut order);
        }
        let mut attempts = Vec::new();
        let passes: &[TargetSessionAttrs] = match info.target_session_attrs {
            TargetSessionAttrs::PreferStandby => {
                &[TargetSessionAttrs::PreferStandby, TargetSessionAttrs::Any]
            }
            ref only => std::slice::from_ref(only),
        };
        for &wanted in passes {
            for &host in &order {
                match try_host(info, host, replication, wanted, &mut attempts).await {
                    Ok(client) => return Ok(client),
                    Err(GoOn::NextHost) => (),
                    Err(GoOn::Stop) => return Err(ConnectError { attempts }),
                }
            }
        }
        Err(ConnectError { attempts })
    }

    /// Logs in over a stream that exists already: for tests and simulated networks. TLS is negotiated on it as
    /// `info` says, for its first host; other hosts do not matter.
    pub async fn connect_over(
        stream: impl Duplex,
        info: &ConnInfo,
        replication: Replication,
    ) -> Result<Self, ConnectError> {
        let host = info.hosts.first().cloned();
        let host = host.unwrap_or(Host { name: HostName::Tcp(String::new()), address: None, port: 5432 });
        let target = describe(&host, None);
        let password = password_for(info, &host, replication);
        let encrypt = info.tls.mode != SslMode::Disable && info.tls.mode != SslMode::Allow;
        let transport = Transport::Other(Box::new(stream));
        let client = async {
            let (transport, tls) = secure(transport, info, &host, encrypt).await?;
            log_in(Connection::new(transport), info, replication, password, tls, target.clone()).await
        };
        client.await.map_err(|cause| ConnectError { attempts: vec![FailedAttempt { target, cause }] })
    }
}

/// Whether to try the next host after one that failed.
enum GoOn {
    NextHost,
    Stop,
}

async fn try_host(
    info: &ConnInfo,
    host: &Host,
    replication: Replication,
    wanted: TargetSessionAttrs,
    attempts: &mut Vec<FailedAttempt>,
) -> Result<Client, GoOn> {
    let found = match in_time(info, addresses(host)).await {
        Ok(found) => found,
        Err(cause) => {
            attempts.push(FailedAttempt { target: describe(host, None), cause });
            return Err(GoOn::NextHost);
        }
    };
    for address in &found {
        for encrypt in encryption_plan(info, address) {
            let attempt = in_time(info, try_address(info, host, address, replication, *encrypt));
            let mut outcome = attempt.await;
            if let Ok(client) = &mut outcome
                && let Err(cause) = in_time(info, target::check(client, wanted)).await
            {
                outcome = Err(cause);
            }
            let cause = match outcome {
                Ok(client) => return Ok(client),
                Err(cause) => cause,
            };
            let (other_mode, other_host) =
                (tries_other_mode(info, *encrypt, &cause), tries_other_host(&cause));
            attempts.push(FailedAttempt { target: describe(host, Some(address)), cause });
            if !other_mode && !other_host {
                return Err(GoOn::Stop);
            }
            if !other_mode {
                break;
            }
        }
    }
    match attempts.last() {
        Some(last) if !tries_other_host(&last.cause) => Err(GoOn::Stop),
        _ => Err(GoOn::NextHost),
    }
}

/// Whether to encrypt at the first and at the second attempt at an address.
fn encryption_plan(info: &ConnInfo, address: &Address) -> &'static [bool] {
    match (address, info.tls.mode) {
        // As in libpq, TLS is not for Unix sockets, whatever sslmode says.
        (Address::Unix(_), _) | (_, SslMode::Disable) => &[false],
        (_, SslMode::Allow) => &[false, true],
        (_, SslMode::Prefer) => &[true, false],
        (_, SslMode::Require | SslMode::VerifyCa | SslMode::VerifyFull) => &[true],
    }
}

/// `allow` and `prefer` try the other way if the server refused, or TLS failed.
fn tries_other_mode(info: &ConnInfo, encrypted: bool, cause: &AttemptError) -> bool {
    let refused = matches!(cause, AttemptError::Client(error) if error.server().is_some());
    match info.tls.mode {
        SslMode::Allow => !encrypted && refused,
        SslMode::Prefer => encrypted && (refused || matches!(cause, AttemptError::Tls(_))),
        _ => false,
    }
}

/// A host that cannot be reached, is not ready, or is of the wrong kind lets the next one have its turn; one that
/// refuses us does not.
fn tries_other_host(cause: &AttemptError) -> bool {
    match cause {
        AttemptError::Resolve { .. }
        | AttemptError::Connect(_)
        | AttemptError::Timeout
        | AttemptError::WrongServer(_) => true,
        AttemptError::Client(error) => error.code() == Some(SqlState::CANNOT_CONNECT_NOW),
        AttemptError::Tls(_) | AttemptError::Auth(_) => false,
    }
}

async fn try_address(
    info: &ConnInfo,
    host: &Host,
    address: &Address,
    replication: Replication,
    encrypt: bool,
) -> Result<Client, AttemptError> {
    let transport = open(address, info).await?;
    let password = password_for(info, host, replication);
    let (transport, tls) = secure(transport, info, host, encrypt).await?;
    let target = describe(host, Some(address));
    log_in(Connection::new(transport), info, replication, password, tls, target).await
}

/// Puts TLS on the stream, if it is wanted and to be had. Gives the hash to bind to too.
async fn secure(
    mut transport: Transport,
    info: &ConnInfo,
    host: &Host,
    encrypt: bool,
) -> Result<(Transport, Option<Option<Vec<u8>>>), AttemptError> {
    if !encrypt {
        return Ok((transport, None));
    }
    let direct = info.tls.negotiation == SslNegotiation::Direct;
    if !direct && !tls::request(&mut transport).await? {
        if info.tls.mode > SslMode::Prefer {
            return Err(TlsError::NotSupported.into());
        }
        return Ok((transport, None));
    }
    let secured = match transport {
        // The handshake talks to the bare socket, not through one more box.
        Transport::Tcp(stream) => tls::connect(stream, &info.tls, &tls_name(host)).await.map(boxed),
        other => tls::connect(other, &info.tls, &tls_name(host)).await.map(boxed),
    };
    let (stream, end_point) = secured?;
    Ok((Transport::Other(stream), Some(end_point)))
}

fn boxed<S: Duplex>((stream, end_point): (S, Option<Vec<u8>>)) -> (Box<dyn Duplex>, Option<Vec<u8>>) {
    (Box::new(stream), end_point)
}

async fn in_time<T>(
    info: &ConnInfo,
    attempt: impl Future<Output = Result<T, AttemptError>>,
) -> Result<T, AttemptError> {
    match info.connect_timeout {
        Some(limit) => tokio::time::timeout(limit, attempt).await.unwrap_or(Err(AttemptError::Timeout)),
        None => attempt.await,
    }
}

/// The password for `host`: the one given, or the password file's.
fn password_for(info: &ConnInfo, host: &Host, replication: Replication) -> Option<Password> {
    info.password.clone().or_else(|| info.password_from_file(host, database(info, replication)))
}

fn shuffle(hosts: &mut [&Host]) {
    for last in (1..hosts.len()).rev() {
        let mut random = [0; 8];
        if tls::random(&mut random).is_err() {
            tracing::warn!("no random numbers to be had; hosts are tried in the order given");
            return;
        }
        let chosen = u64::from_le_bytes(random) % (last as u64 + 1);
        hosts.swap(last, chosen as usize);
    }
}

impl From<io::Error> for AttemptError {
    fn from(error: io::Error) -> Self {
        Self::Client(super::connection::connection_error(error))
    }
}
