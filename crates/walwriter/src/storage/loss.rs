//! What an operator is told when the log has lost its end.

use engine::EngineError;
use replication::waldir::WalDir;
use wal::Lsn;

/// Why a standby takes no `--accept-loss`.
pub(super) const ON_A_STANDBY: &str = "--accept-loss is for a leader: a standby gets what it lacks from its leader or an archive; \
     to make a leader of one that cannot, remove standby.signal first";

/// Adds to the engine's error what can be done about it. `accepted` is where somebody wanted the log to end.
pub(super) fn advise(error: EngineError, dir: &WalDir, accepted: Option<Lsn>) -> anyhow::Error {
    let text = error.chain();
    let put_back = |from: Lsn| format!("Put the WAL from {from} on back into \"{}\"", dir.path().display());
    match error {
        EngineError::WalLost { end, .. } => anyhow::anyhow!(
            "{text}. {} if a standby or an archive has it, or promote that standby instead; to give up everything beyond {end} \
             for good, start with --accept-loss {end}",
            put_back(end)
        ),
        EngineError::PageBeyondLog { end, lsn, .. }
        | EngineError::NotConsistent { end, pages: lsn, .. }
        | EngineError::CheckpointLost { end, checkpoint: lsn, .. } => {
            let accepted = accepted.map_or_else(String::new, |accepted| {
                format!(
                    " The loss of what is beyond {accepted} cannot be accepted: what was changed up to {lsn} is in the tables \
                     already, in part, and only WAL can make that whole."
                )
            });
            anyhow::anyhow!(
                "{text}.{accepted} {} if a standby or an archive has it, promote such a standby, or restore a base backup",
                put_back(end)
            )
        }
        other => other.into(),
    }
}
