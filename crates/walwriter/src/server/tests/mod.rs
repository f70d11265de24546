//! The server over real sockets, with a database of a few words behind it.

mod client;
mod conversations;
mod copying;
mod crowds;
mod startup;
mod withheld;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::*;
use crate::session::double::{Double, Shared as DoubleDatabase};
use client::Client;

/// A server on a port and a Unix socket of its own.
struct Running {
    server: Option<Server<DoubleDatabase>>,
    database: Arc<Double>,
    port: u16,
    socket: PathBuf,
    _directory: tempfile::TempDir,
}

fn options() -> ServerOptions {
    ServerOptions {
        workers: 2,
        max_connections: 100,
        most_sockets: 264,
        authentication_timeout: Duration::from_secs(60),
        passwords: None,
    }
}

fn start() -> Running {
    start_with(options())
}

fn start_with(options: ServerOptions) -> Running {
    let running = start_closed(options);
    running.open();
    running
}

/// A server that is still starting up.
fn start_closed(options: ServerOptions) -> Running {
    let directory = tempfile::tempdir().unwrap();
    let listeners = Listeners::bind(&ListenOptions {
        hosts: vec!["127.0.0.1".to_owned()],
        port: 0,
        unix_socket_directories: vec![directory.path().to_owned()],
        unix_socket_permissions: 0o777,
        allow_remote: false,
    })
    .unwrap();
    let server = Server::start(options, listeners, None).unwrap();
    let port = server.port();
    let socket = directory.path().join(format!(".s.PGSQL.{port}"));
    let database = Arc::new(Double::default());
    Running { server: Some(server), database, port, socket, _directory: directory }
}

impl Running {
    fn open(&self) {
        self.server().open(Arc::new(DoubleDatabase(self.database.clone())));
    }

    fn server(&self) -> &Server<DoubleDatabase> {
        self.server.as_ref().unwrap()
    }

    fn connect(&self) -> Client {
        self.connect_with(&[])
    }

    fn connect_with(&self, parameters: &[(&str, &str)]) -> Client {
        let mut client = Client::raw(self.port);
        client.start_up(parameters);
        client.expect_ready(b'I');
        client
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(server) = self.server.take() {
            server.stop();
            assert_eq!(self.database.open_sessions.load(std::sync::atomic::Ordering::SeqCst), 0);
        }
    }
}

/// Waits until something is so; long enough for a machine that is busy with other things.
fn eventually(mut is_so: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(30);
    while !is_so() {
        assert!(Instant::now() < end, "did not happen");
        std::thread::sleep(Duration::from_millis(1));
    }
}
