//! Garbage sent to a walsender ends the connection that it came on: followers stream on, memory stays bounded.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::time::{Duration, Instant};

use walship_tests::receiver::{pg_receivewal, walreceiver};
use walship_tests::{Options, Postgres, Process, Random, TempRoot, Version, Walsender, archive, wait_until};

/// More memory than this on top of what it had would mean that somebody's claims were believed.
const MOST_GROWTH_KIB: u64 = 48 << 10;

/// A leader, its archive, a sender that is impatient with whoever does not log in, and a follower that streams.
struct Followed {
    root: TempRoot,
    leader: Postgres,
    receiver: Process,
    sender: Walsender,
    follower: Process,
    tables: u32,
}

impl Followed {
    fn start() -> Self {
        let root = TempRoot::new("garbage");
        let options = Options::default().wal_segment_mib(1);
        let leader = Postgres::start_new(&root, "leader", Version::V15, options);
        let archive = root.dir("archive");
        let receiver = walreceiver(&root, &leader.conninfo(), &archive).spawn();
        wait_until("something to serve", || !archive::wal_files(&archive).is_empty());
        let sender = Walsender::start_with(&root, &archive, &["-c", "authentication_timeout=2s"]);
        let received = root.dir("received");
        let follower = pg_receivewal(&root, Version::V15, &sender.conninfo(), &received).spawn();
        wait_until("the follower to stream", || !archive::wal_files(&received).is_empty());
        let mut followed = Self { root, leader, receiver, sender, follower, tables: 0 };
        followed.assert_unharmed();
        followed
    }

    /// The follower still gets what is written, on the connection that it has had from the beginning.
    fn assert_unharmed(&mut self) {
        self.tables += 1;
        let table = format!("t{}", self.tables);
        self.leader.script(&format!(
            "create table {table} as select generate_series(1, 1000) as n; select pg_switch_wal()"
        ));
        let count = self.tables as usize;
        wait_until("the follower to go on", || archive::segments(&self.root.join("received")).len() >= count);
        assert_eq!(self.follower.stderr(), "", "the follower was disturbed");
        assert!(self.sender.process().is_running());
        assert!(!self.sender.process().stderr().contains("panicked"), "{}", self.sender.process().stderr());
    }

    fn connect(&self) -> TcpStream {
        let socket = TcpStream::connect((Ipv4Addr::LOCALHOST, self.sender.port())).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        socket.set_write_timeout(Some(Duration::from_secs(30))).unwrap();
        socket
    }

    /// Connected and logged in for physical replication.
    fn log_in(&self) -> TcpStream {
        let mut socket = self.connect();
        let parameters = b"user\0postgres\0database\0replication\0replication\0true\0\0";
        socket.write_all(&startup_packet(196_608, parameters)).unwrap();
        read_until_ready(&mut socket);
        socket
    }

    /// Logged in, and in the middle of streaming.
    fn stream(&self) -> TcpStream {
        let mut socket = self.log_in();
        let (_, timeline, end) = self.sender.identify();
        let command = format!("START_REPLICATION {end} TIMELINE {timeline}\0");
        socket.write_all(&message(b'Q', command.as_bytes())).unwrap();
        let mut kind = [0];
        socket.read_exact(&mut kind).unwrap();
        assert_eq!(kind, *b"W");
        socket
    }
}

/// A startup packet with that protocol version or request code.
fn startup_packet(code: u32, rest: &[u8]) -> Vec<u8> {
    let length = rest.len() as u32 + 8;
    [&length.to_be_bytes()[..], &code.to_be_bytes(), rest].concat()
}

fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    let length = body.len() as u32 + 4;
    [&[kind][..], &length.to_be_bytes(), body].concat()
}

fn read_until_ready(socket: &mut TcpStream) {
    loop {
        let mut header = [0; 5];
        socket.read_exact(&mut header).unwrap();
        let length = u32::from_be_bytes([header[1], header[2], header[3], header[4]]);
        let mut body = vec![0; length as usize - 4];
        socket.read_exact(&mut body).unwrap();
        assert_ne!(header[0], b'E', "{}", String::from_utf8_lossy(&body));
        if header[0] == b'Z' {
            return;
        }
    }
}

/// Sends that, as far as the other side takes it, and insists that it then ends the connection.
fn assert_ended_after(what: &str, mut socket: TcpStream, bytes: &[u8]) {
    let _ = socket.write_all(bytes);
    let started = Instant::now();
    let mut answer = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        match socket.read(&mut buffer) {
            Ok(0) => return,
            Ok(count) => answer.extend_from_slice(&buffer[..count]),
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => return,
            Err(error) => panic!("{what}: after {:?} still connected: {error}", started.elapsed()),
        }
        assert!(answer.len() < 1 << 20, "{what}: a long answer");
    }
}

#[test]
fn garbage_before_logging_in_ends_that_connection_only() {
    let mut random = Random::new();
    let mut followed = Followed::start();
    let before = followed.sender.process().resident_kib();
    let noise: Vec<u8> = (0..64 << 10).map(|_| random.below(256) as u8).collect();
    let megabyte = vec![b'x'; 1 << 20];
    let giant = [&0x7FFF_FFFF_u32.to_be_bytes()[..], &196_608_u32.to_be_bytes(), &megabyte].concat();
    let many_requests = startup_packet(80_877_103, b"").repeat(1000);
    let cases: Vec<(&str, Vec<u8>)> = vec![
        ("noise", noise),
        ("a web request", b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n".to_vec()),
        ("a TLS hello nobody asked for", [&[0x16, 3, 1, 2, 0, 1, 0, 1, 0xFC][..], &[0; 300]].concat()),
        ("a giant length", giant),
        ("length 0", vec![0; 8]),
        ("length 7", vec![0, 0, 0, 7, 0, 3, 0, 0]),
        ("a negative length", [&[0xFF; 4][..], &196_608_u32.to_be_bytes(), &megabyte].concat()),
        ("a thousand requests for TLS", many_requests),
        ("protocol 2", startup_packet(131_072, b"user\0postgres\0\0")),
        ("protocol 4", startup_packet(262_144, b"user\0postgres\0\0")),
        ("no user", startup_packet(196_608, b"replication\0true\0\0")),
        ("no terminator", startup_packet(196_608, b"user\0postgres\0replication\0true")),
        ("half a parameter", startup_packet(196_608, b"user\0\0")),
        ("bytes that are no text", startup_packet(196_608, b"user\0\xFF\xFE\0replication\0\xFF\0\0")),
        ("a cancel request for nobody", startup_packet(80_877_102, &[1, 2, 3, 4, 5, 6, 7, 8])),
        ("a cut cancel request", startup_packet(80_877_102, &[1])),
        ("a startup packet that never ends", vec![0, 0, 0x20, 0, 0, 3, 0, 0, b'u']),
        ("silence", Vec::new()),
    ];
    for (what, bytes) in &cases {
        println!("{what}");
        assert_ended_after(what, followed.connect(), bytes);
    }
    followed.assert_unharmed();
    let grown = followed.sender.process().resident_kib().saturating_sub(before);
    assert!(grown < MOST_GROWTH_KIB, "{grown} KiB more memory");
    followed.follower.interrupt().success();
    followed.receiver.interrupt().success();
}

#[test]
fn garbage_from_clients_that_are_logged_in_ends_their_connection_only() {
    let mut random = Random::new();
    let mut followed = Followed::start();
    let before = followed.sender.process().resident_kib();
    let noise: Vec<u8> = (0..64 << 10).map(|_| random.below(256) as u8 | 0x80).collect();
    let megabyte = vec![b'x'; 1 << 20];
    let giant = |kind: u8| [&[kind, 0x7F, 0xFF, 0xFF, 0xFF][..], &megabyte].concat();
    for (what, bytes) in [
        ("noise", noise.clone()),
        ("a giant command", giant(b'Q')),
        ("a command of negative length", vec![b'Q', 0xFF, 0xFF, 0xFF, 0xFF]),
        ("a command of length 3", vec![b'Q', 0, 0, 0, 3]),
        ("an unknown message", message(b'@', b"what")),
        ("a giant unknown message", giant(b'@')),
    ] {
        println!("{what}");
        assert_ended_after(what, followed.log_in(), &bytes);
    }
    for (what, bytes) in [
        ("noise while streaming", noise),
        ("a giant status", giant(b'd')),
        ("an unknown status", message(b'd', b"?what")),
        ("an empty status", message(b'd', b"")),
        ("a cut status", message(b'd', b"r\0\0\0")),
        ("a cut feedback", message(b'd', b"h\0\0\0")),
        ("a command while streaming", message(b'Q', b"IDENTIFY_SYSTEM\0")),
        ("a status of length 0", vec![b'd', 0, 0, 0, 0]),
    ] {
        println!("{what}");
        assert_ended_after(what, followed.stream(), &bytes);
    }
    // Commands that make no sense are answered, and the connection goes on.
    let mut socket = followed.log_in();
    let long = vec![b'A'; 100_000];
    for command in [&b"\0"[..], b"START_REPLICATION \0", b"DROP_REPLICATION_SLOT \"\xFF\"\0", &long] {
        let mut command = command.to_vec();
        command.extend((command.last() != Some(&0)).then_some(0));
        socket.write_all(&message(b'Q', &command)).unwrap();
        let mut kind = [0];
        socket.read_exact(&mut kind).unwrap();
        assert!([b'E', b'I'].contains(&kind[0]), "{}", kind[0] as char);
        let mut length = [0; 4];
        socket.read_exact(&mut length).unwrap();
        let mut body = vec![0; u32::from_be_bytes(length) as usize - 4];
        socket.read_exact(&mut body).unwrap();
        read_until_ready(&mut socket);
    }
    followed.assert_unharmed();
    let grown = followed.sender.process().resident_kib().saturating_sub(before);
    assert!(grown < MOST_GROWTH_KIB, "{grown} KiB more memory");
    followed.follower.interrupt().success();
    followed.receiver.interrupt().success();
}

#[test]
fn connections_that_never_log_in_keep_nobody_out() {
    let mut followed = Followed::start();
    let before = followed.sender.process().resident_kib();
    let half_open = |count: usize| -> Vec<TcpStream> {
        let begin = |number| {
            let mut socket = followed.connect();
            // Some say nothing, some begin to.
            if number % 2 == 0 {
                let _ = socket.write_all(&[0, 0, 0x20]);
            }
            socket
        };
        (0..count).map(begin).collect()
    };
    // A few keep nobody out, not even while they are there.
    let mut sockets = half_open(40);
    followed.sender.identify();
    // Very many may, until they are thrown out; those who are in already do not notice.
    sockets.extend(half_open(300));
    followed.assert_unharmed();
    for socket in sockets {
        assert_ended_after("a connection that never logs in", socket, b"");
    }
    followed.sender.identify();
    followed.assert_unharmed();
    let grown = followed.sender.process().resident_kib().saturating_sub(before);
    assert!(grown < MOST_GROWTH_KIB, "{grown} KiB more memory");
    followed.follower.interrupt().success();
    followed.receiver.interrupt().success();
}

#[test]
fn a_follower_that_reads_nothing_costs_bounded_memory_and_delays_nobody() {
    let mut followed = Followed::start();
    let before = followed.sender.process().resident_kib();
    let stuck: Vec<TcpStream> = (0..5).map(|_| followed.stream()).collect();
    followed.leader.pgbench(["-i", "-q", "-s", "3"]);
    let tables = archive::segments(&followed.root.join("archive")).len();
    assert!(tables > 20, "{tables} segments");
    followed.assert_unharmed();
    wait_until("the follower to have everything", || {
        let (ours, theirs) = (followed.root.join("archive"), followed.root.join("received"));
        archive::segments(&theirs).last() == archive::segments(&ours).last()
    });
    let grown = followed.sender.process().resident_kib().saturating_sub(before);
    assert!(grown < MOST_GROWTH_KIB, "{grown} KiB more memory");
    drop(stuck);
    followed.follower.interrupt().success();
    followed.receiver.interrupt().success();
}
