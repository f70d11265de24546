//! Takes and verifies base backups of PostgreSQL servers.
//!
//! [`take`] is the client: it asks a server of PostgreSQL 15 to 18 for a base backup, unpacks or stores the archives
//! as they arrive, streams the WAL the backup needs beside them, and checks every file against the server's manifest
//! while its bytes pass. [`verify`] checks a backup that lies in a directory. Both rest on [`manifest`] (the
//! `backup_manifest` file), [`tar`] (the archives on the wire) and [`compression`].
//!
//! What a server sends is never trusted with a path: names are [`RelativePath`]s, links are made only for
//! tablespaces that were announced and agreed to, and no length in the stream allocates anything.

pub mod compression;
mod file_error;
pub mod manifest;
mod relative_path;
pub mod serve;
pub mod take;
pub mod tar;
pub mod verify;

pub use file_error::FileError;
pub use relative_path::{InvalidPath, RelativePath};
