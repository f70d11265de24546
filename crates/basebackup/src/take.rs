//! Taking a base backup.
