//! How many files and sockets this process may have open.
//!
//! One process serves every client, so `max_connections` is bounded by the limit of one process. Running out of
//! descriptors in the middle of work would be worse than refusing a client: what data files, log and followers need is
//! set aside before.

use anyhow::bail;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// What data files and log take at most, with some room for whatever else the process opens.
const FILES: u64 = 640;
/// What each follower takes: its socket, its wake-up, the file that it reads, and one more during a backup.
const FOLLOWER: u64 = 4;
/// Clients on their way in for each that is in: those are told that there are too many.
const NEWCOMERS: u64 = 64;

/// Raises the limit of open files as far as this process may, and says how many clients may have a socket at a time.
///
/// # Errors
/// A limit that `max_connections` does not fit into.
pub(super) fn provide(max_connections: u64, max_followers: u64) -> anyhow::Result<usize> {
    let limits = getrlimit(Resource::Nofile);
    let _lower_is_checked_below =
        setrlimit(Resource::Nofile, Rlimit { current: limits.maximum, maximum: limits.maximum });
    let available = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    sockets(available, max_connections, max_followers)
}

fn sockets(available: u64, max_connections: u64, max_followers: u64) -> anyhow::Result<usize> {
    let reserved = FILES + FOLLOWER * max_followers;
    let needed = reserved + max_connections + NEWCOMERS;
    if available < needed {
        bail!(
            "max_connections = {max_connections} takes {needed} open files, but this process may have {available}: raise \
             the limit (ulimit -n) or lower max_connections"
        );
    }
    let wanted = max_connections * 2 + NEWCOMERS;
    Ok(usize::try_from(wanted.min(available - reserved)).unwrap_or(usize::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_get_what_files_and_followers_leave() {
        assert_eq!(sockets(1 << 20, 100, 10).unwrap(), 264);
        assert_eq!(sockets(1024, 100, 10).unwrap(), 264);
        assert_eq!(sockets(1024, 250, 10).unwrap(), 344);
        let refused = sockets(1024, 1000, 10).unwrap_err().to_string();
        assert!(refused.contains("max_connections = 1000 takes 1744 open files"), "{refused}");
    }
}
