//! The PostgreSQL versions there are to test with.

use std::fmt;
use std::path::{Path, PathBuf};

/// A major version of PostgreSQL whose programs are at hand.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Hash)]
pub enum Version {
    /// 15, the one every test runs with.
    V15,
    /// 16
    V16,
    /// 17: the server, psql, pgbench, pg_receivewal and pg_basebackup alone.
    V17,
    /// 18
    V18,
}

impl Version {
    /// The versions that this run is to test with: 15, and what `scripts/test --all-versions` names in the environment.
    pub fn at_hand() -> Vec<Self> {
        let all = [Self::V15, Self::V16, Self::V17, Self::V18];
        all.into_iter()
            .filter(|&version| version == Self::V15 || version.named_directory().is_some())
            .collect()
    }

    /// 15, 16, ...
    pub fn major(self) -> u32 {
        match self {
            Self::V15 => 15,
            Self::V16 => 16,
            Self::V17 => 17,
            Self::V18 => 18,
        }
    }

    /// The path of one of its programs, `None` if this version came without it.
    #[track_caller]
    pub fn find_program(self, name: &str) -> Option<PathBuf> {
        let program = self.directory().join(name);
        program.exists().then_some(program)
    }

    /// The path of one of its programs.
    ///
    /// # Panics
    /// If there is no such program.
    #[track_caller]
    pub fn program(self, name: &str) -> PathBuf {
        self.find_program(name).unwrap_or_else(|| {
            panic!(
                "no {name} of PostgreSQL {self} in {}: run scripts/test, which provides it",
                self.directory().display()
            )
        })
    }

    #[track_caller]
    fn directory(self) -> PathBuf {
        match (self.named_directory(), self) {
            (Some(directory), _) => directory,
            (None, Self::V15) => Path::new("/usr/lib/postgresql/15/bin").to_owned(),
            (None, _) => {
                panic!("PostgreSQL {self} is not at hand: run scripts/test --all-versions, which provides it")
            }
        }
    }

    fn named_directory(self) -> Option<PathBuf> {
        std::env::var_os(format!("WALSHIP_PG{}_BIN", self.major())).map(PathBuf::from)
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.major().fmt(f)
    }
}
