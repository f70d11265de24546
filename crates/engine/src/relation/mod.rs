//! Relation files: blocks on disk, 1 GiB a file.
