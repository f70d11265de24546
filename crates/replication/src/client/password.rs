//! Asking a person for a password.

use std::fs::OpenOptions;
use std::io::{self, Read as _, Write as _};
use std::os::fd::AsFd as _;

use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};

use crate::conninfo::Password;

/// Asks on the terminal; `None`, with a word in the log, if there is nobody to ask.
pub(super) fn prompt() -> Option<Password> {
    match read_password("Password: ") {
        Ok(password) => Some(password),
        Err(error) => {
            tracing::warn!("could not ask for a password: {error}");
            None
        }
    }
}

/// Asks `question` on the controlling terminal (`/dev/tty`) and reads a line that is not shown.
pub fn read_password(question: &str) -> io::Result<Password> {
    let mut terminal = OpenOptions::new().read(true).write(true).open("/dev/tty")?;
    let before = tcgetattr(terminal.as_fd())?;
    let mut silent = before.clone();
    silent.local_modes.remove(LocalModes::ECHO);
    silent.local_modes.insert(LocalModes::ECHONL);
    tcsetattr(terminal.as_fd(), OptionalActions::Flush, &silent)?;
    let line = terminal.write_all(question.as_bytes()).and_then(|()| read_line(&mut terminal));
    tcsetattr(terminal.as_fd(), OptionalActions::Flush, &before)?;
    line.map(Password::new)
}

fn read_line(terminal: &mut std::fs::File) -> io::Result<String> {
    let mut line = Vec::new();
    let mut byte = [0];
    while line.len() < 4096 && terminal.read(&mut byte)? == 1 && byte != *b"\n" {
        line.push(byte[0]);
    }
    String::from_utf8(line).map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "not in UTF-8"))
}
