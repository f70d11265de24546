//! The log: appended in memory, flushed for everyone who waits, kept in segments.
