//! Telling the server how far we are, from any thread, while another waits for WAL.
//!
//! On a plain socket a status is written at once by whoever sends it, through a descriptor of its own; all writing
//! during a stream goes through here, so that frames never mix. Nobody is held up by a server that does not read: what the
//! socket does not take is left for the owner of the stream, who waits for it beside everything else. Below TLS, only the owner of the stream may write: the
//! latest status is left for it, and it is woken up.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{Buf, BytesMut};
use runtime::sync::{Mutex, MutexGuard};
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
    /// A plain socket.
    Socket(Socket),
    /// The latest status that the stream's owner is to send.
    Left(Option<StandbyStatus>),
    Closed,
}

/// A socket, and what it did not take yet: never more than a few frames, however long that lasts.
struct Socket {
    fd: OwnedFd,
    /// Bytes of complete frames, the first of which may be sent in part.
    pending: BytesMut,
    /// The latest status beyond those.
    latest: Option<StandbyStatus>,
    /// Since when it has taken nothing.
    stuck_since: Option<Instant>,
}

impl Socket {
    fn enqueue(&mut self, body: &[u8]) {
        put_copy_data_header(&mut self.pending, body.len());
        self.pending.extend_from_slice(body);
    }

    fn leave(&mut self, status: &StandbyStatus) {
        if self.pending.has_remaining() {
            merge(&mut self.latest, status);
        } else {
            self.enqueue(&status.to_bytes());
        }
    }

    fn unqueue_latest(&mut self) -> bool {
        let latest = self.latest.take();
        if let Some(status) = &latest {
            self.enqueue(&status.to_bytes());
        }
        latest.is_some()
    }

    /// Writes what the socket takes; whether nothing is left.
    fn push_on(&mut self) -> io::Result<bool> {
        loop {
            while self.pending.has_remaining() {
                match rustix::net::send(&self.fd, &self.pending, SendFlags::NOSIGNAL | SendFlags::DONTWAIT) {
                    // Not `advance`: that gives the room away, and each status would need new room.
                    Ok(sent) if sent >= self.pending.len() => self.pending.clear(),
                    Ok(sent) => self.pending.advance(sent),
                    Err(Errno::INTR) => continue,
                    Err(Errno::AGAIN) => return self.is_stuck(),
                    Err(error) => return Err(error.into()),
                }
                self.stuck_since = None;
            }
            if !self.unqueue_latest() {
                return Ok(true);
            }
        }
    }

    fn is_stuck(&mut self) -> io::Result<bool> {
        let since = *self.stuck_since.get_or_insert_with(Instant::now);
        if since.elapsed() < PATIENCE { Ok(false) } else { Err(does_not_read()) }
    }
}

/// The later status, with whatever was asked for before.
fn merge(left: &mut Option<StandbyStatus>, status: &StandbyStatus) {
    let wanted = left.is_some_and(|left| left.reply_requested);
    *left = Some(StandbyStatus { reply_requested: status.reply_requested || wanted, ..*status });
}

fn does_not_read() -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, "the server does not read its socket")
}

fn ended() -> io::Error {
    io::Error::new(io::ErrorKind::NotConnected, "the stream has ended")
}

impl StatusSender {
    /// For a socket that this may write to, or one whose owner writes.
    pub(super) fn new(socket: Option<OwnedFd>) -> Self {
        let state = match socket {
            Some(fd) => {
                State::Socket(Socket { fd, pending: BytesMut::new(), latest: None, stuck_since: None })
            }
            None => State::Left(None),
        };
        Self { shared: Arc::new(Shared { state: Mutex::new(state), left_something: Notify::new() }) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.shared.state.lock()
    }

    /// Sends `status`, and never blocks. `false` if the socket did not take it: the stream's owner sends it when it does
    /// ([`super::WalStream::next`]), the latest status if there are several, and is to be woken for that.
    ///
    /// # Errors
    /// The socket's, and a server that has taken nothing for a minute.
    pub fn send(&self, status: &StandbyStatus) -> io::Result<bool> {
        match &mut *self.state() {
            State::Socket(socket) => {
                socket.leave(status);
                socket.push_on()
            }
            State::Left(left) => {
                merge(left, status);
                self.shared.left_something.notify_one();
                Ok(true)
            }
            State::Closed => Err(ended()),
        }
    }

    /// Queues feedback for the socket; `false` if the stream's owner has to send it.
    pub(super) fn begin_feedback(&self, feedback: &HotStandbyFeedback) -> io::Result<bool> {
        let mut body = BytesMut::new();
        feedback.encode(&mut body);
        self.enqueue(&body)
    }

    /// Whether it is this that writes.
    fn enqueue(&self, body: &[u8]) -> io::Result<bool> {
        match &mut *self.state() {
            State::Socket(socket) if socket.pending.len() > MOST_PENDING => Err(does_not_read()),
            State::Socket(socket) => {
                socket.enqueue(body);
                Ok(true)
            }
            State::Left(_) => Ok(false),
            State::Closed => Err(ended()),
        }
    }

    /// Writes what the socket takes; whether nothing is left.
    pub(super) fn push_on(&self) -> io::Result<bool> {
        match &mut *self.state() {
            State::Socket(socket) => socket.push_on(),
            State::Left(_) | State::Closed => Ok(true),
        }
    }

    /// The status that somebody left for the stream's owner.
    pub(super) fn take_left(&self) -> Option<StandbyStatus> {
        match &mut *self.state() {
            State::Left(left) => left.take(),
            State::Socket(_) | State::Closed => None,
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
            State::Socket(mut socket) => {
                socket.unqueue_latest();
                socket.pending
            }
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

    /// Reads a frame; the position that it says is written.
    fn written(from: &mut UnixStream) -> u64 {
        let mut frame = [0; 39];
        from.read_exact(&mut frame).unwrap();
        assert_eq!(frame[..6], *b"d\0\0\0\x26r");
        u64::from_be_bytes(frame[6..14].try_into().unwrap())
    }

    #[test]
    fn frames_of_many_threads_do_not_mix() {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let sender = StatusSender::new(Some(ours.into()));
        let reading = std::thread::spawn(move || {
            let mut last = 0;
            let mut frame = [0; 39];
            while theirs.read_exact(&mut frame).is_ok() {
                assert_eq!(frame[..6], *b"d\0\0\0\x26r");
                last = u64::from_be_bytes(frame[6..14].try_into().unwrap());
            }
            last
        });
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| (1..2_000).for_each(|at| assert!(sender.send(&status(at)).is_ok())));
            }
        });
        sender.send(&status(2_000)).unwrap();
        // What the socket did not take is left to the stream's owner.
        while !sender.push_on().unwrap() {
            std::thread::yield_now();
        }
        drop(sender);
        assert_eq!(reading.join().unwrap(), 2_000, "the latest is the last");
    }

    #[test]
    fn a_socket_that_takes_nothing_holds_up_nobody_and_gets_the_latest_status_in_the_end() {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let sender = StatusSender::new(Some(ours.into()));
        const MANY: u64 = 100_000;
        (1..=MANY).for_each(|at| assert!(sender.send(&status(at)).is_ok()));
        let taken = |sender: &StatusSender| sender.push_on().unwrap();
        assert!(!taken(&sender), "the socket has no room for so many");
        let (mut last, mut frames) = (0, 0);
        while last < MANY {
            let at = written(&mut theirs);
            assert!(at > last);
            (last, frames) = (at, frames + 1);
            taken(&sender);
        }
        assert!(frames < MANY / 2, "{frames}: only what the socket had room for, and the latest");
        assert!(taken(&sender));
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
