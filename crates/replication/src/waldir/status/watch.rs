//! The status file as a `tokio::sync::watch` channel.

use std::io;
use std::thread;
use std::time::Duration;

use tokio::sync::watch;

use super::{Published, StatusReader};
use crate::waldir::WalDir;

/// How long the death of a writer, or the first appearance of a status file, may go unnoticed.
pub const WATCH_INTERVAL: Duration = Duration::from_millis(250);

/// Follows a directory's status in a thread of its own, which ends soon after the last receiver is dropped. Changes
/// by a living writer arrive at once.
pub fn watch_status(dir: &WalDir) -> io::Result<watch::Receiver<Published>> {
    let reader = StatusReader::open(dir)?;
    let (sender, receiver) = watch::channel(reader.as_ref().map_or(Published::Absent, StatusReader::read));
    let dir = dir.clone();
    thread::Builder::new().name("status-watch".to_owned()).spawn(move || follow(&dir, reader, &sender))?;
    Ok(receiver)
}

fn follow(dir: &WalDir, mut reader: Option<StatusReader>, sender: &watch::Sender<Published>) {
    while !sender.is_closed() {
        let Some(open) = &reader else {
            sender.send_if_modified(|last| std::mem::replace(last, Published::Absent) != Published::Absent);
            thread::sleep(WATCH_INTERVAL);
            reader = open_again(dir);
            continue;
        };
        let seen = open.changes();
        let now = open.read();
        sender.send_if_modified(|last| std::mem::replace(last, now) != now);
        open.wait(seen, WATCH_INTERVAL);
        if now.live().is_none() {
            // The directory may have been made anew, with another file of this name.
            reader = open_again(dir);
        }
    }
}

fn open_again(dir: &WalDir) -> Option<StatusReader> {
    StatusReader::open(dir)
        .inspect_err(
            |error| tracing::warn!(directory = %dir.path().display(), %error, "could not open status file"),
        )
        .ok()
        .flatten()
}
