//! Settings that a session can read and change: `SET`, `SHOW`, `RESET`, `set_config`, `pg_settings`.
//!
//! What the whole server is configured with is the [`Host`](crate::exec::Host)'s; names that are not found here are
//! looked up there, and are read-only for sessions.

mod defaults;
mod definitions;
mod session;
mod value;

pub(crate) use defaults::Defaults;
pub(crate) use definitions::{Access, DEFINITIONS, find};
pub(crate) use session::{Saved, SessionSettings, unknown};
pub(crate) use value::{VERSION, VERSION_NUMBER};
