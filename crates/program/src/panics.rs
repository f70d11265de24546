//! A panic in any thread ends the program.
//!
//! A server in which one thread has died answers some of its clients and none of the others. The invariant that the
//! thread found broken may be broken for all of them. So every program of this project calls [`end_on_panic`] before
//! anything else: a panic, of a thread or of a task, prints one line and ends the process as a crash does, before it
//! unwinds. What restarts it recovers. Tests, and programs that embed the libraries, unwind as they like.

use std::panic::{self, PanicHookInfo};
use std::sync::OnceLock;
use std::thread;

use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime as _, SystemTime};

/// The most of a panic's message that is told, in bytes: the line has to say where it was and what to do, too.
const MOST_OF_MESSAGE: usize = 2000;

/// Which program this is: its lines begin with that as long as there is no log.
static PROGRAM: OnceLock<&str> = OnceLock::new();

/// From now on a panic ends the process. `then` is what whoever runs the program may do, such as "start it again".
pub fn end_on_panic(program: &'static str, then: &'static str) {
    let _set_before = PROGRAM.set(program);
    runtime::end::set_line(line);
    panic::set_hook(Box::new(move |info| {
        let thread = thread::current();
        runtime::end::at_once(&told(info, thread.name().unwrap_or("without a name"), then));
    }));
}

/// One line about a panic.
fn told(info: &PanicHookInfo<'_>, thread: &str, then: &str) -> String {
    let message = info.payload_as_str().unwrap_or("without a message");
    let message = message.get(..message.floor_char_boundary(MOST_OF_MESSAGE)).unwrap_or(message);
    let at = info.location().map(|at| format!(" at {}:{}", at.file(), at.line())).unwrap_or_default();
    format!("thread \"{thread}\" panicked{at}: {message}; this is a bug, and ends the process: {then}")
}

/// What the log makes of an error. Not made by the log itself: that may be held up, or be what panicked.
fn line(message: &str) -> String {
    if !crate::has_log() {
        return format!("{}: error: {message}", PROGRAM.get().unwrap_or(&"program"));
    }
    let mut line = String::new();
    // A clock that cannot be shown is no reason to say nothing.
    let _ = SystemTime.format_time(&mut Writer::new(&mut line));
    line + " ERROR " + message
}
