//! Putting any number of entries in order with a bounded amount of memory.
//!
//! Entries are gathered until they take as much memory as they may; then they are sorted and written out as a run. In the
//! end all runs, and what is still in memory, are merged. Before there are more runs than can be read at once, as many as
//! there may be become one; a run is merged only with others that as many entries have gone into, so that each entry is
//! written a few times at most, however many there are. Source: Knuth, "The Art of Computer Programming" 3, 5.4.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::path::PathBuf;

use super::gathered::Gathered;
use super::temporary::{BUFFER, Run, RunReader, TemporaryFile};
use crate::exec::{Failure, Result};

/// Runs that are merged at once, whatever the memory.
const FEWEST: usize = 8;
const MOST: usize = 256;

/// Entries of a key and a payload, in the order of their keys, byte by byte; those with equal keys in the order in which they
/// came.
#[derive(Debug)]
pub(in crate::exec) struct ExternalSort {
    gathered: Gathered,
    /// Memory for entries, in bytes.
    limit: usize,
    /// The setting that is so, for errors.
    setting: &'static str,
    /// Where runs go to, if anywhere.
    dir: Option<PathBuf>,
    file: Option<TemporaryFile>,
    /// In the order in which their entries came; each with how often its entries were merged.
    runs: Vec<(u32, Run)>,
    output: Output,
}

/// What of the entries is read.
#[derive(Debug)]
enum Output {
    /// They are still being added.
    Nothing,
    /// Everything is in memory; the next one there.
    Memory(usize),
    Merge(Merge),
}

/// Runs being read, and entries in memory, which came last.
#[derive(Debug)]
struct Merge {
    readers: Vec<RunReader>,
    /// The next entry in memory.
    next: usize,
    /// The key of the entry that each is at, with its number: the lowest key first, of equal ones the one that came first.
    heap: BinaryHeap<Reverse<(Vec<u8>, usize)>>,
    /// The key that was given last, and whose entry it was.
    last: Option<(Vec<u8>, usize)>,
}

impl ExternalSort {
    /// Nothing yet, to be sorted with `limit` bytes of memory, which is the value of `setting`, and as much of `dir` as it takes.
    pub(in crate::exec) fn new(limit: usize, setting: &'static str, dir: Option<PathBuf>) -> Self {
        let gathered = Gathered::default();
        Self { gathered, limit, setting, dir, file: None, runs: Vec::new(), output: Output::Nothing }
    }

    /// Adds an entry.
    pub(in crate::exec) fn push(&mut self, key: &[u8], payload: &[u8]) -> Result<()> {
        assert!(matches!(self.output, Output::Nothing), "entries are added before the first is read");
        self.gathered.push(key, payload);
        if self.gathered.size() > self.limit { self.write_out() } else { Ok(()) }
    }

    /// How many entries are in memory.
    pub(in crate::exec) fn in_memory(&self) -> usize {
        self.gathered.len()
    }

    /// Of the entries in memory only the first `count` are wanted.
    pub(in crate::exec) fn keep_first(&mut self, count: usize) {
        self.gathered.sort();
        self.gathered.truncate(count);
    }

    /// All entries are there.
    pub(in crate::exec) fn finish(&mut self) -> Result<()> {
        self.gathered.sort();
        self.output = match &self.file {
            None => Output::Memory(0),
            Some(file) => {
                let runs: Vec<Run> = self.runs.iter().map(|(_, run)| *run).collect();
                Output::Merge(Merge::begin(&runs, file, &self.gathered)?)
            }
        };
        Ok(())
    }

    /// The next entry in order: its key and its payload.
    pub(in crate::exec) fn next(&mut self) -> Result<Option<(&[u8], &[u8])>> {
        match &mut self.output {
            Output::Nothing => Ok(None),
            Output::Memory(next) => {
                let entry = self.gathered.get(*next);
                *next += 1;
                Ok(entry)
            }
            Output::Merge(merge) => match &self.file {
                Some(file) => merge.next(file, &self.gathered),
                None => Ok(None),
            },
        }
    }

    /// Writes the entries in memory to a run.
    fn write_out(&mut self) -> Result<()> {
        let Some(dir) = &self.dir else { return Err(too_large(self.setting, self.limit)) };
        let file = match self.file.take() {
            Some(file) => file,
            None => TemporaryFile::create(dir)?,
        };
        self.gathered.sort();
        let mut run = file.append();
        for index in 0..self.gathered.len() {
            if let Some((key, payload)) = self.gathered.get(index) {
                run.push(key, payload)?;
            }
        }
        self.runs.push((0, run.finish()?));
        self.gathered = Gathered::default();
        self.merge_equals(&file)?;
        self.file = Some(file);
        Ok(())
    }

    /// Merges the last runs if there are as many of one kind as can be read at once.
    fn merge_equals(&mut self, file: &TemporaryFile) -> Result<()> {
        let at_once = (self.limit / BUFFER).clamp(FEWEST, MOST);
        while let Some(&(times, _)) = self.runs.last() {
            let equals = self.runs.iter().rev().take_while(|(other, _)| *other == times).count();
            if equals < at_once {
                return Ok(());
            }
            let runs: Vec<Run> = self.runs.drain(self.runs.len() - equals..).map(|(_, run)| run).collect();
            assert_eq!(runs.len(), equals, "runs of one kind are merged together");
            let merged = merge(&runs, file)?;
            self.runs.push((times + 1, merged));
        }
        Ok(())
    }
}

/// Makes one run of several, and gives back their space.
fn merge(runs: &[Run], file: &TemporaryFile) -> Result<Run> {
    let nothing = Gathered::default();
    let mut merge = Merge::begin(runs, file, &nothing)?;
    let mut merged = file.append();
    while let Some((key, payload)) = merge.next(file, &nothing)? {
        merged.push(key, payload)?;
    }
    runs.iter().for_each(|run| file.release(*run));
    merged.finish()
}

impl Merge {
    fn begin(runs: &[Run], file: &TemporaryFile, memory: &Gathered) -> Result<Self> {
        let readers = runs.iter().map(|run| RunReader::new(*run)).collect();
        let mut merge = Self { readers, next: 0, heap: BinaryHeap::new(), last: None };
        for source in 0..=runs.len() {
            merge.advance(source, Vec::new(), file, memory)?;
        }
        Ok(merge)
    }

    /// Moves to the next entry of a run, or in memory.
    fn advance(
        &mut self,
        source: usize,
        mut key: Vec<u8>,
        file: &TemporaryFile,
        memory: &Gathered,
    ) -> Result<()> {
        key.clear();
        match self.readers.get_mut(source) {
            Some(reader) => {
                if !reader.advance(file)? {
                    return Ok(());
                }
                key.extend_from_slice(reader.key());
            }
            None => {
                let Some((next, _)) = memory.get(self.next) else { return Ok(()) };
                key.extend_from_slice(next);
                self.next += 1;
            }
        }
        self.heap.push(Reverse((key, source)));
        Ok(())
    }

    fn next<'m>(
        &'m mut self,
        file: &TemporaryFile,
        memory: &'m Gathered,
    ) -> Result<Option<(&'m [u8], &'m [u8])>> {
        assert!(self.heap.len() <= self.readers.len() + 1, "each run has one entry to be compared");
        if let Some((key, source)) = self.last.take() {
            self.advance(source, key, file, memory)?;
        }
        let Some(Reverse(first)) = self.heap.pop() else { return Ok(None) };
        let (key, source) = self.last.insert(first);
        let payload = match self.readers.get(*source) {
            Some(reader) => reader.payload(),
            None => memory.get(self.next - 1).map_or(&[][..], |(_, payload)| payload),
        };
        Ok(Some((key, payload)))
    }
}

#[cold]
fn too_large(setting: &str, limit: usize) -> Failure {
    Failure::new("53200", format!("sorting needs more memory than {setting} ({} kB)", limit / 1024))
        .hint(format!("There is no place for temporary files: raise {setting}, or sort fewer rows."))
}
