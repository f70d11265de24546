//! When to look at a connection again although nothing has happened to it.

use std::collections::BTreeSet;
use std::time::Instant;

use super::slots::Token;

/// At most one deadline for each connection; the connection keeps which ([`Timers::set`] is told).
#[derive(Debug, Default)]
pub(super) struct Timers(BTreeSet<(Instant, Token)>);

impl Timers {
    /// Replaces a connection's deadline.
    pub(super) fn set(&mut self, token: Token, armed: &mut Option<Instant>, deadline: Option<Instant>) {
        if *armed == deadline {
            return;
        }
        if let Some(old) = armed.take() {
            assert!(self.0.remove(&(old, token)), "a deadline that a connection keeps is known");
        }
        if let Some(new) = deadline {
            assert!(self.0.insert((new, token)), "a connection has one deadline");
        }
        *armed = deadline;
    }

    pub(super) fn next(&self) -> Option<Instant> {
        self.0.first().map(|(deadline, _)| *deadline)
    }

    /// Takes out one deadline that has passed.
    pub(super) fn pop_expired(&mut self, now: Instant) -> Option<Token> {
        let (deadline, _) = self.0.first()?;
        if *deadline > now {
            return None;
        }
        self.0.pop_first().map(|(_, token)| token)
    }
}
