//! A walk along a line of history, segment by segment: what each file is worth.
//!
//! `walreceiver verify` walks everything there is, and `fetch` what it is asked for. Both go by what is said here: where a
//! timeline began, a record must have ended, or a page begun after a record that was given up. A finished segment has to be
//! WAL to its end. An unfinished one may end before, if it does so cleanly ([`Tail`]); one that a server writes into holds
//! anything after its end.
//!
//! Where the bytes come from is the caller's ([`LogBytes`]), and which files stand for which segment is for
//! [`Holdings`](super::Holdings) to say.

use wal::page::{LONG_HEADER, PAGE_SIZE, PageHeader};
use wal::{
    Expectations, LogBytes, Lsn, SegmentNo, SegmentSize, Stop, Tail, TimelineHistory, Validator,
    ValidatorState, WalError, WalErrorKind, Walk,
};

/// How many segments are looked at before one, at most: as many as a record may fill, if they are of a usual size.
const LONGEST_RECORD: usize = 64;

/// How a segment's file may end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Form {
    /// With its segment.
    Finished,
    /// After its last record, or with the beginning of one; then zeros.
    Unfinished,
    /// After its last record; then with whatever the file was before.
    Recycled,
}

/// Why a walk was ended.
#[derive(Debug)]
pub enum Halt<E> {
    /// It stopped.
    Stopped(Stop<E>),
    /// No record ends here, where the timeline is said to have begun.
    Begin(Lsn),
}

/// What a segment's file has turned out to be.
#[derive(Debug)]
pub enum Worth<E> {
    /// WAL, as far as it was walked.
    Whole,
    /// WAL up to the last record, after which it simply ends: its bytes do, or what comes stopped the walk.
    Beginning(Option<WalError>),
    /// Damaged.
    Damaged(WalError),
    /// No record ends here, where its timeline is said to have begun.
    Begin(Lsn),
    /// A finished segment whose file ends before.
    Short,
    /// It could not be read.
    Unreadable(E),
}

/// A walk over the segments of a line of history.
#[derive(Debug)]
pub struct LineWalk {
    walk: Walk,
    /// Where the line's timeline began.
    begin: Lsn,
    size: SegmentSize,
}

impl LineWalk {
    /// Walks from `start`, a page boundary, on.
    pub fn new(start: Lsn, size: SegmentSize, history: &TimelineHistory) -> Self {
        let validator = Validator::new(start, Expectations::new(size, history.clone()));
        Self { walk: Walk::new(validator), begin: history.begin(), size }
    }

    /// Goes on from what was proved; `None` if that was another log.
    pub fn resume(state: ValidatorState, size: SegmentSize, history: &TimelineHistory) -> Option<Self> {
        let validator = Validator::resume(state, Expectations::new(size, history.clone())).ok()?;
        Some(Self { walk: Walk::new(validator), begin: history.begin(), size })
    }

    /// A walk at the start of `segment` that knows the segment before, if `source` has that and it is good, and those before
    /// it in which a record goes on that began earlier still. If they are not, the segment is judged by itself: what is wrong
    /// with them is told when they are asked for.
    pub fn led_in<S: LogBytes>(
        source: &mut S,
        segment: SegmentNo,
        size: SegmentSize,
        history: &TimelineHistory,
    ) -> Self {
        let start = size.start_of(segment);
        let mut first = segment;
        for _ in 0..LONGEST_RECORD {
            let Some(before) = first.as_u64().checked_sub(1).map(SegmentNo::new) else { break };
            let Some(header) = first_header(source, size.start_of(before)) else { break };
            first = before;
            // Only where all of it is the rest of one record does it matter what came before.
            if header.rem_len < size.bytes() {
                break;
            }
        }
        let mut walk = Self::new(size.start_of(first), size, history);
        if walk.reach(source, start).is_ok() { walk } else { Self::new(start, size, history) }
    }

    /// Looks into compressed page images, too, from here on: replay fails on one that is none. Only before the walk goes on from
    /// the start of a segment.
    #[must_use]
    pub fn unpacking(self) -> Self {
        Self { walk: Walk::unpacking(self.walk.into_validator()), ..self }
    }

    /// The end of the last record that is good.
    pub fn record_end(&self) -> Lsn {
        self.walk.record_end()
    }

    /// What is known of the log so far.
    pub fn validator(&self) -> &Validator {
        self.walk.validator()
    }

    /// How many bytes were read on the way.
    pub fn read(&self) -> u64 {
        self.walk.read()
    }

    /// Walks up to `end`. Where the timeline began, a record must have ended, or a page begun: one that was given up before it
    /// has no end.
    ///
    /// # Errors
    /// Whatever stops it before `end`.
    pub fn reach<S: LogBytes>(&mut self, source: &mut S, end: Lsn) -> Result<(), Halt<S::Error>> {
        let begin = self.begin;
        if self.validator().position() < begin && begin <= end {
            self.walk.advance(source, begin).map_err(Halt::Stopped)?;
            let validator = self.validator();
            let on_new_page = begin.as_u64().is_multiple_of(PAGE_SIZE as u64);
            if validator.last_record().is_some() && validator.record_end() != begin && !on_new_page {
                return Err(Halt::Begin(begin));
            }
        }
        self.walk.advance(source, end).map_err(Halt::Stopped)
    }

    /// Walks over the file of `segment`, from wherever the walk stands up to `end`, which lies in the segment.
    pub fn segment<S: LogBytes>(
        &mut self,
        source: &mut S,
        segment: SegmentNo,
        end: Lsn,
        form: Form,
    ) -> Worth<S::Error> {
        let to_its_end = end == self.size.end_of(segment);
        let stopped_by = match self.reach(source, end) {
            Ok(()) if form == Form::Unfinished && to_its_end => {
                let hidden = !self.has_clean_tail(source, segment, end, None);
                return if hidden { self.hidden_end() } else { Worth::Whole };
            }
            Ok(()) => return Worth::Whole,
            Err(Halt::Begin(begin)) => return Worth::Begin(begin),
            Err(Halt::Stopped(Stop::Unreadable(error))) => return Worth::Unreadable(error),
            Err(Halt::Stopped(Stop::Ended)) if form == Form::Finished => return Worth::Short,
            Err(Halt::Stopped(Stop::Ended)) => None,
            Err(Halt::Stopped(Stop::Invalid(error))) => Some(error),
        };
        match stopped_by {
            stopped_by if self.ends_cleanly(source, segment, end, form, stopped_by.as_ref()) => {
                Worth::Beginning(stopped_by)
            }
            Some(error) => Worth::Damaged(error),
            None => self.hidden_end(),
        }
    }

    /// Whether `segment` simply ends where the walk was stopped, or its bytes are at an end, and not in damage. `source` has it
    /// up to `end`. If it cannot be read, it does not.
    pub fn ends_cleanly<S: LogBytes>(
        &self,
        source: &mut S,
        segment: SegmentNo,
        end: Lsn,
        form: Form,
        stopped_by: Option<&WalError>,
    ) -> bool {
        match (form, stopped_by) {
            (Form::Finished, _) => false,
            // What is stale has no right checksum.
            (Form::Recycled, Some(WalError { reason: WalErrorKind::Structure(_), .. })) => false,
            (Form::Recycled, _) => true,
            // What a relative's file has of the line ends where that left it.
            (Form::Unfinished, None) if end < self.size.end_of(segment) => true,
            (Form::Unfinished, _) => self.has_clean_tail(source, segment, end, stopped_by),
        }
    }

    /// Whether nothing that had been complete was lost from `segment`, unfinished, where its WAL ends.
    fn has_clean_tail<S: LogBytes>(
        &self,
        source: &mut S,
        segment: SegmentNo,
        end: Lsn,
        stopped_by: Option<&WalError>,
    ) -> bool {
        let (size, own) = (self.size, self.size.start_of(segment));
        let record = self.validator().record_under_way();
        // Of the record that has not come whole one segment before is looked at, too, and no more.
        let earliest = Lsn::new(own.as_u64().saturating_sub(u64::from(size.bytes())));
        let is_longer = record.is_some_and(|record| record < earliest);
        let from = record.filter(|_| !is_longer).unwrap_or(own).as_u64();
        let start = Lsn::new(from / PAGE_SIZE as u64 * PAGE_SIZE as u64);
        let Some(log) = read_all(source, start, end) else { return false };
        if is_longer {
            return self.has_clean_tail_of_long_record(&log, own, stopped_by);
        }
        Tail { log: &log, start, segment_size: size, record, stopped_by }.is_clean()
    }

    /// The same where a record goes on, from long before, in the segment at `own`, which has `log`. It is taken for one that has
    /// not come whole unless something follows where it ends, or where it was stopped.
    fn has_clean_tail_of_long_record(&self, log: &[u8], own: Lsn, stopped_by: Option<&WalError>) -> bool {
        let written = log.iter().rposition(|&byte| byte != 0).map_or(0, |last| last + 1);
        let written = own.saturating_add(written as u64);
        let page_end = (self.validator().position().as_u64() / PAGE_SIZE as u64 + 1) * PAGE_SIZE as u64;
        stopped_by.is_none_or(|error| match error.reason {
            // The validator stands on the page on which the record ends.
            WalErrorKind::Checksum { .. } => written <= Lsn::new(page_end),
            _ => error.lsn >= written,
        })
    }

    fn hidden_end<E>(&self) -> Worth<E> {
        Worth::Damaged(WalError { lsn: self.validator().record_end(), reason: WalErrorKind::HiddenEnd })
    }
}

/// The page that is not there, or is not good, if that is what stopped a walk: a timeline may have begun with it, after a
/// record that was given up.
pub fn page_at_fault(error: &WalError) -> Option<Lsn> {
    match error.reason {
        WalErrorKind::MissingContinuation(page) | WalErrorKind::ContinuationLength { page, .. } => Some(page),
        _ => Some(error.lsn).filter(|lsn| lsn.as_u64().is_multiple_of(PAGE_SIZE as u64)),
    }
}

/// What `source` has from `start` to `end`, or as much as there is; `None` if it cannot be read.
fn read_all<S: LogBytes>(source: &mut S, start: Lsn, end: Lsn) -> Option<Vec<u8>> {
    let mut log = vec![0; end.bytes_since(start) as usize];
    let mut filled = 0;
    while let Some(rest) = log.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match source.read_at(start.saturating_add(filled as u64), rest) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(_) => return None,
        }
    }
    log.truncate(filled);
    Some(log)
}

/// The header of the page at `page`, as far as `source` has one.
fn first_header<S: LogBytes>(source: &mut S, page: Lsn) -> Option<PageHeader> {
    let bytes = read_all(source, page, page.saturating_add(LONG_HEADER as u64))?;
    PageHeader::decode(&bytes).ok()
}
