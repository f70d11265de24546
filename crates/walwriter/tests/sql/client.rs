//! A client without a network: drives a session as the server does, and reads the messages it appends.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Wake, Waker};
use std::time::{Duration, Instant};

use walwriter::exec::SqlSession;
use walwriter::protocol::{Arguments, FrontendMessage};
use walwriter::session::{
    CommandTag, Database, Interrupts, Opening, ResultFormats, Session, SessionError, Settled, Step,
    TransactionStatus,
};

use crate::reply::{Reply, read_messages, tag_text};
use crate::server::Server;

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

/// A statement that waits.
pub(crate) struct Waiting<S: Session> {
    portal: S::Portal,
}

impl<'s> Client<'s> {
    pub(crate) fn connect(server: &'s Server, settings: &[(&str, &str)]) -> Self {
        let woken = Arc::new(Flag::default());
        let interrupts = Arc::new(Interrupts::default());
        let opening = Opening {
            user: "tester".to_owned(),
            database: "postgres".to_owned(),
            settings: settings.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect(),
            peer: None,
            process_id: server.next_process_id(),
            waker: Waker::from(Arc::clone(&woken)),
            interrupts: Arc::clone(&interrupts),
        };
        let mut session = server.executor.open_session(opening).unwrap();
        session.report_settings(true, &mut |_, _| {});
        Self { server, session, woken, out: Vec::new(), copying: Vec::new() }
    }
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
