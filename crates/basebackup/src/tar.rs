//! Archives as a server sends them: POSIX ustar.
