//! Telling the server how far we are, from any thread, while another waits for WAL.
//!
//! On a plain socket a status is written at once by whoever sends it, through a descriptor of its own; all writing
//! during a stream goes through here, so that frames never mix. Below TLS, only the owner of the stream may write: the
//! latest status is left for it, and it is woken up.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{Buf, BytesMut};
use runtime::sync::{Mutex, MutexGuard};
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::io::Errno;
use rustix::net::SendFlags;
use tokio::sync::Notify;

use crate::message::put_copy_data_header;
use crate::stream::{HotStandbyFeedback, StandbyStatus};

/// How much may wait for a server that does not read.
const MOST_PENDING: usize = 64 * 1024;
/// How long one that does not read is waited for.
const PATIENCE: Duration = Duration::from_secs(60);

/// A handle on a stream's way back to the server. Clones send on the same stream; once the stream is finished or
/// dropped, sending fails with [`io::ErrorKind::NotConnected`].
#[derive(Clone)]
pub struct StatusSender {
    shared: Arc<Shared>,
}

struct Shared {
    state: Mutex<State>,
    /// Wakes the stream's owner for `left`.
    left_something: Notify,
}

enum State {
    /// A plain socket, and bytes of complete frames that it did not take yet.
    Socket {
        fd: Arc<OwnedFd>,
        pending: BytesMut,
    },
    /// The latest status that the stream's owner is to send.
    Left(Option<StandbyStatus>),
    Closed,
}

impl StatusSender {
    /// For a socket that this may write to, or one whose owner writes.
    pub(super) fn new(socket: Option<OwnedFd>) -> Self {
        let state = match socket {
            Some(fd) => State::Socket { fd: Arc::new(fd), pending: BytesMut::new() },
            None => State::Left(None),
        };
        Self { shared: Arc::new(Shared { state: Mutex::new(state), left_something: Notify::new() }) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.shared.state.lock()
    }

    /// Sends `status`; blocks only if the socket is full, and then for a minute at most.
    pub fn send(&self, status: &StandbyStatus) -> io::Result<()> {
        let mut left = self.begin(status)?;
        if left.is_none() {
            return Ok(());
        }
        let deadline = Instant::now() + PATIENCE;
        while let Some(fd) = left {
            let wait = deadline.saturating_duration_since(Instant::now());
            if wait.is_zero() {
                return Err(io::Error::new(io::ErrorKind::TimedOut, "the server does not read its socket"));
            }
            let wait = Timespec { tv_sec: wait.as_secs() as i64, tv_nsec: i64::from(wait.subsec_nanos()) };
            match rustix::event::poll(&mut [PollFd::new(&*fd, PollFlags::OUT)], Some(&wait)) {
                Ok(_) | Err(Errno::INTR) => (),
                Err(error) => return Err(error.into()),
            }
            left = self.push_on()?;
        }
        Ok(())
    }

    /// Queues `status` and writes what the socket takes; the socket, if it did not take all.
    pub(super) fn begin(&self, status: &StandbyStatus) -> io::Result<Option<Arc<OwnedFd>>> {
        self.enqueue(&status.to_bytes(), Some(status))?;
        self.push_on()
    }

    /// Queues feedback for the socket; `false` if the stream's owner has to send it.
    pub(super) fn begin_feedback(&self, feedback: &HotStandbyFeedback) -> io::Result<bool> {
        let mut body = BytesMut::new();
        feedback.encode(&mut body);
        self.enqueue(&body, None)
    }

    /// Whether it is this that writes.
    fn enqueue(&self, body: &[u8], status: Option<&StandbyStatus>) -> io::Result<bool> {
        match &mut *self.state() {
            State::Socket { pending, .. } => {
                if pending.len() > MOST_PENDING {
                    return Err(io::Error::new(
                        io::ErrorKind::TimedOut,
                        "the server does not read its socket",
                    ));
                }
                put_copy_data_header(pending, body.len());
                pending.extend_from_slice(body);
                Ok(true)
            }
            State::Left(left) => {
                if let Some(status) = status {
                    let wanted = left.is_some_and(|left| left.reply_requested);
                    let reply_requested = status.reply_requested || wanted;
                    *left = Some(StandbyStatus { reply_requested, ..*status });
                    self.shared.left_something.notify_one();
                }
                Ok(false)
            }
            State::Closed => Err(io::Error::new(io::ErrorKind::NotConnected, "the stream has ended")),
        }
    }

    /// Writes what the socket takes; the socket, if it did not take all.
    pub(super) fn push_on(&self) -> io::Result<Option<Arc<OwnedFd>>> {
        let mut state = self.state();
        let State::Socket { fd, pending } = &mut *state else { return Ok(None) };
        while pending.has_remaining() {
            match rustix::net::send(&**fd, pending, SendFlags::NOSIGNAL | SendFlags::DONTWAIT) {
                // Not `advance`: that gives the room away, and each status would need new room.
                Ok(sent) if sent >= pending.len() => pending.clear(),
                Ok(sent) => pending.advance(sent),
                Err(Errno::INTR) => (),
                Err(Errno::AGAIN) => return Ok(Some(Arc::clone(fd))),
                Err(error) => return Err(error.into()),
            }
        }
        Ok(None)
    }

    /// The status that somebody left for the stream's owner.
    pub(super) fn take_left(&self) -> Option<StandbyStatus> {
        match &mut *self.state() {
            State::Left(left) => left.take(),
            State::Socket { .. } | State::Closed => None,
        }
    }

    /// Whether somebody left a status for the stream's owner.
    pub(super) fn has_left(&self) -> bool {
        matches!(*self.state(), State::Left(Some(_)))
    }

    /// Waits until somebody leaves a status. Cancel safe.
    pub(super) async fn left_something(&self) {
        self.shared.left_something.notified().await;
    }

    /// From now on, sending fails. Gives what was not written yet, to be written before anything else.
    pub(super) fn close(&self) -> BytesMut {
        match std::mem::replace(&mut *self.state(), State::Closed) {
            State::Socket { pending, .. } => pending,
            State::Left(Some(status)) => {
                let mut out = BytesMut::new();
                let body = status.to_bytes();
                put_copy_data_header(&mut out, body.len());
                out.extend_from_slice(&body);
                out
            }
            State::Left(None) | State::Closed => BytesMut::new(),
        }
    }
}

impl std::fmt::Debug for StatusSender {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("StatusSender")
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;
    use std::os::unix::net::UnixStream;

    use super::*;

    fn status(write: u64) -> StandbyStatus {
        StandbyStatus { write: wal::Lsn::new(write), ..StandbyStatus::default() }
    }

    #[test]
    fn frames_of_many_threads_do_not_mix() {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let sender = StatusSender::new(Some(ours.into()));
        let threads: Vec<_> = (0..4)
            .map(|thread| {
                let sender = sender.clone();
                std::thread::spawn(move || (0..2_000).for_each(|_| sender.send(&status(thread)).unwrap()))
            })
            .collect();
        let mut frame = [0; 39];
        for _ in 0..8_000 {
            theirs.read_exact(&mut frame).unwrap();
            assert_eq!(frame[..6], *b"d\0\0\0\x26r");
        }
        threads.into_iter().for_each(|thread| thread.join().unwrap());
    }

    #[test]
    fn after_the_end_sending_fails() {
        let (ours, _theirs) = UnixStream::pair().unwrap();
        for sender in [StatusSender::new(Some(ours.into())), StatusSender::new(None)] {
            sender.send(&status(1)).unwrap();
            sender.close();
            assert_eq!(sender.send(&status(2)).unwrap_err().kind(), io::ErrorKind::NotConnected);
        }
    }

    #[test]
    fn the_latest_status_is_left_and_a_wish_for_a_reply_is_kept() {
        let sender = StatusSender::new(None);
        sender.send(&StandbyStatus { reply_requested: true, ..status(1) }).unwrap();
        sender.send(&status(2)).unwrap();
        let left = sender.take_left().unwrap();
        assert_eq!((left.write.as_u64(), left.reply_requested), (2, true));
        assert_eq!(sender.take_left(), None);
    }
}
