//! Streamed WAL kept in an archive of its own, `pg_wal.tar`, as `pg_basebackup -Ft -X stream` keeps it.

use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use wal::{SegmentNo, SegmentSize, TimelineId};
use walreceiver::sink::{SinkError, WalSink};

use super::archive::UNFINISHED;
use super::durability::SteadyFile;
use crate::RelativePath;
use crate::compression::{Encoder, Method, Settings};
use crate::tar::{Header, MemberKind, Owner, TRAILER, padding};

/// What PostgreSQL's tools put into the headers of WAL.
const OWNER: Owner = Owner { uid: 0, gid: 0 };

/// An archive of segments, as a sink of streamed WAL.
pub(super) struct WalArchive {
    path: PathBuf,
    /// `None` once it is complete.
    out: Option<Encoder<SteadyFile>>,
    file_mode: u32,
    durable: bool,
    /// The segment being written.
    current: Option<(String, SegmentSize)>,
}

impl WalArchive {
    /// The archive's file name under `compression`. As with PostgreSQL's tools only gzip applies to it.
    pub(super) fn file_name(compression: Option<Settings>) -> String {
        let gzip = Self::compression(compression).map_or("", |settings| settings.method.suffix());
        format!("pg_wal.tar{gzip}")
    }

    fn compression(settings: Option<Settings>) -> Option<Settings> {
        settings.filter(|settings| settings.method == Method::Gzip)
    }

    /// Creates the archive in `root`, under its unfinished name.
    pub(super) fn create(
        root: &Path,
        compression: Option<Settings>,
        file_mode: u32,
        durable: bool,
    ) -> Result<Self, SinkError> {
        let path = root.join(format!("{}{UNFINISHED}", Self::file_name(compression)));
        let file = std::fs::OpenOptions::new().write(true).create_new(true).mode(file_mode).open(&path);
        let file = SteadyFile::new(file.map_err(SinkError::on("create", &path))?, durable);
        let out =
            Encoder::new(Self::compression(compression), file).map_err(SinkError::on("create", &path))?;
        Ok(Self { path, out: Some(out), file_mode, durable, current: None })
    }

    fn header(&mut self, name: &str, size: u64) -> Result<(), SinkError> {
        let block = RelativePath::new(name.as_bytes()).map_err(io::Error::other).and_then(|path| {
            let modified = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
            let header = Header { path, kind: MemberKind::File, mode: self.file_mode, size, modified };
            header.encode(OWNER).map_err(io::Error::other)
        });
        let block = block.map_err(SinkError::on("write", &self.path))?;
        self.put(&block)
    }

    fn put(&mut self, bytes: &[u8]) -> Result<(), SinkError> {
        let Some(out) = &mut self.out else { return Ok(()) };
        out.write_all(bytes).map_err(SinkError::on("write", &self.path))
    }

    fn zeros(&mut self, mut length: usize) -> Result<(), SinkError> {
        const ZEROS: [u8; 8192] = [0; 8192];
        while length > 0 {
            let part = ZEROS.get(..length).unwrap_or(&ZEROS);
            self.put(part)?;
            length -= part.len();
        }
        Ok(())
    }

    /// So that a server started from the backup does not archive it again.
    fn mark_done(&mut self, name: &str) -> Result<(), SinkError> {
        self.header(&format!("archive_status/{name}.done"), 0)
    }
}

impl WalSink for WalArchive {
    fn begin(
        &mut self,
        timeline: TimelineId,
        segment: SegmentNo,
        size: SegmentSize,
    ) -> Result<(), SinkError> {
        assert!(self.current.is_none(), "a segment is ended before the next one begins");
        let name = segment.file_name(timeline, size);
        self.header(&name, u64::from(size.bytes()))?;
        self.current = Some((name, size));
        Ok(())
    }

    fn write(&mut self, offset: u32, bytes: &[u8]) -> Result<(), SinkError> {
        let within = self
            .current
            .as_ref()
            .is_some_and(|(_, size)| u64::from(offset) + bytes.len() as u64 <= u64::from(size.bytes()));
        assert!(within, "what is written lies in the segment that was begun");
        self.put(bytes)
    }

    fn end(&mut self, written: u32) -> Result<(), SinkError> {
        let Some((name, size)) = self.current.take() else { return Ok(()) };
        assert!(written <= size.bytes(), "no more is written of a segment than it is long");
        self.zeros(size.bytes().saturating_sub(written) as usize)?;
        self.mark_done(&name)
    }

    fn history(&mut self, timeline: TimelineId, content: &[u8]) -> Result<(), SinkError> {
        let name = timeline.history_file_name();
        self.header(&name, content.len() as u64)?;
        self.put(content)?;
        self.zeros(padding(content.len() as u64))?;
        self.mark_done(&name)
    }

    fn finish(&mut self) -> Result<(), SinkError> {
        self.put(&TRAILER)?;
        let Some(out) = self.out.take() else { return Ok(()) };
        let file = out.finish().map_err(SinkError::on("write", &self.path))?.into_file();
        if self.durable {
            file.sync_all().map_err(SinkError::on("fsync", &self.path))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tar::{Event, Reader};

    #[test]
    fn segments_are_members_of_full_size_marked_as_archived() {
        let temp = tempfile::tempdir().unwrap();
        let mut archive = WalArchive::create(temp.path(), None, 0o600, false).unwrap();
        let size = SegmentSize::new(1 << 20).unwrap();
        archive.history(TimelineId::new(2), b"1\t0/100000\tno reason\n").unwrap();
        archive.begin(TimelineId::new(2), SegmentNo::new(3), size).unwrap();
        archive.write(0, &[1; 5000]).unwrap();
        archive.write(5000, &[2; 1]).unwrap();
        archive.end(5001).unwrap();
        archive.finish().unwrap();
        let bytes = std::fs::read(temp.path().join("pg_wal.tar.unfinished")).unwrap();
        let (mut reader, mut input, mut members) = (Reader::new(), bytes.as_slice(), Vec::new());
        while let Some(event) = reader.next(&mut input).unwrap() {
            if let Event::Begin(header) = event {
                members.push((header.path.to_string(), header.size));
            }
        }
        reader.finish().unwrap();
        let expected = [
            ("00000002.history", 21),
            ("archive_status/00000002.history.done", 0),
            ("000000020000000000000003", 1 << 20),
            ("archive_status/000000020000000000000003.done", 0),
        ];
        assert_eq!(members, expected.map(|(name, size)| (name.to_owned(), size)));
    }
}
