//! The thread that watches the directory.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use std::{io, thread};

use replication::waldir::{EndOfWal, Published, SegmentReader, Status, StatusReader, WalDir, WalDirError};
use tokio::sync::watch;
use wal::page::{LONG_HEADER, PageHeader};
use wal::{Lsn, SegmentSize, SystemId, TimelineHistory, TimelineId, WalVersion};

use super::attention::{Attending, Attention};
use super::quiet::QuietDirectory;
use super::{Serving, Writer, running_server};

/// How long a change that nobody announces may go unnoticed.
const LOOK_INTERVAL: Duration = Duration::from_millis(200);

/// A directory being watched.
#[derive(Debug, Clone)]
pub struct Source {
    dir: WalDir,
    serving: watch::Receiver<Option<Serving>>,
    published: Arc<watch::Sender<Option<Serving>>>,
    attention: Arc<Attention>,
    /// Whoever writes the directory says so itself, by [`Source::tell`]. Never becomes false again.
    told: Arc<AtomicBool>,
}

/// A directory that cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// Not there, or not a directory.
    #[error("could not open directory \"{}\"", path.display())]
    Directory {
        /// The directory.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// What is in it cannot be read or made durable.
    #[error(transparent)]
    WalDir(#[from] WalDirError),
    /// The status file cannot be read, or no thread be started.
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl Source {
    /// Looks at the directory once, and then watches it for as long as anybody holds a copy of this.
    ///
    /// # Errors
    /// A directory that cannot be read; a directory without WAL is none.
    pub fn watch(path: PathBuf) -> Result<Self, SourceError> {
        let failed = |source| SourceError::Directory { path: path.clone(), source };
        std::fs::read_dir(&path).map_err(failed)?;
        let dir = WalDir::on_os(path);
        let mut watcher = Watcher::new(dir.clone());
        let (sender, serving) = watch::channel(watcher.look()?);
        let published = Arc::new(sender);
        let (attention, told) = (Arc::clone(&watcher.attention), Arc::clone(&watcher.told));
        let sender = Arc::clone(&published);
        thread::Builder::new().name("wal-source".to_owned()).spawn(move || watcher.run(&sender))?;
        Ok(Self { dir, serving, published, attention, told })
    }

    /// For the one who writes the directory, if that is this process: the newest timeline is `timeline`, and durable up to
    /// `flush`, as its status file says by now. Without this the watching thread would find out a little later.
    pub fn tell(&self, timeline: TimelineId, flush: Lsn) {
        if !self.attention.is_attended() {
            return;
        }
        let mut known = false;
        self.published.send_if_modified(|serving| {
            let Some(serving) = serving.as_mut().filter(|serving| serving.timeline() == timeline) else {
                return false;
            };
            known = true;
            let news = serving.flush < flush;
            serving.flush = serving.flush.max(flush);
            news
        });
        if known {
            self.told.store(true, Ordering::Relaxed);
        } else {
            self.attention.ask();
        }
    }

    /// The directory.
    pub const fn dir(&self) -> &WalDir {
        &self.dir
    }

    /// Has [`Source::serving`] follow every change as long as what this gives is kept. It is up to date already when
    /// this returns; without anybody's attention it may be a fifth of a second behind.
    pub async fn attend(&self) -> Attending {
        self.attention.attend().await
    }

    /// What can be served, now and from now on; `None` as long as the directory holds no WAL.
    pub fn serving(&self) -> watch::Receiver<Option<Serving>> {
        self.serving.clone()
    }
}

/// The thread's own state.
#[derive(Debug)]
struct Watcher {
    dir: WalDir,
    status: Option<StatusReader>,
    quiet: QuietDirectory,
    last: Option<Serving>,
    /// The living receiver whose positions were seen last, by process and start.
    receiver: Option<(u32, Option<u64>)>,
    attention: Arc<Attention>,
    /// See [`Source`].
    told: Arc<AtomicBool>,
    /// Of which timeline it was said that nothing but its history is here.
    only_history_of: Option<TimelineId>,
}

impl Watcher {
    fn new(dir: WalDir) -> Self {
        let (quiet, attention, told) = (QuietDirectory::default(), Attention::new(), Arc::default());
        Self { dir, status: None, quiet, last: None, receiver: None, attention, told, only_history_of: None }
    }

    fn run(mut self, sender: &watch::Sender<Option<Serving>>) {
        while !sender.is_closed() {
            runtime::fault::panic_if_wanted("panic in the source's thread");
            let requests = self.attention.requests();
            let seen = self.status.as_ref().map(StatusReader::changes);
            match self.look() {
                Ok(now) => {
                    sender.send_if_modified(|last| {
                        let now = with_what_was_told(now, last.as_ref());
                        let changed = *last != now;
                        *last = now;
                        changed
                    });
                }
                Err(error) => {
                    // What was published stays true: it is durable. But nothing is added to it.
                    tracing::error!(directory = %self.dir.path().display(), %error, "could not look at the directory");
                    thread::sleep(LOOK_INTERVAL);
                }
            }
            self.attention.answer(requests);
            match (&self.status, seen) {
                (Some(status), Some(seen)) if self.has_to_listen() => status.wait(seen, LOOK_INTERVAL),
                // The status file has just been found: look at once.
                (Some(_), None) => {}
                _ => self.attention.await_arrival(LOOK_INTERVAL),
            }
        }
    }

    /// Whether somebody wants to know of every change, and nobody says so without being asked.
    fn has_to_listen(&self) -> bool {
        self.attention.is_attended() && !self.told.load(Ordering::Relaxed)
    }

    /// What can be served now.
    fn look(&mut self) -> Result<Option<Serving>, SourceError> {
        let published = self.published()?;
        let now = match published.live() {
            Some(status) => self.by_receiver(*status)?,
            None if running_server::is_running(self.dir.path())? => self.by_running_server()?,
            None => self.by_files()?,
        };
        let now = now.map(|now| self.never_backwards(now));
        if let Some(now) = now
            && self.last.as_ref() != Some(&now)
        {
            self.announce(&now);
            self.last = Some(now);
        }
        Ok(self.last.clone())
    }

    fn published(&mut self) -> io::Result<Published> {
        let published = self.status.as_ref().map_or(Published::Absent, StatusReader::read);
        if published.live().is_some() {
            return Ok(published);
        }
        // The directory may have got a status file, or another one, since.
        self.status = StatusReader::open(&self.dir)?;
        Ok(self.status.as_ref().map_or(Published::Absent, StatusReader::read))
    }

    /// What a living receiver says counts while it receives. One that has lost its leader, or has not reached it yet,
    /// may know less than what it left behind before it was started again: then the files speak for themselves.
    fn by_receiver(&mut self, status: Status) -> Result<Option<Serving>, SourceError> {
        let who = (status.writer_pid, status.started_at.map(|at| at.as_u64()));
        let is_new = self.receiver.replace(who) != Some(who);
        // A server knows its own log, whether or not it has a leader to be connected to.
        let believed = status.flush.is_valid() && (status.connected || self.is_servers()?);
        let Some(size) = status.segment_size.filter(|_| believed) else {
            let generation = self.generation() + u64::from(is_new);
            let now = self.by_files()?;
            return Ok(now.map(|now| Serving {
                writer: Writer::Receiver,
                generation: now.generation.max(generation),
                ..now
            }));
        };
        let history = match &self.last {
            Some(last) if last.timeline() == status.timeline => last.history.clone(),
            _ => self.dir.history(status.timeline)?,
        };
        let facts = match &self.last {
            Some(last) => Some((last.version, last.system_id)),
            None => self.facts_at(&history, size, status.flush)?,
        };
        let Some((version, system_id)) = facts else { return Ok(None) };
        let system_id = status.system_id.unwrap_or(system_id);
        let generation = self.generation() + u64::from(is_new);
        Ok(Some(Serving {
            system_id,
            version,
            segment_size: size,
            history,
            flush: status.flush,
            writer: Writer::Receiver,
            recycles: self.is_servers()?,
            generation,
        }))
    }

    /// Whether a server's data directory is around this one; what was found once is believed.
    fn is_servers(&self) -> Result<bool, WalDirError> {
        self.last.as_ref().map_or_else(|| self.dir.is_servers(), |last| Ok(last.recycles))
    }

    /// Version and system, from the first page of the segment that ends at `flush` or goes on there.
    fn facts_at(
        &self,
        history: &TimelineHistory,
        size: SegmentSize,
        flush: Lsn,
    ) -> Result<Option<(WalVersion, SystemId)>, WalDirError> {
        let start = size.start_of(size.segment_ending_at(flush));
        let mut head = [0; LONG_HEADER];
        let mut reader = SegmentReader::new(self.dir.clone(), size, history.clone());
        match reader.read_exact_at(history.timeline(), start, &mut head) {
            Ok(()) => {}
            Err(WalDirError::MissingSegment { .. } | WalDirError::ShortSegment { .. }) => return Ok(None),
            Err(error) => return Err(error),
        }
        let header = PageHeader::decode(&head).ok();
        Ok(header.and_then(|header| Some((header.version, header.long?.system_id))))
    }

    fn by_running_server(&mut self) -> Result<Option<Serving>, SourceError> {
        let Some(control) = self.dir.control_file()? else { return self.by_files() };
        let durable = running_server::look(&self.dir, &control)?;
        let size = control.segment_size;
        let version = match &self.last {
            Some(last) => Some(last.version),
            None => self.facts_at(&durable.history, size, durable.flush)?.map(|(version, _)| version),
        };
        Ok(version.map(|version| Serving {
            system_id: control.system_id,
            version,
            segment_size: size,
            history: durable.history,
            flush: durable.flush,
            writer: Writer::Server,
            recycles: true,
            generation: self.generation(),
        }))
    }

    fn by_files(&mut self) -> Result<Option<Serving>, SourceError> {
        if self.last.is_some() && !self.quiet.has_changed(&self.dir)? {
            let last = self.last.clone();
            return Ok(last.map(|last| Serving { writer: Writer::Unknown, ..last }));
        }
        let hint = self.last.as_ref().map(|last| last.flush);
        let Some(end) = self.quiet.end(&self.dir, hint)? else { return Ok(None) };
        let (Some(version), Some(system_id)) = (end.version, end.system_id) else { return Ok(None) };
        self.say_if_only_history(&end);
        let history = if end.timeline == end.history.timeline() {
            end.history
        } else {
            self.dir.history(end.timeline)?
        };
        Ok(Some(Serving {
            system_id,
            version,
            segment_size: end.segment_size,
            history,
            flush: end.lsn,
            writer: Writer::Unknown,
            recycles: self.dir.control_file()?.is_some(),
            generation: self.generation() + 1,
        }))
    }

    /// Says, once, that WAL ends where a timeline begins of which there is no WAL. People may have expected more.
    fn say_if_only_history(&mut self, end: &EndOfWal) {
        let newest = Some(end.history.timeline()).filter(|_| end.only_history);
        if self.only_history_of == newest {
            return;
        }
        self.only_history_of = newest;
        if let (Some(newest), Some(parent)) = (newest, end.history.entries().last()) {
            tracing::warn!(
                "of timeline {newest} nothing is here but its history, which leaves timeline {} at {}: WAL is served up to there, as \
                 far as a server restores it, and what is here of timeline {} past that is not; if timeline {newest} came to \
                 nothing, take \"{}\" away",
                parent.timeline,
                parent.switch_point,
                parent.timeline,
                self.dir.path().join(newest.history_file_name()).display()
            );
        }
    }

    fn generation(&self) -> u64 {
        self.last.as_ref().map_or(0, |last| last.generation)
    }

    /// Keeps what was published: a receiver that starts again says less at first than what is durable already.
    fn never_backwards(&self, mut now: Serving) -> Serving {
        if let Some(last) = &self.last {
            if now.system_id != last.system_id || now.segment_size != last.segment_size {
                tracing::error!(was = %last.system_id, is = %now.system_id,
                    "the directory now holds the WAL of another system; restart to serve that");
                return last.clone();
            }
            if now.timeline() < last.timeline() {
                return Serving { writer: now.writer, generation: now.generation, ..last.clone() };
            }
            if now.timeline() == last.timeline() {
                now.flush = now.flush.max(last.flush);
            }
            assert!(
                last.timeline() <= now.timeline(),
                "the newest timeline is served, never an older one again"
            );
            assert_eq!(
                now.segment_size, last.segment_size,
                "a directory's segments stay as long as they are"
            );
        }
        now
    }

    fn announce(&self, now: &Serving) {
        let (timeline, end) = (now.timeline(), now.flush);
        match &self.last {
            Some(last) if last.writer == now.writer && last.timeline() == timeline => {}
            _ => tracing::info!(%timeline, %end, system = %now.system_id, writer = ?now.writer,
                version = now.version.major(), "serving WAL"),
        }
    }
}

/// What was found, with what [`Source::tell`] has added to it since.
fn with_what_was_told(found: Option<Serving>, published: Option<&Serving>) -> Option<Serving> {
    let mut found = found?;
    if let Some(published) = published
        && published.system_id == found.system_id
        && published.timeline() == found.timeline()
    {
        found.flush = found.flush.max(published.flush);
    }
    Some(found)
}
