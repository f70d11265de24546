//! The two contenders: a root with programs and directories of its own for each.

use std::path::Path;

use walship_tests::TempRoot;

/// The old build and the new one.
pub const OLD: usize = 0;
pub const NEW: usize = 1;

/// Where each of them lives.
pub struct Builds([TempRoot; 2]);

impl Builds {
    /// The programs of directory `old`, and those that were built with this one.
    pub fn new(old: &Path) -> Self {
        let roots = [TempRoot::new("bench-old"), TempRoot::new("bench-new")];
        roots[OLD].stage_programs(old);
        Self(roots)
    }

    /// A build's root.
    pub const fn root(&self, build: usize) -> &TempRoot {
        &self.0[build]
    }

    /// What `make` makes for each, the old one first.
    pub fn both<T>(&self, make: impl FnMut(&TempRoot) -> T) -> [T; 2] {
        self.0.each_ref().map(make)
    }
}
