//! Tests of the directory as a whole: forged archives, and several processes.

mod archive;
mod end_of_wal;
mod facts;
mod line_walk;
mod owner;
mod processes;
mod reader;
mod slots;
mod status;
