//! Leader and standby.

use std::collections::BTreeSet;

use walship_tests::strace::{Call, Fault};
use walship_tests::{Shutdown, TempRoot, Tool, Walwriter, wait_for};

use crate::{Outcome, assert_said, assert_small, load, traced};

/// Calls that other files than data have too: those are looked at by path.
pub(crate) fn looked_at(call: Call, server: &Walwriter) -> Vec<std::path::PathBuf> {
    if call.needs_paths() { load::paths(server.data()) } else { Vec::new() }
}

/// A leader that two clients write to.
pub(crate) fn leader(root: &TempRoot, call: Call, fault: Option<Fault>) -> Outcome {
    let mut leader = load::new_leader(root);
    let traced = traced(root, call, fault, looked_at(call, &leader));
    let (mut acknowledged, mut ended) = (BTreeSet::new(), true);
    let said = match leader.try_start_as(|tool| tool.traced(&traced)) {
        Err(log) => log,
        Ok(()) => {
            let mut clients = load::start(&leader);
            load::wait(&mut clients, || !leader.is_running());
            ended = !leader.is_running();
            assert_small(leader.process());
            let told;
            (acknowledged, told) = load::results(clients);
            let finished = end(&mut leader);
            ended |= finished.code != Some(0);
            finished.stderr + &told
        }
    };
    let struck = assert_said(&traced, &said);
    leader.start();
    load::assert_there(&leader, &acknowledged);
    leader.stop(Shutdown::Fast).success();
    leader.assert_sound();
    Outcome { counts: traced.counts(), struck, ended }
}

/// Has the server end, if it has not already.
#[track_caller]
fn end(server: &mut Walwriter) -> walship_tests::Finished {
    if server.is_running() { server.stop(Shutdown::Fast) } else { server.wait_for_end() }
}

/// A standby that its leader waits for.
pub(crate) fn standby(root: &TempRoot, call: Call, fault: Option<Fault>) -> Outcome {
    let mut leader = load::new_leader(root);
    leader.start();
    let directory = root.dir("one");
    let conninfo = format!("{} application_name=one", leader.conninfo());
    let tool = Tool::ours(root, "basebackup").args(["-d", &conninfo, "-c", "fast", "-R", "-D"]);
    tool.arg(&directory).succeed();
    let mut standby = Walwriter::in_directory(root, "one", &directory);
    let traced = traced(root, call, fault, looked_at(call, &standby));
    let (mut acknowledged, mut ended) = (BTreeSet::new(), true);
    let said = match standby.try_start_as(|tool| tool.traced(&traced)) {
        Err(log) => log,
        Ok(()) => {
            leader.configure("synchronous_standby_names", "one");
            leader.sql("select pg_reload_conf()");
            wait_for("the leader to wait for its standby", walship_tests::DEADLINE, || {
                (leader.sql("show synchronous_standby_names") == "one").then_some(())
            });
            let mut clients = load::start(&leader);
            load::wait(&mut clients, || !standby.is_running());
            ended = !standby.is_running();
            assert_small(standby.process());
            acknowledged = load::results(clients).0;
            let finished = end(&mut standby);
            ended |= finished.code != Some(0);
            finished.stderr
        }
    };
    let struck = assert_said(&traced, &said);
    leader.kill9();
    standby.start();
    standby.wait_for_all_received();
    standby.promote();
    load::assert_there(&standby, &acknowledged);
    standby.stop(Shutdown::Fast).success();
    standby.assert_sound();
    Outcome { counts: traced.counts(), struck, ended }
}
