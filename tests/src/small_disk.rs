//! A file system of a few MiB, to be filled up.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::process::Process;
use crate::root::TempRoot;
use crate::wait::wait_until;

/// A tmpfs in a mount namespace of its own, so that it is gone with the process that holds it, however a test ends.
/// Everybody reaches it through that process's view of the file system.
pub struct SmallDisk {
    path: PathBuf,
    _holder: Process,
}

impl SmallDisk {
    /// A tmpfs of so many KiB, writable for child processes. Needs root or user namespaces.
    #[track_caller]
    pub fn new(root: &TempRoot, name: &str, kib: u32) -> Self {
        let mount_point = root.dir(name);
        let owner = mount_point.metadata().unwrap();
        let (uid, gid) = (owner.uid(), owner.gid());
        let as_root = rustix::process::geteuid().is_root();
        let (namespace, drop_privileges, owned_by) = if as_root {
            let become_child = format!("setpriv --reuid={uid} --regid={gid} --clear-groups");
            ("-m", become_child, format!(",uid={uid},gid={gid}"))
        } else {
            ("-rm", String::new(), String::new())
        };
        // The holder ends up as an ordinary process of the child user, or others could not look through its eyes.
        let script = format!(
            "mount -t tmpfs -o size={kib}k,mode=700{owned_by} tmpfs \"$1\" && exec {drop_privileges} tail -f /dev/null"
        );
        let mut command = Command::new("unshare");
        command.args([namespace, "sh", "-c", &script, "sh"]).arg(&mount_point);
        let (stdout, stderr) = (root.log_file("small-disk.out"), root.log_file("small-disk.err"));
        command.stdin(std::process::Stdio::null());
        command.stdout(std::fs::File::create(&stdout).unwrap());
        command.stderr(std::fs::File::create(&stderr).unwrap());
        let mut holder = Process::start(root.clone(), "unshare".into(), command, stdout, stderr);
        let inside = format!("/proc/{}/root", holder.pid());
        let path = Path::new(&inside).join(mount_point.strip_prefix("/").unwrap());
        let outside = owner.dev();
        wait_until("the small disk to be mounted", || {
            assert!(holder.is_running(), "the tmpfs cannot be mounted: {}", holder.stderr());
            let command = std::fs::read_to_string(format!("/proc/{}/comm", holder.pid())).unwrap_or_default();
            command.trim() == "tail" && path.metadata().is_ok_and(|mounted| mounted.dev() != outside)
        });
        Self { path, _holder: holder }
    }

    /// The directory on it.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Tool;

    #[test]
    fn a_small_disk_fills_up_and_is_gone_with_its_holder() {
        let root = TempRoot::new("small-disk");
        let disk = SmallDisk::new(&root, "small", 1024);
        let file = disk.path().join("file");
        let dd = |count: &str| {
            let of = format!("of={}", file.display());
            Tool::new(&root, "dd", "/bin/dd").args(["if=/dev/zero", &of, "bs=64K", count]).run()
        };
        dd("count=4").success();
        let full = dd("count=40");
        assert!(full.stderr.contains("No space left on device"), "{full}");
        let path = disk.path().to_owned();
        drop(disk);
        assert!(!path.exists());
        assert!(!root.join("small/file").exists());
    }
}
