//! The byte stream below a connection, and the buffers that it is read into.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, Interest, ReadBuf};
use tokio::net::{TcpStream, UnixStream};

use crate::frame::{FRAME_HEADER, Frame, FrameDecoder, FrameError};

/// Any two-way byte stream: TLS, or a simulated network.
pub trait Duplex: AsyncRead + AsyncWrite + Send + Unpin + 'static {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin + 'static> Duplex for T {}

/// A stream to the server.
pub(super) enum Transport {
    Tcp(TcpStream),
    Unix(UnixStream),
    /// TLS over TCP, or whatever a test connected.
    Other(Box<dyn Duplex>),
}

impl Transport {
    /// Waits for bytes and appends them to `buffer`'s spare room; 0 at the end of the stream. Cancel safe.
    pub(super) async fn read(&mut self, buffer: &mut BytesMut) -> io::Result<usize> {
        // A socket that always has bytes must not keep other tasks from running.
        tokio::task::coop::consume_budget().await;
        loop {
            let readable = match self {
                Self::Tcp(stream) => match stream.try_read_buf(buffer) {
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => stream.readable().await,
                    done => return done,
                },
                Self::Unix(stream) => match stream.try_read_buf(buffer) {
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => stream.readable().await,
                    done => return done,
                },
                Self::Other(stream) => return stream.read_buf(buffer).await,
            };
            readable?;
        }
    }

    /// Appends what is there already; `None` if nothing is.
    pub(super) fn try_read(&mut self, buffer: &mut BytesMut) -> io::Result<Option<usize>> {
        let result = match self {
            Self::Tcp(stream) => stream.try_read_buf(buffer),
            Self::Unix(stream) => stream.try_read_buf(buffer),
            Self::Other(stream) => {
                // The wake-up that this forgoes is registered again by the next `read`.
                let read = std::pin::pin!(stream.read_buf(buffer));
                return match read.poll(&mut Context::from_waker(Waker::noop())) {
                    Poll::Ready(result) => result.map(Some),
                    Poll::Pending => Ok(None),
                };
            }
        };
        match result {
            Ok(read) => Ok(Some(read)),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Waits until `least` bytes are there, `patience` has passed or the stream has ended; then goes on waiting until
    /// there is anything to read at all. For a reader that has just found nothing more to read.
    ///
    /// A sender that writes little at a time wakes its reader for each write, which costs both of them more than the
    /// bytes do. Only TCP can gather; with other streams this returns at once. Cancel safe.
    pub(super) async fn gather(&self, least: i32, patience: Duration) -> io::Result<()> {
        let Self::Tcp(stream) = self else { return Ok(()) };
        // Forget that there was something: from here on the kernel tells when there is enough.
        let _ = stream.try_io::<()>(Interest::READABLE, || Err(io::ErrorKind::WouldBlock.into()));
        set_low_water(stream, least)?;
        let enough = tokio::time::timeout(patience, stream.readable()).await;
        // This also reports what has come meanwhile but was not enough.
        set_low_water(stream, 1)?;
        match enough {
            Ok(result) => result,
            Err(_) => stream.readable().await,
        }
    }

    /// Writes all of `out`, which holds what is left if this is cancelled.
    pub(super) async fn write(&mut self, out: &mut BytesMut) -> io::Result<()> {
        while out.has_remaining() {
            let written = match self {
                Self::Tcp(stream) => stream.write_buf(out).await?,
                Self::Unix(stream) => stream.write_buf(out).await?,
                Self::Other(stream) => stream.write_buf(out).await?,
            };
            if written == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
        }
        match self {
            Self::Other(stream) => stream.flush().await,
            Self::Tcp(_) | Self::Unix(_) => Ok(()),
        }
    }

    /// Waits until the socket takes bytes again; at once for what is not a plain socket.
    pub(super) async fn writable(&self) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => stream.writable().await,
            Self::Unix(stream) => stream.writable().await,
            Self::Other(_) => Ok(()),
        }
    }

    /// Another descriptor of the same socket; `None` if this is not a plain socket.
    pub(super) fn duplicate(&self) -> io::Result<Option<OwnedFd>> {
        match self {
            Self::Tcp(stream) => stream.as_fd().try_clone_to_owned().map(Some),
            Self::Unix(stream) => stream.as_fd().try_clone_to_owned().map(Some),
            Self::Other(_) => Ok(None),
        }
    }

    /// Ends the stream in good order (TLS says goodbye).
    pub(super) async fn shutdown(&mut self) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => stream.shutdown().await,
            Self::Unix(stream) => stream.shutdown().await,
            Self::Other(stream) => stream.shutdown().await,
        }
    }
}

/// From how many bytes on a socket counts as readable (`SO_RCVLOWAT`).
fn set_low_water(stream: &TcpStream, least: i32) -> io::Result<()> {
    // SAFETY: the descriptor is open, and the option's value is an int that lives through the call.
    let result = unsafe {
        libc::setsockopt(
            stream.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_RCVLOWAT,
            (&raw const least).cast(),
            size_of::<libc::c_int>() as libc::socklen_t,
        )
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

impl AsyncRead for Transport {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_read(context, buffer),
            Self::Unix(stream) => Pin::new(stream).poll_read(context, buffer),
            Self::Other(stream) => Pin::new(stream).poll_read(context, buffer),
        }
    }
}

impl AsyncWrite for Transport {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_write(context, bytes),
            Self::Unix(stream) => Pin::new(stream).poll_write(context, bytes),
            Self::Other(stream) => Pin::new(stream).poll_write(context, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_flush(context),
            Self::Unix(stream) => Pin::new(stream).poll_flush(context),
            Self::Other(stream) => Pin::new(stream).poll_flush(context),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_shutdown(context),
            Self::Unix(stream) => Pin::new(stream).poll_shutdown(context),
            Self::Other(stream) => Pin::new(stream).poll_shutdown(context),
        }
    }
}

/// Receive buffers that are handed out in slices, and used again once all slices of them are dropped.
///
/// Invariant: memory grows with what has been received, never with a length that a peer claims.
pub(super) struct ReceiveBuffer {
    /// What is being read into; its filled part begins with the next frame.
    current: BytesMut,
    /// Earlier buffers, empty, whose slices may still be in use.
    retired: VecDeque<BytesMut>,
    /// How large a buffer is.
    chunk: usize,
}

/// Enough for commands and log-in.
const SMALL_CHUNK: usize = 16 * 1024;
/// For bulk data: four of PostgreSQL's largest WAL messages.
const LARGE_CHUNK: usize = 512 * 1024;
/// Below this much room, the next buffer is taken.
const LEAST_READ: usize = 4 * 1024;
/// With this much room left in a large buffer, reading goes on in it.
const LEAST_LARGE_READ: usize = 64 * 1024;
/// How many buffers wait to be used again.
const MOST_RETIRED: usize = 64;

impl ReceiveBuffer {
    pub(super) fn new() -> Self {
        Self { current: BytesMut::new(), retired: VecDeque::new(), chunk: SMALL_CHUNK }
    }

    /// From now on, bulk data is to be expected (or not).
    pub(super) fn expect_bulk(&mut self, bulk: bool) {
        self.chunk = if bulk { LARGE_CHUNK } else { SMALL_CHUNK };
        if !bulk {
            self.retired.clear();
        }
    }

    /// Takes the next complete frame out, without copying.
    pub(super) fn take_frame(&mut self, decoder: &FrameDecoder) -> Result<Option<Frame>, FrameError> {
        let Some((tag, size)) = decoder.peek(&self.current)? else { return Ok(None) };
        if self.current.len() < size {
            return Ok(None);
        }
        let mut body = self.current.split_to(size).freeze();
        body.advance(FRAME_HEADER);
        Ok(Some(Frame { tag, body }))
    }

    /// The buffer to read into, with room in it.
    pub(super) fn room(&mut self) -> &mut BytesMut {
        let spare = self.current.capacity() - self.current.len();
        let least = if self.chunk == LARGE_CHUNK { LEAST_LARGE_READ } else { LEAST_READ };
        if spare < least {
            self.change_buffer();
        }
        &mut self.current
    }

    /// Whether the last read left room: it took all there was.
    pub(super) fn has_room(&self) -> bool {
        self.current.len() < self.current.capacity()
    }

    /// Moves the beginning of an unfinished frame to another buffer. A frame longer than a buffer gets one twice as
    /// long as what has been received of it, time and again.
    fn change_buffer(&mut self) {
        let capacity = self.chunk.max(self.current.len().saturating_mul(2));
        let mut next = self.reclaim(capacity).unwrap_or_else(|| BytesMut::with_capacity(capacity));
        next.extend_from_slice(&self.current);
        let mut last = std::mem::replace(&mut self.current, next);
        last.clear();
        if self.chunk == LARGE_CHUNK && self.retired.len() < MOST_RETIRED {
            self.retired.push_back(last);
        }
    }

    fn reclaim(&mut self, capacity: usize) -> Option<BytesMut> {
        if capacity > LARGE_CHUNK {
            return None;
        }
        let free = self.retired.iter_mut().position(|buffer| buffer.try_reclaim(capacity))?;
        self.retired.remove(free)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::Phase;

    fn frame(length: usize) -> Vec<u8> {
        let mut bytes = vec![b'd'];
        bytes.extend_from_slice(&(length as u32 + 4).to_be_bytes());
        bytes.resize(bytes.len() + length, 7);
        bytes
    }

    /// Feeds `stream` as a socket would, and gives what comes out to `each`.
    fn run(buffer: &mut ReceiveBuffer, mut stream: &[u8], mut each: impl FnMut(Frame)) {
        let decoder = FrameDecoder::new(Phase::Server);
        while !stream.is_empty() {
            let room = buffer.room();
            let read = stream.len().min(room.capacity() - room.len());
            room.extend_from_slice(&stream[..read]);
            stream = &stream[read..];
            while let Some(frame) = buffer.take_frame(&decoder).unwrap() {
                each(frame);
            }
        }
    }

    #[test]
    fn buffers_are_used_again_once_their_slices_are_gone() {
        let mut buffer = ReceiveBuffer::new();
        buffer.expect_bulk(true);
        let stream = frame(128 * 1024).repeat(100);
        let mut seen = 0;
        run(&mut buffer, &stream, |frame| seen += usize::from(frame.body.len() == 128 * 1024));
        assert_eq!(seen, 100);
        assert!(buffer.retired.len() <= 2, "{} buffers for 13 MB, one at a time", buffer.retired.len());
    }

    #[test]
    fn slices_kept_are_not_overwritten() {
        let mut buffer = ReceiveBuffer::new();
        buffer.expect_bulk(true);
        let mut kept = Vec::new();
        let mut stream = Vec::new();
        for value in 0..100_u8 {
            stream.extend_from_slice(&frame(100_000)[..5]);
            stream.resize(stream.len() + 100_000, value);
        }
        run(&mut buffer, &stream, |frame| kept.push(frame.body));
        for (value, body) in (0..100_u8).zip(kept) {
            assert!(body.iter().all(|&byte| byte == value), "{value}");
        }
    }

    #[test]
    fn a_frame_longer_than_a_buffer_arrives() {
        for bulk in [true, false] {
            let mut buffer = ReceiveBuffer::new();
            buffer.expect_bulk(bulk);
            let mut lengths = Vec::new();
            run(&mut buffer, &[frame(3 << 20), frame(1)].concat(), |frame| lengths.push(frame.body.len()));
            assert_eq!(lengths, [3 << 20, 1]);
        }
    }

    #[test]
    fn a_claimed_gibibyte_takes_one_buffer() {
        let mut buffer = ReceiveBuffer::new();
        buffer.expect_bulk(true);
        run(&mut buffer, b"d\x3f\xff\xff\xfe12345", |_| panic!("no frame is complete"));
        assert!(buffer.room().capacity() <= LARGE_CHUNK);
    }

    #[tokio::test]
    async fn gathering_ends_with_enough_bytes_with_patience_or_with_the_stream() {
        const LEAST: usize = 64 << 10;
        const EVER: Duration = Duration::from_secs(3600);
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (mut sender, _) = listener.accept().await.unwrap();
        let mut transport = Transport::Tcp(stream);
        let mut buffer = BytesMut::with_capacity(4 * LEAST);

        sender.write_all(&[1; 10]).await.unwrap();
        transport.gather(LEAST as i32, Duration::from_millis(1)).await.unwrap();
        assert_eq!(transport.read(&mut buffer).await.unwrap(), 10);

        let (gathered, written) =
            tokio::join!(transport.gather(LEAST as i32, EVER), sender.write_all(&[2; LEAST]));
        gathered.and(written).unwrap();
        assert_eq!(transport.read(&mut buffer).await.unwrap(), LEAST);

        sender.write_all(&[3; 10]).await.unwrap();
        drop(sender);
        transport.gather(LEAST as i32, EVER).await.unwrap();
        assert_eq!(transport.read(&mut buffer).await.unwrap(), 10);
        assert_eq!(transport.read(&mut buffer).await.unwrap(), 0);
    }
}
