//! The conversation with the server, from BASE_BACKUP to the end position, and everything started beside it.

mod answers;
mod hand_over;
mod wal_streaming;

use std::future::Future;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use replication::client::Client;
use replication::conninfo::ConnInfo;
use wal::Lsn;
use walreceiver::stream::BackgroundStream;

use super::archive::{ArchiveStore, UNFINISHED};
use super::claim::Claims;
use super::command::base_backup;
use super::error::TakeError;
use super::feed;
use super::finish::Completion;
use super::options::{Destination, Format, Options, Slot, WalMethod};
use super::progress::Progress;
use super::receiver::{Output, Received, Receiver};
use super::recovery;
use super::tablespace::Announcement;
use super::tree::Tree;
use super::wal_archive::WalArchive;
use crate::file_error::FileError;
use answers::{Modes, Position, finished, rows};

/// How long a failed run waits for the thread that streams WAL; it may have to wait for a server that says nothing.
const WAL_PATIENCE: Duration = Duration::from_secs(5);

/// Takes a base backup over `client`, a new replication connection to the server that `conninfo` names. `conninfo` is
/// used for the connection that streams WAL, too.
///
/// When `interrupted` completes first, or anything fails, everything written is removed again, unless
/// [`Options::no_clean`].
pub async fn take(
    client: Client,
    conninfo: &ConnInfo,
    options: Options,
    interrupted: impl Future<Output = ()>,
) -> Result<(), TakeError> {
    options.check()?;
    let mut session = Session::new(conninfo, options);
    let result = tokio::select! {
        result = session.run(client) => result,
        () = interrupted => Err(TakeError::Interrupted),
    };
    session.close(result).await
}

/// Everything a backup under way consists of. It outlives the conversation, so that all threads can be waited for
/// before the directories are given back.
struct Session<'a> {
    conninfo: &'a ConnInfo,
    options: Arc<Options>,
    progress: Progress,
    claims: Claims,
    receiver: Option<std::thread::JoinHandle<Result<Received, TakeError>>>,
    wal: Option<BackgroundStream>,
    modes: Modes,
}

impl<'a> Session<'a> {
    fn new(conninfo: &'a ConnInfo, options: Options) -> Self {
        Self {
            conninfo,
            progress: Progress::new(options.progress, options.verbose),
            options: Arc::new(options),
            claims: Claims::default(),
            receiver: None,
            wal: None,
            modes: Modes::PRIVATE,
        }
    }

    async fn run(&mut self, mut client: Client) -> Result<(), TakeError> {
        let version = client.server_version();
        if version.major() < 15 {
            return Err(TakeError::ServerVersion(version.to_string()));
        }
        self.modes = Modes::of_server(&mut client).await?;
        self.claim_directories()?;
        let system =
            client.identify_system().await.map_err(TakeError::server("could not identify system"))?;
        let settings = self.options.recovery_configuration.then(|| {
            let slot = match &self.options.slot {
                Slot::Named { name, .. } => Some(name.as_str()),
                Slot::Temporary | Slot::None => None,
            };
            recovery::settings(&self.conninfo.to_primary_conninfo(), slot)
        });

        tracing::info!("initiating base backup, waiting for checkpoint to complete");
        self.progress.waiting();
        const INITIATE: &str = "could not initiate base backup";
        let stream = client.base_backup(&base_backup(&self.options)).await;
        let mut stream = stream.map_err(TakeError::server(INITIATE))?;
        let start = Position::read(&rows(&mut stream, INITIATE).await?)?;
        tracing::info!("write-ahead log start point: {} on timeline {}", start.lsn, start.timeline);
        let announced = rows(&mut stream, "could not get backup header").await?;
        let announced = Announcement::read(&announced, self.root(), &self.options)?;
        self.progress.announce(announced.tablespaces.len() + 1, announced.total);

        let output = self.prepare(&announced, version.major())?;
        self.start_wal(start, system.system_id).await?;
        let (sender, feed) = feed::channel();
        let receiver = Receiver {
            options: Arc::clone(&self.options),
            feed,
            output,
            tablespaces: announced.tablespaces,
            settings: settings.clone().filter(|_| self.options.format == Format::Tar),
            file_mode: self.modes.file,
        };
        self.receiver = Some(std::thread::spawn(move || receiver.run()));
        self.pass_on(&mut stream, sender).await?;
        let end = Position::read(&rows(&mut stream, "backup failed").await?)?;
        tracing::info!("write-ahead log end point: {}", end.lsn);
        finished(&mut stream).await?;

        let received = self.join_receiver()?;
        self.check_range(&received, start, end)?;
        self.finish_wal(end).await?;
        self.complete(received, settings.filter(|_| self.options.format == Format::Plain)).await?;
        if let Some(client) = stream.into_client() {
            client.close().await;
        }
        Ok(())
    }

    /// Ends all threads, and keeps or gives back the directories.
    async fn close(mut self, result: Result<(), TakeError>) -> Result<(), TakeError> {
        // The receiver's end of the feed has gone with the conversation, so it ends by itself.
        let result = match (self.join_if_running(), result) {
            (Some(Err(cause)), Err(TakeError::Abandoned)) => Err(cause),
            (_, result) => result,
        };
        if let Some(wal) = self.wal.take() {
            // There is nothing before the first byte, so this ends the stream.
            wal.stop_at(Lsn::new(1));
            let _ = tokio::time::timeout(WAL_PATIENCE, wal.join()).await;
        }
        if result.is_ok() {
            self.claims.keep();
        } else if self.options.no_clean && !self.claims.is_empty() {
            tracing::warn!("directory \"{}\" not removed at user's request", self.root().display());
            self.claims.keep();
        }
        result
    }

    /// The directory of the backup; empty if it goes elsewhere.
    fn root(&self) -> &Path {
        match &self.options.destination {
            Destination::Directory(root) => root,
            Destination::Stdout | Destination::Target { .. } => Path::new(""),
        }
    }

    fn is_tree(&self) -> bool {
        self.options.format == Format::Plain && matches!(self.options.destination, Destination::Directory(_))
    }

    fn claim_directories(&mut self) -> Result<(), TakeError> {
        let options = Arc::clone(&self.options);
        if let Destination::Directory(root) = &options.destination {
            self.claims.claim(root, self.modes.directory)?;
        }
        match &options.wal_directory {
            Some(directory) => self.claims.claim(directory, self.modes.directory),
            None => Ok(()),
        }
    }

    /// Makes the directories that have to be there before the first archive comes.
    fn prepare(&mut self, announced: &Announcement, major: u32) -> Result<Output, TakeError> {
        let options = Arc::clone(&self.options);
        let root = match &options.destination {
            Destination::Target { .. } => return Ok(Output::Elsewhere),
            Destination::Stdout if !announced.tablespaces.is_empty() => {
                let count = announced.tablespaces.len() + 1;
                let why = format!("can only write single tablespace to stdout, database has {count}");
                return Err(TakeError::Answer(why));
            }
            Destination::Stdout => return Ok(Output::Archives(ArchiveStore::on_stdout())),
            Destination::Directory(root) => root,
        };
        if options.format == Format::Tar {
            let store = ArchiveStore::in_directory(root, self.modes.file, !options.no_sync);
            return Ok(Output::Archives(store));
        }
        let mut tree = Tree::new(root, !options.no_sync);
        for tablespace in &announced.tablespaces {
            if tablespace.in_place {
                self.make_directory(&mut tree, &root.join("pg_tblspc"))?;
                self.make_directory(&mut tree, &tablespace.directory)?;
            } else {
                self.claims.claim(&tablespace.directory, self.modes.directory)?;
                tree.add_directory(&tablespace.directory);
            }
        }
        self.prepare_wal(&mut tree, major)?;
        Ok(Output::Tree(tree))
    }

    fn make_directory(&self, tree: &mut Tree, path: &Path) -> Result<(), TakeError> {
        use std::os::unix::fs::DirBuilderExt;
        // Recursive only in that it does not mind what is there.
        let made = std::fs::DirBuilder::new().recursive(true).mode(self.modes.directory).create(path);
        made.map_err(FileError::on("create directory", path))?;
        tree.add_directory(path);
        Ok(())
    }

    fn join_receiver(&mut self) -> Result<Received, TakeError> {
        self.join_if_running().unwrap_or(Err(TakeError::Abandoned))
    }

    fn join_if_running(&mut self) -> Option<Result<Received, TakeError>> {
        let thread = self.receiver.take()?;
        let panicked = |_| Err(TakeError::Answer("internal error: the receiving thread panicked".to_owned()));
        Some(thread.join().unwrap_or_else(panicked))
    }

    /// The manifest's WAL has to be the backup's.
    fn check_range(&self, received: &Received, start: Position, end: Position) -> Result<(), TakeError> {
        let Some((_, manifest)) = &received.manifest else { return Ok(()) };
        let first = manifest.wal_ranges.iter().map(|range| range.start).min();
        let last = manifest.wal_ranges.iter().map(|range| range.end).max();
        if first == Some(start.lsn) && last == Some(end.lsn) {
            Ok(())
        } else {
            Err(TakeError::Answer(format!(
                "the manifest's WAL ranges are not those of the backup, {} to {}",
                start.lsn, end.lsn
            )))
        }
    }

    async fn complete(&mut self, received: Received, settings: Option<String>) -> Result<(), TakeError> {
        if matches!(self.options.destination, Destination::Stdout | Destination::Target { .. }) {
            return Ok(());
        }
        let durable = !self.options.no_sync;
        if durable {
            tracing::info!("syncing data to disk ...");
        }
        let archives = match (self.options.format, self.options.wal) {
            (Format::Tar, WalMethod::Stream) => {
                let name = WalArchive::file_name(self.options.client_compression());
                vec![self.root().join(format!("{name}{UNFINISHED}"))]
            }
            _ => Vec::new(),
        };
        let archives: Vec<PathBuf> = archives;
        let completion = Completion {
            root: self.root(),
            claims: &self.claims,
            settings,
            archives,
            file_mode: self.modes.file,
            durable,
        };
        completion.run(received)?;
        tracing::info!("base backup completed");
        Ok(())
    }
}
