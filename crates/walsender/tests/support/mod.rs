//! A server in a thread of the test, over a directory of WAL of our own making.

#![allow(clippy::unwrap_used, reason = "everything here is part of a test")]

use std::fs;
use std::path::Path;
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::Duration;

use replication::client::{Client, ClientError, Replication, StartOutcome, StreamEvent, WalStream};
use replication::conninfo::{ConnArgs, ConnInfo, Environment};
use replication::waldir::{Status, StatusWriter, WalDir};
use tempfile::TempDir;
use tokio::sync::oneshot;
use wal::record::{Record, ResourceManager, Xid};
use wal::writer::{LogIdentity, LogWriter};
use wal::{Lsn, SegmentNo, SegmentSize, SystemId, TimelineId, WalVersion};
use walsender::serve::{Adopter, FollowersMoved, Listen, ListenOptions, Origin, Server, ServerOptions};
use walsender::settings::Settings;

pub(crate) const SYSTEM: SystemId = SystemId::new(7_000_000_000_000_000_007);
pub(crate) const T1: TimelineId = TimelineId::FIRST;
pub(crate) const T2: TimelineId = TimelineId::new(2);
/// Longer than anything here takes.
pub(crate) const DEADLINE: Duration = Duration::from_secs(30);

pub(crate) fn size() -> SegmentSize {
    SegmentSize::new(1 << 20).unwrap()
}

pub(crate) fn start_of(segment: u64) -> Lsn {
    size().start_of(SegmentNo::new(segment))
}

/// A log that grows in memory, from segment 1 on.
pub(crate) struct Log {
    writer: LogWriter,
    bytes: Vec<u8>,
}

impl Log {
    pub(crate) fn new() -> Self {
        let identity = LogIdentity { system_id: SYSTEM, segment_size: size(), version: WalVersion::V16 };
        Self { writer: LogWriter::new(identity, T1, start_of(1), Lsn::INVALID), bytes: Vec::new() }
    }

    /// Appends a record; the end of the log.
    pub(crate) fn append(&mut self, length: usize) -> Lsn {
        let data: Vec<u8> = (0..length).map(|index| (index * 7 + self.bytes.len()) as u8).collect();
        let record = Record::new(ResourceManager::XLOG, 0x60, Xid::INVALID, &data);
        let end = self.writer.append(&record).unwrap().end;
        self.bytes.extend(self.writer.drain());
        end
    }

    /// Appends records up to somewhere in the middle of `segment`.
    pub(crate) fn fill_into(&mut self, segment: u64) -> Lsn {
        loop {
            let end = self.append(5000);
            if end > start_of(segment).saturating_add(400_000) {
                return end;
            }
        }
    }

    pub(crate) fn switch_to(&mut self, timeline: TimelineId) {
        self.writer.set_timeline(timeline);
    }

    pub(crate) fn slice(&self, from: Lsn, to: Lsn) -> &[u8] {
        let index = |lsn: Lsn| lsn.bytes_since(start_of(1)) as usize;
        &self.bytes[index(from)..index(to)]
    }

    /// Writes segment `number` as the file that `timeline` has it in, filled up with zeros.
    pub(crate) fn put(&self, dir: &Path, timeline: TimelineId, number: u64, suffix: &str) {
        let begin = start_of(number).bytes_since(start_of(1)) as usize;
        let mut content = self.bytes.get(begin..).unwrap_or_default().to_vec();
        content.resize(size().bytes() as usize, 0);
        let name = SegmentNo::new(number).file_name(timeline, size());
        fs::write(dir.join(format!("{name}{suffix}")), content).unwrap();
    }
}

pub(crate) fn put_history(dir: &Path, switch: Lsn) {
    fs::write(dir.join("00000002.history"), format!("1\t{switch}\tno recovery target specified\n")).unwrap();
}

/// What a receiver that receives and is at `flush` publishes.
pub(crate) fn status(timeline: TimelineId, flush: Lsn) -> Status {
    Status {
        system_id: Some(SYSTEM),
        segment_size: Some(size()),
        timeline,
        write: flush,
        flush,
        connected: true,
        ..Status::new()
    }
}

/// A running server; stopped in good order when dropped.
pub(crate) struct TestServer {
    pub(crate) port: u16,
    pub(crate) adopter: Adopter,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl TestServer {
    pub(crate) fn start(directory: &Path, settings: &[&str]) -> Self {
        let mut chosen = Settings::default();
        settings.iter().for_each(|assignment| chosen.assign(assignment).unwrap());
        let options = ServerOptions {
            directory: directory.to_owned(),
            listen: Listen::On(listen("127.0.0.1")),
            settings: chosen,
            backups: None,
            origin: Origin::default(),
            moved: FollowersMoved::default(),
        };
        let (stop, stopped) = oneshot::channel();
        let (tell, started) = mpsc::channel();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let server = Server::start(options).unwrap();
                tell.send((server.port(), server.adopter())).unwrap();
                server.run(async { drop(stopped.await) }).await;
            });
        });
        let (port, adopter) = started.recv_timeout(DEADLINE).unwrap();
        Self { port, adopter, stop: Some(stop), thread: Some(thread) }
    }

    pub(crate) fn ask_to_stop(&mut self) {
        drop(self.stop.take());
    }

    pub(crate) async fn connect(&self) -> Client {
        self.try_connect().await.unwrap()
    }

    pub(crate) async fn try_connect(&self) -> Result<Client, replication::client::ConnectError> {
        let args = ConnArgs {
            host: Some("127.0.0.1".to_owned()),
            port: Some(self.port.to_string()),
            user: Some("follower".to_owned()),
            program: "test".to_owned(),
            ..ConnArgs::default()
        };
        let info = ConnInfo::resolve(&args, &Environment::of("follower", None, &[])).unwrap();
        Client::connect(&info, Replication::Physical).await
    }

    pub(crate) async fn stream(&self, slot: Option<&str>, start: Lsn, timeline: TimelineId) -> WalStream {
        match self.connect().await.start_physical(slot, start, timeline).await.unwrap() {
            StartOutcome::Streaming(stream) => stream,
            other => panic!("expected a stream, got {other:?}"),
        }
    }
}

impl Drop for TestServer {
    fn drop(&mut self) {
        self.ask_to_stop();
        self.thread.take().unwrap().join().unwrap();
    }
}

pub(crate) fn listen(host: &str) -> ListenOptions {
    ListenOptions {
        hosts: vec![host.to_owned()],
        port: 0,
        unix_socket_dir: None,
        open_unix_socket: false,
        allow_remote: false,
    }
}

pub(crate) async fn next(stream: &mut WalStream) -> Result<StreamEvent, ClientError> {
    tokio::time::timeout(DEADLINE, stream.next()).await.expect("something comes in time")
}

/// Receives WAL from `start` up to exactly `end`, in order and without gaps.
pub(crate) async fn receive(stream: &mut WalStream, start: Lsn, end: Lsn) -> Vec<u8> {
    let mut bytes = Vec::new();
    while start.saturating_add(bytes.len() as u64) < end {
        if let StreamEvent::Wal(wal) = next(stream).await.unwrap() {
            assert_eq!(wal.start, start.saturating_add(bytes.len() as u64));
            assert!(wal.server_end <= end, "{} is beyond what is durable", wal.server_end);
            bytes.extend_from_slice(&wal.data);
        }
    }
    assert_eq!(start.saturating_add(bytes.len() as u64), end);
    bytes
}

/// A follower that has all that a writer has said is durable, in the middle of the first segment.
pub(crate) struct CaughtUp {
    pub(crate) dir: TempDir,
    pub(crate) log: Log,
    pub(crate) end: Lsn,
    pub(crate) writer: StatusWriter,
    pub(crate) server: TestServer,
    pub(crate) stream: WalStream,
}

impl CaughtUp {
    pub(crate) async fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut log = Log::new();
        let end = log.fill_into(1);
        log.put(dir.path(), T1, 1, ".partial");
        let writer = StatusWriter::create(&WalDir::on_os(dir.path()), status(T1, end)).unwrap();
        let server = TestServer::start(dir.path(), &[]);
        let mut stream = server.stream(None, start_of(1), T1).await;
        receive(&mut stream, start_of(1), end).await;
        Self { dir, log, end, writer, server, stream }
    }
}
