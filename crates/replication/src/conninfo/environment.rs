//! What the process finds around it: environment variables, the user's name, the home directory.

use std::collections::BTreeMap;
use std::ffi::{CStr, OsStr, OsString};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

/// Where defaults come from. Tests make their own.
#[derive(Clone, Debug, Default)]
pub struct Environment {
    variables: BTreeMap<OsString, OsString>,
    home: Option<PathBuf>,
    user: Option<String>,
}

impl Environment {
    /// This process's environment. The user is the one the process runs as, whatever `USER` says.
    pub fn of_process() -> Self {
        let account = account();
        let home = std::env::var_os("HOME").filter(|home| !home.is_empty()).map(PathBuf::from);
        Self {
            variables: std::env::vars_os().collect(),
            home: home.or_else(|| account.as_ref().map(|(_, home)| home.clone())),
            user: account.map(|(name, _)| name),
        }
    }

    /// An environment that holds nothing but these.
    pub fn of(user: &str, home: Option<&Path>, variables: &[(&str, &str)]) -> Self {
        let own = |&(name, value): &(&str, &str)| (OsString::from(name), OsString::from(value));
        Self {
            variables: variables.iter().map(own).collect(),
            home: home.map(Path::to_owned),
            user: Some(user.to_owned()),
        }
    }

    /// A variable's value; `None` if it is not set, empty, or not in UTF-8.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.variables.get(OsStr::new(name))?.to_str().filter(|value| !value.is_empty())
    }

    pub(super) fn home(&self) -> Option<&Path> {
        self.home.as_deref()
    }

    pub(super) fn user(&self) -> Option<&str> {
        self.user.as_deref()
    }
}

/// Name and home directory of the account that the process runs as.
fn account() -> Option<(String, PathBuf)> {
    let mut buffer = vec![0; 16 * 1024];
    let mut found = std::ptr::null_mut();
    // SAFETY: all-zero bytes are a valid `passwd`, a struct of pointers and numbers.
    let mut entry: libc::passwd = unsafe { std::mem::zeroed() };
    // SAFETY: the pointers are to live values of the right types, and the length is the buffer's.
    let status = unsafe {
        let uid = libc::geteuid();
        libc::getpwuid_r(uid, &mut entry, buffer.as_mut_ptr(), buffer.len(), &mut found)
    };
    if status != 0 || found.is_null() {
        return None;
    }
    // SAFETY: on success both point to zero-terminated texts in `buffer`, which is still alive.
    let (name, home) = unsafe { (CStr::from_ptr(entry.pw_name), CStr::from_ptr(entry.pw_dir)) };
    Some((name.to_str().ok()?.to_owned(), PathBuf::from(OsStr::from_bytes(home.to_bytes()))))
}
