//! A client without a network: drives a session as the server does, and reads the messages it appends.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::task::{Wake, Waker};
use std::time::{Duration, Instant, SystemTime};

use disk::OsDisk;
use engine::{Engine, EngineOptions, InitOptions};
use tempfile::TempDir;
use walwriter::exec::{Executor, Failure, Host, SqlSession};
use walwriter::protocol::{Arguments, FrontendMessage};
use walwriter::session::{
    CommandTag, Database, Interrupts, Opening, ResultFormats, Session, SessionError, Settled, Step,
    TransactionStatus,
};

/// A server without a network.
pub(crate) struct Server {
    pub(crate) executor: Executor,
    directory: TempDir,
    next_process_id: AtomicU32,
}

struct PlainHost {
    engine: Arc<Engine>,
    temporary_files: PathBuf,
    started: SystemTime,
}

impl Host for PlainHost {
    fn started_at(&self) -> SystemTime {
        self.started
    }

    fn temporary_files(&self) -> Option<PathBuf> {
        Some(self.temporary_files.clone())
    }

    fn checkpoint(&self) -> Result<(), Failure> {
        Ok(self.engine.checkpoint(engine::checkpoint::Cause::Immediate)?)
    }
}

fn open(path: &Path, options: EngineOptions) -> Executor {
    let engine = Engine::open(Arc::new(OsDisk::new()), path, options).unwrap();
    let temporary_files = path.join("base/pgsql_tmp");
    let host = PlainHost { engine: Arc::clone(&engine), temporary_files, started: SystemTime::now() };
    Executor::new(engine, Arc::new(host))
}

impl Server {
    pub(crate) fn start() -> Self {
        Self::start_with(EngineOptions::default())
    }

    pub(crate) fn start_with(options: EngineOptions) -> Self {
        let directory = TempDir::new().unwrap();
        let disk: Arc<dyn disk::Disk> = Arc::new(OsDisk::new());
        Engine::init(&disk, &directory.path().join("data"), &InitOptions::default()).unwrap();
        Self::over(directory, options)
    }

    fn over(directory: TempDir, options: EngineOptions) -> Self {
        let executor = open(&directory.path().join("data"), options);
        Self { executor, directory, next_process_id: AtomicU32::new(7) }
    }

    /// The same directory, opened anew after the process has died.
    pub(crate) fn restart(self) -> Self {
        let Self { executor, directory, .. } = self;
        drop(executor);
        Self::over(directory, EngineOptions::default())
    }

    /// What a crash at this moment would leave behind, opened as another server.
    pub(crate) fn copy_as_if_crashed(&self) -> Self {
        let directory = TempDir::new().unwrap();
        copy_tree(&self.directory.path().join("data"), &directory.path().join("data"));
        Self::over(directory, EngineOptions::default())
    }

    pub(crate) fn connect(&self) -> Client<'_> {
        self.connect_with(&[])
    }

    pub(crate) fn connect_with(&self, settings: &[(&str, &str)]) -> Client<'_> {
        let woken = Arc::new(Flag::default());
        let interrupts = Arc::new(Interrupts::default());
        let opening = Opening {
            user: "tester".to_owned(),
            database: "postgres".to_owned(),
            settings: settings.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect(),
            peer: None,
            process_id: self.next_process_id.fetch_add(1, Ordering::Relaxed),
            waker: Waker::from(Arc::clone(&woken)),
            interrupts: Arc::clone(&interrupts),
        };
        let mut session = self.executor.open_session(opening).unwrap();
        session.report_settings(true, &mut |_, _| {});
        Client { server: self, session, woken, out: Vec::new(), copying: Vec::new() }
    }
}

fn copy_tree(from: &Path, to: &Path) {
    std::fs::create_dir(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_tree(&entry.path(), &to);
        } else {
            std::fs::copy(entry.path(), &to).unwrap();
        }
    }
}

#[derive(Default)]
pub(crate) struct Flag(AtomicBool);

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::SeqCst);
    }
}

pub(crate) struct Client<'s> {
    server: &'s Server,
    pub(crate) session: SqlSession,
    woken: Arc<Flag>,
    out: Vec<u8>,
    /// What the next COPY FROM STDIN is given.
    pub(crate) copying: Vec<u8>,
}

/// What a statement gave.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Reply {
    pub(crate) rows: Vec<Vec<Option<String>>>,
    pub(crate) notices: Vec<String>,
    pub(crate) copied: String,
    pub(crate) tags: Vec<String>,
}

impl Reply {
    /// Rows as text, columns separated by `|`, NULL as `-`.
    pub(crate) fn text(&self) -> Vec<String> {
        let value = |value: &Option<String>| value.clone().unwrap_or_else(|| "-".to_owned());
        self.rows.iter().map(|row| row.iter().map(value).collect::<Vec<_>>().join("|")).collect()
    }
}

/// A statement that waits.
pub(crate) struct Waiting<S: Session> {
    portal: S::Portal,
}

impl Client<'_> {
    /// Executes a Query; panics on an error.
    #[track_caller]
    pub(crate) fn query(&mut self, text: &str) -> Reply {
        match self.try_query(text) {
            Ok(reply) => reply,
            Err(error) => panic!("{text}: {} {} {:?}", error.code, error.message, error.detail),
        }
    }

    /// The rows of a Query, as text.
    #[track_caller]
    pub(crate) fn rows(&mut self, text: &str) -> Vec<String> {
        self.query(text).text()
    }

    /// The SQLSTATE and the message of a Query that fails.
    #[track_caller]
    pub(crate) fn error(&mut self, text: &str) -> (String, String) {
        match self.try_query(text) {
            Ok(reply) => panic!("{text}: {reply:?}"),
            Err(error) => (error.code.as_str().to_owned(), error.message),
        }
    }

    pub(crate) fn try_query(&mut self, text: &str) -> Result<Reply, SessionError> {
        let result = self.run_query(text);
        if result.is_err() {
            self.session.fail();
            self.out.clear();
        }
        // As before ReadyForQuery.
        self.session.report_settings(false, &mut |_, _| {});
        result
    }

    fn run_query(&mut self, text: &str) -> Result<Reply, SessionError> {
        let mut queue = VecDeque::new();
        self.session.parse(text, &mut queue)?;
        let mut reply = Reply::default();
        while let Some(statement) = queue.pop_front() {
            let prepared = self.session.analyse(statement)?;
            let mut portal = self.session.bind(&prepared, Arguments::NONE, &ResultFormats::TEXT)?;
            let tag = self.run(&mut portal, u64::MAX)?;
            reply.tags.push(tag_text(tag.expect("no limit on rows")));
        }
        self.settle(&mut reply)?;
        Ok(reply)
    }

    /// Ends the implicit transaction, and reads what has been appended once the gate is open.
    pub(crate) fn settle(&mut self, reply: &mut Reply) -> Result<(), SessionError> {
        let end = Instant::now() + Duration::from_secs(60);
        while self.session.settle(&mut self.out)? == Settled::Blocked {
            self.await_wake(None, end);
        }
        self.pass_gate();
        read_messages(&std::mem::take(&mut self.out), reply);
        Ok(())
    }

    fn pass_gate(&self) {
        if let Some(gate) = self.session.gate() {
            self.server.executor.flush(gate.lsn);
            let end = Instant::now() + Duration::from_secs(10);
            while !self.server.executor.is_open(gate) {
                assert!(Instant::now() < end, "the gate does not open");
                std::thread::yield_now();
            }
        }
    }

    /// Waits until the session is woken, or until then, but no longer than to `end`.
    fn await_wake(&self, until: Option<Instant>, end: Instant) {
        while !self.woken.0.swap(false, Ordering::SeqCst) && until.is_none_or(|until| Instant::now() < until)
        {
            assert!(Instant::now() < end, "nobody wakes the session");
            std::thread::yield_now();
        }
    }

    /// Executes a portal to its end, or until it has produced as many rows as it may (`None`).
    pub(crate) fn run(
        &mut self,
        portal: &mut <SqlSession as Session>::Portal,
        mut rows: u64,
    ) -> Result<Option<CommandTag>, SessionError> {
        let end = Instant::now() + Duration::from_secs(20);
        loop {
            match self.session.step(portal, &mut self.out, &mut rows)? {
                Step::Done(tag) => return Ok(Some(tag)),
                Step::Suspended => return Ok(None),
                Step::Yield | Step::CopyOut(_) => self.pass_gate(),
                Step::Blocked { until } => self.await_wake(until, end),
                Step::CopyIn(_) => {
                    let data = std::mem::take(&mut self.copying);
                    if data.is_empty() {
                        self.session.copy_done(portal)?;
                        continue;
                    }
                    let (piece, rest) = data.split_at(data.len().min(100));
                    self.copying = rest.to_vec();
                    self.session.copy_data(portal, piece)?;
                }
            }
        }
    }

    /// The first step of a statement, and its portal.
    fn first_step(&mut self, text: &str) -> (Waiting<SqlSession>, Step) {
        let mut queue = VecDeque::new();
        self.session.parse(text, &mut queue).unwrap();
        let prepared = self.session.analyse(queue.pop_front().unwrap()).unwrap();
        let mut portal = self.session.bind(&prepared, Arguments::NONE, &ResultFormats::TEXT).unwrap();
        self.woken.0.store(false, Ordering::SeqCst);
        let mut rows = u64::MAX;
        let step = self.session.step(&mut portal, &mut self.out, &mut rows).unwrap();
        (Waiting { portal }, step)
    }

    /// Begins a statement that is expected to wait for a lock.
    #[track_caller]
    pub(crate) fn start(&mut self, text: &str) -> Waiting<SqlSession> {
        let (waiting, step) = self.first_step(text);
        assert_eq!(step, Step::Blocked { until: None }, "{text}");
        waiting
    }

    /// Executes a statement to its end without waiting until it is confirmed. Gives it back if it has to wait itself.
    pub(crate) fn start_unconfirmed(&mut self, text: &str) -> Option<Waiting<SqlSession>> {
        match self.first_step(text) {
            (_, Step::Done(_)) => {}
            (waiting, Step::Blocked { until: None }) => return Some(waiting),
            (_, other) => panic!("{text}: {other:?}"),
        }
        assert_eq!(self.session.settle(&mut self.out).unwrap(), Settled::Done, "{text}");
        self.out.clear();
        None
    }

    /// Goes on with a statement that has waited.
    pub(crate) fn finish(&mut self, mut waiting: Waiting<SqlSession>) -> Result<Reply, SessionError> {
        let end = Instant::now() + Duration::from_secs(10);
        while !self.woken.0.load(Ordering::SeqCst) {
            assert!(Instant::now() < end, "nobody wakes the session");
            std::thread::yield_now();
        }
        let mut reply = Reply::default();
        let result = self.run(&mut waiting.portal, u64::MAX).and_then(|tag| {
            reply.tags.extend(tag.map(tag_text));
            self.settle(&mut reply)
        });
        if let Err(error) = result {
            self.session.fail();
            self.out.clear();
            return Err(error);
        }
        Ok(reply)
    }

    /// Bind with arguments as text, Execute (again and again, if only so many `rows` may come at once), Sync.
    pub(crate) fn execute_prepared(
        &mut self,
        prepared: &Arc<<SqlSession as Session>::Prepared>,
        arguments: &[Option<&str>],
        rows: u64,
    ) -> Result<Reply, SessionError> {
        let result = (|| {
            let body = bind_body(arguments);
            let Ok(FrontendMessage::Bind(bind)) = FrontendMessage::decode(b'B', &body) else {
                panic!("not a Bind")
            };
            let mut portal = self.session.bind(prepared, bind.arguments, &ResultFormats::TEXT)?;
            let mut reply = Reply::default();
            loop {
                if let Some(tag) = self.run(&mut portal, rows)? {
                    reply.tags.push(tag_text(tag));
                    break;
                }
                reply.tags.push("suspended".to_owned());
            }
            self.settle(&mut reply)?;
            Ok(reply)
        })();
        if result.is_err() {
            self.session.fail();
            self.out.clear();
        }
        result
    }

    pub(crate) fn status(&self) -> TransactionStatus {
        self.session.transaction_status()
    }
}

fn tag_text(tag: CommandTag) -> String {
    let mut out = Vec::new();
    tag.put(&mut out);
    String::from_utf8(out).unwrap()
}

fn bind_body(arguments: &[Option<&str>]) -> Vec<u8> {
    let mut body = vec![0, 0, 0, 0];
    body.extend((arguments.len() as u16).to_be_bytes());
    for argument in arguments {
        match argument {
            Some(text) => {
                body.extend((text.len() as i32).to_be_bytes());
                body.extend(text.as_bytes());
            }
            None => body.extend((-1i32).to_be_bytes()),
        }
    }
    body.extend([0, 0]);
    body
}

fn read_messages(mut bytes: &[u8], reply: &mut Reply) {
    while let [tag, a, b, c, d, rest @ ..] = bytes {
        let length = u32::from_be_bytes([*a, *b, *c, *d]) as usize - 4;
        let (body, after) = rest.split_at(length);
        match tag {
            b'D' => reply.rows.push(read_row(body)),
            b'd' => reply.copied.push_str(&String::from_utf8_lossy(body)),
            b'N' => reply.notices.push(read_field(body, b'M')),
            other => panic!("message {}", other.escape_ascii()),
        }
        bytes = after;
    }
    assert!(bytes.is_empty(), "half a message");
}

fn read_row(body: &[u8]) -> Vec<Option<String>> {
    let mut rest = &body[2..];
    let count = u16::from_be_bytes([body[0], body[1]]);
    let row = (0..count).map(|_| {
        let length = i32::from_be_bytes(rest[..4].try_into().unwrap());
        rest = &rest[4..];
        let (value, after) = rest.split_at_checked(usize::try_from(length).ok()?).unwrap();
        rest = after;
        Some(String::from_utf8(value.to_vec()).unwrap())
    });
    row.collect()
}

fn read_field(body: &[u8], letter: u8) -> String {
    let fields = body.split(|byte| *byte == 0);
    let mut found = fields.filter(|field| field.first() == Some(&letter));
    String::from_utf8(found.next().unwrap()[1..].to_vec()).unwrap()
}
