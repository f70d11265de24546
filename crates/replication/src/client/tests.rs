//! The client against a server that is written down line by line.

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};
use wal::{Lsn, TimelineId};

use super::*;
use crate::conninfo::{ConnArgs, ConnInfo, Environment};
use crate::error::{ServerError, SqlState};
use crate::frame::{FrameDecoder, Phase, decode_startup_frame};
use crate::message::{
    AuthenticationRequest, BackendMessage, Column, CopyFormat, FirstPacket, FrontendMessage, StartupMessage,
    TransactionStatus,
};
use crate::stream::{ClientPayload, Keepalive, PgTimestamp, StandbyStatus, WalData};

/// The other end.
struct Server {
    stream: DuplexStream,
    buffer: BytesMut,
}

const READY: BackendMessage = BackendMessage::ReadyForQuery(TransactionStatus::Idle);

impl Server {
    async fn send(&mut self, messages: &[BackendMessage]) {
        let mut out = BytesMut::new();
        messages.iter().for_each(|message| message.encode(&mut out));
        self.stream.write_all(&out).await.unwrap();
    }

    async fn startup(&mut self) -> StartupMessage {
        loop {
            if let Some(bytes) = decode_startup_frame(&mut self.buffer).unwrap() {
                match FirstPacket::decode(bytes).unwrap() {
                    FirstPacket::Startup(startup) => return startup,
                    other => panic!("{other:?}"),
                }
            }
            assert_ne!(self.stream.read_buf(&mut self.buffer).await.unwrap(), 0, "the client is gone");
        }
    }

    async fn receive(&mut self) -> FrontendMessage {
        loop {
            if let Some(frame) = FrameDecoder::new(Phase::Client).decode(&mut self.buffer).unwrap() {
                return FrontendMessage::decode(frame).unwrap();
            }
            assert_ne!(self.stream.read_buf(&mut self.buffer).await.unwrap(), 0, "the client is gone");
        }
    }

    async fn expect_query(&mut self, query: &str) {
        assert_eq!(self.receive().await, FrontendMessage::Query(query.to_owned()));
    }

    async fn let_in(&mut self) {
        let version = ("server_version".to_owned(), "15.3".to_owned());
        self.send(&[
            BackendMessage::Authentication(AuthenticationRequest::Ok),
            BackendMessage::ParameterStatus { name: version.0, value: version.1 },
            BackendMessage::BackendKeyData { process_id: 42, secret_key: Bytes::from_static(&[1; 4]) },
            READY,
        ])
        .await;
    }
}

fn pair() -> (DuplexStream, Server) {
    let (ours, stream) = tokio::io::duplex(1 << 20);
    (ours, Server { stream, buffer: BytesMut::new() })
}

fn info(text: &str) -> ConnInfo {
    let text = format!("host=db user=u sslmode=disable {text}");
    let args = ConnArgs { connection_string: Some(text), program: "tool".to_owned(), ..ConnArgs::default() };
    ConnInfo::resolve(&args, &Environment::of("me", None, &[])).unwrap()
}

async fn connected() -> (Client, Server) {
    let (ours, mut server) = pair();
    let client = async { Client::connect_over(ours, &info(""), Replication::Physical).await.unwrap() };
    let serve = async {
        server.startup().await;
        server.let_in().await;
    };
    let (client, ()) = tokio::join!(client, serve);
    (client, server)
}

fn text_row(values: &[&str]) -> BackendMessage {
    BackendMessage::DataRow(
        values.iter().map(|value| Some(Bytes::copy_from_slice(value.as_bytes()))).collect(),
    )
}

fn columns(count: usize) -> BackendMessage {
    BackendMessage::RowDescription(vec![Column::new("c", 25, -1); count])
}

fn complete(tag: &str) -> BackendMessage {
    BackendMessage::CommandComplete(tag.to_owned())
}

fn error(code: SqlState, text: &str) -> BackendMessage {
    BackendMessage::ErrorResponse(Box::new(ServerError::error(code, text)))
}

fn wal(start: u64, data: &'static [u8]) -> BackendMessage {
    let (start, server_end) = (Lsn::new(start), Lsn::new(start + 100));
    let send_time = PgTimestamp::from_micros(1);
    let mut body = BytesMut::new();
    WalData { start, server_end, send_time, data: Bytes::from_static(data) }.encode(&mut body);
    BackendMessage::CopyData(body.freeze())
}

/// A stream from 0/100 on timeline 1, and its server.
async fn streaming() -> (WalStream, Server) {
    let (client, mut server) = connected().await;
    let serve = async {
        server.expect_query("START_REPLICATION SLOT \"s\" PHYSICAL 0/100 TIMELINE 1").await;
        server.send(&[BackendMessage::CopyBothResponse(CopyFormat::default())]).await;
    };
    let (outcome, ()) =
        tokio::join!(client.start_physical(Some("s"), Lsn::new(0x100), TimelineId::FIRST), serve);
    match outcome.unwrap() {
        StartOutcome::Streaming(stream) => (stream, server),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn the_startup_packet_says_what_pg_receivewal_says() {
    let (ours, mut server) = pair();
    tokio::spawn(async move {
        Client::connect_over(ours, &info("options='-c x=y'"), Replication::Physical).await
    });
    let startup = server.startup().await;
    let said: Vec<String> =
        startup.parameters.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let expected =
        ["user=u", "database=replication", "replication=true", "options=-c x=y", "application_name=tool"];
    assert_eq!(said, expected);
}

#[tokio::test]
async fn what_the_server_tells_at_log_in_can_be_asked_for() {
    let (client, _server) = connected().await;
    assert_eq!(client.server_version(), ServerVersion::new(15, 3));
    assert_eq!(client.backend_pid(), Some(42));
    assert_eq!(client.parameter("nonsense"), None);
    assert!(!client.is_encrypted());
}

#[tokio::test]
async fn a_refusal_is_told_with_the_target() {
    let (ours, mut server) = pair();
    let refused =
        ServerError::fatal(SqlState::INVALID_PASSWORD, "password authentication failed for user \"u\"");
    let serve = async {
        server.startup().await;
        server.send(&[BackendMessage::ErrorResponse(Box::new(refused))]).await;
    };
    let (result, ()) =
        tokio::join!(async { Client::connect_over(ours, &info(""), Replication::Physical).await }, serve);
    let error = result.unwrap_err();
    assert_eq!(
        error.to_string(),
        "connection to server at \"db\", port 5432 failed: FATAL:  password authentication failed for user \"u\""
    );
    assert!(!error.needs_password());
}

#[tokio::test]
async fn a_server_that_wants_a_password_is_told_there_is_none() {
    let (ours, mut server) = pair();
    let serve = async {
        server.startup().await;
        server.send(&[BackendMessage::Authentication(AuthenticationRequest::Md5Password([1; 4]))]).await;
    };
    let (result, ()) =
        tokio::join!(async { Client::connect_over(ours, &info(""), Replication::Physical).await }, serve);
    assert!(result.unwrap_err().needs_password());
}

#[tokio::test]
async fn commands_answer_with_values() {
    let (mut client, mut server) = connected().await;
    let serve = async {
        server.expect_query("IDENTIFY_SYSTEM").await;
        let mut row = text_row(&["123", "2", "0/2000"]);
        if let BackendMessage::DataRow(values) = &mut row {
            values.push(None);
        }
        server.send(&[columns(4), row, complete("IDENTIFY_SYSTEM"), READY]).await;
        server.expect_query("SHOW wal_segment_size").await;
        server.send(&[columns(1), text_row(&["1GB"]), complete("SHOW"), READY]).await;
        server.expect_query("CREATE_REPLICATION_SLOT \"a\"\"b\" TEMPORARY PHYSICAL (RESERVE_WAL)").await;
        server.send(&[error(SqlState::DUPLICATE_OBJECT, "there is one"), READY]).await;
        server.expect_query("TIMELINE_HISTORY 2").await;
        server.send(&[columns(2), text_row(&["../evil", ""]), complete("TIMELINE_HISTORY"), READY]).await;
        server.expect_query("IDENTIFY_SYSTEM").await;
        server.send(&[columns(4), complete("IDENTIFY_SYSTEM"), READY]).await;
    };
    let ask = async {
        let system = client.identify_system().await.unwrap();
        assert_eq!(
            (system.timeline, system.flush, system.dbname),
            (TimelineId::new(2), Lsn::new(0x2000), None)
        );
        assert_eq!(client.wal_segment_size().await.unwrap().bytes(), 1 << 30);
        let options = SlotOptions { temporary: true, reserve_wal: true };
        let error = client.create_physical_slot("a\"b", options).await.unwrap_err();
        assert_eq!(error.code(), Some(SqlState::DUPLICATE_OBJECT));
        let error = client.timeline_history(TimelineId::new(2)).await.unwrap_err();
        assert!(error.to_string().contains("unexpected history file name"), "{error}");
        let error = client.identify_system().await.unwrap_err();
        assert!(error.to_string().contains("got 0 rows and 4 fields"), "{error}");
    };
    tokio::join!(ask, serve);
}

#[tokio::test]
async fn wal_and_keepalives_come_in_order_and_statuses_go_back() {
    let (mut stream, mut server) = streaming().await;
    let mut keepalive = BytesMut::new();
    let alive = Keepalive { end: Lsn::new(5), send_time: PgTimestamp::from_micros(2), reply_requested: true };
    alive.encode(&mut keepalive);
    server.send(&[wal(0x100, b"abc"), BackendMessage::CopyData(keepalive.freeze()), wal(0x103, b"de")]).await;
    let StreamEvent::Wal(first) = stream.next().await.unwrap() else { panic!("no WAL") };
    assert_eq!(
        (first.start, &first.data[..], first.server_end),
        (Lsn::new(0x100), &b"abc"[..], Lsn::new(0x164))
    );
    assert_eq!(stream.try_next().unwrap(), Some(StreamEvent::Keepalive(alive)));
    assert!(matches!(stream.try_next().unwrap(), Some(StreamEvent::Wal(_))));
    assert_eq!(stream.try_next().unwrap(), None);
    let status = StandbyStatus { write: Lsn::new(0x105), ..StandbyStatus::default() };
    stream.send_status(&status).await.unwrap();
    let FrontendMessage::CopyData(body) = server.receive().await else { panic!("no status") };
    assert_eq!(ClientPayload::decode(&body), Ok(ClientPayload::Status(status)));
}

#[tokio::test]
async fn a_status_left_by_another_thread_is_sent_while_next_waits() {
    let (mut stream, mut server) = streaming().await;
    let sender = stream.status_sender();
    let status = StandbyStatus { flush: Lsn::new(0x105), ..StandbyStatus::default() };
    let waiting = tokio::spawn(async move { stream.next().await });
    std::thread::spawn(move || sender.send(&status)).join().unwrap().unwrap();
    let FrontendMessage::CopyData(body) = server.receive().await else { panic!("no status") };
    assert_eq!(ClientPayload::decode(&body), Ok(ClientPayload::Status(status)));
    server.send(&[wal(0x100, b"abc")]).await;
    assert!(matches!(waiting.await.unwrap(), Ok(StreamEvent::Wal(_))));
}

#[tokio::test]
async fn finishing_passes_over_late_wal_and_gives_the_connection_back() {
    let (stream, mut server) = streaming().await;
    let sender = stream.status_sender();
    let serve = async {
        server.send(&[wal(0x100, b"late")]).await;
        assert_eq!(server.receive().await, FrontendMessage::CopyDone);
        let done = [complete("START_STREAMING"), complete("START_REPLICATION"), READY];
        server.send(&[wal(0x104, b"later"), BackendMessage::CopyDone]).await;
        server.send(&done).await;
        server.expect_query("SHOW x").await;
        server.send(&[columns(1), text_row(&["y"]), complete("SHOW"), READY]).await;
    };
    let finish = async {
        let Finished { mut client, next } = stream.finish().await.unwrap();
        assert_eq!(next, None);
        assert_eq!(client.show("x").await.unwrap(), "y");
    };
    tokio::join!(finish, serve);
    let error = sender.send(&StandbyStatus::default()).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::NotConnected);
}

#[tokio::test]
async fn the_end_of_a_timeline_tells_the_next() {
    let (mut stream, mut server) = streaming().await;
    let serve = async {
        server.send(&[wal(0x100, b"last"), BackendMessage::CopyDone]).await;
        assert_eq!(server.receive().await, FrontendMessage::CopyDone);
        let done = [complete("START_STREAMING"), complete("START_REPLICATION"), READY];
        server.send(&[columns(2), text_row(&["2", "0/104"])]).await;
        server.send(&done).await;
    };
    let receive = async {
        assert!(matches!(stream.next().await.unwrap(), StreamEvent::Wal(_)));
        assert_eq!(stream.next().await.unwrap(), StreamEvent::TimelineEnd);
        assert_eq!(stream.next().await.unwrap(), StreamEvent::TimelineEnd);
        let next = stream.finish().await.unwrap().next;
        assert_eq!(next, Some(NextTimeline { timeline: TimelineId::new(2), start: Lsn::new(0x104) }));
    };
    tokio::join!(receive, serve);
}

#[tokio::test]
async fn a_timeline_that_ends_at_the_start_does_not_stream() {
    let (client, mut server) = connected().await;
    let serve = async {
        server.receive().await;
        let done = [complete("START_STREAMING"), complete("START_REPLICATION"), READY];
        server.send(&[columns(2), text_row(&["3", "0/100"])]).await;
        server.send(&done).await;
    };
    let (outcome, ()) = tokio::join!(client.start_physical(None, Lsn::new(0x100), TimelineId::FIRST), serve);
    let StartOutcome::TimelineEnded { next, .. } = outcome.unwrap() else { panic!("it streams") };
    assert_eq!(next, NextTimeline { timeline: TimelineId::new(3), start: Lsn::new(0x100) });
}

#[tokio::test]
async fn shutdown_error_and_hang_up_are_told_apart() {
    let (mut stream, mut server) = streaming().await;
    server.send(&[complete("COPY 0")]).await;
    assert_eq!(stream.next().await.unwrap(), StreamEvent::ServerShutdown);
    let (mut stream, mut server) = streaming().await;
    server.send(&[error(SqlState::UNDEFINED_FILE, "requested WAL segment has already been removed")]).await;
    assert_eq!(stream.next().await.unwrap_err().code(), Some(SqlState::UNDEFINED_FILE));
    let (mut stream, server) = streaming().await;
    drop(server);
    assert!(matches!(stream.next().await, Err(ClientError::Closed)));
}

#[tokio::test]
async fn garbage_ends_the_stream_with_an_error() {
    for garbage in [&b"\0\0\0\0\0"[..], b"d\0\0\0\x03", b"d\0\0\0\x05x", b"d\0\0\0\x06wx", b"Q\0\0\0\x04"] {
        let (mut stream, mut server) = streaming().await;
        server.stream.write_all(garbage).await.unwrap();
        let error = stream.next().await.unwrap_err();
        assert!(error.to_string().contains("from server"), "{garbage:?}: {error}");
    }
}

#[tokio::test]
async fn a_backup_is_row_sets_a_copy_and_the_end() {
    let (client, mut server) = connected().await;
    let notice = Box::new(ServerError::with_severity("NOTICE", SqlState::SUCCESSFUL_COMPLETION, "hear"));
    let data = Bytes::from_static(b"mx");
    let serve = async {
        server.expect_query("BASE_BACKUP").await;
        server.send(&[columns(1), text_row(&["0/1"]), complete("SELECT")]).await;
        server.send(&[BackendMessage::CopyOutResponse(CopyFormat::default())]).await;
        server
            .send(&[BackendMessage::CopyData(data.clone()), BackendMessage::NoticeResponse(notice.clone())])
            .await;
        server.send(&[BackendMessage::CopyDone, columns(1), text_row(&["0/2"]), complete("SELECT")]).await;
        server.send(&[complete("BASE_BACKUP"), READY]).await;
    };
    let receive = async {
        let mut backup = client.base_backup("BASE_BACKUP").await.unwrap();
        let rows = |event| match event {
            BackupEvent::Rows(rows) => rows.text(0, 0).unwrap().to_owned(),
            other => panic!("{other:?}"),
        };
        assert_eq!(rows(backup.next().await.unwrap()), "0/1");
        assert_eq!(backup.next().await.unwrap(), BackupEvent::CopyBegin);
        assert_eq!(backup.next().await.unwrap(), BackupEvent::Data(data.clone()));
        assert_eq!(backup.next().await.unwrap(), BackupEvent::Notice(notice.clone()));
        assert_eq!(backup.next().await.unwrap(), BackupEvent::CopyEnd);
        assert_eq!(rows(backup.next().await.unwrap()), "0/2");
        assert_eq!(backup.next().await.unwrap(), BackupEvent::Finished);
        assert!(backup.into_client().is_some());
    };
    tokio::join!(receive, serve);
}
