//! The followers that are connected, as `pg_stat_replication` shows them.

use std::io;

use replication::waldir::{Follower, FollowersReader, WalDir};

use crate::sync::{Standing, SynchronousNames};

/// A follower, and what it counts for among the synchronous ones.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FollowerRow {
    /// What its sender and itself say.
    pub follower: Follower,
    /// What it counts for.
    pub standing: Standing,
}

/// The followers served from `dir` at the moment, ranked by `names`.
///
/// # Errors
/// The followers' table cannot be read.
pub fn followers(dir: &WalDir, names: Option<&SynchronousNames>) -> io::Result<Vec<FollowerRow>> {
    let Some(table) = FollowersReader::open(dir)? else { return Ok(Vec::new()) };
    let followers = table.list()?;
    let standings: Vec<Standing> = match names {
        Some(names) => names.standings(&followers),
        None => followers.iter().map(|_| Standing::ASYNCHRONOUS).collect(),
    };
    let rows = followers.into_iter().zip(standings);
    Ok(rows.map(|(follower, standing)| FollowerRow { follower, standing }).collect())
}
