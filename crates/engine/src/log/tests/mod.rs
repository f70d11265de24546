//! Tests of the log as a whole.

mod append;
mod crash;
mod group_commit;
mod segments;
mod support;
mod timeline;
