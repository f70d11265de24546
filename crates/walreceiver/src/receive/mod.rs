//! Receiving into a directory, as `pg_receivewal` does: connection after connection, timeline after timeline.
//!
//! | file | |
//! |---|---|
//! | `session` | one connection: who the server is, where to go on, timeline after timeline |
//! | `timeline_stream` | one START_REPLICATION: socket, validation, archive |
//! | `acknowledger` | what became durable is acknowledged and published, by the thread that made it durable |
//! | `publisher` | the status file |
//! | `ahead` | what is said of a server that has less than the directory |
//!
//! What `flush` means: every byte before it was received, validated as far as its record has come, and fsynced. It may
//! lie inside a record whose end has not arrived, for a server sends whole pages; a commit that waits for it has always
//! arrived as a whole, because its position is the end of a record. After a restart the directory is proven by
//! validation, but nothing is acknowledged to the server that it has not sent, identical, on this connection: the
//! unfinished segment is received again and compared.

pub(crate) mod acknowledger;
pub(crate) mod ahead;
pub(crate) mod answer;
mod backoff;
pub(crate) mod error;
mod options;
pub(crate) mod publisher;
mod session;
pub(crate) mod timeline_stream;

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use disk::{DirLock, DirLockError, Disk, OsDisk};
use replication::client::{Client, Replication, connect_prompting};
use replication::waldir::{Owner, WalDir, owner_of};
use tokio::sync::watch;

pub use error::ReceiverError;
pub use options::ReceiverOptions;

use crate::compress::Compressor;
use answer::answered;
use backoff::Backoff;
use publisher::Publisher;
use session::{Identity, Session};
use timeline_stream::SILENCE_LIMIT;

/// Receives until told to stop, by `shutdown` turning true or by the end position; or until an error that trying
/// again cannot mend, or any error if the options say so. The first connection must succeed.
pub async fn run(
    mut options: ReceiverOptions,
    mut shutdown: watch::Receiver<bool>,
) -> Result<(), ReceiverError> {
    // Before anything is sent or written: a wrong directory is the commonest mistake.
    check_directory(&options.dir)?;
    let mut client = tokio::select! {
        connected = connect_prompting(&mut options.conninfo, Replication::Physical, options.prompt) => connected?,
        _ = shutdown.changed() => return Ok(()),
    };
    let ask = async {
        let disk: Arc<dyn Disk> = Arc::new(disk_for(&mut client).await);
        Identity::ask(&mut client).await.map(|identity| (disk, identity))
    };
    let (disk, identity) = match answered(Some(SILENCE_LIMIT), &shutdown, ask).await {
        Err(ReceiverError::Stopped) => return Ok(()),
        answer => answer?,
    };
    let dir = WalDir::new(&options.dir, Arc::clone(&disk));
    let _lock = DirLock::acquire(&*disk, dir.path()).map_err(|error| match error {
        held @ DirLockError::Held { .. } => ReceiverError::Locked(held.to_string()),
        DirLockError::Io { path, source } => crate::archive::ArchiveError::on("lock", path)(source).into(),
    })?;
    crate::archive::resume::check_segment_size(&dir, identity.segment_size)?;
    let publisher = Arc::new(Publisher::create(&dir, identity.system_id, identity.segment_size)?);
    let compressor = Compressor::start(disk, options.compress, options.sync)
        .map_err(crate::archive::ArchiveError::on("start a thread for", "compression"))?;
    let session =
        Session { options: &options, dir, identity, publisher, compressor, shutdown: shutdown.clone() };
    let mut backoff = Backoff::new();
    let mut connection = Some(client);
    loop {
        let began = Instant::now();
        let ended = match connection.take() {
            Some(client) => session.run(client).await,
            None => {
                let connect = Client::connect(&options.conninfo, Replication::Physical);
                // Who gave no time for this does not want to wait for ever for a host that hangs.
                let limit = options.conninfo.connect_timeout.is_none().then_some(SILENCE_LIMIT);
                match answered(limit, &shutdown, connect).await {
                    Ok(client) => session.run(client).await,
                    Err(error) => Err(error),
                }
            }
        };
        session.publisher.disconnected();
        let error = match ended {
            Ok(()) | Err(ReceiverError::Stopped) => return Ok(()),
            Err(error) if error.is_final() || options.no_loop => return Err(error),
            Err(error) => error,
        };
        tracing::error!("{error}");
        let wait = backoff.after(began, Instant::now());
        tracing::info!("disconnected; waiting {} ms to try again", wait.as_millis());
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            _ = shutdown.changed() => return Ok(()),
        }
        if *shutdown.borrow() {
            return Ok(());
        }
    }
}

/// Refuses a directory that cannot be read, and one in which a server keeps its own: what it takes for its WAL would be
/// another's. Writes nothing.
fn check_directory(path: &Path) -> Result<(), ReceiverError> {
    let owner = owner_of(&OsDisk::new(), path);
    match owner.map_err(crate::archive::ArchiveError::on("open", path))? {
        Owner::Missing => {
            let missing = std::io::Error::from_raw_os_error(libc::ENOENT);
            Err(crate::archive::ArchiveError::on("open", path)(missing).into())
        }
        owner if owner.is_data_directory() => Err(ReceiverError::Foreign { path: path.to_owned(), owner }),
        _ => Ok(()),
    }
}

/// A disk that creates files as readable as the server's data directory is. Older and stranger servers do not tell.
async fn disk_for(client: &mut Client) -> OsDisk {
    match client.show("data_directory_mode").await.as_deref() {
        Ok("0750" | "750") => OsDisk::with_group_access(),
        _ => OsDisk::new(),
    }
}
