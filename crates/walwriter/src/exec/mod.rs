//! The executor: sessions that run SQL over the engine.
//!
//! [`Executor`] is the [`Database`](crate::session::Database) of a server: one for a data directory, around an engine and
//! its [`Host`]. Its sessions parse and plan with the `sql` crate, keep plans as long as the tables stay what they are, and
//! execute them in time slices, so that a worker thread serves many sessions. Waiting, be it for a row or for a second,
//! holds no thread: a step says so and is called again.

mod activity;
mod begin;
mod block;
mod checkpoint;
mod commit;
mod context;
mod copy_from;
mod copy_to;
mod ddl;
mod env;
mod executor;
mod failure;
mod functions;
mod held;
mod host;
mod insert;
mod modify;
mod named;
mod output;
mod planning;
mod portal;
mod prepared;
mod rebuild;
mod select;
mod session;
mod slice;
mod sort;
mod sorted_load;
mod source;
mod statements;
mod temporary;
mod utility;

pub use executor::Executor;
pub use failure::Failure;
pub use host::{Host, Promotion, ReceiverStatus, RecoveryStatus, ServerSetting, SlotStatus, StandbyStatus};
pub use portal::Portal;
pub use prepared::Prepared;
pub use session::SqlSession;

pub(crate) use activity::{Published, State as SessionState};
pub(crate) use context::{Context, find_table, to_timestamp};
pub(crate) use failure::Result;
