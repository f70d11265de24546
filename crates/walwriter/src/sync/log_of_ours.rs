//! Which entries of the followers' table are about the log that is written here.
//!
//! A sender in this process ends its connections with it, and what it counts was sent by it. A `walsender` process of its
//! own goes on while this one is restarted, and what its followers have acknowledged may be of a log that is no more: a disk
//! that has forgotten writes, or a directory put back from a copy. Such a log was longer than what is found at the start,
//! or nothing of it is lost that counts. So a follower that has been sent more than there is of the log is a stranger, for
//! as long as its entry lives, however long the log becomes.
//!
//! What counts on one timeline counts for nothing on the next: both have bytes at the same positions.

use replication::waldir::{Follower, FollowerState};
use wal::{Lsn, TimelineId};

/// What tells one entry from another that takes its place later.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Entry {
    sender_pid: u32,
    connected_at: Option<u64>,
    application_name: String,
    peer: String,
}

impl Entry {
    fn of(follower: &Follower) -> Self {
        Self {
            sender_pid: follower.sender_pid,
            connected_at: follower.connected_at.map(|at| at.as_u64()),
            application_name: follower.application_name.clone(),
            peer: follower.peer.clone(),
        }
    }
}

/// Remembers who is a stranger.
#[derive(Debug, Default)]
pub(super) struct LogOfOurs {
    strangers: Vec<Entry>,
}

impl LogOfOurs {
    /// Leaves in `followers` those whose word is about the log that is on `timeline` and ends at `end`. `end` was asked
    /// for after `followers`.
    pub(super) fn retain(&mut self, followers: &mut Vec<Follower>, timeline: TimelineId, end: Lsn) {
        self.strangers.retain(|stranger| followers.iter().any(|follower| Entry::of(follower) == *stranger));
        followers.retain(|follower| {
            let entry = Entry::of(follower);
            if self.strangers.contains(&entry) {
                return false;
            }
            let of_this_timeline = follower.timeline == timeline;
            if of_this_timeline && follower.sent.max(follower.write).max(follower.flush) > end {
                // Of one that is ahead whoever serves it has said so.
                if follower.state != FollowerState::Ahead {
                    tracing::error!(
                        "follower \"{}\" at {} was sent WAL of timeline {timeline} up to {}, but the log of this server ends at \
                         {end}: this server has lost WAL; what it acknowledges does not count until it has connected again",
                        follower.application_name,
                        follower.peer,
                        follower.sent,
                    );
                }
                self.strangers.push(entry);
                return false;
            }
            of_this_timeline
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMELINE: TimelineId = TimelineId::FIRST;

    fn follower(name: &str, sent: u64) -> Follower {
        let mut follower = Follower::new(name, "[local]", "");
        (follower.sent, follower.flush) = (Lsn::new(sent), Lsn::new(sent));
        follower
    }

    fn retained(ours: &mut LogOfOurs, followers: &[Follower], end: u64) -> Vec<String> {
        let mut followers = followers.to_vec();
        ours.retain(&mut followers, TIMELINE, Lsn::new(end));
        followers.into_iter().map(|follower| follower.application_name).collect()
    }

    #[test]
    fn who_was_sent_more_than_there_is_never_counts_until_it_comes_again() {
        let mut ours = LogOfOurs::default();
        let followers = [follower("behind", 90), follower("lost", 110)];
        assert_eq!(retained(&mut ours, &followers, 100), ["behind"]);
        assert_eq!(retained(&mut ours, &followers, 200), ["behind"], "the log has grown past it");
        assert_eq!(retained(&mut ours, &followers[..1], 200), ["behind"]);
        let again = [follower("lost", 150)];
        assert_eq!(retained(&mut ours, &again, 200), ["lost"]);
    }

    #[test]
    fn an_entry_of_another_timeline_does_not_count() {
        let mut ours = LogOfOurs::default();
        let mut other = follower("late", 90);
        other.timeline = TimelineId::new(2);
        assert!(retained(&mut ours, &[other.clone()], 100).is_empty());
        other.timeline = TIMELINE;
        assert_eq!(retained(&mut ours, &[other], 100), ["late"], "it has switched");
    }
}
