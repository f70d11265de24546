//! The conversation with the server, from BASE_BACKUP to the end position, and everything started beside it.

use std::future::Future;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use disk::OsDisk;
use replication::client::{BackupEvent, BackupStream, Client, ResultSet};
use replication::conninfo::ConnInfo;
use replication::stream::BackupMessage;
use tokio::sync::mpsc;
use wal::{Lsn, SystemId, TimelineId};
use walreceiver::sink::{DirectoryOptions, DirectorySink, WalSink};
use walreceiver::stream::{BackgroundStream, StreamRequest, StreamSlot};

use super::archive::{ArchiveStore, UNFINISHED};
use super::claim::Claims;
use super::command::base_backup;
use super::error::TakeError;
use super::feed::{self, Delivery};
use super::finish::Completion;
use super::options::{Destination, Format, Options, Slot, WalMethod};
use super::progress::Progress;
use super::receiver::{Output, Received, Receiver};
use super::recovery;
use super::tablespace::Announcement;
use super::tree::Tree;
use super::wal_archive::WalArchive;
use crate::file_error::FileError;

/// How many messages are handed to the other thread at once.
const BATCH: usize = 64;

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

/// Permission bits, as the server's data directory has them.
#[derive(Clone, Copy)]
struct Modes {
    directory: u32,
    file: u32,
    /// Whether the group may read.
    group: bool,
}

/// Where a backup starts or ends.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Position {
    lsn: Lsn,
    timeline: TimelineId,
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

    /// `pg_wal`, which streaming writes to before the archive names it.
    fn prepare_wal(&mut self, tree: &mut Tree, major: u32) -> Result<(), TakeError> {
        let wal = tree.root().join("pg_wal");
        match &self.options.wal_directory {
            Some(directory) => {
                let linked = std::os::unix::fs::symlink(directory, &wal);
                linked.map_err(FileError::on("create symbolic link", &wal))?;
                tree.add_directory(&wal);
            }
            None => self.make_directory(tree, &wal)?,
        }
        if self.options.wal == WalMethod::Stream {
            self.make_directory(tree, &wal.join("archive_status"))?;
            if major >= 17 {
                self.make_directory(tree, &wal.join("summaries"))?;
            }
        }
        Ok(())
    }

    fn make_directory(&self, tree: &mut Tree, path: &Path) -> Result<(), TakeError> {
        use std::os::unix::fs::DirBuilderExt;
        // Recursive only in that it does not mind what is there.
        let made = std::fs::DirBuilder::new().recursive(true).mode(self.modes.directory).create(path);
        made.map_err(FileError::on("create directory", path))?;
        tree.add_directory(path);
        Ok(())
    }

    async fn start_wal(&mut self, start: Position, system_id: SystemId) -> Result<(), TakeError> {
        if self.options.wal != WalMethod::Stream {
            return Ok(());
        }
        tracing::info!("starting background WAL receiver");
        let durable = !self.options.no_sync;
        let sink: Box<dyn WalSink> = if self.is_tree() {
            let options = DirectoryOptions { sync: durable, mark_done: true };
            let disk = if self.modes.group { OsDisk::with_group_access() } else { OsDisk::new() };
            Box::new(DirectorySink::new(Arc::new(disk), self.root().join("pg_wal"), options))
        } else {
            let compression = self.options.client_compression();
            let archive = WalArchive::create(self.root(), compression, self.modes.file, durable);
            Box::new(archive.map_err(|error| TakeError::Wal(error.to_string()))?)
        };
        let slot = match &self.options.slot {
            Slot::None => StreamSlot::None,
            Slot::Temporary => StreamSlot::Temporary { prefix: "pg_basebackup".to_owned() },
            Slot::Named { name, create: true } => StreamSlot::Create(name.clone()),
            Slot::Named { name, create: false } => StreamSlot::Existing(name.clone()),
        };
        let request = StreamRequest {
            start: start.lsn,
            timeline: start.timeline,
            system_id: Some(system_id),
            slot,
            status_interval: Duration::from_secs(self.options.status_interval.into()),
        };
        let stream = BackgroundStream::start(self.conninfo, request, sink).await;
        self.wal = Some(stream.map_err(|error| TakeError::Wal(error.to_string()))?);
        Ok(())
    }

    /// Hands the copy over to the receiver's thread, message by message in batches.
    async fn pass_on(
        &mut self,
        stream: &mut BackupStream,
        sender: mpsc::Sender<Delivery>,
    ) -> Result<(), TakeError> {
        const READ: &str = "could not read COPY data";
        let mut batch = Vec::new();
        loop {
            let event = match stream.try_next().map_err(TakeError::server(READ))? {
                Some(event) => event,
                None => {
                    send(&sender, Delivery::Batch(std::mem::take(&mut batch))).await?;
                    stream.next().await.map_err(TakeError::server(READ))?
                }
            };
            match event {
                BackupEvent::Data(body) => {
                    let message =
                        BackupMessage::decode(body).map_err(|error| TakeError::Answer(error.to_string()))?;
                    match &message {
                        BackupMessage::NewArchive { name, .. } => self.progress.begin(name),
                        BackupMessage::Progress(done) => self.progress.advance(*done),
                        BackupMessage::Data(_) | BackupMessage::Manifest => {}
                    }
                    batch.push(message);
                    if batch.len() >= BATCH {
                        send(&sender, Delivery::Batch(std::mem::take(&mut batch))).await?;
                    }
                }
                BackupEvent::CopyBegin => {}
                BackupEvent::CopyEnd => {
                    send(&sender, Delivery::Batch(batch)).await?;
                    send(&sender, Delivery::End).await?;
                    self.progress.finish();
                    return Ok(());
                }
                BackupEvent::Notice(notice) => tracing::warn!("{notice}"),
                BackupEvent::Rows(_) | BackupEvent::Finished => {
                    return Err(TakeError::Answer("server ended the backup before its data".to_owned()));
                }
            }
        }
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

    async fn finish_wal(&mut self, end: Position) -> Result<(), TakeError> {
        let Some(wal) = self.wal.take() else { return Ok(()) };
        tracing::info!("waiting for background process to finish streaming ...");
        wal.stop_at(end.lsn);
        wal.join().await.map_err(|error| TakeError::Wal(error.to_string()))?;
        Ok(())
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

impl Modes {
    const PRIVATE: Self = Self { directory: 0o700, file: 0o600, group: false };
    const GROUP: Self = Self { directory: 0o750, file: 0o640, group: true };

    /// A server whose group may read its data directory gives its backups the same permissions.
    async fn of_server(client: &mut Client) -> Result<Self, TakeError> {
        let mode = client.show("data_directory_mode").await;
        let mode = mode.map_err(TakeError::server("could not read data directory mode"))?;
        let group = u32::from_str_radix(&mode, 8).is_ok_and(|mode| mode & 0o050 == 0o050);
        Ok(if group { Self::GROUP } else { Self::PRIVATE })
    }
}

impl Position {
    /// The one row of the first and of the last result: LSN and timeline.
    fn read(result: &ResultSet) -> Result<Self, TakeError> {
        let lsn = result.text(0, 0).and_then(|lsn| lsn.parse().ok());
        let timeline = result.text(0, 1).and_then(|timeline| timeline.parse().ok());
        match (lsn, timeline) {
            (Some(lsn), Some(timeline)) => Ok(Self { lsn, timeline: TimelineId::new(timeline) }),
            _ => Err(TakeError::Answer("server did not tell where the backup's WAL is".to_owned())),
        }
    }
}

/// The next event, which has to be a row set.
async fn rows(stream: &mut BackupStream, doing: &'static str) -> Result<ResultSet, TakeError> {
    loop {
        match stream.next().await.map_err(TakeError::server(doing))? {
            BackupEvent::Rows(rows) => return Ok(rows),
            BackupEvent::Notice(notice) => tracing::warn!("{notice}"),
            _ => return Err(TakeError::Answer(format!("{doing}: server sent something else"))),
        }
    }
}

/// The end of the command.
async fn finished(stream: &mut BackupStream) -> Result<(), TakeError> {
    loop {
        match stream.next().await.map_err(TakeError::server("backup failed"))? {
            BackupEvent::Finished => return Ok(()),
            BackupEvent::Notice(notice) => tracing::warn!("{notice}"),
            _ => return Err(TakeError::Answer("server sent more than a backup".to_owned())),
        }
    }
}

/// Fails if the receiver's thread has ended, which then knows why.
async fn send(sender: &mpsc::Sender<Delivery>, delivery: Delivery) -> Result<(), TakeError> {
    if matches!(&delivery, Delivery::Batch(batch) if batch.is_empty()) {
        return Ok(());
    }
    sender.send(delivery).await.map_err(|_| TakeError::Abandoned)
}
