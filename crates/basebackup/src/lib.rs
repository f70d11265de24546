//! Takes and verifies base backups.
