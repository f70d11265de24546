//! The archive and the manifest as they are made: tar members into an encoder, and that into messages.
//!
//! Invariant: what [`Frames`] holds is whole CopyData messages but for the last, which is closed before it is taken.

use std::io::{self, Write};
use std::sync::Arc;

use bytes::{BufMut as _, BytesMut};
use replication::stream::BackupMessage;
use runtime::sync::Mutex;

use crate::compression::{Encoder, Settings};
use crate::tar::{Header, HeaderError, Owner, TRAILER, padding};

/// Bytes of archive after which a message is closed.
const MESSAGE: usize = 256 << 10;
/// The longest message that clients take.
const LONGEST: usize = 1 << 30;
/// Bytes before the archive's in a message: CopyData, its length, and `d`.
const HEAD: usize = 6;

/// Messages that are ready to be sent.
#[derive(Clone, Default)]
pub(super) struct Frames(Arc<Mutex<Inner>>);

#[derive(Default)]
struct Inner {
    out: BytesMut,
    /// Where the message begins that is still being added to.
    open: Option<usize>,
    /// Whether archive bytes are thrown away.
    discard: bool,
}

impl Frames {
    pub(super) fn new(discard: bool) -> Self {
        Self(Arc::new(Mutex::new(Inner { discard, ..Inner::default() })))
    }

    /// How much there is.
    pub(super) fn len(&self) -> usize {
        self.inner().out.len()
    }

    /// Adds a message of its own.
    pub(super) fn message(&self, message: &BackupMessage) {
        let mut inner = self.inner();
        inner.close();
        let at = inner.out.len();
        inner.out.put_u8(b'd');
        inner.out.put_u32(0);
        message.encode(&mut inner.out);
        inner.set_length(at);
    }

    /// Moves everything to the end of `out`.
    pub(super) fn take(&self, out: &mut BytesMut) {
        let mut inner = self.inner();
        inner.close();
        assert!(inner.open.is_none(), "a message that is sent is complete");
        out.unsplit(inner.out.split());
    }

    fn inner(&self) -> runtime::sync::MutexGuard<'_, Inner> {
        self.0.lock()
    }
}

impl Inner {
    fn close(&mut self) {
        if let Some(at) = self.open.take() {
            self.set_length(at);
        }
    }

    fn set_length(&mut self, at: usize) {
        assert!(at + HEAD <= self.out.len(), "a message has its head and at least a kind");
        let length = self.out.len() - at - 1;
        assert!(length < LONGEST, "a message is closed soon after {MESSAGE} bytes, and not after {length}");
        let length = length as u32;
        if let Some(field) = self.out.get_mut(at + 1..at + 5) {
            field.copy_from_slice(&length.to_be_bytes());
        }
    }
}

impl Write for Frames {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut inner = self.inner();
        if inner.discard {
            return Ok(bytes.len());
        }
        let at = match inner.open {
            Some(at) => at,
            None => {
                let at = inner.out.len();
                inner.out.put_slice(b"d\0\0\0\0d");
                inner.open = Some(at);
                at
            }
        };
        assert!(at + HEAD <= inner.out.len(), "an open message has its head");
        inner.out.extend_from_slice(bytes);
        if inner.out.len() - at >= MESSAGE + HEAD {
            inner.close();
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The archive: members one after the other, each as long as its header says.
pub(super) struct Archive {
    encoder: Encoder<Frames>,
    owner: Owner,
    /// How much of the member at hand is still to come, in bytes.
    left: u64,
}

impl Archive {
    pub(super) fn new(compression: Option<Settings>, frames: Frames) -> io::Result<Self> {
        let owner =
            Owner { uid: rustix::process::getuid().as_raw(), gid: rustix::process::getgid().as_raw() };
        Ok(Self { encoder: Encoder::new(compression, frames)?, owner, left: 0 })
    }

    /// Begins a member; its content follows, and then [`Archive::end_member`].
    pub(super) fn begin_member(&mut self, header: &Header) -> io::Result<()> {
        assert_eq!(self.left, 0, "a member is complete before the next, \"{}\", begins", header.path);
        self.left = header.size;
        let block = header.encode(self.owner).map_err(|error: HeaderError| io::Error::other(error))?;
        self.encoder.write_all(&block)
    }

    pub(super) fn content(&mut self, bytes: &[u8]) -> io::Result<()> {
        let count = bytes.len() as u64;
        assert!(
            count <= self.left,
            "{count} bytes are of the member at hand, of which {} are to come",
            self.left
        );
        self.left -= count;
        self.encoder.write_all(bytes)
    }

    pub(super) fn end_member(&mut self, size: u64) -> io::Result<()> {
        assert_eq!(self.left, 0, "a member is as long as its header says, {size} bytes");
        self.encoder.write_all(TRAILER.get(..padding(size)).unwrap_or_default())
    }

    /// Ends the archive.
    pub(super) fn finish(mut self) -> io::Result<()> {
        assert_eq!(self.left, 0, "the last member is complete before the archive ends");
        self.encoder.write_all(&TRAILER)?;
        self.encoder.finish()?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::RelativePath;
    use crate::tar::MemberKind;

    #[test]
    #[should_panic(expected = "a member is as long as its header says, 10 bytes")]
    fn no_member_is_shorter_than_its_header_says() {
        let path = RelativePath::new(b"base/5/16384").unwrap();
        let header = Header { path, kind: MemberKind::File, mode: 0o600, size: 10, modified: 0 };
        let mut archive = Archive::new(None, Frames::new(false)).unwrap();
        archive.begin_member(&header).unwrap();
        archive.content(&[1; 4]).unwrap();
        archive.end_member(10).unwrap();
    }
}
