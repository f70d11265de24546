//! A client's socket, TCP or Unix, with the two system calls of the hot path.
//!
//! Invariant: bytes that somebody else has read from it already are handed out before any other.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use rustix::net::SendFlags;
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::{TcpStream, UnixStream};

/// A client's socket.
#[derive(Debug)]
pub(crate) struct Socket {
    stream: Stream,
    /// What was read from the socket before it came here, and not yet handed out.
    read_before: Bytes,
}

#[derive(Debug)]
enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

/// A socket outside of any runtime, in non-blocking mode.
#[derive(Debug)]
pub enum StdSocket {
    /// TCP.
    Tcp(std::net::TcpStream),
    /// A Unix socket.
    Unix(std::os::unix::net::UnixStream),
}

impl From<TcpStream> for Socket {
    fn from(stream: TcpStream) -> Self {
        Self { stream: Stream::Tcp(stream), read_before: Bytes::new() }
    }
}

impl From<UnixStream> for Socket {
    fn from(stream: UnixStream) -> Self {
        Self { stream: Stream::Unix(stream), read_before: Bytes::new() }
    }
}

impl Socket {
    /// Takes the socket out of its runtime.
    pub(crate) fn into_std(self) -> io::Result<StdSocket> {
        match self.stream {
            Stream::Tcp(stream) => stream.into_std().map(StdSocket::Tcp),
            Stream::Unix(stream) => stream.into_std().map(StdSocket::Unix),
        }
    }

    /// Puts a socket into the current runtime.
    pub(crate) fn from_std(socket: StdSocket) -> io::Result<Self> {
        let stream = match socket {
            StdSocket::Tcp(stream) => Stream::Tcp(TcpStream::from_std(stream)?),
            StdSocket::Unix(stream) => Stream::Unix(UnixStream::from_std(stream)?),
        };
        Ok(Self { stream, read_before: Bytes::new() })
    }

    /// `bytes` have been read from the socket already.
    pub(crate) fn with_read_before(self, bytes: Bytes) -> Self {
        Self { read_before: bytes, ..self }
    }

    /// Sends `bytes` as far as the socket takes them now, `more` saying that something follows at once.
    ///
    /// # Errors
    /// The socket's; `WouldBlock` if it takes nothing.
    pub(crate) fn try_send(&self, bytes: &[u8], more: bool) -> io::Result<usize> {
        let more = if more { SendFlags::MORE } else { SendFlags::empty() };
        let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT | more;
        self.try_write(|fd| Ok(rustix::net::send(fd, bytes, flags)?))
    }

    /// Sends `length` bytes of `file` from `offset` on, from the page cache to the socket, as far as it takes them.
    ///
    /// # Errors
    /// The socket's or the file's; `WouldBlock` if the socket takes nothing.
    pub(crate) fn try_send_file(
        &self,
        file: BorrowedFd<'_>,
        offset: u64,
        length: usize,
    ) -> io::Result<usize> {
        self.try_write(|fd| {
            let mut offset = offset;
            Ok(rustix::fs::sendfile(fd, file, Some(&mut offset), length)?)
        })
    }

    fn try_write(&self, send: impl FnOnce(BorrowedFd<'_>) -> io::Result<usize>) -> io::Result<usize> {
        match &self.stream {
            Stream::Tcp(stream) => stream.try_io(Interest::WRITABLE, || send(stream.as_fd())),
            Stream::Unix(stream) => stream.try_io(Interest::WRITABLE, || send(stream.as_fd())),
        }
    }

    /// Ready when the socket may take something.
    pub(crate) fn poll_writable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &self.stream {
            Stream::Tcp(stream) => stream.poll_write_ready(cx),
            Stream::Unix(stream) => stream.poll_write_ready(cx),
        }
    }
}

impl AsyncRead for Socket {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if !this.read_before.is_empty() {
            let count = this.read_before.len().min(buf.remaining());
            buf.put_slice(&this.read_before.split_to(count));
            return Poll::Ready(Ok(()));
        }
        match &mut this.stream {
            Stream::Tcp(stream) => Pin::new(stream).poll_read(cx, buf),
            Stream::Unix(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Socket {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match &mut self.get_mut().stream {
            Stream::Tcp(stream) => Pin::new(stream).poll_write(cx, bytes),
            Stream::Unix(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().stream {
            Stream::Tcp(stream) => Pin::new(stream).poll_flush(cx),
            Stream::Unix(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().stream {
            Stream::Tcp(stream) => Pin::new(stream).poll_shutdown(cx),
            Stream::Unix(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
