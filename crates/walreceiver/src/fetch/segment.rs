//! A segment's content, proved: its own file's, or what relatives have of it.

use std::path::Path;

use replication::waldir::{Content, Holdings, Stand, StatusReader, WalDir, WalDirError};
use wal::page::{PAGE_SIZE, PageHeader};
use wal::{
    Expectations, Lsn, SegmentNo, SegmentSize, Tail, TimelineHistory, TimelineId, Validator, WalError,
    WalErrorKind,
};

use super::{FetchError, beside};

/// How many segments are looked at before one, at most: as many as a record may fill, if they are of a usual size.
const LONGEST_RECORD: usize = 64;

/// A segment that was asked for.
#[derive(Clone, Copy)]
pub(super) struct Asked<'a> {
    pub(super) dir: &'a WalDir,
    pub(super) holdings: &'a Holdings,
    pub(super) timeline: TimelineId,
    pub(super) segment: SegmentNo,
}

/// What a file has of the segment.
struct Found {
    /// The bytes that count; the rest of the segment is zeros.
    bytes: Vec<u8>,
    /// The end of what is known to be good.
    end: Lsn,
    /// The page that is not there, or is not good: a timeline may have begun with it, after a record that was given up.
    page: Option<Lsn>,
}

impl Asked<'_> {
    /// The content of the whole segment; `None` if there is none, and nothing says that there should be.
    pub(super) fn content(&self) -> Result<Option<Vec<u8>>, FetchError> {
        let stands = self.holdings.stands(self.timeline, self.segment);
        let Some(history) = self.holdings.history(self.timeline) else { return self.of_a_stranger(&stands) };
        let needed = self.holdings.must_reach(self.timeline, self.segment);
        let mut from = self.holdings.segment_size().start_of(self.segment);
        for stand in stands {
            let Some(mut found) = self.prove(&history, stand)? else { continue };
            if needed.as_ref().is_none_or(|&(needed, _)| needed <= found.end || found.page == Some(needed)) {
                if found.bytes.is_empty() && stand.end == Lsn::MAX {
                    continue;
                }
                found.bytes.resize(self.holdings.segment_size().bytes() as usize, 0);
                return Ok(Some(found.bytes));
            }
            from = from.max(found.end);
        }
        match needed {
            None => Ok(None),
            Some((_, evidence)) => {
                Err(FetchError::Hole { timeline: self.timeline, file: self.file_name(), from, evidence })
            }
        }
    }

    fn file_name(&self) -> String {
        self.segment.file_name(self.timeline, self.holdings.segment_size())
    }

    /// A timeline of which no history tells.
    fn of_a_stranger(&self, stands: &[Stand<'_>]) -> Result<Option<Vec<u8>>, FetchError> {
        let timeline = self.timeline;
        if let Some(error) = self.holdings.broken(timeline) {
            return Err(FetchError::History { timeline, reason: error.to_string() });
        }
        let has_wal = self.holdings.timelines().contains(&timeline);
        if stands.is_empty() && !has_wal {
            return Ok(None);
        }
        let file = timeline.history_file_name();
        Err(FetchError::LostHistory { file, segment: self.file_name() })
    }

    /// What the file has of the segment, and that it is good; `None` if the file is gone.
    fn prove(&self, history: &TimelineHistory, stand: Stand<'_>) -> Result<Option<Found>, FetchError> {
        let size = self.holdings.segment_size();
        let start = size.start_of(self.segment);
        let Some(mut content) = self.holdings.content(self.dir, stand.file)? else { return Ok(None) };
        let unfinished = self.is_unfinished(&content)?;
        if !unfinished {
            self.check_length(stand, &content)?;
        }
        // Of a relative's file nothing past the fork is looked at: that is another history.
        content.bytes.truncate(stand.end.bytes_since(start).min(u64::from(size.bytes())) as usize);
        let mut validator = self.validator_with_previous(history);
        let begin = history.begin();
        let outcome = feed_over(&mut validator, start, &content.bytes, begin);
        if outcome.is_ok() && !begins_well(&validator, start, begin) {
            return Err(FetchError::Begin { timeline: self.timeline, begin, path: content.path });
        }
        let outcome = outcome.and_then(|()| {
            let done = validator.position().bytes_since(start) as usize;
            validator.feed(content.bytes.get(done..).unwrap_or_default())
        });
        let error = outcome.err();
        // An unfinished file may end; how far it got is what it is good for.
        match &error {
            Some(error) if !unfinished || !self.is_clean_end(&validator, &content, Some(error)) => {
                return Err(FetchError::Damaged { path: content.path, error: error.clone() });
            }
            None if content.partial
                && stand.end == Lsn::MAX
                && !self.is_clean_end(&validator, &content, None) =>
            {
                let reason = WalErrorKind::HiddenEnd;
                let error = WalError { lsn: validator.record_end(), reason };
                return Err(FetchError::Damaged { path: content.path, error });
            }
            _ => {}
        }
        Ok(Some(self.up_to(content, &validator, error.as_ref(), stand)))
    }

    /// In a server's own pg_wal the segment being written has a finished one's name, and stale bytes after its end.
    fn is_unfinished(&self, content: &Content) -> Result<bool, WalDirError> {
        let is_last = || self.holdings.files().keys().all(|&(_, other)| other <= self.segment);
        Ok(content.partial || (is_last() && self.dir.control_file()?.is_some()))
    }

    fn check_length(&self, stand: Stand<'_>, content: &Content) -> Result<(), FetchError> {
        let expected = self.holdings.segment_size().bytes();
        let plain = stand.file.compression == replication::waldir::Compression::None && !stand.file.partial;
        let found = if plain { stand.file.len } else { content.bytes.len() as u64 };
        if found == u64::from(expected) && content.bytes.len() as u64 == found {
            return Ok(());
        }
        Err(FetchError::WrongSize { path: content.path.clone(), found, expected })
    }

    /// A validator at the segment's start, which knows the segment before if that is here and good, and those before it in
    /// which a record goes on that began earlier still. If they are not, this segment is judged by itself.
    fn validator_with_previous(&self, history: &TimelineHistory) -> Validator {
        let size = self.holdings.segment_size();
        let start = size.start_of(self.segment);
        let expect = Expectations::new(size, history.clone());
        let mut before = Vec::new();
        let mut first = self.segment;
        while let Some(segment) = first.as_u64().checked_sub(1).map(SegmentNo::new)
            && let Some(content) = self.whole(history, segment)
        {
            first = segment;
            let header = PageHeader::decode(&content).ok();
            before.push(content);
            // Only where all of it is the rest of one record does it matter what came before.
            if header.is_none_or(|header| header.rem_len < size.bytes()) || before.len() >= LONGEST_RECORD {
                break;
            }
        }
        let mut validator = Validator::new(size.start_of(first), expect.clone());
        // What is wrong with them is told when they are asked for.
        let good = before.iter().rev().all(|content| validator.feed(content).is_ok());
        if good && validator.position() == start { validator } else { Validator::new(start, expect) }
    }

    /// The content of a segment of the line, if all of it is here.
    fn whole(&self, history: &TimelineHistory, segment: SegmentNo) -> Option<Vec<u8>> {
        let size = self.holdings.segment_size();
        let stands = self.holdings.stands(self.holdings.owner(history, segment), segment);
        stands.into_iter().filter(|stand| stand.end >= size.end_of(segment)).find_map(|stand| {
            let content = self.holdings.content(self.dir, stand.file).ok().flatten()?;
            (content.bytes.len() == size.bytes() as usize).then_some(content.bytes)
        })
    }

    /// Whether an unfinished segment that stops being valid simply ends there.
    fn is_clean_end(&self, validator: &Validator, content: &Content, error: Option<&WalError>) -> bool {
        // A server's segments are recycled, and hold anything after their end.
        if !content.partial {
            return true;
        }
        let size = self.holdings.segment_size();
        let start = size.start_of(self.segment);
        let tail = |log: &[u8], start| {
            let record = validator.record_under_way();
            Tail { log, start, segment_size: size, record, stopped_by: error }.is_clean()
        };
        if validator.record_under_way().is_none_or(|record| record >= start) {
            return tail(&content.bytes, start);
        }
        // The record that has not come whole began in the segment before.
        let before = SegmentNo::new(self.segment.as_u64().saturating_sub(1));
        let history = self.holdings.history(self.timeline);
        let previous = history.and_then(|history| self.whole(&history, before));
        match previous {
            Some(mut previous) if validator.record_under_way() >= Some(size.start_of(before)) => {
                previous.extend_from_slice(&content.bytes);
                tail(&previous, size.start_of(before))
            }
            // One that is even longer is not looked at.
            _ => true,
        }
    }

    /// The part of the content that counts.
    fn up_to(
        &self,
        mut content: Content,
        validator: &Validator,
        error: Option<&WalError>,
        stand: Stand<'_>,
    ) -> Found {
        let size = self.holdings.segment_size();
        let start = size.start_of(self.segment);
        let whole = error.is_none() && content.bytes.len() == size.bytes() as usize;
        if whole {
            return Found { bytes: content.bytes, end: size.end_of(self.segment).min(stand.end), page: None };
        }
        // Up to a fork all of it counts; of an unfinished file the whole records, as far as they are durable.
        let at_fork = error.is_none() && start.saturating_add(content.bytes.len() as u64) == stand.end;
        let end = if at_fork { stand.end } else { validator.record_end() };
        let end = if content.partial { end.min(durable_end(self.dir, stand.file.timeline)) } else { end };
        content.bytes.truncate(end.bytes_since(start) as usize);
        let page = error.map(|error| error.lsn).filter(|at| at.as_u64().is_multiple_of(PAGE_SIZE as u64));
        Found { bytes: content.bytes, end, page }
    }
}

/// Feeds `bytes`, which begin at `start`, as far as `begin` if that lies among them.
fn feed_over(validator: &mut Validator, start: Lsn, bytes: &[u8], begin: Lsn) -> Result<(), WalError> {
    let upto = begin.bytes_since(start).min(bytes.len() as u64) as usize;
    validator.feed(bytes.get(..upto).unwrap_or(bytes))
}

/// Whether a timeline that began at `begin` did so where a record ended, or on the page on which one was given up.
fn begins_well(validator: &Validator, start: Lsn, begin: Lsn) -> bool {
    let elsewhere = begin <= start || validator.position() < begin;
    let no_record_known = validator.last_record().is_none();
    elsewhere
        || no_record_known
        || validator.record_end() == begin
        || begin.as_u64().is_multiple_of(PAGE_SIZE as u64)
}

/// How far the directory's writer, if it lives, calls its timeline's WAL durable.
fn durable_end(dir: &WalDir, timeline: TimelineId) -> Lsn {
    let status = StatusReader::open(dir).ok().flatten().map(|reader| reader.read());
    match status.as_ref().and_then(|status| status.live()) {
        Some(live) if live.timeline == timeline => live.flush,
        _ => Lsn::MAX,
    }
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
    let wanted = bytes.get(..needed.bytes_since(start) as usize);
    let mut validator = Validator::new(start, Expectations::new(size, history));
    wanted.is_some_and(|wanted| validator.feed(wanted).is_ok())
}
