//! Faults on demand: a program's own defects, for the tests of what it does about them.
//!
//! `WALSHIP_FAULT` names a file, and what is in that file is the name of a fault. The place in the program that has this
//! name removes the file and does wrong, once. Only builds with debug assertions have any of this: in a release
//! [`is_wanted`] is `false` at compile time, and neither the variable's name nor the faults' are in the program.

#[cfg(debug_assertions)]
pub use on::is_wanted;

/// Whether the fault called `name` is to happen now.
#[cfg(not(debug_assertions))]
#[inline(always)]
pub const fn is_wanted(_name: &str) -> bool {
    false
}

/// Panics if the fault called `name` is wanted.
#[inline(always)]
#[track_caller]
pub fn panic_if_wanted(name: &str) {
    if is_wanted(name) {
        panic!("the fault \"{name}\" was asked for");
    }
}

#[cfg(debug_assertions)]
mod on {
    use std::path::{Path, PathBuf};
    use std::sync::LazyLock;
    use std::{env, fs};

    /// The file to look into.
    static FILE: LazyLock<Option<PathBuf>> =
        LazyLock::new(|| env::var_os("WALSHIP_FAULT").map(PathBuf::from));

    /// Whether the fault called `name` is to happen now.
    pub fn is_wanted(name: &str) -> bool {
        FILE.as_deref().is_some_and(|file| take(file, name))
    }

    /// Whether `file` asks for `name`; it does so once, of one thread.
    fn take(file: &Path, name: &str) -> bool {
        let asks = fs::read_to_string(file).is_ok_and(|wanted| wanted.trim_end() == name);
        asks && fs::remove_file(file).is_ok()
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn a_fault_happens_once_where_it_is_asked_for() {
            let file = env::temp_dir().join(format!("walship-fault-{}", std::process::id()));
            assert!(!take(&file, "split"));
            fs::write(&file, "split\n").unwrap();
            assert!(!take(&file, "spl") && take(&file, "split") && !take(&file, "split"));
        }
    }
}
