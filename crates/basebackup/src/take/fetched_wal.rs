//! WAL that the server puts into the main archive (`-X fetch`), validated while it passes, in either format.
//!
//! The manifest lists no checksums of it, so nothing else would notice a damaged byte, and a server that is started from the
//! backup would take that for the end of its log. Streamed WAL is validated by whoever streams it.
//!
//! Segments come in the order of their positions, as servers send them. Nothing of them is kept. What lies behind the
//! backup's end, the rest of the last segment, may be anything: it is whatever was in the file before.

use wal::page::PAGE_SIZE;
use wal::{
    Expectations, Lsn, SegmentSize, SystemId, TimelineHistory, TimelineId, Validator, WalError, WalFileName,
};

/// What has to be known of a server's log before it sends a backup; meanwhile it cannot be asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct LogShape {
    /// The size of its segments.
    pub(super) segment_size: SegmentSize,
    /// Whose log it is.
    pub(super) system_id: SystemId,
    /// The timeline that it was on when the backup began, with its ancestors.
    pub(super) history: TimelineHistory,
}

/// The WAL of one backup, as its segments pass.
#[derive(Debug)]
pub(super) struct FetchedWal {
    shape: LogShape,
    validator: Validator,
    /// The segment that passes; `None` while something else does.
    passing: Option<Passing>,
    /// Where it stops to be WAL.
    invalid: Option<WalError>,
}

/// A segment's file on its way.
#[derive(Debug)]
struct Passing {
    /// The position of its next byte.
    at: u64,
    /// Where its timeline was left: what is in the file from there on is of no use.
    until: u64,
}

impl FetchedWal {
    /// Of a backup that starts at `start`.
    pub(super) fn new(shape: LogShape, start: Lsn) -> Self {
        let expect = Expectations {
            system_id: Some(shape.system_id),
            ..Expectations::new(shape.segment_size, shape.history.clone())
        };
        let page = Lsn::new(start.as_u64() - start.as_u64() % PAGE_SIZE as u64);
        Self { validator: Validator::new(page, expect), shape, passing: None, invalid: None }
    }

    /// A file begins, which is `name` in `pg_wal`, or `None` elsewhere.
    pub(super) fn begin(&mut self, name: Option<&str>, length: u64) {
        self.passing = name.and_then(|name| self.segment(name, length));
    }

    /// The segment, if it is of this log. Of one in which the log changed its timeline there may be several files, in any
    /// order: what comes before the change is in each, and what comes after it in the newest alone.
    fn segment(&self, name: &str, length: u64) -> Option<Passing> {
        let LogShape { segment_size: size, history, .. } = &self.shape;
        let WalFileName::Segment(timeline, segment) = WalFileName::parse(name, *size)? else { return None };
        let is_of_it = history.contains(timeline) && length == u64::from(size.bytes());
        let until = history.switch_point_of(timeline).map_or(u64::MAX, Lsn::as_u64);
        is_of_it.then(|| Passing { at: size.start_of(segment).as_u64(), until })
    }

    /// More of the file.
    pub(super) fn data(&mut self, bytes: &[u8]) {
        let Some(Passing { at, until }) = &mut self.passing else { return };
        let position = self.validator.position().as_u64();
        let (begin, end) = (*at, (*at + bytes.len() as u64).min(*until));
        *at += bytes.len() as u64;
        // Before the start, there already, or behind a hole.
        if position < begin || position >= end || self.invalid.is_some() {
            return;
        }
        let wanted = (position - begin) as usize..(end - begin) as usize;
        self.invalid = self.validator.feed(bytes.get(wanted).unwrap_or_default()).err();
    }

    /// Everything has come: it should be valid from the start up to `end`, which is on `timeline`, and a record end there.
    pub(super) fn conclude(&self, end: Lsn, timeline: TimelineId) -> Result<(), String> {
        let LogShape { segment_size: size, history, .. } = &self.shape;
        if !history.contains(timeline) {
            return Err(format!(
                "the server has changed to timeline {timeline} while it sent the backup, so the WAL in that could not be \
                 checked: take it again"
            ));
        }
        let (found, position) = (self.validator.record_end(), self.validator.position());
        if found >= end {
            return Ok(());
        }
        if let Some(error) = &self.invalid {
            return Err(format!("the WAL that the server sent is damaged: {error}"));
        }
        if position < end {
            let name = size.segment_of(position).file_name(history.timeline_at(position), *size);
            return Err(format!("server did not send WAL segment {name}, which the backup needs"));
        }
        Err(format!("the last record of the WAL that the server sent ends at {found}, not at {end}"))
    }
}

#[cfg(test)]
mod tests;
