//! The machine in virtual time: no socket, no disk, no waiting.

use proptest::prelude::*;

use super::*;

const START: Lsn = Lsn::new(0x100_0000);

fn at(bytes: u64) -> Lsn {
    START.saturating_add(bytes)
}

fn config(flush_reports: FlushReports) -> ReceiverConfig {
    ReceiverConfig {
        already_applied: None,
        start: START,
        already_durable: START,
        flush_reports,
        status_interval: Some(Duration::from_secs(10)),
        silence_limit: Some(Duration::from_secs(60)),
        end_position: None,
    }
}

struct Run {
    machine: ReceiverMachine,
    now: Instant,
}

impl Run {
    fn new(config: ReceiverConfig) -> Self {
        let now = Instant::now();
        Self { machine: ReceiverMachine::new(config, now), now }
    }

    fn after(&mut self, seconds: u64) -> Vec<ReceiverAction> {
        self.now += Duration::from_secs(seconds);
        self.actions()
    }

    fn actions(&mut self) -> Vec<ReceiverAction> {
        std::iter::from_fn(|| self.machine.poll(self.now)).take(20).collect()
    }

    fn wal(&mut self, offset: u64, len: usize) {
        assert_eq!(self.machine.wal(at(offset), len, at(offset + len as u64), self.now), Ok(true));
    }

    fn asked(&mut self) {
        let end = self.machine.received();
        let keepalive = Keepalive { end, send_time: PgTimestamp::default(), reply_requested: true };
        self.machine.keepalive(keepalive, self.now);
    }
}

fn status(write: Lsn, flush: Lsn) -> ReceiverAction {
    ReceiverAction::SendStatus(StandbyStatus { write, flush, ..StandbyStatus::default() })
}

#[test]
fn the_first_thing_said_is_where_the_stream_starts() {
    assert_eq!(Run::new(config(FlushReports::Regularly)).actions(), [status(START, START)]);
    assert_eq!(Run::new(config(FlushReports::Never)).actions(), [status(START, Lsn::INVALID)]);
}

#[test]
fn a_synchronous_standby_reports_each_flush_and_nothing_before_it() {
    let mut run = Run::new(config(FlushReports::AtOnce));
    run.actions();
    run.wal(0, 100);
    assert_eq!(run.actions(), []);
    run.machine.written(at(100));
    assert_eq!(run.actions(), []);
    run.machine.flushed(at(60));
    assert_eq!(run.actions(), [status(at(100), at(60))]);
    run.machine.flushed(at(60));
    assert_eq!(run.actions(), [], "nothing new");
    run.machine.flushed(at(1000));
    assert_eq!(run.actions(), [status(at(100), at(100))], "never ahead of what was received");
}

#[test]
fn without_slot_or_synchronous_nothing_is_called_flushed() {
    let mut run = Run::new(config(FlushReports::Never));
    run.actions();
    run.wal(0, 100);
    run.machine.written(at(100));
    run.machine.flushed(at(100));
    assert_eq!(run.actions(), []);
    assert_eq!(run.after(10), [status(at(100), Lsn::INVALID)]);
}

#[test]
fn a_server_that_asks_is_answered_at_once_and_again_when_the_rest_is_durable() {
    let mut run = Run::new(config(FlushReports::Regularly));
    run.actions();
    run.wal(0, 100);
    run.machine.written(at(100));
    run.asked();
    assert_eq!(run.actions(), [status(at(100), START), ReceiverAction::Sync]);
    run.machine.flushed(at(100));
    assert_eq!(run.actions(), [status(at(100), at(100))]);
    run.asked();
    assert_eq!(run.actions(), [status(at(100), at(100))], "all of it is durable already");
}

#[test]
fn statuses_keep_their_interval() {
    let mut run = Run::new(config(FlushReports::Regularly));
    run.actions();
    assert_eq!(run.machine.next_timeout(), Some(run.now + Duration::from_secs(10)));
    assert_eq!(run.after(9), []);
    assert_eq!(run.after(1), [status(START, START)]);
    assert_eq!(run.after(5), []);
}

#[test]
fn a_silent_server_is_asked_and_then_given_up() {
    let mut run = Run::new(ReceiverConfig { status_interval: None, ..config(FlushReports::Never) });
    run.actions();
    assert_eq!(run.machine.next_timeout(), Some(run.now + Duration::from_secs(30)));
    let ping = StandbyStatus { write: START, reply_requested: true, ..StandbyStatus::default() };
    assert_eq!(run.after(30), [ReceiverAction::SendStatus(ping)]);
    assert_eq!(run.after(29), []);
    assert_eq!(run.machine.poll(run.now + Duration::from_secs(1)), Some(ReceiverAction::GiveUp));
    run.wal(0, 1);
    assert_eq!(run.after(29), [], "a sign of life starts it afresh");
    run.now += Duration::from_secs(100);
    run.machine.reading_was_held_up(run.now);
    assert_eq!(run.actions(), [], "our own disk held us up");
}

#[test]
fn stopping_makes_everything_durable_and_says_so_before_the_copy_ends() {
    let mut run = Run::new(config(FlushReports::Regularly));
    run.actions();
    run.wal(0, 100);
    run.machine.stop();
    assert_eq!(run.actions(), [status(START, START)]);
    run.machine.written(at(100));
    assert_eq!(run.actions(), [ReceiverAction::Sync]);
    assert_eq!(run.actions(), [], "waits for the sync");
    run.machine.flushed(at(100));
    assert_eq!(run.actions(), [status(at(100), at(100)), ReceiverAction::EndCopy]);
    assert_eq!(run.machine.wal(at(100), 5, at(105), run.now), Ok(false));
    assert_eq!(run.after(1000), []);
}

#[test]
fn a_sync_that_came_to_nothing_is_asked_for_again_at_the_end() {
    let mut run = Run::new(config(FlushReports::Regularly));
    run.actions();
    run.wal(0, 100);
    run.machine.written(at(100));
    run.asked();
    assert_eq!(run.actions(), [status(at(100), START), ReceiverAction::Sync]);
    run.machine.stop();
    assert_eq!(run.actions(), [status(at(100), START), ReceiverAction::Sync]);
    run.machine.flushed(at(100));
    assert_eq!(run.actions(), [status(at(100), at(100)), ReceiverAction::EndCopy]);
}

#[test]
fn one_that_syncs_in_its_own_time_is_called_upon_at_the_end_alone() {
    let mut run = Run::new(config(FlushReports::AsItComes));
    run.actions();
    run.wal(0, 100);
    run.machine.written(at(100));
    run.asked();
    assert_eq!(run.actions(), [status(at(100), START)]);
    run.machine.flushed(at(60));
    assert_eq!(run.actions(), [], "the next regular status tells");
    run.machine.stop();
    assert_eq!(run.actions(), [status(at(100), at(60)), ReceiverAction::Sync]);
    run.machine.flushed(at(100));
    assert_eq!(run.actions(), [status(at(100), at(100)), ReceiverAction::EndCopy]);
}

#[test]
fn an_idle_stream_stops_at_once() {
    let nothing_durable = ReceiverConfig { already_durable: Lsn::INVALID, ..config(FlushReports::Never) };
    let mut run = Run::new(nothing_durable);
    run.machine.stop();
    assert_eq!(run.actions(), [status(START, Lsn::INVALID), ReceiverAction::EndCopy]);
}

#[test]
fn the_end_position_must_be_passed_not_reached() {
    let mut run = Run::new(ReceiverConfig { end_position: Some(at(100)), ..config(FlushReports::Never) });
    run.actions();
    run.wal(0, 100);
    run.machine.written(at(100));
    assert_eq!(run.actions(), []);
    run.wal(100, 8);
    run.machine.written(at(108));
    run.machine.flushed(at(108));
    assert_eq!(run.actions().last(), Some(&ReceiverAction::EndCopy));
}

#[test]
fn wal_out_of_order_is_refused() {
    let mut run = Run::new(config(FlushReports::Never));
    run.wal(0, 10);
    for found in [START, at(9), at(11)] {
        let error = run.machine.wal(found, 1, found, run.now).unwrap_err();
        assert_eq!(error, ReceiveError::OutOfOrder { expected: at(10), found });
    }
}

#[test]
fn positions_past_the_address_space_are_refused() {
    let start = Lsn::new(u64::MAX - 4);
    let mut machine =
        ReceiverMachine::new(ReceiverConfig { start, ..config(FlushReports::Never) }, Instant::now());
    assert_eq!(machine.wal(start, 8, start, Instant::now()), Err(ReceiveError::AddressSpace(start)));
}

#[derive(Debug, Clone)]
enum Event {
    Wal(usize),
    Keepalive(bool),
    Written(u64),
    Flushed(u64),
    Wait(u64),
    Stop,
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let event = prop_oneof![
        (0usize..1000).prop_map(Event::Wal),
        any::<bool>().prop_map(Event::Keepalive),
        (0u64..5000).prop_map(Event::Written),
        (0u64..5000).prop_map(Event::Flushed),
        (0u64..20_000).prop_map(Event::Wait),
        Just(Event::Stop),
    ];
    prop::collection::vec(event, 0..60)
}

proptest! {
    /// Whatever happens in whatever order: no status claims more than was written or flushed, and with the disk
    /// caught up a stop ends the copy.
    #[test]
    fn no_status_is_ever_ahead_of_the_disk(events in events(), reports in 0..4) {
        let reports = [FlushReports::Never, FlushReports::Regularly, FlushReports::AsItComes, FlushReports::AtOnce]
            [reports as usize];
        let mut run = Run::new(ReceiverConfig { silence_limit: None, ..config(reports) });
        let (mut written, mut flushed) = (START, START);
        for event in events {
            match event {
                Event::Wal(len) => {
                    let start = run.machine.received();
                    prop_assert!(run.machine.wal(start, len, start, run.now).is_ok());
                }
                Event::Keepalive(false) => run.machine.reading_was_held_up(run.now),
                Event::Keepalive(true) => run.asked(),
                Event::Written(offset) => {
                    written = written.max(at(offset).min(run.machine.received()));
                    run.machine.written(at(offset));
                }
                Event::Flushed(offset) => {
                    flushed = flushed.max(at(offset).min(run.machine.received()));
                    written = written.max(flushed);
                    run.machine.flushed(at(offset));
                }
                Event::Wait(millis) => run.now += Duration::from_millis(millis),
                Event::Stop => run.machine.stop(),
            }
            for action in run.actions() {
                if let ReceiverAction::SendStatus(status) = action {
                    prop_assert!(status.write <= written);
                    prop_assert!(status.flush <= flushed);
                    prop_assert!(reports != FlushReports::Never || !status.flush.is_valid());
                }
            }
        }
        run.machine.stop();
        run.machine.written(run.machine.received());
        run.actions();
        run.machine.flushed(run.machine.received());
        run.actions();
        prop_assert!(run.machine.has_ended());
    }
}

#[test]
fn a_synchronous_standby_tells_at_once_when_replay_has_caught_up_with_what_is_durable() {
    let now = Instant::now();
    let start = at(0);
    let config = ReceiverConfig { already_applied: Some(start), ..config(FlushReports::AtOnce) };
    let mut machine = ReceiverMachine::new(config, now);
    while machine.poll(now).is_some() {}
    machine.wal(start, 100, at(100), now).unwrap();
    machine.flushed(at(100));
    assert!(machine.status_due(now).is_some());
    machine.applied(at(60));
    assert_eq!(machine.status_due(now), None, "the next status tells");
    machine.applied(at(100));
    assert_eq!(machine.status_due(now).map(|status| status.apply), Some(at(100)));
    machine.applied(at(40));
    assert_eq!(machine.status_due(now), None, "never backwards");
}
