//! What the machine gives a node besides its files, which are `disk`'s: the one place that threads, clocks and sockets
//! are asked for, so that they can be exchanged. For now it holds the locks.

pub mod sync;
