//! What an operator is told when the log has lost its end.

use engine::EngineError;
use replication::waldir::WalDir;

/// Why a standby takes no `--accept-loss`.
pub(super) const ON_A_STANDBY: &str = "--accept-loss is for a leader: a standby gets what it lacks from its leader or an archive; \
     to make a leader of one that cannot, remove standby.signal first";

/// Adds to the engine's error what can be done about it.
pub(super) fn advise(error: EngineError, dir: &WalDir) -> anyhow::Error {
    let text = error.chain();
    match error {
        EngineError::WalLost { end, .. } => anyhow::anyhow!(
            "{text}. Put the WAL from {end} on back into \"{}\" if a standby or an archive has it, or promote that standby \
             instead; to give up everything beyond {end} for good, start with --accept-loss {end}",
            dir.path().display()
        ),
        EngineError::PageBeyondLog { .. } => anyhow::anyhow!(
            "{text}. Put the missing WAL back into \"{}\", promote a standby, or restore a base backup",
            dir.path().display()
        ),
        other => other.into(),
    }
}
