//! The checker finds what is put into a good history.

use std::collections::HashMap;

use wal::Lsn;

use super::*;
use crate::chaos::history::{NodeId, Origin, Reign, Silence, Work};

const NODES: [NodeId; 2] = [NodeId(0), NodeId(1)];

/// Two clients on a leader, a crash and a restart, a promotion of who had it all, and one that had not.
fn good() -> History {
    let reign = |node, timeline, origin| Reign { node: NODES[node], timeline, quorum: 1, origin };
    let of = ReignId;
    let mut history = History {
        reigns: vec![
            reign(0, 1, Origin::Founded),
            reign(0, 1, Origin::Restarted { of: of(0) }),
            reign(1, 2, Origin::Promoted { of: of(1), fork: Lsn::new(690), complete: true }),
            reign(0, 3, Origin::Promoted { of: of(2), fork: Lsn::new(695), complete: false }),
        ],
        initial_balance: 100,
        ..History::default()
    };
    for number in 1..=10 {
        let reign = of((number as usize - 1) / 3);
        for client in [1, 2] {
            history.attempts.push(attempt(client, number, reign));
        }
    }
    for (reign, last) in [3, 6, 9, 10].into_iter().enumerate() {
        let view = view(&history, |id| in_log(reign, id), Context::Leader(of(reign)), 100 * last + 90);
        history.views.push(view);
    }
    history.views.last_mut().unwrap().last = true;
    let standby = view(&history, |id| id.number <= 2, Context::Follower(of(0)), 350);
    history.views.push(standby);
    history
}

/// What a reign's log has at its end. The promotion to reign 3, which was not complete, discarded all of reign 2.
fn in_log(reign: usize, id: TxId) -> bool {
    let last = [3, 6, 9, 10][reign];
    id.number <= last && !(reign == 3 && (7..=9).contains(&id.number))
}

fn attempt(client: u32, number: u32, reign: ReignId) -> Attempt {
    let at = 100 * u64::from(number) + u64::from(client);
    Attempt {
        id: TxId { client, number },
        reign,
        level: Level::On,
        begun: at,
        floor: Some(Lsn::new(at)),
        work: Work { source: client, target: 3, amount: 1, parts: 2 },
        outcome: Outcome::Acknowledged { at: at + 50, ceiling: Some(Lsn::new(at + 60)) },
    }
}

fn view(history: &History, shows: impl Fn(TxId) -> bool, context: Context, at: u64) -> View {
    let node = match context {
        Context::Leader(reign) => history.reigns[reign.0].node,
        _ => NODES[1],
    };
    let mut view = View {
        node,
        // The first leader is made anew before it is promoted.
        generation: u32::from(at > 950),
        life: 1,
        context,
        last: false,
        begun: at,
        ended: at + 1,
        accounts: vec![(1, 100), (2, 100), (3, 100)],
        registers: vec![(1, 0, 0), (2, 0, 0)],
        entries: Vec::new(),
        parts: HashMap::new(),
    };
    for attempt in history.attempts.iter().filter(|attempt| shows(attempt.id)) {
        let Attempt { id, reign, work, .. } = *attempt;
        view.accounts[work.source as usize - 1].1 -= work.amount;
        view.accounts[work.target as usize - 1].1 += work.amount;
        let register = &mut view.registers[id.client as usize - 1];
        (register.1, register.2) = (register.1.max(id.number), register.2 + 1);
        view.entries.push(Entry { id, reign, work });
        view.parts.insert(id, work.parts);
    }
    view
}

/// Shows the view at `index` again, with what `shows` says in place of what it showed.
fn show(history: &mut History, index: usize, shows: impl Fn(TxId) -> bool) {
    let View { context, begun, last, node, generation, life, .. } = history.views[index];
    let again = view(history, shows, context, begun);
    history.views[index] = View { last, node, generation, life, ..again };
}

#[track_caller]
fn assert_breaks(history: &History, rule: Rule) {
    let found = check(history);
    assert!(found.iter().any(|violation| violation.rule == rule), "{rule:?} is not among {found:?}");
}

fn outcome(history: &mut History, client: u32, number: u32) -> &mut Outcome {
    let wanted = TxId { client, number };
    &mut history.attempts.iter_mut().find(|attempt| attempt.id == wanted).unwrap().outcome
}

fn is(client: u32, number: u32) -> impl Fn(TxId) -> bool {
    move |id| id == TxId { client, number }
}

#[test]
fn a_good_history_is_accepted() {
    assert_eq!(check(&good()), []);
}

#[test]
fn what_was_in_doubt_may_be_there_or_not() {
    for shown in [true, false] {
        let mut history = good();
        *outcome(&mut history, 2, 10) = Outcome::InDoubt;
        show(&mut history, 3, |id| in_log(3, id) && (shown || !is(2, 10)(id)));
        assert_eq!(check(&history), []);
    }
}

#[test]
fn an_acknowledged_transaction_that_is_gone_is_found() {
    let mut history = good();
    show(&mut history, 0, |id| id.number <= 3 && !is(2, 3)(id));
    assert_breaks(&history, Rule::Lost);
}

#[test]
fn one_that_a_complete_promotion_lost_is_found_though_it_may_lie_past_the_fork() {
    let mut history = good();
    for (complete, clean) in [(false, true), (true, false)] {
        history.reigns[2].origin = Origin::Promoted { of: ReignId(1), fork: Lsn::new(655), complete };
        for index in [2, 3] {
            show(&mut history, index, |id| in_log(index, id) && !is(2, 6)(id));
        }
        assert_eq!(check(&history).is_empty(), clean, "{complete}");
    }
    assert_breaks(&history, Rule::Lost);
}

#[test]
fn one_that_waited_for_no_follower_may_be_lost_by_a_promotion_and_not_by_a_restart() {
    let local = |number, from| {
        let mut history = good();
        let attempt = history.attempts.iter_mut().find(|attempt| is(2, number)(attempt.id)).unwrap();
        attempt.level = Level::Local;
        for index in from..4 {
            show(&mut history, index, |id| in_log(index, id) && !is(2, number)(id));
        }
        history.reigns[2].origin = Origin::Promoted { of: ReignId(1), fork: Lsn::new(655), complete: true };
        history
    };
    assert_eq!(check(&local(6, 1)), []);
    assert_breaks(&local(3, 1), Rule::Lost);
}

#[test]
fn one_that_a_leader_had_shown_and_a_complete_promotion_lost_is_found() {
    for from in [1, 2] {
        let mut history = good();
        history.reigns[2].origin = Origin::Promoted { of: ReignId(1), fork: Lsn::new(655), complete: true };
        *outcome(&mut history, 2, 6) = Outcome::InDoubt;
        for index in from..4 {
            show(&mut history, index, |id| in_log(index, id) && !is(2, 6)(id));
        }
        match from {
            1 => assert_eq!(check(&history), [], "nobody had seen it"),
            _ => assert_breaks(&history, Rule::Lost),
        }
    }
}

#[test]
fn a_transaction_that_is_there_twice_is_found() {
    let mut history = good();
    let doubled = history.views[0].entries[0];
    history.views[0].entries.push(doubled);
    assert_breaks(&history, Rule::NotWhole);
    let mut history = good();
    history.views[0].accounts[0].1 -= 1;
    history.views[0].accounts[2].1 += 1;
    assert_breaks(&history, Rule::NotWhole);
}

#[test]
fn half_a_transaction_is_found() {
    for break_it in [
        |view: &mut View| view.registers[0].1 -= 1,
        |view: &mut View| view.accounts[0].1 += 1,
        |view: &mut View| *view.parts.get_mut(&TxId { client: 1, number: 1 }).unwrap() = 1,
    ] {
        let mut history = good();
        break_it(&mut history.views[0]);
        assert_breaks(&history, Rule::NotWhole);
    }
}

#[test]
fn what_was_refused_or_never_tried_is_found() {
    let mut history = good();
    *outcome(&mut history, 1, 3) = Outcome::Refused;
    assert_breaks(&history, Rule::NotTried);
    let mut history = good();
    history.attempts.retain(|attempt| !is(1, 3)(attempt.id));
    assert_breaks(&history, Rule::NotTried);
}

#[test]
fn a_gap_in_what_a_standby_shows_is_found() {
    let mut history = good();
    show(&mut history, 4, |id| id.number <= 2 && !is(2, 1)(id));
    assert_breaks(&history, Rule::Gap);
}

#[test]
fn a_follower_with_what_its_leaders_lineage_discarded_is_found() {
    let mut history = good();
    let old = view(&history, |id| id.number <= 9, Context::Follower(ReignId(3)), 1095);
    history.views.push(View { generation: 7, ..old });
    assert_breaks(&history, Rule::Discarded);
}

#[test]
fn a_stale_read_on_a_leader_is_found() {
    let mut history = good();
    let stale = view(&history, |id| id.number <= 5, Context::Leader(ReignId(1)), 694);
    history.views.push(View { generation: 7, ..stale });
    assert_breaks(&history, Rule::Lost);
}

#[test]
fn what_a_directory_showed_and_does_not_show_any_more_is_found() {
    let mut history = good();
    for (at, last) in [(360, 3), (370, 2)] {
        let view = view(&history, |id| id.number <= last, Context::Unknown, at);
        history.views.push(view);
    }
    assert_breaks(&history, Rule::Vanished);
}

#[test]
fn a_standby_may_give_up_in_a_later_life_what_the_lineage_discarded_and_nothing_else() {
    let mut history = good();
    let old = view(&history, |id| id.number <= 8, Context::Unknown, 985);
    history.views.push(View { generation: 7, ..old });
    let new = view(&history, |id| in_log(3, id), Context::Follower(ReignId(3)), 1095);
    history.views.push(View { generation: 7, life: 2, ..new });
    assert_eq!(check(&history), []);
    history.views.last_mut().unwrap().life = 1;
    assert_breaks(&history, Rule::Vanished);
    let kept = view(&history, |id| id.number <= 5, Context::Follower(ReignId(3)), 1095);
    *history.views.last_mut().unwrap() = View { generation: 7, life: 2, ..kept };
    assert_breaks(&history, Rule::Vanished);
}

#[test]
fn a_standby_may_give_up_in_a_later_life_what_may_lie_past_the_fork_and_only_after_one() {
    let mut history = good();
    let near = history.attempts.iter_mut().find(|attempt| is(1, 7)(attempt.id)).unwrap();
    // The fork is at 695.
    near.floor = Some(Lsn::new(690));
    let old = view(&history, |id| id.number <= 7, Context::Unknown, 985);
    history.views.push(View { generation: 7, ..old });
    let new = view(&history, |id| in_log(3, id), Context::Follower(ReignId(3)), 1095);
    history.views.push(View { generation: 7, life: 2, ..new });
    assert_eq!(check(&history), []);

    // Within a reign there is no fork: what a standby has shown its leader has.
    let mut history = good();
    *outcome(&mut history, 1, 3) = Outcome::InDoubt;
    for reign in 0..4 {
        show(&mut history, reign, |id| in_log(reign, id) && !is(1, 3)(id));
    }
    let old = view(&history, |id| id.number <= 3, Context::Follower(ReignId(0)), 380);
    history.views.push(View { generation: 7, ..old });
    let new = view(&history, |id| id.number <= 3 && !is(1, 3)(id), Context::Follower(ReignId(0)), 395);
    history.views.push(View { generation: 7, life: 2, ..new });
    assert_breaks(&history, Rule::Vanished);
}

#[test]
fn an_acknowledgement_that_nobody_could_have_confirmed_is_found() {
    let mut history = good();
    history.silences.push(Silence { reign: ReignId(3), from: 960, until: 2000, because: "all were ahead" });
    assert_breaks(&history, Rule::Unconfirmed);
}

#[test]
fn an_older_copy_that_was_put_back_shows_what_was_before_its_end_and_no_more() {
    let mut history = good();
    let copy = ReignId(4);
    let origin = Origin::OlderCopy { of: ReignId(1), end: Lsn::new(580) };
    history.reigns.push(Reign { node: NODES[0], timeline: 1, quorum: 1, origin });
    let all = view(&history, |id| id.number <= 5, Context::Leader(copy), 692);
    history.views.push(View { generation: 8, ..all });
    assert_eq!(check(&history), []);
    let more = view(&history, |id| id.number <= 6, Context::Leader(copy), 692);
    history.views.push(View { generation: 9, ..more });
    assert_breaks(&history, Rule::Discarded);
}
