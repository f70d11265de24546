//! Answers that a living server gives at once.

use std::time::Duration;

use tokio::sync::watch;

use super::ReceiverError;

/// Waits for an answer: for `limit`, after which the server is taken for dead, and no longer than until `stop` turns true
/// ([`ReceiverError::Stopped`]). Nothing is lost with an answer that nobody waits for.
pub(crate) async fn answered<T, E: Into<ReceiverError>>(
    limit: Option<Duration>,
    stop: &watch::Receiver<bool>,
    answer: impl Future<Output = Result<T, E>>,
) -> Result<T, ReceiverError> {
    let mut stop = stop.clone();
    let answer = async {
        match limit {
            None => answer.await.map_err(Into::into),
            Some(limit) => match tokio::time::timeout(limit, answer).await {
                Ok(answer) => answer.map_err(Into::into),
                Err(_) => Err(ReceiverError::Silent(limit.as_secs())),
            },
        }
    };
    tokio::select! {
        biased;
        answer = answer => answer,
        Ok(_) = stop.wait_for(|stop| *stop) => Err(ReceiverError::Stopped),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_answer_is_not_waited_for_after_its_time_or_after_a_stop() {
        let (stop, stopped) = watch::channel(false);
        let never = std::future::pending::<Result<(), ReceiverError>>;
        let limit = Some(Duration::from_millis(10));
        assert!(matches!(answered(limit, &stopped, never()).await, Err(ReceiverError::Silent(_))));
        let answer = async { Ok::<_, ReceiverError>(7) };
        assert!(matches!(answered(None, &stopped, answer).await, Ok(7)));
        stop.send_replace(true);
        assert!(matches!(answered(None, &stopped, never()).await, Err(ReceiverError::Stopped)));
    }
}
