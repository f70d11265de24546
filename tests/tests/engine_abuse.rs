//! Clients that send whatever they like: clear errors, bounded memory, and nobody else notices.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use walship_tests::wire::Wire;
use walship_tests::{TempRoot, Walwriter, wait_until};

fn server(name: &str, settings: &[(&str, &str)]) -> Walwriter {
    let server = Walwriter::start_new(&TempRoot::new(name), "leader", settings);
    server.sql("create table t (id int primary key, value int, text text)");
    server.sql("insert into t select x, 0, 'x' from generate_series(1, 1000) x");
    server
}

/// The most memory that the server has had since it was last asked, in MiB.
fn peak(server: &mut Walwriter) -> u64 {
    let process = format!("/proc/{}", server.process().pid());
    let status = std::fs::read_to_string(format!("{process}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    std::fs::write(format!("{process}/clear_refs"), "5").unwrap();
    line.trim().trim_end_matches(" kB").trim().parse::<u64>().unwrap() / 1024
}

#[test]
fn bytes_that_are_no_messages_end_their_own_connection_alone() {
    let server = server("bytes", &[]);
    let mut witness = Wire::connect(server.port());
    let startup =
        |code: u32, rest: &[u8]| [&(rest.len() as u32 + 8).to_be_bytes(), &code.to_be_bytes(), rest].concat();
    for packet in [
        b"GET / HTTP/1.1\r\n\r\n".to_vec(),
        vec![0xff; 64],
        vec![0; 64],
        startup(196_608, b""),
        startup(196_608, b"user"),
        startup(131_072, b"user\0x\0\0"),
        startup(80_877_103, b""),
        startup(80_877_102, &[1; 8]),
    ] {
        let mut wire = Wire::silent(server.port());
        wire.raw(&packet);
        wire.close_own_side().unwrap();
        while wire.receive().is_some() {}
        assert_eq!(witness.value("select 1"), "1");
    }
    for (bytes, fatal) in [
        (b"Q\x40\0\0\0select 1".to_vec(), true),
        (b"Q\xff\xff\xff\xff".to_vec(), true),
        (b"Q\0\0\0\x03".to_vec(), true),
        (b"z\0\0\0\x04".to_vec(), true),
        (Wire::message(b'Q', b"select 1"), false),
        (Wire::message(b'Q', b"\xff\xfe\0"), false),
        (
            [Wire::message(b'B', b"\0\0\0\0\0\x01\xff\xff\xff\xf0\0\0"), Wire::message(b'S', b"")].concat(),
            false,
        ),
        (Wire::message(b'F', b""), false),
    ] {
        let mut wire = Wire::connect(server.port());
        wire.raw(&bytes);
        let answer = wire.answer();
        assert!(answer.error.is_some(), "{bytes:?}");
        assert_eq!(answer.status == 0, fatal, "{bytes:?}: {answer:?}");
        assert!(fatal || wire.value("select 1") == "1");
        assert_eq!(witness.value("select 1"), "1");
    }
}

#[test]
fn statements_that_would_take_any_amount_of_memory_or_stack_are_refused() {
    let mut server = server("statements", &[]);
    let before = peak(&mut server);
    let mut wire = Wire::connect(server.port());
    let list = |item: &str| format!("select {}1", item.repeat(1 << 21));
    let row = vec!["repeat('x', 60000000)"; 20].join(", ");
    for (code, sql) in [
        ("54001", format!("select {}1{}", "(".repeat(100_000), ")".repeat(100_000))),
        ("54001", format!("select {}true", "not ".repeat(100_000))),
        ("54001", format!("select {}1{}", "case when true then ".repeat(5000), " end".repeat(5000))),
        ("54001", format!("select '{}{}'::jsonb", "[".repeat(100_000), "]".repeat(100_000))),
        ("54000", list("1,")),
        ("54000", format!("select {row}")),
        ("54000", format!("select concat({row})")),
        ("54000", format!("copy (select {row}) to stdout")),
        ("54000", "select repeat('x', 2000000000)".to_owned()),
        ("54000", format!("insert into t (id, text) values (0, '{}')", "x".repeat(65 << 20))),
        ("53200", "select count(distinct x) from generate_series(1, 20000000) x".to_owned()),
        ("42703", format!("select {}", "x".repeat(1 << 20))),
        ("42P02", "select $1".to_owned()),
        ("22012", "select 1 / (id - 5) from t".to_owned()),
    ] {
        assert_eq!(wire.code(&sql), code, "{}", &sql[..sql.len().min(80)]);
        assert_eq!(wire.value("select 1"), "1");
    }
    wire.ask("copy t from stdin");
    wire.answer();
    wire.send(b'd', &[b'\t'; 32 << 20]);
    wire.send(b'd', b"\n");
    wire.send(b'c', b"");
    assert_eq!(wire.answer().error.unwrap().0, "22P04");
    let after = peak(&mut server);
    assert!(after < before + 1024, "memory grew from {before} to {after} MiB");
}

#[test]
fn long_texts_are_forgotten_with_their_statements() {
    let mut server = server("texts", &[]);
    let mut wire = Wire::connect(server.port());
    let mut execute = |number: usize| {
        let answer = wire.query(&format!("select {number} {}{number}", "a".repeat(1 << 20)));
        assert_eq!(answer.error, None);
    };
    // What one takes while it is executed is no matter.
    execute(0);
    let before = peak(&mut server);
    (1..60).for_each(execute);
    let after = peak(&mut server);
    assert!(after < before + 32, "memory grew from {before} to {after} MiB");
}

#[test]
fn what_is_large_and_allowed_works() {
    let server = server("large", &[]);
    let mut wire = Wire::connect(server.port());
    let many: Vec<String> = (0..65_535).map(|number| number.to_string()).collect();
    let places: Vec<String> = (1..=many.len()).map(|number| format!("${number}")).collect();
    let sql = format!("select count(*) from t where id in ({})", places.join(", "));
    assert_eq!(wire.extended(&sql, &many).rows, [[Some("1000".to_owned())]]);
    // On one line, where finding each from the beginning would take minutes.
    assert_eq!(wire.query(&"select 1;".repeat(20_000)).rows.len(), 20_000);
    let long = "x y ".repeat(2 << 20);
    assert_eq!(wire.query(&format!("insert into t (id, text) values (0, '{long}')")).error, None);
    assert_eq!(wire.value("select length(text) from t where id = 0"), long.len().to_string());
    assert!(wire.value("select text from t where id = 0") == long);
    wire.value("begin");
    let savepoints: String =
        (1..=1000).map(|at| format!("savepoint s{at}; update t set value = {at} where id = {at};")).collect();
    assert_eq!(wire.query(&savepoints).error, None);
    assert_eq!(wire.value("rollback to s10; select sum(value) from t"), "45");
    wire.value("commit");
}

#[test]
fn statements_nest_as_deep_as_the_limit_and_the_server_survives_deeper_ones() {
    let server = server("nesting", &[]);
    let mut wire = Wire::connect(server.port());
    let nested = |open: &str, inner: &str, close: &str, levels: usize| {
        format!("select {}{inner}{} from t where id = 7", open.repeat(levels), close.repeat(levels))
    };
    assert_eq!(wire.value(&nested("(1 + ", "id", ")", 500)), "507");
    assert_eq!(wire.value(&nested("not ", "id = 7", "", 1000)), "t");
    assert_eq!(wire.value(&nested("case id when 7 then ", "id", " end", 500)), "7");
    assert_eq!(wire.value(&nested("abs(", "id", ")", 500)), "7");
    assert_eq!(wire.value(&nested("", "id", " + 1", 14_000)), "14007");
    let conditions = " or value = 1".repeat(4_000);
    assert_eq!(wire.value(&format!("select count(*) from t where id = 7{conditions}")), "1");
    // Kept as a default, it is read and evaluated again by whoever inserts.
    let default = format!("{}7{}", "(1 + ".repeat(499), ")".repeat(499));
    wire.value(&format!("create table deep (id int primary key, value int default {default})"));
    wire.value("insert into deep (id) values (1)");
    assert_eq!(Wire::connect(server.port()).value("insert into deep (id) values (2) returning value"), "506");
    for (open, close) in [
        ("(", ")"),
        ("not ", ""),
        ("case id when 7 then ", " end"),
        ("abs(", ")"),
        ("", "::int"),
        ("", " or true"),
    ] {
        assert_eq!(wire.code(&nested(open, "id", close, 20_000)), "54001", "{open}{close}");
    }
    assert_eq!(wire.value("select count(*) from t"), "1000");
}

#[test]
fn slow_readers_and_senders_take_little_memory_and_nobodys_time() {
    let mut server = server("slow", &[("version_memory", "1MB"), ("max_connections", "700")]);
    let mut witness = Wire::connect(server.port());
    let before = peak(&mut server);
    let endless = "(select x, repeat('y', 1000) from generate_series(1, 1000000000) x)";
    let mut slow = Vec::new();
    for number in 0..100 {
        let mut wire = Wire::connect(server.port());
        match number % 4 {
            0 => wire.ask(&format!(
                "begin isolation level repeatable read; select * from t; {}",
                &endless[1..endless.len() - 1]
            )),
            1 => wire.ask(&format!("copy {endless} to stdout")),
            // The beginning of a message that claims to be long.
            2 => wire.raw(b"Q\x05\0\0\0select "),
            _ => {
                wire.ask("copy t from stdin");
                wire.answer();
                wire.raw(b"d\x05\0\0\0");
            }
        }
        slow.push(wire);
    }
    // Requests without end whose answers nobody reads.
    let request = [
        Wire::message(b'P', b"\0select repeat('x', 1000)\0\0\0"),
        Wire::message(b'B', &[0; 8]),
        Wire::message(b'E', &[0; 5]),
        Wire::message(b'S', b""),
    ];
    let mut piped = Wire::connect(server.port());
    assert!(piped.flood(&request.concat().repeat(1000), 1000) < 1000, "all requests were taken");
    // Connections that never say anything at all.
    let silent: Vec<_> = (0..500).map(|_| Wire::silent(server.port())).collect();
    for _ in 0..20 {
        assert_eq!(witness.query("update t set value = value + 1").error, None);
    }
    let after = peak(&mut server);
    assert!(after < before + 256, "memory grew from {before} to {after} MiB");
    drop((slow, piped, silent));
    assert_eq!(witness.value("select sum(value) from t"), "20000");
}

#[test]
fn a_snapshot_that_takes_too_much_memory_is_cancelled_and_nobody_elses() {
    let server = server("snapshots", &[("version_memory", "1MB")]);
    server.sql("create table wide (id int primary key, value int, text text)");
    server.sql("insert into wide select x, 0, repeat('z', 500) from generate_series(1, 5000) x");
    let mut old = Wire::connect(server.port());
    old.value("begin isolation level repeatable read");
    assert_eq!(old.value("select sum(value) from wide"), "0");
    let mut writer = Wire::connect(server.port());
    for round in 1..=3 {
        assert_eq!(writer.query("update wide set value = value + 1").error, None);
        assert_eq!(writer.value("select sum(value) from wide"), (round * 5000).to_string());
    }
    assert_eq!(old.code("select sum(value) from wide"), "72000");
    old.value("rollback");
    assert_eq!(old.value("select sum(value) from wide"), "15000");
}

#[test]
fn thousands_of_idle_clients_take_little_memory_and_one_too_many_is_told_so() {
    const CLIENTS: u64 = 3000;
    let limit = CLIENTS.to_string();
    let mut server = server("crowd", &[("max_connections", &limit)]);
    // For this end of the connections; the server sees to its own.
    let files = getrlimit(Resource::Nofile).maximum;
    setrlimit(Resource::Nofile, Rlimit { current: files, maximum: files }).unwrap();
    let before = peak(&mut server);
    let mut clients: Vec<_> = (0..CLIENTS).map(|_| Wire::connect(server.port())).collect();
    let (code, _) = Wire::try_connect(server.port()).err().expect("one too many was let in");
    assert_eq!(code, "53300");
    for client in &mut clients {
        client.ask("select value from t where id = 1");
    }
    for client in &mut clients {
        assert_eq!(client.answer().error, None);
    }
    let each = peak(&mut server).saturating_sub(before) * 1024 / CLIENTS;
    println!("{each} KiB for each idle client");
    assert!(each < 64, "an idle client takes {each} KiB");
    let mut last = clients.pop().unwrap();
    drop(clients);
    assert_eq!(last.query("update t set value = 1").error, None);
    wait_until("places to be free again", || Wire::try_connect(server.port()).is_ok());
}
