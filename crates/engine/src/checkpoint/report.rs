//! What a checkpoint tells about itself, as PostgreSQL's log has it. Source: `LogCheckpointEnd` in
//! `access/transam/xlog.c`.

use std::fmt;
use std::time::Duration;

use super::SyncReport;
use super::distance::Distance;
use crate::log::Recycled;

/// A finished checkpoint.
#[derive(Clone, Copy, Debug)]
pub(super) struct Report {
    /// "checkpoint" or "restartpoint".
    pub(super) kind: &'static str,
    pub(super) pages: usize,
    /// How many pages the pool may have.
    pub(super) capacity: usize,
    pub(super) recycled: Recycled,
    pub(super) write: Duration,
    pub(super) sync: SyncReport,
    pub(super) total: Duration,
    pub(super) distance: Distance,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let share = self.pages as f64 * 100.0 / self.capacity.max(1) as f64;
        let average = self.sync.total / u32::try_from(self.sync.files.max(1)).unwrap_or(u32::MAX);
        write!(
            f,
            "{} complete: wrote {} buffers ({share:.1}%); {} WAL file(s) added, {} removed, {} recycled; \
             write={}, sync={}, total={}; sync files={}, longest={}, average={}; \
             distance={:.0} kB, estimate={:.0} kB",
            self.kind,
            self.pages,
            self.recycled.added,
            self.recycled.removed,
            self.recycled.recycled,
            Seconds(self.write),
            Seconds(self.sync.total),
            Seconds(self.total),
            self.sync.files,
            Seconds(self.sync.longest),
            Seconds(average),
            self.distance.last / 1024.0,
            self.distance.estimate / 1024.0,
        )
    }
}

struct Seconds(Duration);

impl fmt::Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:03} s", self.0.as_secs(), self.0.subsec_millis())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_reads_like_postgresqls() {
        let report = Report {
            kind: "checkpoint",
            pages: 3,
            capacity: 16384,
            recycled: Recycled { added: 0, removed: 1, recycled: 2 },
            write: Duration::from_millis(204),
            sync: SyncReport { files: 2, longest: Duration::from_millis(3), total: Duration::from_millis(4) },
            total: Duration::from_millis(1213),
            distance: Distance { last: 2048.0, estimate: 4096.0 },
        };
        assert_eq!(
            report.to_string(),
            "checkpoint complete: wrote 3 buffers (0.0%); 0 WAL file(s) added, 1 removed, 2 recycled; write=0.204 s, \
             sync=0.004 s, total=1.213 s; sync files=2, longest=0.003 s, average=0.002 s; distance=2 kB, estimate=4 kB"
        );
    }
}
