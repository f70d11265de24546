//! The WAL that is in archives.

use wal::{SegmentNo, SegmentSize, WalFileName};

use super::super::Context;
use super::super::wal_check::{Reading, Run};

/// The WAL in the archives. Segments come in order, from one archive.
pub(super) enum Wal {
    /// Nobody wants it, or something was wrong with it and has been reported.
    Ignored,
    /// No segment has come yet.
    Awaited(Run),
    Reading(Run, Box<Reading>),
}

impl Wal {
    /// None has come.
    pub(super) fn new(context: &Context<'_>) -> Self {
        if context.options.no_parse_wal || context.options.wal_directory.is_some() {
            return Self::Ignored;
        }
        match Run::new(&context.manifest.wal_ranges) {
            None => Self::Ignored,
            Some(Ok(run)) => Self::Awaited(run),
            Some(Err(problem)) => {
                context.report(problem);
                Self::Ignored
            }
        }
    }

    /// A member begins: gives the segment it is, if that is one to be read.
    pub(super) fn begin(&mut self, name: &str, size: u64, context: &Context<'_>) -> Option<SegmentNo> {
        let size = SegmentSize::new(size).ok()?;
        let WalFileName::Segment(timeline, segment) = WalFileName::parse(name, size)? else { return None };
        if let Self::Awaited(run) = self {
            let reading = Reading::new(run.clone(), size, context);
            *self = Self::Reading(run.clone(), Box::new(reading));
        }
        let Self::Reading(run, _) = self else { return None };
        (run.timelines(segment, size).first() == Some(&timeline)).then_some(segment)
    }

    /// More of a segment, from `offset` on.
    pub(super) fn feed(&mut self, segment: SegmentNo, offset: u64, bytes: &[u8], context: &Context<'_>) {
        if let Self::Reading(_, reading) = self
            && let Err(problem) = reading.feed(segment, offset, bytes)
        {
            context.report(problem);
            *self = Self::Ignored;
        }
    }

    /// No more comes: how many bytes were valid.
    pub(super) fn finish(self, context: &Context<'_>) -> u64 {
        let result = match self {
            Self::Ignored => Ok(0),
            Self::Awaited(run) => Err(run.missing()),
            Self::Reading(_, reading) => reading.finish(),
        };
        result.unwrap_or_else(|problem| {
            context.report(problem);
            0
        })
    }
}
