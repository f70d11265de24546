//! What walwriter's settings do to a running server.

use rustix::process::Signal;
use walship_tests::{TempRoot, Walwriter};

#[test]
fn the_log_has_the_level_that_is_configured_and_follows_a_reload() {
    let root = TempRoot::new("log-level");
    let mut server = Walwriter::start_new(&root, "server", &[("log_min_messages", "warning")]);
    assert!(!server.log().contains("ready to accept connections"), "{}", server.log());
    server.configure("log_min_messages", "info");
    server.process().signal(Signal::HUP);
    server.process().wait_for_stderr("configuration read again");
}

#[test]
fn a_reload_names_what_needs_a_restart() {
    let root = TempRoot::new("reload");
    let mut server = Walwriter::start_new(&root, "server", &[]);
    server.configure("full_page_writes", "off");
    server.process().signal(Signal::HUP);
    server.process().wait_for_stderr("parameter \"full_page_writes\" cannot be changed without restarting");
}
