//! The streaming-replication protocol.
