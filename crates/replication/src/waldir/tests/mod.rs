//! Tests of the directory as a whole: files on a real disk, several processes.
