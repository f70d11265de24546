use std::time::Instant;

use proptest::prelude::*;

use super::*;
use crate::error::SqlState;
use crate::frame::Frame;
use crate::stream::{HotStandbyFeedback, StandbyStatus};

const SEGMENT: u64 = 0x100_0000;

/// A machine and a clock that moves only when told to.
struct Follower {
    machine: SenderMachine,
    now: Instant,
}

impl Follower {
    fn at(start: u64, limit: u64) -> Self {
        let now = Instant::now();
        let config = SenderConfig::default();
        Self { machine: SenderMachine::new(config, Lsn::new(start), Lsn::new(limit), now), now }
    }

    fn pass(&mut self, seconds: u64) {
        self.now += Duration::from_secs(seconds);
    }

    fn next(&mut self) -> Action {
        self.machine.next(self.now)
    }

    fn say(&mut self, tag: u8, body: &[u8]) -> bool {
        self.machine.receive(&Frame { tag, body: body.to_vec().into() }, self.now)
    }

    fn report(&mut self, write: u64, flush: u64, reply_requested: bool) {
        let status = StandbyStatus {
            write: Lsn::new(write),
            flush: Lsn::new(flush),
            reply_requested,
            ..StandbyStatus::default()
        };
        assert!(self.say(b'd', &status.to_bytes()));
    }

    /// Sends everything that may be sent; the chunks.
    fn send_all(&mut self) -> Vec<Chunk> {
        let mut chunks = Vec::new();
        while let Action::Send(chunk) = self.next() {
            self.machine.sent(&chunk);
            chunks.push(chunk);
        }
        chunks
    }

    fn sent(&self) -> u64 {
        self.machine.positions().sent.as_u64()
    }
}

fn ask(end: u64) -> Action {
    Action::Keepalive { end: Lsn::new(end), reply_requested: true }
}

fn answer(end: u64) -> Action {
    Action::Keepalive { end: Lsn::new(end), reply_requested: false }
}

fn wait(seconds: u64) -> Action {
    Action::Wait(Some(Duration::from_secs(seconds)))
}

#[test]
fn messages_are_cut_at_pages_except_at_the_limit() {
    let mut follower = Follower::at(SEGMENT + 100, SEGMENT + 300_001);
    let chunks = follower.send_all();
    let ends: Vec<u64> = chunks.iter().map(|chunk| chunk.end().as_u64() - SEGMENT).collect();
    assert_eq!(ends, [131_072, 262_144, 300_001]);
    assert!(chunks.iter().all(|chunk| chunk.server_end.as_u64() == SEGMENT + 300_001));
    assert_eq!(follower.next(), wait(30));
}

#[test]
fn nothing_beyond_the_limit_is_sent_and_the_limit_never_goes_back() {
    let mut follower = Follower::at(SEGMENT, SEGMENT);
    assert_eq!(follower.next(), wait(30));
    follower.machine.set_limit(Lsn::new(SEGMENT + 10));
    follower.machine.set_limit(Lsn::new(SEGMENT + 5));
    let chunks = follower.send_all();
    assert_eq!(chunks.len(), 1);
    assert_eq!(follower.sent(), SEGMENT + 10);
}

#[test]
fn a_silent_follower_is_asked_at_half_the_timeout_and_dropped_at_the_whole() {
    let mut follower = Follower::at(SEGMENT, SEGMENT);
    follower.pass(29);
    assert_eq!(follower.next(), wait(1));
    follower.pass(1);
    assert_eq!(follower.next(), ask(SEGMENT));
    assert_eq!(follower.next(), wait(30), "it is asked once");
    follower.pass(30);
    assert_eq!(follower.next(), Action::Finish(Finish::Close(CloseReason::Timeout)));
}

#[test]
fn an_answer_starts_the_timeout_anew() {
    let mut follower = Follower::at(SEGMENT, SEGMENT);
    follower.pass(30);
    assert_eq!(follower.next(), ask(SEGMENT));
    follower.pass(29);
    follower.report(SEGMENT, 0, false);
    assert_eq!(follower.next(), wait(30));
    follower.pass(30);
    assert_eq!(follower.next(), ask(SEGMENT));
}

#[test]
fn a_busy_follower_is_asked_before_more_wal_is_sent() {
    let mut follower = Follower::at(SEGMENT, 2 * SEGMENT);
    follower.pass(30);
    assert_eq!(follower.next(), ask(SEGMENT));
    assert!(matches!(follower.next(), Action::Send(_)));
}

#[test]
fn a_follower_that_takes_nothing_is_dropped_too() {
    let mut follower = Follower::at(SEGMENT, 2 * SEGMENT);
    assert!(matches!(follower.next(), Action::Send(_)));
    follower.pass(40);
    assert_eq!(follower.machine.next_while_sending(follower.now), wait(20));
    follower.report(SEGMENT, 0, true);
    assert_eq!(follower.machine.next_while_sending(follower.now), wait(60));
    follower.pass(60);
    let dropped = Action::Finish(Finish::Close(CloseReason::Timeout));
    assert_eq!(follower.machine.next_while_sending(follower.now), dropped);
}

#[test]
fn without_a_timeout_nobody_is_asked() {
    let config = SenderConfig { timeout: None, ..SenderConfig::default() };
    let now = Instant::now();
    let mut machine = SenderMachine::new(config, Lsn::new(8), Lsn::new(8), now);
    assert_eq!(machine.next(now + Duration::from_secs(100_000)), Action::Wait(None));
}

#[test]
fn a_requested_keepalive_comes_before_more_wal() {
    let mut follower = Follower::at(SEGMENT, 2 * SEGMENT);
    follower.report(SEGMENT, SEGMENT, true);
    assert_eq!(follower.next(), answer(SEGMENT));
    assert!(matches!(follower.next(), Action::Send(_)));
    let status = follower.machine.take_status().unwrap();
    assert_eq!(status.flush, Lsn::new(SEGMENT));
    assert_eq!(follower.machine.take_status(), None);
}

#[test]
fn feedback_is_kept_for_whoever_wants_it() {
    let mut follower = Follower::at(SEGMENT, SEGMENT);
    let feedback = HotStandbyFeedback { xmin: 7, ..HotStandbyFeedback::default() };
    let mut body = bytes::BytesMut::new();
    feedback.encode(&mut body);
    assert!(follower.say(b'd', &body));
    assert_eq!(follower.machine.take_feedback(), Some(feedback));
}

#[test]
fn copy_done_of_the_follower_is_answered_and_ends_the_stream() {
    let mut follower = Follower::at(SEGMENT, 2 * SEGMENT);
    assert!(!follower.say(b'c', b""), "what follows is for command mode");
    assert_eq!(follower.next(), Action::CopyDone);
    assert_eq!(follower.next(), Action::Finish(Finish::CommandMode(None)));
}

#[test]
fn a_timeline_ends_with_copy_done_both_ways_and_names_the_next() {
    let switch = TimelineSwitch { next: TimelineId::new(2), at: Lsn::new(SEGMENT + 100) };
    let mut follower = Follower::at(SEGMENT, SEGMENT + 50);
    follower.send_all();
    follower.machine.end_timeline(switch);
    follower.machine.set_limit(Lsn::new(2 * SEGMENT));
    assert_eq!(follower.send_all().len(), 1);
    assert_eq!(follower.sent(), SEGMENT + 100);
    // send_all() was answered with CopyDone, so the machine now waits for the follower's, without a keepalive.
    assert_eq!(follower.next(), wait(60));
    follower.report(SEGMENT + 100, 0, true);
    assert_eq!(follower.next(), wait(60));
    assert!(!follower.say(b'c', b""));
    assert_eq!(follower.next(), Action::Finish(Finish::CommandMode(Some(switch))));
}

#[test]
fn a_timeline_that_ended_before_what_was_sent_ends_at_once() {
    let mut follower = Follower::at(SEGMENT, SEGMENT + 500);
    follower.send_all();
    follower.machine.end_timeline(TimelineSwitch { next: TimelineId::new(2), at: Lsn::new(SEGMENT + 100) });
    assert_eq!(follower.next(), Action::CopyDone);
}

#[test]
fn a_stopping_server_sends_everything_and_waits_until_the_follower_has_it() {
    let mut follower = Follower::at(SEGMENT, SEGMENT + 1000);
    follower.machine.shut_down();
    follower.machine.set_limit(Lsn::new(SEGMENT + 5000));
    assert!(matches!(follower.next(), Action::Send(_)));
    assert_eq!(follower.machine.state(), FollowerState::Stopping);
    follower.machine.sent(&Chunk {
        start: Lsn::new(SEGMENT),
        length: 1000,
        server_end: Lsn::new(SEGMENT + 1000),
    });
    assert_eq!(follower.next(), ask(SEGMENT + 1000));
    follower.report(SEGMENT + 1000, SEGMENT + 500, false);
    assert_eq!(
        follower.next(),
        ask(SEGMENT + 1000),
        "written is not enough for one that tells its flush position"
    );
    follower.report(SEGMENT + 1000, SEGMENT + 1000, false);
    assert_eq!(follower.next(), Action::Finish(Finish::ServerShutdown));
}

#[test]
fn a_follower_without_flush_positions_is_drained_by_what_it_has_written() {
    let mut follower = Follower::at(SEGMENT, SEGMENT);
    follower.report(SEGMENT, 0, false);
    follower.machine.shut_down();
    assert_eq!(follower.next(), Action::Finish(Finish::ServerShutdown));
}

#[test]
fn a_stopping_server_does_not_wait_for_ever() {
    let mut follower = Follower::at(SEGMENT, SEGMENT);
    follower.machine.shut_down();
    assert_eq!(follower.next(), ask(SEGMENT));
    follower.pass(60);
    assert_eq!(follower.next(), Action::Finish(Finish::Close(CloseReason::Timeout)));
}

#[test]
fn what_does_not_belong_in_a_stream_ends_the_connection() {
    for tag in [b'Q', b'f', b'S', b'p', 0] {
        let mut follower = Follower::at(SEGMENT, SEGMENT);
        assert!(!follower.say(tag, b"x\0"));
        let Action::Finish(Finish::Close(CloseReason::Protocol(error))) = follower.next() else {
            panic!("{tag}")
        };
        assert_eq!(error.code, SqlState::PROTOCOL_VIOLATION);
        assert!(error.is_fatal() && error.message.starts_with("invalid standby message type"), "{error}");
    }
}

#[test]
fn payloads_of_unknown_kind_end_the_connection_in_silence() {
    let mut follower = Follower::at(SEGMENT, SEGMENT);
    assert!(!follower.say(b'd', b"z"));
    assert_eq!(follower.next(), Action::Finish(Finish::Close(CloseReason::UnknownPayload(b'z'))));
    let mut follower = Follower::at(SEGMENT, SEGMENT);
    assert!(!follower.say(b'd', b"r too short"));
    assert!(matches!(follower.next(), Action::Finish(Finish::Close(CloseReason::Protocol(_)))));
}

#[test]
fn goodbye_ends_the_connection() {
    let mut follower = Follower::at(SEGMENT, SEGMENT);
    assert!(!follower.say(b'X', b""));
    assert_eq!(follower.next(), Action::Finish(Finish::Close(CloseReason::Terminated)));
}

#[test]
fn states_follow_the_stream() {
    let mut follower = Follower::at(SEGMENT, SEGMENT + 10);
    assert_eq!(follower.machine.state(), FollowerState::CatchUp);
    follower.send_all();
    assert_eq!(follower.machine.state(), FollowerState::Streaming);
    follower.machine.set_limit(Lsn::new(SEGMENT + 20));
    assert!(matches!(follower.next(), Action::Send(_)));
    assert_eq!(follower.machine.state(), FollowerState::Streaming);
}

fn at(position: u64) -> Lsn {
    if position == 0 { Lsn::INVALID } else { Lsn::new(SEGMENT + position) }
}

/// What counts: write, flush.
fn counted(follower: &Follower) -> (Lsn, Lsn) {
    let counted = follower.machine.positions().counted();
    (counted.write, counted.flush)
}

#[test]
fn what_a_follower_had_before_counts_once_it_has_written_as_far_on_this_stream() {
    let mut follower = Follower::at(SEGMENT, SEGMENT + 1000);
    // It comes back with all there is.
    follower.report(SEGMENT, SEGMENT + 1000, false);
    assert_eq!(counted(&follower), (at(0), at(0)), "nothing was sent");
    follower.send_all();
    follower.report(SEGMENT, SEGMENT + 1000, false);
    assert_eq!(counted(&follower), (at(0), at(0)), "said before it was received");
    follower.report(SEGMENT + 600, SEGMENT + 1000, false);
    assert_eq!(counted(&follower), (at(600), at(0)));
    follower.report(SEGMENT + 1000, SEGMENT + 1000, false);
    assert_eq!(counted(&follower), (at(1000), at(1000)));
    assert_eq!(follower.machine.state(), FollowerState::Streaming);
}

#[test]
fn nothing_counts_of_a_stream_on_which_nothing_was_sent() {
    let mut follower = Follower::at(SEGMENT, SEGMENT);
    follower.send_all();
    follower.report(SEGMENT, SEGMENT, false);
    assert_eq!(counted(&follower), (at(0), at(0)));
    // Nor by what is sent later, until it has that.
    follower.machine.set_limit(Lsn::new(SEGMENT + 24));
    follower.send_all();
    follower.report(SEGMENT, SEGMENT, false);
    assert_eq!(counted(&follower), (at(0), at(0)));
    follower.report(SEGMENT + 24, SEGMENT, false);
    assert_eq!(counted(&follower), (at(24), Lsn::new(SEGMENT)));
}

#[test]
fn the_word_of_a_follower_that_is_ahead_does_not_count_whatever_is_sent() {
    let mut follower = Follower::at(SEGMENT, SEGMENT + 500);
    follower.report(SEGMENT, SEGMENT + 900, false);
    assert_eq!(follower.machine.state(), FollowerState::Ahead);
    follower.send_all();
    // As PostgreSQL's does that overwrites without comparing: what it calls durable is not what was sent.
    follower.report(SEGMENT + 500, SEGMENT + 900, false);
    assert_eq!(counted(&follower), (at(0), at(0)));
    follower.machine.set_limit(Lsn::new(SEGMENT + 899));
    follower.send_all();
    follower.report(SEGMENT + 899, SEGMENT + 900, false);
    assert_eq!(counted(&follower), (at(0), at(0)));
    assert_eq!(follower.machine.positions().ahead, Some(at(900)));
    assert_eq!(follower.machine.positions().said.flush, at(900));
    // Once it has received from here what it had claimed, it is like any other.
    follower.machine.set_limit(Lsn::new(SEGMENT + 950));
    follower.send_all();
    follower.report(SEGMENT + 950, SEGMENT + 940, false);
    assert_eq!(counted(&follower), (at(950), at(940)));
    assert_eq!(follower.machine.state(), FollowerState::Streaming);
}

#[test]
fn a_follower_can_be_ahead_in_what_it_has_written_or_replayed() {
    for (write, apply) in [(900, 0), (0, 900)] {
        let mut follower = Follower::at(SEGMENT, SEGMENT + 500);
        let status = StandbyStatus { write: at(write), apply: at(apply), ..StandbyStatus::default() };
        follower.say(b'd', &status.to_bytes());
        assert_eq!(follower.machine.state(), FollowerState::Ahead);
    }
}

#[test]
fn what_a_follower_has_past_a_fork_neither_counts_nor_puts_it_ahead() {
    let switch = TimelineSwitch { next: TimelineId::new(2), at: at(500) };
    let mut follower = Follower::at(SEGMENT, SEGMENT + 2000);
    follower.machine.end_timeline(switch);
    follower.report(SEGMENT, SEGMENT + 900, false);
    follower.send_all();
    follower.report(SEGMENT + 500, SEGMENT + 900, false);
    assert_eq!(counted(&follower), (at(500), at(0)));
    assert_ne!(follower.machine.state(), FollowerState::Ahead);
}

#[test]
fn a_follower_that_is_ahead_does_not_keep_a_server_from_stopping() {
    let mut follower = Follower::at(SEGMENT, SEGMENT + 500);
    follower.report(SEGMENT, SEGMENT + 900, false);
    follower.machine.shut_down();
    follower.send_all();
    assert_eq!(follower.next(), Action::Finish(Finish::ServerShutdown));
}

/// Something that can happen to a stream.
#[derive(Debug, Clone)]
enum Event {
    Limit(u64),
    Pass(u16),
    Frame(u8, Vec<u8>),
    Status(u64, u64, bool),
    End(u64),
    ShutDown,
    Poll(u8),
}

/// Positions about where the stream is, and now and then anywhere.
fn near() -> impl Strategy<Value = u64> {
    prop_oneof![3 => SEGMENT..SEGMENT + (1 << 21), 1 => any::<u64>()]
}

fn any_event() -> impl Strategy<Value = Event> {
    prop_oneof![
        4 => (0_u64..1 << 21).prop_map(Event::Limit),
        2 => (0_u16..50).prop_map(Event::Pass),
        1 => (prop::sample::select(b"dcXQf".to_vec()), prop::collection::vec(any::<u8>(), 0..40))
            .prop_map(|(tag, body)| Event::Frame(tag, body)),
        4 => (near(), near(), any::<bool>()).prop_map(|(write, flush, reply)| Event::Status(write, flush, reply)),
        1 => (0_u64..1 << 21).prop_map(Event::End),
        1 => Just(Event::ShutDown),
        8 => (1_u8..20).prop_map(Event::Poll),
    ]
}

proptest! {
    /// Whatever happens in whatever order: in order, never beyond the limit, nothing after CopyDone or the end.
    #[test]
    fn the_stream_keeps_its_promises(events in prop::collection::vec(any_event(), 0..60)) {
        let mut follower = Follower::at(SEGMENT + 123, SEGMENT + 123);
        let (mut durable, mut copy_done, mut finished) = (SEGMENT + 123, 0, None);
        for event in events {
            match event {
                Event::Limit(ahead) => {
                    durable = durable.max(SEGMENT + ahead);
                    follower.machine.set_limit(Lsn::new(SEGMENT + ahead));
                }
                Event::Pass(seconds) => follower.pass(seconds.into()),
                Event::Frame(tag, body) => { follower.say(tag, &body); }
                Event::Status(write, flush, reply) => {
                    let status = StandbyStatus {
                        write: Lsn::new(write), flush: Lsn::new(flush), reply_requested: reply, ..Default::default()
                    };
                    follower.say(b'd', &status.to_bytes());
                    let Positions { start, sent, write, flush, apply, .. } = *follower.machine.positions();
                    prop_assert!(write == Lsn::INVALID || (start < write && write <= sent));
                    prop_assert!(flush <= write && apply <= write);
                }
                Event::End(ahead) => {
                    // A switch point is known to be durable by whoever announces it.
                    let at = durable.min(SEGMENT + ahead);
                    follower.machine.end_timeline(TimelineSwitch { next: TimelineId::new(2), at: Lsn::new(at) });
                }
                Event::ShutDown => follower.machine.shut_down(),
                Event::Poll(times) => for _ in 0..times {
                    let action = follower.next();
                    if let Some(finish) = &finished {
                        prop_assert_eq!(&action, finish);
                        continue;
                    }
                    match &action {
                        Action::Send(chunk) => {
                            prop_assert_eq!(copy_done, 0);
                            prop_assert!(chunk.length > 0 && chunk.length <= MAX_CHUNK);
                            prop_assert!(chunk.end().as_u64() <= durable);
                            prop_assert!(chunk.end() <= chunk.server_end);
                            follower.machine.sent(chunk);
                        }
                        Action::Keepalive { end, .. } => {
                            prop_assert_eq!(copy_done, 0);
                            prop_assert_eq!(end.as_u64(), follower.sent());
                        }
                        Action::CopyDone => { copy_done += 1; prop_assert_eq!(copy_done, 1); }
                        Action::Finish(_) => finished = Some(action.clone()),
                        Action::Wait(time) => prop_assert!(time.unwrap() > Duration::ZERO),
                    }
                },
            }
        }
    }
}
