//! A segment's content, proved: its own file's, or what relatives have of it.

use std::path::Path;

use replication::waldir::{
    Compression, Content, Form, Holdings, LineWalk, Reach, STATUS_FILE, SegmentAnswer, Stand, StatusReader,
    WalDir, WalDirError, Worth, page_at_fault,
};
use wal::{
    Expectations, LogBytes, Lsn, SegmentNo, SegmentSize, TimelineHistory, TimelineId, Validator, Walk,
};

use super::{FetchError, beside};

/// A segment that was asked for.
#[derive(Clone, Copy)]
pub(super) struct Asked<'a> {
    pub(super) dir: &'a WalDir,
    pub(super) holdings: &'a Holdings,
    pub(super) timeline: TimelineId,
    pub(super) segment: SegmentNo,
}

impl Asked<'_> {
    /// The content of the whole segment; `None` if there is none, and nothing says that there should be.
    pub(super) fn content(&self) -> Result<Option<Vec<u8>>, FetchError> {
        let (timeline, segment) = (self.timeline, self.segment);
        let Some(history) = self.holdings.history(timeline) else { return self.of_a_stranger() };
        match self.holdings.find(timeline, segment, |stand| self.prove(&history, stand))? {
            SegmentAnswer::Found(mut bytes) => {
                bytes.resize(self.holdings.segment_size().bytes() as usize, 0);
                Ok(Some(bytes))
            }
            SegmentAnswer::Hole { from, evidence, .. } => {
                Err(FetchError::Hole { timeline, file: self.file_name(), from, evidence })
            }
            SegmentAnswer::Nothing => Ok(None),
        }
    }

    fn file_name(&self) -> String {
        self.segment.file_name(self.timeline, self.holdings.segment_size())
    }

    /// A timeline of which no history tells.
    fn of_a_stranger(&self) -> Result<Option<Vec<u8>>, FetchError> {
        let timeline = self.timeline;
        if let Some(error) = self.holdings.broken(timeline) {
            return Err(FetchError::History { timeline, reason: error.to_string() });
        }
        let has_wal = self.holdings.timelines().contains(&timeline);
        if self.holdings.stands(timeline, self.segment).is_empty() && !has_wal {
            return Ok(None);
        }
        let file = timeline.history_file_name();
        Err(FetchError::LostHistory { file, segment: self.file_name() })
    }

    /// What the file has of the segment: the bytes that count, after which there are zeros, and how far they are good; `None` if
    /// the file is gone.
    fn prove(
        &self,
        history: &TimelineHistory,
        stand: Stand<'_>,
    ) -> Result<Option<(Reach, Vec<u8>)>, FetchError> {
        let size = self.holdings.segment_size();
        let start = size.start_of(self.segment);
        let Some(mut content) = self.holdings.content(self.dir, stand.file)? else { return Ok(None) };
        let form = self.holdings.form(self.dir, self.segment, content.partial)?;
        if form == Form::Finished {
            self.check_length(stand, &content)?;
        }
        // Of a relative's file nothing past the fork is looked at: that is another history.
        let end = size.end_of(self.segment).min(stand.end);
        content.bytes.truncate(end.bytes_since(start) as usize);
        let mut bytes = LineBytes { asked: *self, history, own: &content.bytes, before: None };
        let mut walk = LineWalk::led_in(&mut bytes, self.segment, size, history);
        let path = || content.path.clone();
        let reach = match walk.segment(&mut bytes, self.segment, end, form) {
            Worth::Whole => Reach { end, page: None },
            // How far it got is what it is good for.
            Worth::Beginning(stopped_by) => {
                let page = stopped_by.as_ref().and_then(page_at_fault);
                Reach { end: walk.validator().record_end(), page }
            }
            Worth::Damaged(error) => return Err(FetchError::Damaged { path: path(), error }),
            Worth::Begin(begin) => {
                return Err(FetchError::Begin { timeline: self.timeline, begin, path: path() });
            }
            Worth::Short => return Err(self.wrong_size(&content, content.bytes.len() as u64)),
            Worth::Unreadable(error) => return Err(error.into()),
        };
        let durable = if content.partial { durable_end(self.dir, stand.file.timeline)? } else { Lsn::MAX };
        let reach = Reach { end: reach.end.min(durable), ..reach };
        content.bytes.truncate(reach.end.bytes_since(start) as usize);
        Ok(Some((reach, content.bytes)))
    }

    fn check_length(&self, stand: Stand<'_>, content: &Content) -> Result<(), FetchError> {
        let plain = stand.file.compression == Compression::None && !stand.file.partial;
        let found = if plain { stand.file.len } else { content.bytes.len() as u64 };
        let expected = u64::from(self.holdings.segment_size().bytes());
        if found == expected && content.bytes.len() as u64 == found {
            return Ok(());
        }
        Err(self.wrong_size(content, found))
    }

    fn wrong_size(&self, content: &Content, found: u64) -> FetchError {
        let expected = self.holdings.segment_size().bytes();
        FetchError::WrongSize { path: content.path.clone(), found, expected }
    }
}

/// The bytes of the line that leads to a segment: of the segment what its file has, and the whole segments before it.
struct LineBytes<'a> {
    asked: Asked<'a>,
    history: &'a TimelineHistory,
    own: &'a [u8],
    /// The segment before that was read last; empty if it is not here, or not whole.
    before: Option<(SegmentNo, Vec<u8>)>,
}

impl LogBytes for LineBytes<'_> {
    type Error = WalDirError;

    fn read_at(&mut self, lsn: Lsn, buf: &mut [u8]) -> Result<usize, WalDirError> {
        let size = self.asked.holdings.segment_size();
        let segment = size.segment_of(lsn);
        let bytes = if segment == self.asked.segment { self.own } else { self.whole(segment) };
        let rest = bytes.get(size.offset_of(lsn) as usize..).unwrap_or_default();
        let count = rest.len().min(buf.len());
        buf.split_at_mut(count).0.copy_from_slice(rest.split_at(count).0);
        Ok(count)
    }
}

impl LineBytes<'_> {
    /// The content of a segment of the line, if all of it is here. What is wrong with it is told when it is asked for.
    fn whole(&mut self, segment: SegmentNo) -> &[u8] {
        let Asked { dir, holdings, .. } = self.asked;
        let content = match self.before.take() {
            Some((number, content)) if number == segment => content,
            _ => {
                let size = holdings.segment_size();
                let stands = holdings.stands(holdings.owner(self.history, segment), segment);
                let whole = stands.into_iter().filter(|stand| stand.end >= size.end_of(segment));
                let content = |stand: Stand<'_>| holdings.content(dir, stand.file).ok().flatten();
                let mut found = whole.filter_map(content).map(|content| content.bytes);
                found.find(|bytes| bytes.len() == size.bytes() as usize).unwrap_or_default()
            }
        };
        let (_, content) = self.before.insert((segment, content));
        content
    }
}

/// How far the directory's writer, if it lives, calls its timeline's WAL durable.
fn durable_end(dir: &WalDir, timeline: TimelineId) -> Result<Lsn, WalDirError> {
    let reader = StatusReader::open(dir);
    let reader = reader.map_err(|source| WalDirError::Io { path: dir.path().join(STATUS_FILE), source })?;
    let status = reader.map(|reader| reader.read());
    Ok(match status.as_ref().and_then(|status| status.live()) {
        Some(live) if live.timeline == timeline => live.flush,
        _ => Lsn::MAX,
    })
}

/// Whether the server that asks has the segment itself, valid as far as the hole would hide it: in its `pg_wal`, where it
/// looks for what is not in the archive.
pub(super) fn server_has(
    dir: &WalDir,
    target: &Path,
    (timeline, segment): (TimelineId, SegmentNo),
    size: SegmentSize,
) -> bool {
    let Ok(holdings) = Holdings::read(dir, size) else { return false };
    let name = segment.file_name(timeline, size);
    let (Some(path), Some(history), Some((needed, _))) =
        (beside(target, &name), holdings.history(timeline), holdings.must_reach(timeline, segment))
    else {
        return false;
    };
    let Ok(bytes) = std::fs::read(path) else { return false };
    let start = size.start_of(segment);
    let mut walk = Walk::new(Validator::new(start, Expectations::new(size, history)));
    walk.take(start, &bytes, needed).is_ok() && walk.validator().position() >= needed
}
