//! Compressed segment files, as `pg_receivewal -Z` writes them: gzip streams and LZ4 frames.
//!
//! A segment is decompressed as a whole, into at most one segment's worth of memory.

use std::io::{self, Read};

use disk::DiskFile;
use flate2::read::MultiGzDecoder;
use lz4_flex::frame::FrameDecoder;
use wal::SegmentSize;

/// How a segment file is compressed.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Compression {
    /// Not at all.
    None,
    /// gzip, `.gz`.
    Gzip,
    /// LZ4 frame format, `.lz4`.
    Lz4,
}

impl Compression {
    /// All of them, the one cheapest to read first.
    pub const ALL: [Self; 3] = [Self::None, Self::Lz4, Self::Gzip];

    /// What is appended to a segment's name (before `.partial`).
    pub const fn suffix(self) -> &'static str {
        match self {
            Self::None => "",
            Self::Gzip => ".gz",
            Self::Lz4 => ".lz4",
        }
    }

    /// The uncompressed length of a file: taken from the trailer of a gzip file, as PostgreSQL does, and counted in
    /// an LZ4 file, but not much further than a segment is long.
    pub(super) fn content_len(self, file: &dyn DiskFile, size: SegmentSize) -> io::Result<u64> {
        let len = file.len()?;
        match self {
            Self::None => Ok(len),
            Self::Gzip => {
                let mut trailer = [0; 4];
                file.read_exact_at(&mut trailer, len.checked_sub(4).ok_or(io::ErrorKind::UnexpectedEof)?)?;
                Ok(u32::from_le_bytes(trailer).into())
            }
            Self::Lz4 => {
                let mut content = self.reader(file).take(u64::from(size.bytes()) + 1);
                io::copy(&mut content, &mut io::sink())
            }
        }
    }

    /// Decompresses a file, which must not hold more than a segment. Of an unfinished one (`.partial`), what can be
    /// read so far.
    pub(super) fn read_all(
        self,
        file: &dyn DiskFile,
        size: SegmentSize,
        partial: bool,
    ) -> io::Result<Vec<u8>> {
        let mut content = Vec::new();
        let limit = u64::from(size.bytes());
        match self.reader(file).take(limit + 1).read_to_end(&mut content) {
            Err(error) if partial && error.kind() == io::ErrorKind::UnexpectedEof => {}
            Err(error) => return Err(error),
            Ok(_) => {}
        }
        if content.len() as u64 > limit {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "more content than a WAL segment has"));
        }
        Ok(content)
    }

    /// The first bytes of a file's content, as many as there are up to `buf`'s length.
    pub(super) fn read_head(self, file: &dyn DiskFile, buf: &mut [u8]) -> io::Result<usize> {
        let mut reader = self.reader(file);
        let mut filled = 0;
        while filled < buf.len() {
            match reader.read(buf.split_at_mut(filled).1) {
                Ok(0) => break,
                Ok(count) => filled += count,
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => break,
                Err(error) => return Err(error),
            }
        }
        Ok(filled)
    }

    fn reader<'a>(self, file: &'a dyn DiskFile) -> Box<dyn Read + 'a> {
        let file = io::BufReader::with_capacity(128 << 10, Cursor { file, offset: 0 });
        match self {
            Self::None => Box::new(file),
            Self::Gzip => Box::new(MultiGzDecoder::new(file)),
            Self::Lz4 => Box::new(FrameDecoder::new(file)),
        }
    }
}

/// A file read from its beginning on.
struct Cursor<'a> {
    file: &'a dyn DiskFile,
    offset: u64,
}

impl Read for Cursor<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read_at(buf, self.offset)?;
        self.offset += count as u64;
        Ok(count)
    }
}

#[cfg(test)]
pub(super) fn compress(compression: Compression, content: &[u8]) -> Vec<u8> {
    use std::io::Write;
    match compression {
        Compression::None => content.to_vec(),
        Compression::Gzip => {
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            encoder.write_all(content).unwrap();
            encoder.finish().unwrap()
        }
        Compression::Lz4 => {
            // Linked blocks of 64 KiB are what the LZ4 library writes unless told otherwise.
            let info = lz4_flex::frame::FrameInfo::new()
                .block_size(lz4_flex::frame::BlockSize::Max64KB)
                .block_mode(lz4_flex::frame::BlockMode::Linked);
            let mut encoder = lz4_flex::frame::FrameEncoder::with_frame_info(info, Vec::new());
            encoder.write_all(content).unwrap();
            encoder.finish().unwrap()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use disk::{Disk, OpenMode, SimDisk};
    use proptest::prelude::*;

    fn file(content: &[u8]) -> Box<dyn DiskFile> {
        let file = SimDisk::new().open("f".as_ref(), OpenMode::CreateNew).unwrap();
        file.write_all_at(content, 0).unwrap();
        file
    }

    fn segment() -> (SegmentSize, Vec<u8>) {
        let size = SegmentSize::new(1 << 20).unwrap();
        // Hard to compress, so that half a file holds whole blocks.
        (size, (0..size.bytes()).map(|at| (at.wrapping_mul(0x9E37_79B1) >> 24) as u8).collect())
    }

    #[test]
    fn content_and_its_length_come_back() {
        let (size, content) = segment();
        for compression in Compression::ALL {
            let file = file(&compress(compression, &content));
            assert_eq!(compression.content_len(&*file, size).unwrap(), content.len() as u64);
            assert!(compression.read_all(&*file, size, false).unwrap() == content);
        }
    }

    #[test]
    fn of_a_cut_file_the_beginning_is_read_only_if_it_may_be_unfinished() {
        let (size, content) = segment();
        for compression in [Compression::Gzip, Compression::Lz4] {
            let whole = compress(compression, &content);
            let file = file(&whole[..whole.len() / 2]);
            assert!(compression.read_all(&*file, size, false).is_err());
            let read = compression.read_all(&*file, size, true).unwrap();
            assert!(!read.is_empty() && content.starts_with(&read), "{compression:?}");
        }
    }

    #[test]
    fn a_bomb_is_refused_at_the_size_of_a_segment() {
        let size = SegmentSize::new(1 << 20).unwrap();
        for compression in Compression::ALL {
            let file = file(&compress(compression, &vec![0; 8 << 20]));
            assert!(compression.read_all(&*file, size, true).is_err());
        }
    }

    proptest! {
        #[test]
        fn garbage_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..300), magic in 0..3usize) {
            let size = SegmentSize::new(1 << 20).unwrap();
            let mut content = [&[][..], &[0x1f, 0x8b, 8], &[0x04, 0x22, 0x4d, 0x18]][magic].to_vec();
            content.extend(bytes);
            let file = file(&content);
            for compression in Compression::ALL {
                let _ = compression.content_len(&*file, size);
                let _ = compression.read_all(&*file, size, true);
            }
        }
    }
}
