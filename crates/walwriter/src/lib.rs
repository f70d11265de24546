//! A database server whose bytes are PostgreSQL's.
