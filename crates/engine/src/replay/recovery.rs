//! Crash recovery: replay of everything from a checkpoint's redo position to the end of the log.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tracing::{info, warn};
use wal::Lsn;
use wal::payload::CheckPoint;

use super::{LogReader, LogSource, Progress, Replayer};
use crate::EngineError;
use crate::buffer::BufferPool;
use crate::engine::Numbers;

/// How often to say how far recovery is.
const REPORT_INTERVAL: Duration = Duration::from_secs(10);

/// What crash recovery has found.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Recovered {
    /// The numbers to go on with.
    pub(crate) numbers: Numbers,
    /// The end of the last valid record, of a whole run or not.
    pub(crate) end: Lsn,
    /// The start of that record.
    pub(crate) prev: Lsn,
    /// The redo position of the last base backup that was ended on the way.
    pub(crate) backup_end: Option<Lsn>,
}

/// Applies all whole runs from the checkpoint's redo position on. The record at
/// `checkpoint_start` must be reached.
pub(crate) fn recover(
    pool: &Arc<BufferPool>,
    source: LogSource,
    checkpoint: &CheckPoint,
    checkpoint_start: Lsn,
) -> Result<Recovered, EngineError> {
    let started = Instant::now();
    let mut reported = started;
    let mut announced = false;
    let redo = checkpoint.redo;
    let mut replayer = Replayer::new(Arc::clone(pool), source.clone(), checkpoint);
    let mut reader = LogReader::new(source, redo);
    let reason = loop {
        let progress = reader.read(Lsn::MAX, |record| {
            // A directory that was shut down in order has nothing to redo.
            if !announced && record.start != checkpoint_start {
                info!("redo starts at {redo}");
                announced = true;
            }
            replayer.apply(record)
        })?;
        remove_dropped(pool, &mut replayer)?;
        if reported.elapsed() > REPORT_INTERVAL {
            reported = Instant::now();
            info!(
                "redo in progress, elapsed time: {:.2} s, current LSN: {}",
                elapsed(started),
                reader.position()
            );
        }
        if let Progress::End(reason) = progress {
            break reason;
        }
    };
    let Some(prev) = reader.prev().filter(|&prev| prev >= checkpoint_start) else {
        let reason = reason.map_or_else(|| "there is no more".to_owned(), |error| error.to_string());
        return Err(EngineError::CheckpointLost {
            checkpoint: checkpoint_start,
            end: reader.position(),
            reason,
        });
    };
    let backup_end = finish(pool, &mut replayer)?;
    if announced {
        let (end, runs) = (reader.position(), replayer.runs());
        info!(
            "redo done at {prev}, {runs} transactions, elapsed: {:.2} s; the log ends at {end}{}",
            elapsed(started),
            reason.map_or_else(String::new, |reason| format!(": {reason}"))
        );
    }
    Ok(Recovered { numbers: replayer.numbers(), end: reader.position(), prev, backup_end })
}

fn elapsed(since: Instant) -> f64 {
    since.elapsed().as_secs_f64()
}

fn finish(pool: &Arc<BufferPool>, replayer: &mut Replayer) -> Result<Option<Lsn>, EngineError> {
    remove_dropped(pool, replayer)?;
    let met = replayer.publish()?;
    match replayer.missing_page() {
        Some(error) => Err(error),
        None => Ok(met.backup_ends.last().copied()),
    }
}

/// Removes what the log has dropped so far: during crash recovery nobody reads.
fn remove_dropped(pool: &BufferPool, replayer: &mut Replayer) -> Result<(), EngineError> {
    for (_, tree) in replayer.take_dropped()? {
        pool.forget_tree(tree);
        if let Err(error) = pool.files().remove(tree) {
            warn!("could not remove the files of dropped tree {tree}: {error}");
        }
    }
    Ok(())
}
