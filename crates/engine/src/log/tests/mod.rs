//! Tests of the log as a whole.

mod append;
mod crash;
mod group_commit;
mod segments;
mod status;
mod support;
mod timeline;
