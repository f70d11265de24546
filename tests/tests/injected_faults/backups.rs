//! Base backups: whoever takes one, and whoever gives it.

use walship_tests::strace::{Call, Fault, files_below};
use walship_tests::{Shutdown, TempRoot, Tool, Walwriter};

use crate::servers::looked_at;
use crate::{Outcome, assert_said, assert_small, load, traced};

/// A leader with something in it.
fn filled(root: &TempRoot) -> Walwriter {
    let mut leader = load::new_leader(root);
    leader.start();
    let mut clients = load::start(&leader);
    load::wait(&mut clients, || false);
    load::results(clients);
    leader
}

fn backup_of(leader: &Walwriter, target: &std::path::Path) -> Tool {
    Tool::ours(leader.root(), "basebackup").args(["-d", &leader.conninfo(), "-c", "fast", "-D"]).arg(target)
}

/// A backup is whole, or is none.
#[track_caller]
fn assert_whole_or_none(root: &TempRoot, target: &std::path::Path, succeeded: bool) {
    if succeeded {
        Tool::ours(root, "basebackup").arg("verify").arg(target).succeed();
    } else {
        assert!(!target.join("backup_manifest").exists(), "what failed looks finished");
    }
}

/// `basebackup`.
pub(crate) fn client(root: &TempRoot, call: Call, fault: Option<Fault>) -> Outcome {
    let mut leader = filled(root);
    let target = root.join("backup");
    let mut paths = Vec::new();
    if call.needs_paths() {
        let data = leader.data().to_owned();
        let names = files_below(&data).into_iter();
        paths.extend(names.filter_map(|path| Some(target.join(path.strip_prefix(&data).ok()?))));
        let made = ["backup_label", "backup_manifest", "backup_manifest.unfinished", "postgresql.auto.conf"];
        paths.extend(made.map(|name| target.join(name)));
    }
    let traced = traced(root, call, fault, paths);
    let finished = backup_of(&leader, &target).traced(&traced).run();
    let ended = finished.code != Some(0);
    let struck = assert_said(&traced, &finished.stderr);
    assert_whole_or_none(root, &target, !ended);
    leader.stop(Shutdown::Fast).success();
    Outcome { counts: traced.counts(), struck, ended }
}

/// `walwriter`, of which one is taken.
pub(crate) fn leader(root: &TempRoot, call: Call, fault: Option<Fault>) -> Outcome {
    let mut leader = filled(root);
    let rows = leader.sql("select count(*) from t");
    leader.stop(Shutdown::Fast).success();
    let traced = traced(root, call, fault, looked_at(call, &leader));
    let target = root.join("backup");
    let mut ended = true;
    let said = match leader.try_start_as(|tool| tool.traced(&traced)) {
        Err(log) => log,
        Ok(()) => {
            let taken = backup_of(&leader, &target).run();
            assert_whole_or_none(root, &target, taken.code == Some(0));
            ended = !leader.is_running();
            assert_small(leader.process());
            let finished = if ended { leader.wait_for_end() } else { leader.stop(Shutdown::Fast) };
            ended |= finished.code != Some(0);
            finished.stderr + &taken.stderr
        }
    };
    let struck = assert_said(&traced, &said);
    leader.start();
    assert_eq!(leader.sql("select count(*) from t"), rows);
    leader.stop(Shutdown::Fast).success();
    Outcome { counts: traced.counts(), struck, ended }
}
