//! This project's own programs, as cargo built them beside the running test.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use crate::root::TempRoot;

/// The path of program `name`, linked (or copied) into the root so that the child user reaches it and so that a build in
/// the meantime does not change it under a running test.
///
/// # Panics
/// If it was not built, or sources have changed since (unless `WALSHIP_TESTS_STALE=1` says that this is meant).
#[track_caller]
pub(crate) fn staged(root: &TempRoot, name: &str) -> PathBuf {
    let staged = root.join("bin").join(name);
    if !staged.exists() {
        let built = built(name);
        std::fs::create_dir_all(root.join("bin")).unwrap();
        if std::fs::hard_link(&built, &staged).is_err() {
            std::fs::copy(&built, &staged).unwrap();
        }
    }
    staged
}

impl TempRoot {
    /// Has this project's programs in this root be those of directory `programs`: another build than the one under test.
    ///
    /// # Panics
    /// If one of them is missing.
    #[track_caller]
    pub fn stage_programs(&self, programs: &Path) {
        std::fs::create_dir_all(self.join("bin")).unwrap();
        for name in ["walwriter", "walreceiver", "walsender", "basebackup"] {
            let from = programs.join(name);
            let copied = std::fs::copy(&from, self.join("bin").join(name));
            assert!(copied.is_ok(), "{}: {copied:?}", from.display());
        }
    }
}

#[track_caller]
fn built(name: &str) -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let profile = test.parent().and_then(Path::parent).expect("a test runs from target/PROFILE/deps");
    let program = profile.join(name);
    let Ok(metadata) = program.metadata() else {
        panic!("{} is missing: run scripts/test, or cargo build --workspace first", program.display());
    };
    if std::env::var_os("WALSHIP_TESTS_STALE").is_none()
        && let Some(source) = newer_source(&program, metadata.modified().unwrap())
    {
        panic!(
            "{} is older than {source}: run scripts/test, or cargo build --workspace first",
            program.display()
        );
    }
    program
}

/// A source file, of those that cargo's dependency file lists for `program`, that was changed after `built`.
fn newer_source(program: &Path, built: SystemTime) -> Option<String> {
    let list = std::fs::read_to_string(program.with_extension("d")).ok()?;
    let sources = list.split_once(": ")?.1;
    let changed =
        |source: &&str| std::fs::metadata(source).and_then(|m| m.modified()).is_ok_and(|time| time > built);
    sources.split_ascii_whitespace().find(changed).map(str::to_owned)
}
