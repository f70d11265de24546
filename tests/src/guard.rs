//! Cleaning up after a test process that dies without unwinding (killed, interrupted, aborted): a shell that holds the
//! other end of a pipe kills what is still running and removes the directory when that pipe closes.

use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use runtime::sync::Mutex;

/// Reads `start PID` and `end PID` lines; at end of file kills the process groups still open, then removes `$1`.
const SCRIPT: &str = r#"
open=" "
while read -r word pid; do
    case "$word" in
        start) open="$open$pid " ;;
        end) open="${open%% "$pid" *} ${open#* "$pid" }" ;;
        keep) exit ;;
    esac
done
[ "$open" = " " ] || {
    # PostgreSQL's shared memory goes along only if it is asked to stop.
    for pid in $open; do kill -s QUIT -- "-$pid"; kill -s CONT -- "-$pid"; done
    sleep 1
    for pid in $open; do kill -s KILL -- "-$pid"; done
} 2>/dev/null
rm -rf -- "$1"
"#;

pub(crate) struct Guard(Mutex<Child>);

impl Guard {
    pub(crate) fn new(directory: &Path) -> Self {
        let child = Command::new("/bin/sh")
            .args(["-c", SCRIPT, "sh"])
            .arg(directory)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .expect("start the guard shell");
        Self(Mutex::new(child))
    }

    /// A process group was started.
    pub(crate) fn started(&self, pid: u32) {
        self.say(&format!("start {pid}\n"));
    }

    /// It is gone, and its number may soon be somebody else's.
    pub(crate) fn ended(&self, pid: u32) {
        self.say(&format!("end {pid}\n"));
    }

    /// Lets the guard do its work now; with `keep` the directory stays, for a look at it.
    pub(crate) fn finish(&self, keep: bool) {
        if keep {
            self.say("keep\n");
        }
        let mut child = self.0.lock();
        drop(child.stdin.take());
        let _ = child.wait();
    }

    fn say(&self, line: &str) {
        let mut child = self.0.lock();
        if let Some(stdin) = &mut child.stdin {
            let _ = stdin.write_all(line.as_bytes());
        }
    }
}
