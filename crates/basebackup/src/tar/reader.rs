//! Taking an archive apart while it arrives.

use super::header::{BLOCK_SIZE, Header, HeaderError};
use super::padding;
use crate::RelativePath;

/// What the reader found next.
#[derive(Debug)]
pub enum Event<'a> {
    /// A member begins. `header.size` bytes of data events follow, then [`Event::End`].
    Begin(Header),
    /// Contents of the member; never empty.
    Data(&'a [u8]),
    /// The member is complete. (Its padding has not been checked yet and is of no interest.)
    End,
}

/// Why bytes are not an archive.
#[derive(Debug, thiserror::Error)]
pub enum TarError {
    /// A bad header, and where it is.
    #[error("invalid archive at byte {offset}: {source}")]
    Header {
        /// Bytes from the start of the archive.
        offset: u64,
        /// What is wrong.
        source: HeaderError,
    },
    /// Contents after the end marker.
    #[error("archive has data after its end marker")]
    AfterTrailer,
    /// The archive ended within a member.
    #[error("archive is truncated within file \"{0}\"")]
    TruncatedMember(RelativePath),
    /// The archive ended within a header or without its end marker.
    #[error("archive is truncated: it has no end marker")]
    Truncated,
}

/// An archive being read. Feed it with [`Reader::next`], then ask [`Reader::finish`] whether that was all of it.
#[derive(Debug)]
pub struct Reader {
    state: State,
    /// The header so far, `filled` bytes of it.
    block: [u8; BLOCK_SIZE],
    filled: usize,
    /// The member being read, for messages.
    member: Option<RelativePath>,
    /// How much of the archive has been consumed, in bytes.
    offset: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Collecting a header.
    Header,
    /// Handing out contents; that many bytes and then that many of padding are left.
    Contents { left: u64, padding: usize },
    /// Skipping padding.
    Padding { left: usize },
    /// One block of zeros was seen; another ends the archive.
    Trailer,
    /// After the end marker, where only zeros may follow.
    Ended,
}

impl Default for Reader {
    fn default() -> Self {
        Self::new()
    }
}

impl Reader {
    /// A reader at the start of an archive.
    pub fn new() -> Self {
        Self { state: State::Header, block: [0; BLOCK_SIZE], filled: 0, member: None, offset: 0 }
    }

    /// Takes what it needs from the front of `input`, which is what came after the bytes given before, and says what it
    /// found; `None` once `input` is used up.
    pub fn next<'a>(&mut self, input: &mut &'a [u8]) -> Result<Option<Event<'a>>, TarError> {
        loop {
            match self.state {
                State::Contents { left: 0, padding } => {
                    self.state = State::Padding { left: padding };
                    return Ok(Some(Event::End));
                }
                _ if input.is_empty() => return Ok(None),
                State::Contents { left, padding } => {
                    let data = self.take(input, left);
                    assert!(!data.is_empty(), "contents are never empty");
                    assert!(data.len() as u64 <= left, "contents are no longer than their header says");
                    self.state = State::Contents { left: left - data.len() as u64, padding };
                    return Ok(Some(Event::Data(data)));
                }
                State::Padding { left: 0 } => {
                    self.member = None;
                    self.state = State::Header;
                }
                State::Padding { left } => {
                    let skipped = self.take(input, left as u64).len();
                    assert!(skipped <= left, "padding ends with its block");
                    self.state = State::Padding { left: left - skipped };
                }
                State::Header | State::Trailer => {
                    if let Some(header) = self.header(input)? {
                        self.state = State::Contents { left: header.size, padding: padding(header.size) };
                        self.member = Some(header.path.clone());
                        return Ok(Some(Event::Begin(header)));
                    }
                }
                State::Ended => {
                    let rest = self.take(input, u64::MAX);
                    if rest.iter().any(|byte| *byte != 0) {
                        return Err(TarError::AfterTrailer);
                    }
                }
            }
        }
    }

    /// The header of the member being read, as it was sent.
    pub fn block(&self) -> &[u8; BLOCK_SIZE] {
        &self.block
    }

    /// Whether the archive is complete: its end marker has been seen.
    pub fn finish(&self) -> Result<(), TarError> {
        match (&self.member, self.state) {
            (_, State::Ended) => Ok(()),
            (Some(member), State::Contents { .. } | State::Padding { left: 1.. }) => {
                Err(TarError::TruncatedMember(member.clone()))
            }
            _ => Err(TarError::Truncated),
        }
    }

    /// Adds to the header; a complete one is returned, blocks of zeros change the state.
    fn header(&mut self, input: &mut &[u8]) -> Result<Option<Header>, TarError> {
        assert!(self.filled < BLOCK_SIZE, "a whole header is taken at once");
        let part = self.take(input, (BLOCK_SIZE - self.filled) as u64);
        if let Some(target) = self.block.get_mut(self.filled..self.filled + part.len()) {
            target.copy_from_slice(part);
        }
        self.filled += part.len();
        if self.filled < BLOCK_SIZE {
            return Ok(None);
        }
        self.filled = 0;
        assert!(self.offset.is_multiple_of(BLOCK_SIZE as u64), "members begin and end with blocks");
        if self.block.iter().all(|byte| *byte == 0) {
            self.state = if self.state == State::Header { State::Trailer } else { State::Ended };
            return Ok(None);
        }
        if self.state == State::Trailer {
            return Err(TarError::AfterTrailer);
        }
        let offset = self.offset - BLOCK_SIZE as u64;
        let header = Header::decode(&self.block).map_err(|source| TarError::Header { offset, source })?;
        Ok(Some(header))
    }

    fn take<'b>(&mut self, input: &mut &'b [u8], at_most: u64) -> &'b [u8] {
        let length = usize::try_from(at_most).map_or(input.len(), |at_most| at_most.min(input.len()));
        let (taken, rest) = input.split_at(length);
        *input = rest;
        self.offset += length as u64;
        taken
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::{MemberKind, Owner, TRAILER};
    use super::*;

    /// Members and their contents.
    type Members = Vec<(Header, Vec<u8>)>;

    fn archive(members: &[(&str, &[u8])]) -> Vec<u8> {
        let mut out = Vec::new();
        for (name, contents) in members {
            let (name, kind) = match name.strip_suffix('/') {
                Some(name) => (name, MemberKind::Directory),
                None => (*name, MemberKind::File),
            };
            let path = RelativePath::new(name.as_bytes()).unwrap();
            let header = Header { path, kind, mode: 0o600, size: contents.len() as u64, modified: 0 };
            out.extend(header.encode(Owner { uid: 0, gid: 0 }).unwrap());
            out.extend(*contents);
            out.extend(vec![0; padding(contents.len() as u64)]);
        }
        out.extend(TRAILER);
        out
    }

    fn read<'a>(chunks: impl Iterator<Item = &'a [u8]>) -> Result<Members, TarError> {
        let mut reader = Reader::new();
        let mut members = Members::new();
        let mut open = false;
        for mut chunk in chunks {
            while let Some(event) = reader.next(&mut chunk)? {
                match event {
                    Event::Begin(header) => {
                        assert!(!open);
                        open = true;
                        members.push((header, Vec::new()));
                    }
                    Event::Data(data) => members.last_mut().unwrap().1.extend(data),
                    Event::End => {
                        assert!(open);
                        open = false;
                    }
                }
            }
        }
        reader.finish()?;
        assert!(!open);
        Ok(members)
    }

    #[test]
    fn members_of_every_size_come_out_whole() {
        let large = vec![7; 100_000];
        let bytes =
            archive(&[("a", b""), ("d/", b""), ("d/b", &[1; 512]), ("d/c", &[2; 513]), ("e", &large)]);
        let members = read(std::iter::once(bytes.as_slice())).unwrap();
        let lengths: Vec<_> =
            members.iter().map(|(header, data)| (header.path.to_string(), data.len())).collect();
        let expected = [("a", 0), ("d", 0), ("d/b", 512), ("d/c", 513), ("e", 100_000)];
        assert_eq!(lengths, expected.map(|(name, length)| (name.to_owned(), length)));
    }

    #[test]
    fn a_truncated_archive_is_never_complete() {
        let bytes = archive(&[("a", &[1; 600]), ("b", b"")]);
        for length in 0..bytes.len() {
            assert!(read(std::iter::once(&bytes[..length])).is_err(), "cut to {length} bytes");
        }
        let error = read(std::iter::once(&bytes[..700])).unwrap_err();
        assert_eq!(error.to_string(), "archive is truncated within file \"a\"");
    }

    #[test]
    fn nothing_may_follow_the_end() {
        let mut bytes = archive(&[("a", b"x")]);
        bytes.extend([0; 700]);
        assert!(read(std::iter::once(bytes.as_slice())).is_ok());
        bytes.push(1);
        assert!(matches!(read(std::iter::once(bytes.as_slice())), Err(TarError::AfterTrailer)));
        let mut hidden = archive(&[("a", b"x")]);
        let end = hidden.len() - BLOCK_SIZE;
        hidden.truncate(end);
        hidden.extend(archive(&[("b", b"y")]));
        assert!(matches!(read(std::iter::once(hidden.as_slice())), Err(TarError::AfterTrailer)));
    }

    #[test]
    fn a_bad_header_is_named_by_its_place() {
        let mut bytes = archive(&[("a", b"x"), ("b", b"y")]);
        bytes[1024] ^= 1;
        let error = read(std::iter::once(bytes.as_slice())).unwrap_err();
        assert_eq!(error.to_string(), "invalid archive at byte 1024: tar header checksum is wrong");
    }

    proptest! {
        #[test]
        fn chunking_makes_no_difference(
            contents in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..1500), 0..5),
            cuts in proptest::collection::vec(1usize..700, 1..20),
        ) {
            let names: Vec<_> = (0..contents.len()).map(|index| format!("dir/{index}")).collect();
            let members: Vec<_> = names.iter().map(String::as_str).zip(contents.iter().map(Vec::as_slice)).collect();
            let bytes = archive(&members);
            let mut rest = bytes.as_slice();
            let mut cuts = cuts.iter().cycle();
            let chunks = std::iter::from_fn(|| {
                let length = (*cuts.next()?).min(rest.len());
                let (chunk, left) = rest.split_at(length);
                rest = left;
                (length > 0).then_some(chunk)
            });
            let found: Vec<_> = read(chunks).unwrap().into_iter().map(|(_, data)| data).collect();
            prop_assert_eq!(found, contents);
        }

        #[test]
        fn garbage_is_an_error(bytes in proptest::collection::vec(1u8.., 512..3000)) {
            prop_assert!(read(bytes.chunks(100)).is_err());
        }
    }
}
