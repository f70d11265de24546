//! `global/pg_control`, written so that pg_controldata reads it.
