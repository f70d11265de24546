//! Who child processes run as: user `postgres` if we are root (PostgreSQL refuses root), ourselves otherwise.

use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::sync::LazyLock;

/// The user and group ids that children get, `None` if they are simply ours.
static CHILD: LazyLock<Option<(u32, u32)>> = LazyLock::new(|| {
    if !rustix::process::geteuid().is_root() {
        return None;
    }
    let users = std::fs::read_to_string("/etc/passwd").expect("read /etc/passwd");
    let fields = users.lines().map(|line| line.split(':').collect::<Vec<_>>());
    let postgres = fields.into_iter().find(|fields| fields.first() == Some(&"postgres"));
    let ids = postgres.and_then(|fields| Some((fields.get(2)?.parse().ok()?, fields.get(3)?.parse().ok()?)));
    Some(ids.expect("user `postgres` exists (Debian's postgresql-15 makes it; scripts/test installs that)"))
});

/// Makes `command` run as that user.
pub(crate) fn run_as_child_user(command: &mut Command) {
    if let Some((uid, gid)) = *CHILD {
        command.uid(uid).gid(gid);
    }
}

/// Gives `path` to that user, so that its processes may write there.
pub(crate) fn give_to_child_user(path: &Path) {
    if let Some((uid, gid)) = *CHILD {
        std::os::unix::fs::chown(path, Some(uid), Some(gid)).unwrap();
    }
}
