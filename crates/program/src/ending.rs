//! How a program ends when it is told to, whatever its threads wait for.
//!
//! SIGQUIT ends the process at once, and so does a second SIGTERM or SIGINT. The first of those is the program's own
//! business once it has said that it hears them ([`leave_the_first_to_the_program`]); before that it ends the process too.
//!
//! Invariant: from the signal to the end of the process nothing is waited for that somebody else could hold up. The
//! handler writes to a pipe; the thread that reads it takes no lock, allocates for no log, and writes its one line only
//! if standard error takes it. What is to be tidied up ([`before_ending_at_once`]) is given a second on another thread. To
//! those who rely on what is on disk it is a crash: whoever calls something durable has synced it before.

use std::io;
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::sync::{OnceLock, mpsc};
use std::time::Duration;

/// How long tidying up may take.
const PATIENCE: Duration = Duration::from_secs(1);

/// Where the handler writes, for ever; -1 before.
static PIPE: AtomicI32 = AtomicI32::new(-1);
/// Whether the program acts upon the first SIGTERM or SIGINT.
static HEARD: AtomicBool = AtomicBool::new(false);

/// What is done before the end.
static TIDYING: OnceLock<Box<dyn Fn() + Send + Sync>> = OnceLock::new();

/// From now on signals end this process with `exit_code`, as described above. To be called once, before other threads
/// start.
///
/// # Errors
/// The system's: no pipe, no thread.
pub fn end_at_once_on_signals(program: &'static str, exit_code: u8) -> io::Result<()> {
    let mut ends = [-1; 2];
    // SAFETY: `ends` has room for the two descriptors.
    if unsafe { libc::pipe2(ends.as_mut_ptr(), libc::O_CLOEXEC) } != 0 {
        return Err(io::Error::last_os_error());
    }
    let [reading, writing] = ends;
    // SAFETY: the descriptor is new, and nobody else's.
    let reading = unsafe { OwnedFd::from_raw_fd(reading) };
    // A full pipe, of 65536 signals that nobody has read, must not hold up the handler.
    // SAFETY: the descriptor is open.
    unsafe { libc::fcntl(writing, libc::F_SETFL, libc::O_NONBLOCK) };
    PIPE.store(writing, Ordering::SeqCst);
    std::thread::Builder::new()
        .name("signals".to_owned())
        .spawn(move || heed(&reading, program, exit_code))?;
    for signal in [libc::SIGTERM, libc::SIGINT, libc::SIGQUIT] {
        handle(signal)?;
    }
    Ok(())
}

/// The program hears the first SIGTERM or SIGINT itself from now on, and ends in good order.
pub fn leave_the_first_to_the_program() {
    HEARD.store(true, Ordering::SeqCst);
}

/// Has something done when a signal ends the process at once; it may not get done. Only the first call counts.
pub fn before_ending_at_once(tidy: impl Fn() + Send + Sync + 'static) {
    let _only_the_first = TIDYING.set(Box::new(tidy));
}

fn handle(signal: libc::c_int) -> io::Result<()> {
    // SAFETY: all zeros is a valid `sigaction`; every field that counts is set below.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = note as *const () as libc::sighandler_t;
    action.sa_flags = libc::SA_RESTART;
    // SAFETY: `action` is whole, and `note` does only what a handler may.
    let result = unsafe {
        libc::sigemptyset(&raw mut action.sa_mask);
        libc::sigaction(signal, &raw const action, std::ptr::null_mut())
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

extern "C" fn note(signal: libc::c_int) {
    let byte = u8::try_from(signal).unwrap_or_default();
    // SAFETY: write(2) may be called by a handler, the byte lives through the call, and `errno` is left as it was.
    unsafe {
        let errno = *libc::__errno_location();
        libc::write(PIPE.load(Ordering::SeqCst), (&raw const byte).cast(), 1);
        *libc::__errno_location() = errno;
    }
}

/// Reads signals until one ends the process.
fn heed(pipe: &OwnedFd, program: &str, exit_code: u8) {
    let mut asked = false;
    loop {
        let mut signal = 0_u8;
        // SAFETY: the byte has room for what is read.
        if unsafe { libc::read(pipe.as_raw_fd(), (&raw mut signal).cast(), 1) } != 1 {
            continue;
        }
        let (name, is_quit) = match libc::c_int::from(signal) {
            libc::SIGQUIT => ("SIGQUIT", true),
            libc::SIGINT => ("SIGINT", false),
            _ => ("SIGTERM", false),
        };
        if is_quit || asked || !HEARD.load(Ordering::SeqCst) {
            let again = if asked && !is_quit { " again" } else { "" };
            end(&format!("{program}: received {name}{again}: stopping at once\n"), exit_code);
        }
        asked = true;
    }
}

fn end(line: &str, exit_code: u8) -> ! {
    say(line);
    tidy_up();
    // SAFETY: ends the process; whatever other threads are doing ends with it, as in a crash.
    unsafe { libc::_exit(exit_code.into()) }
}

/// Writes the line if that does not block: whoever reads the log may have stopped reading it.
fn say(line: &str) {
    let mut stderr = libc::pollfd { fd: libc::STDERR_FILENO, events: libc::POLLOUT, revents: 0 };
    // SAFETY: one descriptor, and a line whose bytes live through the calls. A pipe that is ready takes 4096 bytes at once.
    unsafe {
        if libc::poll(&raw mut stderr, 1, 0) == 1 && stderr.revents & libc::POLLOUT != 0 {
            libc::write(libc::STDERR_FILENO, line.as_ptr().cast(), line.len());
        }
    }
}

fn tidy_up() {
    let Some(tidy) = TIDYING.get() else { return };
    let (done, all_done) = mpsc::channel();
    let thread = std::thread::Builder::new().name("tidying up".to_owned()).spawn(move || {
        tidy();
        let _nobody_waits = done.send(());
    });
    if thread.is_ok() {
        let _whether_or_not = all_done.recv_timeout(PATIENCE);
    }
}
