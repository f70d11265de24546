//! How long a server is waited for.
//!
//! Whoever waits says so once a minute, and gives up a server that sends nothing for longer than it is given: a backup
//! that hangs in silence is found when it is needed.

use std::fmt::Display;
use std::pin::pin;
use std::time::{Duration, Instant};

use super::error::TakeError;

/// How often somebody who waits says so.
const WORD: Duration = Duration::from_secs(60);
/// What is given to a server that has everything it needs to answer.
const ANSWER: Duration = Duration::from_secs(60);
/// How often somebody who waits for a checkpoint, which may be spread over minutes, says so.
const CHECKPOINT_WORD: Duration = Duration::from_secs(300);

/// How long one server is waited for.
#[derive(Clone, Debug)]
pub(super) struct Patience {
    /// The server, in libpq's words.
    server: String,
    limit: Option<Duration>,
    word: Duration,
}

impl Patience {
    /// With `server`, which may send nothing for as long as `limit`; for ever if that is `None`.
    pub(super) fn new(server: &str, limit: Option<Duration>) -> Self {
        Self { server: server.to_owned(), limit, word: WORD }
    }

    /// For an answer that needs nothing more: a minute, or less.
    pub(super) fn for_answer(&self) -> Self {
        Self { limit: self.limit.map(|limit| limit.min(ANSWER)), ..self.clone() }
    }

    /// For what the server may take any time for, such as a checkpoint.
    pub(super) fn unlimited(&self) -> Self {
        Self { limit: None, word: CHECKPOINT_WORD, ..self.clone() }
    }

    /// The longest time that the server may send nothing.
    pub(super) const fn limit(&self) -> Option<Duration> {
        self.limit
    }

    /// Waits for `future`, which is `what`.
    pub(super) async fn wait<T>(
        &self,
        what: impl Display,
        future: impl Future<Output = Result<T, TakeError>>,
    ) -> Result<T, TakeError> {
        let began = Instant::now();
        let mut future = pin!(future);
        loop {
            let left = self.limit.map(|limit| limit.saturating_sub(began.elapsed()));
            let wait = left.map_or(self.word, |left| left.min(self.word));
            if let Ok(outcome) = tokio::time::timeout(wait, &mut future).await {
                return outcome;
            }
            let seconds = began.elapsed().as_secs();
            if self.limit.is_some_and(|limit| began.elapsed() >= limit) {
                let (what, server) = (what.to_string(), self.server.clone());
                return Err(TakeError::Stalled { what, server, seconds });
            }
            tracing::warn!("still waiting for {what} from {} ({seconds} s)", self.server);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_server_that_says_nothing_is_given_up_by_name() {
        let patience = Patience::new("server at \"a\"", Some(Duration::from_millis(20)));
        let error = patience.wait("a word", std::future::pending::<Result<(), _>>()).await.unwrap_err();
        let text = error.to_string();
        assert!(text.contains("a word") && text.contains("server at \"a\""), "{text}");
        assert_eq!(patience.wait("a word", async { Ok(7) }).await.unwrap(), 7);
        assert_eq!(patience.for_answer().limit(), Some(Duration::from_millis(20)));
        assert_eq!(patience.unlimited().limit(), None);
    }
}
