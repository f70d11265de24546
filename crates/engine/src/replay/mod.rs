//! Replay of whole runs: after a crash and on a standby.
