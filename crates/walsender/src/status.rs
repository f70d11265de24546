//! `walsender status`: who follows from a directory.

use std::process::ExitCode;

use anyhow::Context as _;
use replication::waldir::{Follower, FollowersReader, UnixMicros, WalDir};
use serde::Serialize;
use wal::Lsn;

use crate::options::StatusOptions;

/// A follower as `--json` prints it. Positions that the follower has not told are null.
#[derive(Debug, Serialize)]
struct Entry {
    pid: u32,
    application_name: String,
    peer: String,
    slot: Option<String>,
    state: &'static str,
    timeline: u32,
    sent_lsn: Option<String>,
    write_lsn: Option<String>,
    flush_lsn: Option<String>,
    replay_lsn: Option<String>,
    last_reply_age_seconds: Option<f64>,
}

impl Entry {
    fn new(follower: Follower, now: UnixMicros) -> Self {
        let known = |lsn: Lsn| lsn.is_valid().then(|| lsn.to_string());
        Self {
            pid: follower.sender_pid,
            state: follower.state.as_str(),
            timeline: follower.timeline.as_u32(),
            sent_lsn: known(follower.sent),
            write_lsn: known(follower.write),
            flush_lsn: known(follower.flush),
            replay_lsn: known(follower.apply),
            last_reply_age_seconds: follower.last_reply_at.map(|at| now.micros_since(at) as f64 / 1e6),
            slot: (!follower.slot.is_empty()).then_some(follower.slot),
            application_name: follower.application_name,
            peer: follower.peer,
        }
    }
}

pub(crate) fn print(options: &StatusOptions) -> anyhow::Result<ExitCode> {
    let path = &options.directory;
    std::fs::read_dir(path).with_context(|| format!("could not open directory \"{}\"", path.display()))?;
    let dir = WalDir::on_os(path);
    let followers = match FollowersReader::open(&dir).context("could not read the table of followers")? {
        Some(reader) => reader.list().context("could not read the table of followers")?,
        None => Vec::new(),
    };
    let now = UnixMicros::now();
    let mut entries: Vec<Entry> = followers.into_iter().map(|follower| Entry::new(follower, now)).collect();
    entries.sort_by(|a, b| (&a.application_name, &a.peer).cmp(&(&b.application_name, &b.peer)));
    if options.json {
        println!("{}", serde_json::to_string_pretty(&entries)?);
    } else if entries.is_empty() {
        println!("no followers");
    } else {
        print_table(&entries);
    }
    Ok(ExitCode::SUCCESS)
}

fn print_table(entries: &[Entry]) {
    let or_dash = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
    println!(
        "{:<20} {:<22} {:<10} {:>3} {:>12} {:>12} {:>12} {:>12} {:>10}",
        "application", "peer", "state", "tli", "sent", "write", "flush", "replay", "last reply"
    );
    for entry in entries {
        let age =
            entry.last_reply_age_seconds.map_or_else(|| "never".to_owned(), |age| format!("{age:.1}s ago"));
        println!(
            "{:<20} {:<22} {:<10} {:>3} {:>12} {:>12} {:>12} {:>12} {:>10}",
            entry.application_name,
            entry.peer,
            entry.state,
            entry.timeline,
            or_dash(&entry.sent_lsn),
            or_dash(&entry.write_lsn),
            or_dash(&entry.flush_lsn),
            or_dash(&entry.replay_lsn),
            age
        );
    }
}
