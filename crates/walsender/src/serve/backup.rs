//! BASE_BACKUP: the backup itself is made in [`basebackup::serve`]; here it gets its checkpoint, its hold on the WAL, and a
//! socket.
//!
//! While a backup is taken a slot of its own holds back the WAL it needs: a slot in the directory, which whoever writes
//! there respects, whichever process that is.

use std::fmt;
use std::path::{Path, PathBuf};
use std::process;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use basebackup::serve::{BackupRequest, BackupSource, BackupStream, StartPoint, StopPoint, Throttle};
use disk::OsDisk;
use replication::command::ReplicationOption;
use replication::error::{ServerError, SqlState};
use replication::message::{BackendMessage, CopyFormat};
use replication::server::Connection;
use replication::waldir::{
    ControlFile, SegmentReader, Slot, SlotInfo, SlotName, Slots, WalClaim, WalDir, WalDirError, owner_of,
};
use tokio::io::AsyncWriteExt as _;
use tokio::sync::watch;
use tracing::{info, warn};
use wal::{Expectations, Lsn, SegmentNo, SegmentSize, Stop, SystemId, Validator, Walk};

use super::connection::Peer;
use super::session::{CommandFailure, CommandResult};
use super::socket::Socket;
use super::{Origin, Phase, Shared, answers};
use crate::source::Serving;

/// What the slots of backups are called, followed by the process and a number.
const SLOT_PREFIX: &str = "walsender_backup_";

/// Makes a checkpoint, at once if told so, and waits for it; the error is for the client.
pub type CheckpointHook = dyn Fn(bool) -> Result<(), String> + Send + Sync;

/// What base backups are taken of.
#[derive(Clone)]
pub struct BackupOptions {
    /// The data directory, whose `pg_wal` is served.
    pub data_directory: PathBuf,
    /// How to have a checkpoint made; without it a backup starts at the latest there is.
    pub checkpoint: Option<Arc<CheckpointHook>>,
}

impl fmt::Debug for BackupOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BackupOptions").field("data_directory", &self.data_directory).finish_non_exhaustive()
    }
}

impl BackupOptions {
    /// The data directory around `wal`, if it is one of walwriter's. PostgreSQL's own servers are asked for their backups
    /// themselves: they can change their files in ways that only they know of.
    pub fn around(wal: &Path) -> Option<Self> {
        let data_directory = wal.parent()?.to_owned();
        let owner = owner_of(&OsDisk::new(), &data_directory)
            .inspect_err(|error| {
                warn!("no base backups are taken of \"{}\": {error}", data_directory.display())
            })
            .ok()?;
        owner.is_walwriters().then_some(Self { data_directory, checkpoint: None })
    }
}

/// Removes the slots that backups, and clients that wanted temporary ones, of processes now gone have left behind.
pub(super) fn remove_stale_holds(slots: &Slots) {
    if let Err(error) = slots.list_temporary() {
        warn!(%error, "could not look for temporary slots that were left");
    }
    let names = match slots.list() {
        Ok(names) => names,
        Err(error) => return warn!(%error, "could not look for slots that backups have left"),
    };
    for name in names.iter().filter(|name| name.as_str().starts_with(SLOT_PREFIX)) {
        // One in use belongs to a process that lives.
        if !slots.is_active(name).unwrap_or(true)
            && let Err(error) = slots.drop(name)
        {
            warn!(slot = name.as_str(), %error, "could not remove the slot of a backup that is over");
        }
    }
}

/// Takes a backup and sends it.
pub(super) async fn run(
    shared: &Shared,
    connection: &mut Connection<Socket>,
    peer: &Peer,
    options: &[ReplicationOption],
    serving: &Serving,
) -> CommandResult {
    let request = BackupRequest::interpret(options).map_err(ServerError::from)?;
    let Some(backups) = &shared.backups else {
        let message = "walsender does not take base backups here: it serves WAL only";
        return Err(ServerError::error(SqlState::FEATURE_NOT_SUPPORTED, message)
            .hint("Take the backup from the server that the WAL comes from, or from one of its standbys.")
            .into());
    };
    let source = DirectorySource {
        options: backups.clone(),
        dir: shared.source.dir().clone(),
        serving: shared.source.serving(),
        origin: shared.origin.clone(),
        system_id: serving.system_id,
        segment_size: serving.segment_size,
        hold: None,
    };
    let mut throttle = request.max_rate.map(|rate| Throttle::new(rate, Instant::now()));
    let begun = Instant::now();
    // This may block for long, and does so in this connection's own thread.
    let mut backup = BackupStream::begin(source, request)?;
    let start = *backup.start();
    info!(peer = %peer.address, redo = %start.redo, timeline = %start.timeline, "base backup begins");
    for message in answers::backup_position(start.redo, start.timeline)
        .iter()
        .chain(&answers::backup_archives(backup.kilobytes()))
    {
        connection.queue(message);
    }
    connection.queue(&BackendMessage::CopyOutResponse(CopyFormat::default()));
    connection.flush().await?;
    let mut sent = 0_u64;
    let mut phase = shared.phase.clone();
    loop {
        let (transport, _, output) = connection.parts();
        let more = backup.next(output)?;
        let count = output.len();
        sent += count as u64;
        tokio::select! {
            biased;
            written = transport.write_all_buf(output) => written?,
            // In the middle of a message nothing can be said any more.
            _ = phase.wait_for(|phase| *phase > Phase::Serving) => {
                warn!(peer = %peer.address, "base backup ends: the server is shutting down");
                return Err(CommandFailure::Closed);
            }
        }
        if !more {
            break;
        }
        let delay = throttle.as_mut().map(|throttle| throttle.delay(count, Instant::now()));
        let paused = async {
            if let Some(delay) = delay {
                tokio::time::sleep(delay).await
            }
        };
        tokio::select! {
            biased;
            _ = phase.wait_for(|phase| *phase > Phase::Serving) => {
                let message = "terminating connection due to administrator command";
                return Err(ServerError::fatal(SqlState::ADMIN_SHUTDOWN, message).into());
            }
            () = paused => {}
        }
    }
    let stop = backup.finish()?;
    connection.queue(&BackendMessage::CopyDone);
    for message in answers::backup_position(stop.end, stop.timeline) {
        connection.queue(&message);
    }
    connection.queue(&answers::complete("BASE_BACKUP"));
    info!(peer = %peer.address, redo = %start.redo, end = %stop.end, bytes = sent,
        seconds = begun.elapsed().as_secs_f64(), "base backup complete");
    Ok(())
}

/// The directory that is served, as the source of a backup.
struct DirectorySource {
    options: BackupOptions,
    dir: WalDir,
    serving: watch::Receiver<Option<Serving>>,
    origin: Origin,
    system_id: SystemId,
    segment_size: SegmentSize,
    hold: Option<Hold>,
}

impl DirectorySource {
    fn control_file(&self) -> Result<ControlFile, Box<ServerError>> {
        let failed = |reason: String| Box::new(ServerError::error(SqlState::INTERNAL_ERROR, reason));
        let path = self.options.data_directory.join("global/pg_control");
        let found = ControlFile::read(&OsDisk::new(), &path)
            .map_err(|error| failed(format!("could not read file \"{}\": {error}", path.display())))?;
        let found = found.ok_or_else(|| failed(format!("file \"{}\" does not exist", path.display())))?;
        found.map_err(|error| failed(format!("file \"{}\": {error}", path.display())))
    }
}

impl BackupSource for DirectorySource {
    fn data_directory(&self) -> &Path {
        &self.options.data_directory
    }

    fn segment_size(&self) -> SegmentSize {
        self.segment_size
    }

    fn start(&mut self, fast: bool) -> Result<StartPoint, Box<ServerError>> {
        // Held from the present checkpoint on, and moved to the one that is then made: never without a hold.
        let mut hold = Hold::take(&self.dir, self.segment_size, || self.control_file())?;
        if let Some(checkpoint) = &self.options.checkpoint {
            checkpoint(fast)
                .map_err(|reason| Box::new(ServerError::error(SqlState::INTERNAL_ERROR, reason)))?;
        }
        let control = self.control_file()?;
        hold.advance(&control)?;
        self.hold = Some(hold);
        Ok(StartPoint { redo: control.redo, checkpoint: control.checkpoint, timeline: control.timeline })
    }

    fn stop(&mut self) -> Result<StopPoint, Box<ServerError>> {
        let serving = self.serving.borrow().clone();
        let Some(now) = serving.filter(|now| now.system_id == self.system_id) else {
            let message = "the server went away during the base backup";
            return Err(ServerError::error(SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE, message).into());
        };
        // Whoever writes the log makes it durable record by record.
        if !self.origin.is_received() {
            return Ok(StopPoint { end: now.flush, timeline: now.timeline() });
        }
        let end = last_record_end(&self.dir, &now).map_err(|error| {
            Box::new(ServerError::error(SqlState::INTERNAL_ERROR, format!("could not read WAL: {error}")))
        })?;
        Ok(StopPoint { end, timeline: now.timeline() })
    }
}

/// The end of the last record that is durable as a whole. What is received may end within a record, of which nothing has been
/// replayed; a server that had to recover to there from the backup alone never could.
fn last_record_end(dir: &WalDir, now: &Serving) -> Result<Lsn, WalDirError> {
    let Serving { segment_size: size, history, flush, .. } = now;
    let mut reader = SegmentReader::new(dir.clone(), *size, history.clone());
    let mut read = |at: Lsn, buffer: &mut [u8]| reader.read_at(history.timeline_at(at), at, buffer);
    let mut segment = size.segment_ending_at(*flush);
    loop {
        let expect = Expectations::new(*size, history.clone());
        let mut walk = Walk::new(Validator::new(size.start_of(segment), expect));
        match walk.advance(&mut read, *flush) {
            Ok(()) | Err(Stop::Ended) => {}
            Err(Stop::Unreadable(error)) => return Err(error),
            // Damage is found, and named, by whoever takes the backup.
            Err(Stop::Invalid(_)) => return Ok(*flush),
        }
        // A record may be longer than segments are.
        match (walk.validator().last_record(), segment.as_u64().checked_sub(1)) {
            (None, Some(before)) => segment = SegmentNo::new(before),
            _ => return Ok(walk.validator().record_end()),
        }
    }
}

/// The slot that holds back the WAL of one backup.
struct Hold {
    slots: Slots,
    name: SlotName,
    slot: Option<Slot>,
}

impl Hold {
    /// Holds the WAL from the redo position that `control` tells on. It is asked once nobody can remove any.
    fn take(
        dir: &WalDir,
        size: SegmentSize,
        control: impl FnOnce() -> Result<ControlFile, Box<ServerError>>,
    ) -> Result<Self, Box<ServerError>> {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let failed = |reason: String| Box::new(ServerError::error(SqlState::INTERNAL_ERROR, reason));
        let name = SlotName::new(&format!("{SLOT_PREFIX}{}_{number}", process::id()))
            .ok_or_else(|| failed("the name of a backup's slot is not one".to_owned()))?;
        let slots = Slots::new(dir.clone());
        let claim = WalClaim::acquire(dir).map_err(|error| failed(error.to_string()))?;
        let ControlFile { redo, timeline, .. } = control()?;
        let from = SlotInfo::at(redo, timeline);
        let slot = slots.check_there(from, size).and_then(|()| slots.create(&name, from));
        let slot = slot.map_err(|error| failed(error.to_string()))?;
        drop(claim);
        Ok(Self { slots, name, slot: Some(slot) })
    }

    fn advance(&mut self, control: &ControlFile) -> Result<(), Box<ServerError>> {
        let failed = |reason: String| Box::new(ServerError::error(SqlState::INTERNAL_ERROR, reason));
        let Some(slot) = &mut self.slot else { return Ok(()) };
        slot.advance(control.redo, control.timeline, Instant::now())
            .and_then(|()| slot.flush())
            .map_err(|error| failed(error.to_string()))
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        drop(self.slot.take());
        if let Err(error) = self.slots.drop(&self.name) {
            warn!(slot = self.name.as_str(), %error, "could not remove the slot of a backup that is over");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::BackupOptions;

    #[test]
    fn backups_are_taken_of_walwriters_directories_and_not_of_postgresqls() {
        let root = tempfile::tempdir().unwrap();
        let wal = root.path().join("pg_wal");
        assert!(BackupOptions::around(&wal).is_none(), "an archive has no data around it");
        let data = root.path().join("data");
        let disk: std::sync::Arc<dyn disk::Disk> = std::sync::Arc::new(disk::OsDisk::new());
        engine::layout::create(&disk, &data, &engine::InitOptions::default()).unwrap();
        let wal = data.join("pg_wal");
        assert!(BackupOptions::around(&wal).is_some());
        std::fs::remove_file(data.join("global/pg_control")).unwrap();
        assert!(BackupOptions::around(&wal).is_none());
    }
}
