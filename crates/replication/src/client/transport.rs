//! The byte stream below a connection.

use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, Interest, ReadBuf};
use tokio::net::{TcpStream, UnixStream};

/// Any two-way byte stream: TLS, or a simulated network.
pub trait Duplex: AsyncRead + AsyncWrite + Send + Sync + Unpin + 'static {}

impl<T: AsyncRead + AsyncWrite + Send + Sync + Unpin + 'static> Duplex for T {}

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

    /// Waits until the socket, which has just taken nothing, takes bytes again; at once for what is not a plain socket.
    pub(super) async fn writable(&mut self) -> io::Result<()> {
        self.ready(Interest::WRITABLE).await
    }

    /// Waits until there is something to read, or the socket, which has just taken nothing, takes bytes again.
    pub(super) async fn readable_or_writable(&mut self) -> io::Result<()> {
        self.ready(Interest::READABLE | Interest::WRITABLE).await
    }

    async fn ready(&mut self, interest: Interest) -> io::Result<()> {
        // It was written to through another descriptor: without this the runtime would go on believing that it has room.
        let full = || Err::<(), _>(io::ErrorKind::WouldBlock.into());
        match self {
            Self::Tcp(stream) => {
                let _ = stream.try_io(Interest::WRITABLE, full);
                stream.ready(interest).await.map(drop)
            }
            Self::Unix(stream) => {
                let _ = stream.try_io(Interest::WRITABLE, full);
                stream.ready(interest).await.map(drop)
            }
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

#[cfg(test)]
mod tests {
    use super::*;

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
