//! What the tests share: PostgreSQL servers and this project's processes in temp dirs.
