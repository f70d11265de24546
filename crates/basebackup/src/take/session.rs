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
use super::fetched_wal::FetchedWal;
use super::finish::Completion;
use super::inspection::Agreed;
use super::options::{Destination, Format, Options, Slot, WalMethod};
use super::patience::Patience;
use super::progress::Progress;
use super::receiver::{Output, Received, Receiver};
use super::recovery;
use super::tablespace::Announcement;
use super::tree::Tree;
use super::wal_archive::WalArchive;
use crate::file_error::FileError;
use answers::{Modes, Position, finished, log_shape, rows};

/// How long the server may take to hear that we leave.
const FAREWELL: Duration = Duration::from_secs(5);
/// How long a failed run waits for the thread that streams WAL; it may have to wait for a server that says nothing.
const WAL_PATIENCE: Duration = Duration::from_secs(5);

/// Takes a base backup over `client`, a new replication connection to the server that `conninfo` names. `conninfo` is
/// used for the connection that streams WAL, too.
///
/// When `interrupted` completes first, or anything fails, everything written is removed again, unless
/// [`Options::no_clean`]; but what goes wrong when all data have come does not cost hours of copying: then everything
/// stays, without the names that make it a backup.
pub async fn take(
    client: Client,
    conninfo: &ConnInfo,
    options: Options,
    interrupted: impl Future<Output = ()>,
) -> Result<(), TakeError> {
    options.check()?;
    let mut session = Session::new(conninfo, options, client.target());
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
    /// All of it, once the receiver is through.
    received: Option<Received>,
    modes: Modes,
    patience: Patience,
    /// All that the server had to send has come.
    all_came: bool,
    /// It is a backup, and durable.
    is_complete: bool,
}

impl<'a> Session<'a> {
    fn new(conninfo: &'a ConnInfo, options: Options, server: &str) -> Self {
        Self {
            conninfo,
            patience: Patience::new(server, options.server_timeout),
            all_came: false,
            is_complete: false,
            progress: Progress::new(options.progress, options.verbose),
            options: Arc::new(options),
            claims: Claims::default(),
            receiver: None,
            received: None,
            wal: None,
            modes: Modes::PRIVATE,
        }
    }

    async fn run(&mut self, mut client: Client) -> Result<(), TakeError> {
        let version = client.server_version();
        if version.major() < 15 {
            return Err(TakeError::ServerVersion(version.to_string()));
        }
        let patience = self.patience.for_answer();
        self.modes = patience.wait("data_directory_mode", Modes::of_server(&mut client)).await?;
        self.claim_directories()?;
        let identify =
            async { client.identify_system().await.map_err(TakeError::server("could not identify system")) };
        let system = patience.wait("an answer to IDENTIFY_SYSTEM", identify).await?;
        let shape = match self.options.wal {
            WalMethod::Fetch => {
                Some(patience.wait("the shape of the log", log_shape(&mut client, &system)).await?)
            }
            WalMethod::None | WalMethod::Stream => None,
        };
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
        let command = base_backup(&self.options);
        let begin = async { client.base_backup(&command).await.map_err(TakeError::server(INITIATE)) };
        let mut stream = patience.wait("the server to take a command", begin).await?;
        // It may be spread over minutes, or over hours.
        let unlimited = self.patience.unlimited();
        let start = Position::read(&rows(&mut stream, &unlimited, "the checkpoint", INITIATE).await?)?;
        tracing::info!("write-ahead log start point: {} on timeline {}", start.lsn, start.timeline);
        const HEADER: &str = "could not get backup header";
        // To add up all sizes takes the server a while.
        let announced = rows(&mut stream, &self.patience, "the list of tablespaces", HEADER).await?;
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
            fetched: shape.map(|shape| FetchedWal::new(shape, start.lsn)),
        };
        self.receiver = Some(std::thread::spawn(move || receiver.run()));
        self.pass_on(&mut stream, sender).await?;
        self.all_came = true;
        // Without streamed or fetched WAL the server waits until it is archived, and says so from time to time.
        let patience = if self.options.wal == WalMethod::None { unlimited } else { patience };
        let end = rows(&mut stream, &patience, "the end position of the backup", "backup failed").await?;
        let end = Position::read(&end)?;
        tracing::info!("write-ahead log end point: {}", end.lsn);
        let damage = match finished(&mut stream, &patience).await {
            Ok(()) => None,
            Err(damage @ TakeError::Damaged(_)) => Some(damage),
            Err(other) => return Err(other),
        };
        self.join_receiver()?;
        self.check(&Agreed {
            start: start.lsn,
            timeline: start.timeline,
            end: end.lsn,
            end_timeline: end.timeline,
            system_id: system.system_id,
        })?;
        self.finish_wal(end).await?;
        let settings = settings.filter(|_| self.options.format == Format::Plain);
        self.complete(settings, damage.is_none())?;
        if let Some(client) = stream.into_client() {
            // It is complete whether the server hears that or not.
            let _ = tokio::time::timeout(FAREWELL, client.close()).await;
        }
        damage.map_or(Ok(()), Err)
    }

    /// Ends all threads, and keeps or gives back the directories.
    async fn close(mut self, result: Result<(), TakeError>) -> Result<(), TakeError> {
        // The receiver's end of the feed has gone with the conversation, so it ends by itself.
        let result = match (self.join_receiver(), result) {
            // Who interrupts the farewell does not undo it.
            _ if self.is_complete => Ok(()),
            (Err(cause), Err(TakeError::Abandoned)) => Err(cause),
            (_, result) => result,
        };
        if let Some(wal) = self.wal.take() {
            // There is nothing before the first byte, so this ends the stream.
            wal.stop_at(Lsn::new(1));
            let _ = tokio::time::timeout(WAL_PATIENCE, wal.join()).await;
        }
        let result = result.map_err(|error| self.left_behind(error));
        if let (Err(TakeError::LeftBehind { .. }), Some(mut received)) = (&result, self.received.take()) {
            self.completion(None, false).leave(&mut received);
        }
        if matches!(result, Ok(()) | Err(TakeError::LeftBehind { .. })) {
            self.claims.keep();
        } else if self.options.no_clean && !self.claims.is_empty() {
            tracing::warn!("directory \"{}\" not removed at user's request", self.root().display());
            self.claims.keep();
        }
        result
    }

    /// Hours of copying are not thrown away for what is found at their end; only whoever interrupts wants it gone.
    fn left_behind(&self, error: TakeError) -> TakeError {
        let at_the_end = self.all_came && !matches!(error, TakeError::Interrupted);
        if !at_the_end
            || self.claims.is_empty()
            || !matches!(self.options.destination, Destination::Directory(_))
        {
            return error;
        }
        TakeError::LeftBehind { error: Box::new(error), directory: self.root().display().to_string() }
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

    /// Waits for the receiver, if it runs.
    fn join_receiver(&mut self) -> Result<(), TakeError> {
        let Some(thread) = self.receiver.take() else { return Ok(()) };
        let panicked = |_| Err(TakeError::Answer("internal error: the receiving thread panicked".to_owned()));
        self.received = Some(thread.join().unwrap_or_else(panicked)?);
        Ok(())
    }

    /// All of it has to be one backup: the one that the server told of.
    fn check(&mut self, agreed: &Agreed) -> Result<(), TakeError> {
        let Some(received) = &mut self.received else { return Err(TakeError::Abandoned) };
        let differences = std::mem::take(&mut received.differences);
        if !differences.is_empty() {
            return Err(TakeError::Differences(differences));
        }
        if !matches!(received.output, Output::Elsewhere) {
            received.inspection.conclude(agreed)?;
        }
        match &received.manifest {
            Some((_, manifest)) => agreed.check_manifest(manifest),
            None => Ok(()),
        }
    }

    fn complete(&mut self, settings: Option<String>, is_good: bool) -> Result<(), TakeError> {
        if matches!(self.options.destination, Destination::Stdout | Destination::Target { .. }) {
            return Ok(());
        }
        if !self.options.no_sync {
            tracing::info!("syncing data to disk ...");
        }
        let Some(mut received) = self.received.take() else { return Err(TakeError::Abandoned) };
        let completed = self.completion(settings, is_good).run(&mut received);
        // Whatever is wrong with it, somebody may have to keep it.
        self.received = Some(received);
        completed?;
        self.is_complete = is_good;
        if is_good {
            tracing::info!("base backup completed");
        }
        Ok(())
    }

    fn completion(&self, settings: Option<String>, is_good: bool) -> Completion<'_> {
        let archives: Vec<PathBuf> = match (self.options.format, self.options.wal) {
            (Format::Tar, WalMethod::Stream) => {
                let name = WalArchive::file_name(self.options.client_compression());
                vec![self.root().join(format!("{name}{UNFINISHED}"))]
            }
            _ => Vec::new(),
        };
        Completion {
            root: self.root(),
            claims: &self.claims,
            settings,
            archives,
            file_mode: self.modes.file,
            durable: !self.options.no_sync,
            is_good,
        }
    }
}
