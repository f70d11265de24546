//! What the machine gives a node besides its files, which are `disk`'s: the one place that threads, clocks and sockets
//! are asked for, so that they can be exchanged. For now it holds the locks, the end of the process when something is so
//! wrong that going on would do harm, and the faults that tests ask for to see that end.

pub mod end;
pub mod fault;
pub mod sync;
