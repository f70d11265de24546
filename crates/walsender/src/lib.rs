//! Serves a WAL directory.
