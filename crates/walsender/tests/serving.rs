//! What followers get from a directory, in each of the states that it can be in.

mod support;

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use replication::client::{SlotOptions, StartOutcome, StreamEvent};
use replication::stream::StandbyStatus;
use replication::waldir::{Status, StatusWriter, WalDir};
use support::*;
use walsender::serve::{ListenError, Listeners};

#[tokio::test]
async fn an_archive_is_served_to_the_end_of_its_valid_wal() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = Log::new();
    let end = log.fill_into(3);
    log.put(dir.path(), T1, 1, "");
    log.put(dir.path(), T1, 2, "");
    log.put(dir.path(), T1, 3, ".partial");
    let server = TestServer::start(dir.path(), &[]);
    let mut client = server.connect().await;
    let identity = client.identify_system().await.unwrap();
    assert_eq!((identity.system_id, identity.timeline, identity.flush), (SYSTEM, T1, end));
    assert_eq!(client.wal_segment_size().await.unwrap(), size());
    assert_eq!(client.server_version().major(), 16, "the version of the WAL is claimed");
    // From a segment's start, and from the middle of a record.
    for start in [start_of(1), start_of(1).saturating_add(12_345)] {
        let mut stream = server.stream(None, start, T1).await;
        assert_eq!(receive(&mut stream, start, end).await, log.slice(start, end));
        let finished = stream.finish().await.unwrap();
        assert_eq!(finished.next, None);
    }
}

#[tokio::test]
async fn only_what_the_receiver_calls_durable_is_sent_and_the_rest_as_soon_as_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = Log::new();
    let durable = log.fill_into(1);
    let written = log.fill_into(2);
    log.put(dir.path(), T1, 1, "");
    log.put(dir.path(), T1, 2, ".partial");
    let writer = StatusWriter::create(&WalDir::on_os(dir.path()), status(T1, durable)).unwrap();
    let server = TestServer::start(dir.path(), &[]);
    assert_eq!(server.connect().await.identify_system().await.unwrap().flush, durable);
    let mut stream = server.stream(None, start_of(1), T1).await;
    assert_eq!(receive(&mut stream, start_of(1), durable).await, log.slice(start_of(1), durable));
    writer.update(|status| (status.write, status.flush) = (written, written));
    assert_eq!(receive(&mut stream, durable, written).await, log.slice(durable, written));
    let mut end = written;
    for _ in 0..20 {
        let begin = end;
        end = log.append(3000);
        log.put(dir.path(), T1, 2, ".partial");
        writer.update(|status| (status.write, status.flush) = (end, end));
        assert_eq!(receive(&mut stream, begin, end).await, log.slice(begin, end));
    }
}

#[tokio::test]
async fn what_a_receiver_left_behind_is_served_before_it_reaches_its_leader() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = Log::new();
    let end = log.fill_into(2);
    log.put(dir.path(), T1, 1, "");
    log.put(dir.path(), T1, 2, ".partial");
    let knows_little = Status { connected: false, ..status(T1, start_of(2)) };
    let _writer = StatusWriter::create(&WalDir::on_os(dir.path()), knows_little).unwrap();
    let server = TestServer::start(dir.path(), &[]);
    assert_eq!(server.connect().await.identify_system().await.unwrap().flush, end);
}

#[tokio::test]
async fn a_receiver_that_dies_and_starts_again_takes_nothing_back() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = Log::new();
    let first = log.fill_into(1);
    log.put(dir.path(), T1, 1, ".partial");
    let waldir = WalDir::on_os(dir.path());
    let writer = StatusWriter::create(&waldir, status(T1, first)).unwrap();
    let server = TestServer::start(dir.path(), &[]);
    let mut stream = server.stream(None, start_of(1), T1).await;
    receive(&mut stream, start_of(1), first).await;
    drop(writer);
    let writer = StatusWriter::create(&waldir, status(T1, start_of(1))).unwrap();
    assert_eq!(server.connect().await.identify_system().await.unwrap().flush, first);
    let second = log.append(10_000);
    log.put(dir.path(), T1, 1, ".partial");
    writer.update(|status| (status.write, status.flush) = (second, second));
    assert_eq!(receive(&mut stream, first, second).await, log.slice(first, second));
}

#[tokio::test]
async fn a_switch_of_timeline_ends_the_stream_and_names_the_next() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = Log::new();
    let switch = log.fill_into(2);
    log.put(dir.path(), T1, 1, "");
    log.put(dir.path(), T1, 2, ".partial");
    let writer = StatusWriter::create(&WalDir::on_os(dir.path()), status(T1, switch)).unwrap();
    let server = TestServer::start(dir.path(), &[]);
    let mut stream = server.stream(None, start_of(1), T1).await;
    receive(&mut stream, start_of(1), switch).await;
    log.switch_to(T2);
    let end = log.append(20_000);
    put_history(dir.path(), switch);
    log.put(dir.path(), T2, 2, ".partial");
    writer.update(|status| (status.timeline, status.write, status.flush) = (T2, end, end));
    while next(&mut stream).await.unwrap() != StreamEvent::TimelineEnd {}
    let finished = stream.finish().await.unwrap();
    let continuation = finished.next.unwrap();
    assert_eq!((continuation.timeline, continuation.start), (T2, switch));
    let mut client = finished.client;
    let (name, content) = client.timeline_history(T2).await.unwrap();
    assert_eq!(name, "00000002.history");
    assert!(content.starts_with(format!("1\t{switch}\t").as_bytes()));
    let StartOutcome::Streaming(mut stream) = client.start_physical(None, start_of(2), T2).await.unwrap()
    else {
        panic!("the new timeline is streamed on the same connection")
    };
    assert_eq!(receive(&mut stream, start_of(2), end).await, log.slice(start_of(2), end));
}

#[tokio::test]
async fn timelines_are_left_where_history_says() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = Log::new();
    let switch = log.fill_into(2);
    log.put(dir.path(), T1, 1, "");
    log.switch_to(T2);
    let end = log.fill_into(3);
    put_history(dir.path(), switch);
    // The old timeline's last segment is there under the new one's name only.
    log.put(dir.path(), T2, 2, "");
    log.put(dir.path(), T2, 3, ".partial");
    let server = TestServer::start(dir.path(), &[]);
    let identity = server.connect().await.identify_system().await.unwrap();
    assert_eq!((identity.timeline, identity.flush), (T2, end));
    let mut stream = server.stream(None, start_of(1), T1).await;
    assert_eq!(receive(&mut stream, start_of(1), switch).await, log.slice(start_of(1), switch));
    assert_eq!(next(&mut stream).await.unwrap(), StreamEvent::TimelineEnd);
    match server.connect().await.start_physical(None, switch, T1).await.unwrap() {
        StartOutcome::TimelineEnded { next, .. } => assert_eq!((next.timeline, next.start), (T2, switch)),
        other => panic!("there is nothing to stream, but got {other:?}"),
    }
    for (start, timeline, message) in [
        (switch.saturating_add(8), 1, "is not in this server's history"),
        (switch, 3, "requested timeline 3 is not in this server's history"),
    ] {
        let started =
            server.connect().await.start_physical(None, start, wal::TimelineId::new(timeline)).await;
        let error = started.unwrap_err().to_string();
        assert!(error.contains(message), "{error}");
    }
}

#[tokio::test]
async fn missing_and_future_wal_is_an_error_within_the_stream() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = Log::new();
    let end = log.fill_into(3);
    log.put(dir.path(), T1, 2, "");
    log.put(dir.path(), T1, 3, ".partial");
    let server = TestServer::start(dir.path(), &[]);
    for (start, code, message) in [
        (start_of(1), "58P01", "requested WAL segment 000000010000000000000001 has already been removed"),
        (end.saturating_add(8), "XX000", "is ahead of the WAL flush position of this server"),
    ] {
        let mut stream = server.stream(None, start, T1).await;
        let error = next(&mut stream).await.unwrap_err();
        assert_eq!(error.code().unwrap().as_str(), code);
        assert!(error.to_string().contains(message), "{error}");
    }
}

#[tokio::test]
async fn slots_last_and_temporary_ones_do_not() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = Log::new();
    let end = log.fill_into(1);
    log.put(dir.path(), T1, 1, ".partial");
    let server = TestServer::start(dir.path(), &["max_replication_slots=2"]);
    let mut client = server.connect().await;
    client.create_physical_slot("lasting", SlotOptions::default()).await.unwrap();
    let temporary = SlotOptions { temporary: true, reserve_wal: true };
    client.create_physical_slot("passing", temporary).await.unwrap();
    assert_eq!(client.read_slot("passing").await.unwrap().unwrap().restart_lsn, Some(end));
    let mut other = server.connect().await;
    let in_use = other.drop_slot("passing").await.unwrap_err();
    assert_eq!(in_use.code().unwrap().as_str(), "55006");
    let full = other.create_physical_slot("third", SlotOptions::default()).await.unwrap_err();
    assert_eq!(full.code().unwrap().as_str(), "53400");
    // Any error ends a connection's temporary slots.
    assert!(client.show("no_such_setting").await.is_err());
    assert!(other.read_slot("passing").await.unwrap().is_none());

    let mut stream = server.stream(Some("lasting"), start_of(1), T1).await;
    receive(&mut stream, start_of(1), end).await;
    let busy = server.connect().await.start_physical(Some("lasting"), start_of(1), T1).await.unwrap_err();
    assert_eq!(busy.code().unwrap().as_str(), "55006");
    let flush = start_of(1).saturating_add(4096);
    stream.send_status(&StandbyStatus { write: end, flush, ..StandbyStatus::default() }).await.unwrap();
    stream.finish().await.unwrap();
    drop(server);
    let server = TestServer::start(dir.path(), &[]);
    let slot = server.connect().await.read_slot("lasting").await.unwrap().unwrap();
    assert_eq!((slot.restart_lsn, slot.timeline), (Some(flush), Some(T1)));
}

#[tokio::test]
async fn a_server_that_stops_lets_followers_have_everything_first() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = Log::new();
    let end = log.fill_into(2);
    log.put(dir.path(), T1, 1, "");
    log.put(dir.path(), T1, 2, ".partial");
    let mut server = TestServer::start(dir.path(), &[]);
    let mut stream = server.stream(None, start_of(1), T1).await;
    server.ask_to_stop();
    assert_eq!(receive(&mut stream, start_of(1), end).await, log.slice(start_of(1), end));
    loop {
        match next(&mut stream).await.unwrap() {
            StreamEvent::Keepalive(keepalive) => {
                assert!(keepalive.reply_requested && keepalive.end == end);
                let status = StandbyStatus { write: end, flush: end, ..StandbyStatus::default() };
                stream.send_status(&status).await.unwrap();
            }
            StreamEvent::ServerShutdown => break,
            other => panic!("unexpected {other:?}"),
        }
    }
}

#[tokio::test]
async fn what_the_writer_itself_tells_is_sent_before_anybody_finds_it_and_stays() {
    let CaughtUp { dir, mut log, end, writer, server, mut stream } = CaughtUp::start().await;
    let more = log.append(1000);
    log.put(dir.path(), T1, 1, ".partial");
    server.adopter.tell_durable(T1, more);
    assert_eq!(receive(&mut stream, end, more).await, log.slice(end, more));
    // The status file still says less. What is found there later on is sent as well, told or not.
    let last = log.append(1000);
    log.put(dir.path(), T1, 1, ".partial");
    writer.update(|status| (status.write, status.flush) = (last, last));
    assert_eq!(receive(&mut stream, more, last).await, log.slice(more, last));
}

#[tokio::test]
async fn garbage_ends_its_own_connection_only() {
    let CaughtUp { dir, mut log, end, writer, server, mut stream } = CaughtUp::start().await;
    for garbage in [&b"GET / HTTP/1.1\r\n\r\n"[..], &[0xff; 100], &[0, 0, 0x27, 0x10, 0, 3, 0, 0], &[0; 9000]]
    {
        let mut socket = TcpStream::connect(("127.0.0.1", server.port)).unwrap();
        socket.set_read_timeout(Some(DEADLINE)).unwrap();
        // At any point here the server may have closed with bytes unread, which resets the connection.
        let mut answer = Vec::new();
        let _reset = socket
            .write_all(garbage)
            .and_then(|()| socket.shutdown(std::net::Shutdown::Write))
            .and_then(|()| socket.read_to_end(&mut answer));
        assert!(answer.is_empty() || answer[0] == b'E', "{answer:?}");
    }
    let more = log.append(1000);
    log.put(dir.path(), T1, 1, ".partial");
    writer.update(|status| (status.write, status.flush) = (more, more));
    assert_eq!(receive(&mut stream, end, more).await, log.slice(end, more));
}

#[tokio::test]
async fn ten_followers_get_the_same_and_an_eleventh_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = Log::new();
    let end = log.fill_into(4);
    (1..=4).for_each(|number| log.put(dir.path(), T1, number, ""));
    let server = TestServer::start(dir.path(), &["max_wal_senders=10"]);
    let mut streams = Vec::new();
    for _ in 0..10 {
        streams.push(server.stream(None, start_of(1), T1).await);
    }
    let error = server.try_connect().await.unwrap_err();
    assert_eq!(error.server().unwrap().code.as_str(), "53300");
    for stream in &mut streams {
        assert_eq!(receive(stream, start_of(1), end).await, log.slice(start_of(1), end));
    }
}

#[tokio::test]
async fn a_directory_without_wal_is_served_once_there_is_some() {
    let dir = tempfile::tempdir().unwrap();
    let server = TestServer::start(dir.path(), &[]);
    let error = server.try_connect().await.unwrap_err();
    assert_eq!(error.server().unwrap().code.as_str(), "57P03");
    let mut log = Log::new();
    let end = log.fill_into(1);
    log.put(dir.path(), T1, 1, "");
    let deadline = std::time::Instant::now() + DEADLINE;
    let mut client = loop {
        match server.try_connect().await {
            Ok(client) => break client,
            Err(error) => assert!(std::time::Instant::now() < deadline, "{error}"),
        }
    };
    assert_eq!(client.identify_system().await.unwrap().flush, end);
}

#[tokio::test]
async fn other_hosts_are_not_let_near_without_tls_and_passwords() {
    let error = Listeners::bind(&listen("0.0.0.0")).unwrap_err();
    assert!(matches!(error, ListenError::Insecure(_)), "{error}");
    assert!(error.to_string().contains("--insecure-listen-anywhere"));
    let mut options = listen("0.0.0.0");
    options.allow_remote = true;
    assert_ne!(Listeners::bind(&options).unwrap().port(), 0);
    let taken = Listeners::bind(&listen("127.0.0.1")).unwrap();
    let mut options = listen("127.0.0.1");
    options.port = taken.port();
    assert!(matches!(Listeners::bind(&options).unwrap_err(), ListenError::Bind(_)));
}
