//! Clients that hold locks and wait for them, for too long or for ever: the others go on.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use walship_tests::wire::Wire;
use walship_tests::{TempRoot, Walwriter, wait_until};

fn server(name: &str) -> Walwriter {
    let server = Walwriter::start_new(&TempRoot::new(name), "leader", &[]);
    server.sql("create table t (id int primary key, value int, text text)");
    server.sql("insert into t select x, 0, 'x' from generate_series(1, 1000) x");
    server
}

#[test]
fn whoever_vanishes_gives_back_locks_and_leaves_nothing_behind() {
    let server = server("vanishing");
    let mut next = Wire::connect(server.port());
    let hold = |sql: &str| {
        let mut wire = Wire::connect(server.port());
        wire.value("begin");
        wire.value("update t set value = 1000 where id = 1");
        wire.ask(sql);
        wire
    };
    // Idle, in the middle of a message, of a COPY, of a long statement.
    for sql in ["", "copy t from stdin", "select 1; select count(*) from generate_series(1, 2000000000)"] {
        let mut wire = hold(sql);
        match sql {
            "copy t from stdin" => {
                wire.answer();
                wire.send(b'd', b"5000\t1\tx\n");
            }
            "" => wire.raw(b"Q\0\x01\0\0upd"),
            _ => wire.wait_for_bytes(),
        }
        drop(wire);
        assert_eq!(next.query("update t set value = value + 1 where id = 1").error, None, "{sql}");
    }
    // Only its own side closed, as of a client that will never read again.
    let wire = hold("select 1");
    wire.close_own_side().unwrap();
    assert_eq!(next.query("update t set value = value + 1 where id = 1").error, None);
    // While it waits itself.
    let mut holder = hold("select 1");
    holder.answer();
    drop(hold_back(&server));
    let mut third = Wire::connect(server.port());
    third.ask("update t set value = value + 10 where id = 1");
    assert_eq!(holder.query("rollback").error, None);
    assert_eq!(third.answer().error, None);
    assert_eq!(next.value("select value from t where id = 1"), "14");
    assert_eq!(next.value("select count(*) from t"), "1000");
}

/// A client that waits for the lock of the first row.
fn hold_back(server: &Walwriter) -> Wire {
    let mut wire = Wire::connect(server.port());
    wire.value("begin");
    wire.ask("update t set value = 5000 where id = 1");
    wire
}

#[test]
fn waits_end_when_they_are_cancelled_take_too_long_or_would_never_end() {
    let server = server("waits");
    let mut holder = Wire::connect(server.port());
    holder.value("begin");
    holder.value("update t set value = 1 where id = 1");
    let mut waiter = Wire::connect(server.port());
    for (setting, code) in [("statement_timeout", "57014"), ("lock_timeout", "55P03")] {
        waiter.value(&format!("set {setting} = 50"));
        assert_eq!(waiter.code("update t set value = 2 where id = 1"), code);
        waiter.value(&format!("set {setting} = 0"));
    }
    for sql in [
        "update t set value = 2 where id = 1",
        "select count(*) from generate_series(1, 2000000000)",
        "set work_mem = '2GB'; select x from generate_series(1, 20000000) x order by -x",
        "insert into t select x from generate_series(2000, 20000000) x",
        "select pg_sleep(1000)",
    ] {
        waiter.ask(sql);
        // A request that comes before its statement has nothing to cancel, so it is made again.
        let (canceller, ended) = (waiter.canceller(), AtomicBool::new(false));
        let error = thread::scope(|scope| {
            scope.spawn(|| {
                wait_until("the statement to be cancelled", || {
                    canceller.cancel();
                    ended.load(Ordering::SeqCst)
                });
            });
            let error = waiter.answer().error;
            ended.store(true, Ordering::SeqCst);
            error
        });
        assert_eq!(error.map(|(code, _)| code).as_deref(), Some("57014"), "{sql}");
    }
    holder.value("rollback");

    // A ring of sessions each of which waits for the next: one is told, all others get what they wait for.
    let mut ring: Vec<_> = (0..20).map(|_| Wire::connect(server.port())).collect();
    for (id, wire) in ring.iter_mut().enumerate() {
        wire.value("begin");
        wire.value(&format!("update t set value = 1 where id = {id} + 1"));
    }
    for (id, wire) in ring.iter_mut().enumerate() {
        wire.ask(&format!("update t set value = 2 where id = ({id} + 1) % 20 + 1; commit"));
    }
    let errors: Vec<_> = thread::scope(|scope| {
        let answers: Vec<_> = ring
            .iter_mut()
            .map(|wire| {
                scope.spawn(move || {
                    let error = wire.answer().error;
                    wire.value("rollback");
                    error
                })
            })
            .collect();
        answers.into_iter().filter_map(|answer| answer.join().unwrap()).collect()
    });
    let codes: Vec<_> = errors.iter().map(|(code, _)| code.as_str()).collect();
    assert_eq!(codes, ["40P01"]);

    let mut idle = Wire::connect(server.port());
    idle.value("set idle_in_transaction_session_timeout = 50; set idle_session_timeout = 0");
    idle.value("begin; update t set value = 3 where id = 1");
    assert_eq!(idle.answer().error.unwrap().0, "25P03");
    assert_eq!(waiter.query("update t set value = 4 where id = 1").error, None);
    waiter.value("set idle_session_timeout = 50");
    assert_eq!(waiter.answer().error.unwrap().0, "57P05");
}
