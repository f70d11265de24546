//! Serves a WAL directory over PostgreSQL's streaming-replication protocol.
//!
//! The directory can be a receiver's, being filled at this moment, a finished archive, or a PostgreSQL server's
//! `pg_wal`. [`source`] knows how far it may be served; [`serve`] does that, to any number of standbys, receivers
//! and archivers. [`settings`] are those of `-c name=value`.

pub mod serve;
pub mod settings;
pub mod source;
