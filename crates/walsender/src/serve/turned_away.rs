//! Followers that were turned away because they have more than there is of the timeline that is served.
//!
//! Such a follower is ahead: where the log is written here, some of it has been lost. It asks for what comes after its own end,
//! is refused, and goes; so nobody would see it who looks at those that are connected. It stays in the followers' table as
//! `ahead`, under its application name, with what it claims to have: until a follower of that name streams, or until
//! [`SHOWN_FOR`] has gone by since it asked last. Whoever follows asks again every few seconds.
//!
//! What it claims counts for nothing, as with every follower that is ahead: what waits for it goes on waiting.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use replication::waldir::{Follower, FollowerEntry, FollowerState, UnixMicros, WalDir};
use runtime::sync::Mutex;
use tokio::sync::Notify;
use tracing::warn;
use wal::{Lsn, TimelineId};

use super::connection::Peer;

/// How long it is shown after it asked last.
pub(super) const SHOWN_FOR: Duration = Duration::from_secs(60);
/// So many at most, lest names that somebody makes up take the places of those that are served.
const MOST: usize = 16;

/// What a follower claims that is not there.
#[derive(Debug, Clone, Copy)]
pub(super) struct Claim {
    pub(super) timeline: TimelineId,
    /// Where the log ends that is served.
    pub(super) end: Lsn,
    /// Up to where the follower has it at least.
    pub(super) claimed: Lsn,
}

/// Those that are shown, by application name.
#[derive(Debug, Default)]
pub(crate) struct TurnedAway {
    shown: Mutex<BTreeMap<String, Shown>>,
    /// Somebody is shown longer, or anew.
    changed: Notify,
}

#[derive(Debug)]
struct Shown {
    entry: FollowerEntry,
    until: Instant,
}

impl TurnedAway {
    /// Shows the follower in the table of `dir` from now on. Where that cannot be written, the log has said it all the same.
    pub(super) fn show(&self, dir: &WalDir, peer: &Peer, slot: &str, claim: Claim) {
        let now = Instant::now();
        let until = now + SHOWN_FOR;
        let mut shown = self.shown.lock();
        if let Some(known) = shown.get_mut(&peer.application_name) {
            known.until = until;
            known.entry.update(|follower| describe(follower, peer, slot, claim));
            return;
        }
        if shown.len() >= MOST
            && let Some(oldest) =
                shown.iter().min_by_key(|(_, shown)| shown.until).map(|(name, _)| name.clone())
        {
            shown.remove(&oldest);
        }
        let mut follower = Follower::new(&peer.application_name, &peer.address, slot);
        describe(&mut follower, peer, slot, claim);
        match FollowerEntry::register(dir, follower) {
            Ok(entry) => {
                shown.insert(peer.application_name.clone(), Shown { entry, until });
                self.changed.notify_one();
            }
            Err(error) => warn!(peer = %peer.address, %error, "could not enter the follower in the table"),
        }
    }

    /// A follower of this name streams.
    pub(super) fn streams(&self, application_name: &str) {
        self.shown.lock().remove(application_name);
    }

    /// Forgets those whose time is over; when the next one's is.
    fn forget(&self, now: Instant) -> Option<Instant> {
        let mut shown = self.shown.lock();
        shown.retain(|_, shown| shown.until > now);
        shown.values().map(|shown| shown.until).min()
    }

    /// Forgets each when its time is over, for ever.
    pub(super) async fn forget_in_time(&self) -> std::convert::Infallible {
        loop {
            match self.forget(Instant::now()) {
                Some(next) => tokio::time::sleep_until(next.into()).await,
                None => self.changed.notified().await,
            }
        }
    }
}

fn describe(follower: &mut Follower, peer: &Peer, slot: &str, claim: Claim) {
    peer.user.clone_into(&mut follower.user);
    peer.address.clone_into(&mut follower.peer);
    slot.clone_into(&mut follower.slot);
    follower.state = FollowerState::Ahead;
    follower.timeline = claim.timeline;
    follower.sent = claim.end;
    (follower.write, follower.flush) = (claim.claimed, claim.claimed);
    follower.last_reply_at = Some(UnixMicros::now());
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use replication::waldir::FollowersReader;

    use super::*;

    fn peer(name: &str) -> Peer {
        Peer {
            address: "[local]".to_owned(),
            is_local: true,
            user: "me".to_owned(),
            application_name: name.to_owned(),
            progress: Arc::default(),
        }
    }

    fn claim(claimed: u64) -> Claim {
        Claim { timeline: TimelineId::FIRST, end: Lsn::new(100), claimed: Lsn::new(claimed) }
    }

    fn names(dir: &WalDir) -> Vec<String> {
        let Some(reader) = FollowersReader::open(dir).unwrap() else { return Vec::new() };
        let mut names: Vec<_> = reader.list().unwrap().into_iter().map(|one| one.application_name).collect();
        names.sort();
        names
    }

    #[test]
    fn one_is_shown_once_until_its_name_streams_or_its_time_is_over() {
        let root = tempfile::tempdir().unwrap();
        let (dir, turned_away) = (WalDir::on_os(root.path()), TurnedAway::default());
        turned_away.show(&dir, &peer("a"), "s", claim(200));
        turned_away.show(&dir, &peer("b"), "", claim(300));
        turned_away.show(&dir, &peer("a"), "s", claim(250));
        assert_eq!(names(&dir), ["a", "b"]);
        let all = FollowersReader::open(&dir).unwrap().unwrap().list().unwrap();
        let a = all.iter().find(|one| one.application_name == "a").unwrap();
        assert_eq!(
            (a.state, a.sent, a.flush, a.slot.as_str()),
            (FollowerState::Ahead, Lsn::new(100), Lsn::new(250), "s")
        );
        turned_away.streams("c");
        turned_away.streams("b");
        assert_eq!(names(&dir), ["a"]);
        assert!(turned_away.forget(Instant::now()).is_some());
        assert_eq!(names(&dir), ["a"]);
        assert_eq!(turned_away.forget(Instant::now() + SHOWN_FOR), None);
        assert!(names(&dir).is_empty());
    }

    #[test]
    fn names_that_somebody_makes_up_do_not_fill_the_table() {
        let root = tempfile::tempdir().unwrap();
        let (dir, turned_away) = (WalDir::on_os(root.path()), TurnedAway::default());
        for number in 0..40 {
            turned_away.show(&dir, &peer(&format!("{number:02}")), "", claim(200));
        }
        let names = names(&dir);
        assert_eq!(names.len(), MOST);
        assert_eq!(names.last().map(String::as_str), Some("39"), "the last one is shown");
    }
}
