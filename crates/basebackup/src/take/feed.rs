//! The way from the connection to the thread that unpacks.
//!
//! The connection's task sends what it received in batches over a bounded channel, so that neither side wakes the other
//! for every 32 KiB and neither runs ahead without limit. The receiving thread sees sections (archives, the manifest)
//! and the bytes in them.

use std::io::{self, BufRead, Read, Write};

use bytes::{Buf, Bytes};
use replication::stream::BackupMessage;
use tokio::sync::mpsc;

/// How many batches may be under way. A batch is what one read of the socket gave.
const DEPTH: usize = 8;

/// What the connection hands over.
pub(super) enum Delivery {
    /// Messages in their order.
    Batch(Vec<BackupMessage>),
    /// The copy is complete.
    End,
}

/// Both ends of the way.
pub(super) fn channel() -> (mpsc::Sender<Delivery>, Feed) {
    let (sender, receiver) = mpsc::channel(DEPTH);
    (sender, Feed { receiver, batch: Vec::new().into_iter(), peeked: None, ended: false })
}

/// The receiving end.
pub(super) struct Feed {
    receiver: mpsc::Receiver<Delivery>,
    batch: std::vec::IntoIter<BackupMessage>,
    /// What ended the last section: the start of the next.
    peeked: Option<BackupMessage>,
    ended: bool,
}

/// What comes next in a copy.
pub(super) enum Section {
    /// An archive.
    Archive { name: String, tablespace_path: String },
    /// The manifest.
    Manifest,
}

/// Why a feed stops giving.
#[derive(Debug, thiserror::Error)]
pub(super) enum FeedError {
    /// The connection's side gave up, and says why itself.
    #[error("the backup was given up")]
    Abandoned,
    /// Bytes that belong to no section.
    #[error("server sent data outside of an archive")]
    StrayData,
}

impl Feed {
    /// The next section, once the current one's data has been read; `None` at the end of the copy.
    pub(super) fn next_section(&mut self) -> Result<Option<Section>, FeedError> {
        match self.next()? {
            None => Ok(None),
            Some(BackupMessage::NewArchive { name, tablespace_path }) => {
                Ok(Some(Section::Archive { name, tablespace_path }))
            }
            Some(BackupMessage::Manifest) => Ok(Some(Section::Manifest)),
            Some(BackupMessage::Data(_) | BackupMessage::Progress(_)) => Err(FeedError::StrayData),
        }
    }

    /// The next bytes of the current section; `None` at its end.
    pub(super) fn next_data(&mut self) -> Result<Option<Bytes>, FeedError> {
        match self.next()? {
            Some(BackupMessage::Data(bytes)) => Ok(Some(bytes)),
            other => {
                assert!(self.peeked.is_none(), "one message ends a section");
                self.peeked = other;
                Ok(None)
            }
        }
    }

    /// The next message but for progress reports, which are of no concern here; `None` at the end of the copy.
    fn next(&mut self) -> Result<Option<BackupMessage>, FeedError> {
        if let Some(message) = self.peeked.take() {
            return Ok(Some(message));
        }
        loop {
            match self.batch.next() {
                Some(BackupMessage::Progress(_)) => {}
                Some(message) => return Ok(Some(message)),
                None if self.ended => return Ok(None),
                None => match self.receiver.blocking_recv() {
                    Some(Delivery::Batch(batch)) => self.batch = batch.into_iter(),
                    Some(Delivery::End) => self.ended = true,
                    None => return Err(FeedError::Abandoned),
                },
            }
        }
    }
}

/// The bytes of one section, for readers that pull; each chunk is also written to `tee`.
pub(super) struct SectionReader<'a> {
    feed: &'a mut Feed,
    chunk: Bytes,
    tee: Option<&'a mut dyn Write>,
}

impl<'a> SectionReader<'a> {
    pub(super) fn new(feed: &'a mut Feed, tee: Option<&'a mut dyn Write>) -> Self {
        Self { feed, chunk: Bytes::new(), tee }
    }
}

impl BufRead for SectionReader<'_> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        while self.chunk.is_empty() {
            match self.feed.next_data().map_err(io::Error::other)? {
                Some(chunk) => self.chunk = chunk,
                None => break,
            }
            if let Some(tee) = &mut self.tee {
                tee.write_all(&self.chunk)?;
            }
        }
        Ok(&self.chunk)
    }

    fn consume(&mut self, amount: usize) {
        self.chunk.advance(amount.min(self.chunk.len()));
    }
}

impl Read for SectionReader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let available = self.fill_buf()?;
        let length = available.len().min(buffer.len());
        if let (Some(to), Some(from)) = (buffer.get_mut(..length), available.get(..length)) {
            to.copy_from_slice(from);
        }
        self.consume(length);
        Ok(length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn data(bytes: &'static [u8]) -> BackupMessage {
        BackupMessage::Data(Bytes::from_static(bytes))
    }

    fn archive(name: &str) -> BackupMessage {
        BackupMessage::NewArchive { name: name.to_owned(), tablespace_path: String::new() }
    }

    #[test]
    fn sections_are_separated_and_progress_is_dropped() {
        let (sender, mut feed) = channel();
        let batches = [
            vec![archive("base.tar"), data(b"ab"), BackupMessage::Progress(1)],
            vec![],
            vec![data(b"c"), BackupMessage::Manifest, data(b"m")],
        ];
        for batch in batches {
            sender.try_send(Delivery::Batch(batch)).ok().unwrap();
        }
        sender.try_send(Delivery::End).ok().unwrap();
        assert!(matches!(feed.next_section(), Ok(Some(Section::Archive { name, .. })) if name == "base.tar"));
        let (mut bytes, mut tee) = (Vec::new(), Vec::new());
        SectionReader::new(&mut feed, Some(&mut tee)).read_to_end(&mut bytes).unwrap();
        assert_eq!((bytes.as_slice(), tee.as_slice()), (&b"abc"[..], &b"abc"[..]));
        assert!(matches!(feed.next_section(), Ok(Some(Section::Manifest))));
        assert_eq!(feed.next_data().unwrap().unwrap(), "m");
        assert!(feed.next_data().unwrap().is_none());
        assert!(feed.next_section().unwrap().is_none());
    }

    #[test]
    fn a_lost_connection_is_not_an_end() {
        let (sender, mut feed) = channel();
        sender.try_send(Delivery::Batch(vec![archive("base.tar")])).ok().unwrap();
        drop(sender);
        assert!(feed.next_section().unwrap().is_some());
        assert!(matches!(feed.next_data(), Err(FeedError::Abandoned)));
    }

    #[test]
    fn data_belongs_to_a_section() {
        let (sender, mut feed) = channel();
        sender.try_send(Delivery::Batch(vec![data(b"x")])).ok().unwrap();
        assert!(matches!(feed.next_section(), Err(FeedError::StrayData)));
    }
}
