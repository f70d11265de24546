//! A client's socket, TCP or Unix, with the two system calls of the hot path.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::pin::Pin;
use std::task::{Context, Poll};

use rustix::net::SendFlags;
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::{TcpStream, UnixStream};

/// A client's socket.
#[derive(Debug)]
pub(crate) enum Socket {
    Tcp(TcpStream),
    Unix(UnixStream),
}

/// A socket on its way from one runtime to another.
#[derive(Debug)]
pub(crate) enum StdSocket {
    Tcp(std::net::TcpStream),
    Unix(std::os::unix::net::UnixStream),
}

impl Socket {
    /// Takes the socket out of its runtime.
    pub(crate) fn into_std(self) -> io::Result<StdSocket> {
        match self {
            Self::Tcp(stream) => stream.into_std().map(StdSocket::Tcp),
            Self::Unix(stream) => stream.into_std().map(StdSocket::Unix),
        }
    }

    /// Puts a socket into the current runtime.
    pub(crate) fn from_std(socket: StdSocket) -> io::Result<Self> {
        match socket {
            StdSocket::Tcp(stream) => TcpStream::from_std(stream).map(Self::Tcp),
            StdSocket::Unix(stream) => UnixStream::from_std(stream).map(Self::Unix),
        }
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
        match self {
            Self::Tcp(stream) => stream.try_io(Interest::WRITABLE, || send(stream.as_fd())),
            Self::Unix(stream) => stream.try_io(Interest::WRITABLE, || send(stream.as_fd())),
        }
    }

    /// Ready when the socket may take something.
    pub(crate) fn poll_writable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Tcp(stream) => stream.poll_write_ready(cx),
            Self::Unix(stream) => stream.poll_write_ready(cx),
        }
    }
}

impl AsyncRead for Socket {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_read(cx, buf),
            Self::Unix(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Socket {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_write(cx, bytes),
            Self::Unix(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_flush(cx),
            Self::Unix(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Unix(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
