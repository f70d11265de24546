//! One lock: who holds it and who waits for it, in order.

use std::collections::VecDeque;
use std::task::Waker;

use super::{LockMode, OwnerId};

/// A lock. `holder` is `None` only when nobody holds it, and then `queue` is empty.
#[derive(Debug)]
pub(super) struct Queue {
    mode: LockMode,
    holder: Option<OwnerId>,
    /// Further holders of a shared lock.
    more: Vec<OwnerId>,
    waiters: VecDeque<Waiter>,
}

#[derive(Debug)]
struct Waiter {
    owner: OwnerId,
    mode: LockMode,
    waker: Waker,
}

/// What became of a request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Outcome {
    /// Held from now on.
    Granted,
    /// It was held before, perhaps in a weaker mode.
    Held,
    /// Somebody else's.
    Busy,
}

impl Queue {
    /// A lock held by `owner`.
    pub(super) fn held_by(owner: OwnerId, mode: LockMode) -> Self {
        Self { mode, holder: Some(owner), more: Vec::new(), waiters: VecDeque::new() }
    }

    /// Takes the lock if that makes nobody wait longer.
    pub(super) fn request(&mut self, owner: OwnerId, mode: LockMode) -> Outcome {
        if self.is_held_by(owner) {
            if mode <= self.mode {
                return Outcome::Held;
            }
            if self.more.is_empty() {
                self.mode = mode;
                return Outcome::Held;
            }
            return Outcome::Busy;
        }
        let shareable = self.mode == LockMode::Shared && mode == LockMode::Shared;
        if self.waiters.is_empty() && (self.holder.is_none() || shareable) {
            self.add_holder(owner, mode);
            self.check();
            return Outcome::Granted;
        }
        Outcome::Busy
    }

    /// Waits at the end of the queue, or before all others if it is for more of a lock that is already held: nobody
    /// else can get it before that holder is gone. Asking again changes the waker only.
    pub(super) fn wait(&mut self, owner: OwnerId, mode: LockMode, waker: &Waker) {
        if let Some(waiter) = self.waiters.iter_mut().find(|waiter| waiter.owner == owner) {
            waiter.waker.clone_from(waker);
            return;
        }
        assert!(self.holder.is_some(), "nobody waits for a lock that nobody holds");
        let waiter = Waiter { owner, mode, waker: waker.clone() };
        if self.is_held_by(owner) {
            self.waiters.push_front(waiter);
        } else {
            self.waiters.push_back(waiter);
        }
    }

    /// Gives up what `owner` holds and what it waits for. Whoever holds the lock in consequence is to be woken.
    pub(super) fn release(&mut self, owner: OwnerId, woken: &mut Vec<Waker>) {
        self.waiters.retain(|waiter| waiter.owner != owner);
        if self.holder == Some(owner) {
            self.holder = self.more.pop();
            assert!(self.holder.is_some() || self.more.is_empty(), "further holders follow the first");
        } else {
            self.more.retain(|&other| other != owner);
        }
        if runtime::fault::is_wanted("forget a lock's first holder") {
            (self.holder, self.more) = (None, vec![owner]);
        }
        self.hand_over(woken);
    }

    /// Gives up only waiting.
    pub(super) fn stop_waiting(&mut self, owner: OwnerId, woken: &mut Vec<Waker>) {
        self.waiters.retain(|waiter| waiter.owner != owner);
        self.hand_over(woken);
    }

    fn hand_over(&mut self, woken: &mut Vec<Waker>) {
        self.hand_over_in_order(woken);
        self.check();
    }

    /// What holds whenever nobody is inside a call.
    fn check(&self) {
        assert!(
            self.holder.is_some() || self.waiters.is_empty(),
            "nobody waits for a lock that nobody holds"
        );
        assert!(self.holder.is_some() || self.more.is_empty(), "further holders follow a first one");
        let shared = self.mode == LockMode::Shared;
        assert!(shared || self.more.is_empty(), "a lock that is not shared has one holder");
    }

    fn hand_over_in_order(&mut self, woken: &mut Vec<Waker>) {
        while let Some(next) = self.waiters.front() {
            let (owner, mode) = (next.owner, next.mode);
            let alone = self.holder.is_none() || (self.holder == Some(owner) && self.more.is_empty());
            let shareable = self.mode == LockMode::Shared && mode == LockMode::Shared;
            if !alone && !shareable {
                return;
            }
            if let Some(waiter) = self.waiters.pop_front() {
                assert_eq!(waiter.owner, owner, "the first that waits is the first that gets the lock");
                woken.push(waiter.waker);
            }
            if self.is_held_by(owner) {
                self.mode = mode;
            } else {
                self.add_holder(owner, mode);
            }
        }
    }

    fn add_holder(&mut self, owner: OwnerId, mode: LockMode) {
        self.mode = mode;
        match self.holder {
            None => self.holder = Some(owner),
            Some(_) => self.more.push(owner),
        }
    }

    pub(super) fn is_held_by(&self, owner: OwnerId) -> bool {
        self.holder == Some(owner) || self.more.contains(&owner)
    }

    pub(super) fn is_free(&self) -> bool {
        self.holder.is_none()
    }

    /// Whom `owner` waits for: the holders, and those before it in the queue, who will hold the lock before it does.
    /// Nobody if it does not wait here.
    pub(super) fn blockers(&self, owner: OwnerId, into: &mut Vec<OwnerId>) {
        let Some(place) = self.waiters.iter().position(|waiter| waiter.owner == owner) else { return };
        let ahead = self.waiters.iter().take(place).map(|waiter| waiter.owner);
        let holders = self.holder.iter().chain(&self.more).copied();
        into.extend(holders.chain(ahead).filter(|&other| other != owner));
    }
}
