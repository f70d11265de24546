//! What is known of a directory's receiver and followers: `walreceiver status`.
//!
//! Silence reads as unknown, never as zero lag: without a living receiver there is no position to speak of, and a
//! receiver that has not heard from its server for a while does not know how far behind it is.

use std::fmt;
use std::io;

use replication::waldir::{
    Follower, FollowersReader, Published, Status, StatusReader, UnixMicros, WalDir, WalDirError,
};
use serde::Serialize;
use wal::Lsn;

/// After so long without a word from the server the lag is unknown. A server speaks at least every half
/// `wal_sender_timeout`, 30 s by default, and the receiver asks after as long.
const SILENCE: u64 = 45_000_000;

/// The state of a directory. Fields that are `None` are unknown.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Report {
    /// `streaming`, `disconnected` (a receiver lives, its server is away), `dead` (the receiver is gone) or `none`
    /// (there never was one).
    pub state: &'static str,
    /// The receiver's process.
    pub pid: Option<u32>,
    /// The cluster whose WAL it is.
    pub system_id: Option<String>,
    /// The timeline received.
    pub timeline: Option<u32>,
    /// End of what is written.
    pub write_lsn: Option<String>,
    /// End of what is durable.
    pub flush_lsn: Option<String>,
    /// How far the server last said it was.
    pub upstream_lsn: Option<String>,
    /// Bytes between the server's end and what is durable.
    pub lag_bytes: Option<u64>,
    /// Seconds since the server was last heard.
    pub last_byte_age_seconds: Option<f64>,
    /// Seconds since something last became durable.
    pub last_durable_age_seconds: Option<f64>,
    /// What a receiver that is gone had last called durable: for finding the end, not for believing.
    pub last_known_flush_lsn: Option<String>,
    /// Who is being served from the directory.
    pub followers: Vec<FollowerReport>,
}

/// One follower.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct FollowerReport {
    /// Its application name.
    pub application_name: String,
    /// Where it connected from.
    pub peer: String,
    /// Its slot.
    pub slot: Option<String>,
    /// `startup`, `catchup`, `streaming`, ...
    pub state: &'static str,
    /// The timeline it is sent.
    pub timeline: u32,
    /// End of what it was sent.
    pub sent_lsn: Option<String>,
    /// End of what it has written.
    pub write_lsn: Option<String>,
    /// End of what is durable with it.
    pub flush_lsn: Option<String>,
    /// End of what it has replayed.
    pub replay_lsn: Option<String>,
    /// Bytes between what is durable here and there.
    pub lag_bytes: Option<u64>,
    /// Seconds since its last status.
    pub last_reply_age_seconds: Option<f64>,
}

/// Looks at `dir`.
pub fn report(dir: &WalDir) -> Result<Report, WalDirError> {
    let failed = |source: io::Error| WalDirError::Io { path: dir.path().to_owned(), source };
    dir.disk().read_dir(dir.path()).map_err(failed)?;
    let published =
        StatusReader::open(dir).map_err(failed)?.map_or(Published::Absent, |reader| reader.read());
    let followers = match FollowersReader::open(dir).map_err(failed)? {
        Some(reader) => reader.list().map_err(failed)?,
        None => Vec::new(),
    };
    Ok(Report::new(&published, &followers, UnixMicros::now()))
}

impl Report {
    fn new(published: &Published, followers: &[Follower], now: UnixMicros) -> Self {
        let (state, status) = match published {
            Published::Absent => ("none", None),
            Published::Stale(status) => ("dead", Some(status)),
            Published::Live(status) if status.connected => ("streaming", Some(status)),
            Published::Live(status) => ("disconnected", Some(status)),
        };
        let live = published.live();
        let flush = live.map(|live| live.flush).filter(|lsn| lsn.is_valid());
        let stale = status.filter(|_| live.is_none());
        Self {
            state,
            pid: live.map(|live| live.writer_pid),
            system_id: status.and_then(|status| status.system_id).map(|id| id.to_string()),
            timeline: status.map(|status| status.timeline.as_u32()),
            write_lsn: live.and_then(|live| known(live.write)),
            flush_lsn: flush.and_then(known),
            upstream_lsn: live.and_then(|live| known(live.server_end)),
            lag_bytes: live.and_then(|live| lag(live, now)),
            last_byte_age_seconds: status.and_then(|status| age(status.last_byte_at, now)),
            last_durable_age_seconds: status.and_then(|status| age(status.last_durable_at, now)),
            last_known_flush_lsn: stale.and_then(|status| known(status.flush)),
            followers: followers.iter().map(|follower| FollowerReport::new(follower, flush, now)).collect(),
        }
    }
}

impl FollowerReport {
    fn new(follower: &Follower, durable: Option<Lsn>, now: UnixMicros) -> Self {
        let lag = durable.filter(|_| follower.flush.is_valid()).map(|lsn| lsn.bytes_since(follower.flush));
        Self {
            application_name: follower.application_name.clone(),
            peer: follower.peer.clone(),
            slot: Some(follower.slot.clone()).filter(|slot| !slot.is_empty()),
            state: follower.state.as_str(),
            timeline: follower.timeline.as_u32(),
            sent_lsn: known(follower.sent),
            write_lsn: known(follower.write),
            flush_lsn: known(follower.flush),
            replay_lsn: known(follower.apply),
            lag_bytes: lag,
            last_reply_age_seconds: age(follower.last_reply_at, now),
        }
    }
}

/// How far behind the server; unknown if the server is away, silent, or has not said.
fn lag(live: &Status, now: UnixMicros) -> Option<u64> {
    let heard = live.last_byte_at.is_some_and(|at| now.micros_since(at) < SILENCE);
    (live.connected && heard && live.server_end.is_valid() && live.flush.is_valid())
        .then(|| live.server_end.bytes_since(live.flush))
}

fn known(lsn: Lsn) -> Option<String> {
    lsn.is_valid().then(|| lsn.to_string())
}

fn age(at: Option<UnixMicros>, now: UnixMicros) -> Option<f64> {
    at.map(|at| now.micros_since(at) as f64 / 1e6)
}

/// `unknown` for what is.
struct Or<'a, T>(&'a Option<T>);

impl<T: fmt::Display> fmt::Display for Or<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(value) => value.fmt(f),
            None => f.write_str("unknown"),
        }
    }
}

struct Age(Option<f64>);

impl fmt::Display for Age {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(seconds) => write!(f, "{seconds:.3} s ago"),
            None => f.write_str("unknown"),
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.state, self.pid) {
            ("streaming", Some(pid)) => writeln!(f, "receiver:      streaming (process {pid})")?,
            ("disconnected", Some(pid)) => {
                writeln!(f, "receiver:      not connected to its server (process {pid})")?
            }
            ("dead", _) => writeln!(f, "receiver:      not running")?,
            _ => writeln!(f, "receiver:      none")?,
        }
        writeln!(f, "system:        {}", Or(&self.system_id))?;
        writeln!(f, "timeline:      {}", Or(&self.timeline))?;
        writeln!(f, "upstream:      {}", Or(&self.upstream_lsn))?;
        writeln!(f, "written:       {}", Or(&self.write_lsn))?;
        writeln!(f, "durable:       {}", Or(&self.flush_lsn))?;
        if let Some(last) = &self.last_known_flush_lsn {
            writeln!(f, "last durable:  {last}, by the word of a receiver that is gone")?;
        }
        match self.lag_bytes {
            Some(bytes) => writeln!(f, "lag:           {bytes} bytes")?,
            None => writeln!(f, "lag:           unknown")?,
        }
        writeln!(f, "last byte:     {}", Age(self.last_byte_age_seconds))?;
        write!(f, "last durable:  {}", Age(self.last_durable_age_seconds))?;
        for follower in &self.followers {
            write!(
                f,
                "\nfollower:      {} at {}, {}",
                follower.application_name, follower.peer, follower.state
            )?;
            write!(f, ", sent {}, flush {}", Or(&follower.sent_lsn), Or(&follower.flush_lsn))?;
            write!(f, ", replay {}, lag {}", Or(&follower.replay_lsn), Or(&follower.lag_bytes))?;
            write!(f, " bytes, last reply {}", Age(follower.last_reply_age_seconds))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn live() -> Status {
        Status {
            write: Lsn::new(100),
            flush: Lsn::new(100),
            server_end: Lsn::new(100),
            last_byte_at: UnixMicros::new(1_000_000),
            connected: true,
            ..Status::new()
        }
    }

    fn at(micros: u64) -> UnixMicros {
        UnixMicros::new(micros).unwrap()
    }

    #[test]
    fn a_receiver_that_has_just_heard_its_server_knows_its_lag() {
        let report = Report::new(&Published::Live(live()), &[], at(1_500_000));
        assert_eq!((report.state, report.lag_bytes), ("streaming", Some(0)));
        assert_eq!(report.last_byte_age_seconds, Some(0.5));
    }

    #[test]
    fn silence_is_unknown_and_never_zero_lag() {
        let silent = Report::new(&Published::Live(live()), &[], at(1_000_000 + SILENCE));
        assert_eq!(silent.lag_bytes, None);
        assert!(silent.to_string().contains("lag:           unknown"), "{silent}");
        let away = Status { connected: false, ..live() };
        assert_eq!(Report::new(&Published::Live(away), &[], at(1_000_001)).lag_bytes, None);
    }

    #[test]
    fn a_dead_receiver_has_no_positions_to_believe() {
        let dead = Report::new(&Published::Stale(live()), &[], at(1_000_001));
        assert_eq!((dead.state, dead.flush_lsn, dead.lag_bytes), ("dead", None, None));
        assert_eq!(dead.last_known_flush_lsn.as_deref(), Some("0/64"));
        let none = Report::new(&Published::Absent, &[], at(1));
        assert_eq!((none.state, none.timeline), ("none", None));
        assert!(none.to_string().starts_with("receiver:      none"));
    }
}
