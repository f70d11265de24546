//! Verifying a base backup that lies in a directory.
