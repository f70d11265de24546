//! Being let in, or not.

use std::io::{Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixStream;

use replication::auth::{StoredPassword, md5_response};

use super::client::field;
use super::*;

#[test]
fn encryption_is_declined_and_the_startup_packet_may_follow_byte_by_byte() {
    let server = start();
    let mut client = Client::raw(server.port);
    client.send(&[0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f]);
    let mut answer = [0];
    client.stream.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"N");
    let mut packet = b"\0\x03\0\0user\0tester\0\0".to_vec();
    packet.splice(0..0, (packet.len() as u32 + 4).to_be_bytes());
    packet.iter().for_each(|byte| client.send(&[*byte]));
    client.expect_ready(b'I');
    assert!(client.process_id > 0 && client.secret.len() == 4);
    assert_eq!(client.query("one"), "TDCZI");
}

#[test]
fn unix_sockets_serve_too_and_go_with_the_server() {
    let mut server = start();
    let mut stream = UnixStream::connect(&server.socket).unwrap();
    stream.write_all(b"\0\0\0\x15\0\x03\0\0user\0tester\0\0").unwrap();
    let mut answer = [0; 9];
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"R\0\0\0\x08\0\0\0\0");
    let path = server.socket.clone();
    server.server.take().unwrap().stop();
    assert!(!path.exists());
}

#[test]
fn garbage_and_half_a_packet_harm_nobody() {
    let server = start();
    for bytes in [&b"GET / HTTP/1.1\r\n\r\n"[..], &[0, 0, 0, 9, 1, 2, 3, 4, 5], &[0xff; 100], &[0, 0, 0, 8]] {
        let mut client = Client::raw(server.port);
        client.send(bytes);
        // It fails if the server has refused them already and closed the connection.
        let _closed = client.stream.shutdown(std::net::Shutdown::Write);
        while client.receive().is_some() {}
    }
    assert_eq!(server.connect().query("one"), "TDCZI");
    eventually(|| server.server().registry().sockets.load(std::sync::atomic::Ordering::SeqCst) <= 1);
}

#[test]
fn who_says_nothing_is_sent_away() {
    let options = ServerOptions { authentication_timeout: Duration::from_millis(50), ..options() };
    let server = start_with(options);
    let mut admitted = server.connect();
    assert!(Client::raw(server.port).is_closed());
    assert_eq!(admitted.query("one"), "TDCZI");
}

#[test]
fn too_many_clients_an_unknown_database_and_a_server_that_starts_up_are_refused_with_their_codes() {
    let server = start_closed(ServerOptions { max_connections: 2, ..options() });
    let refusal = |parameters: &[(&str, &str)]| {
        let mut client = Client::raw(server.port);
        client.start_up(parameters);
        let (tag, body) = client.receive().unwrap();
        assert_eq!(tag, b'E');
        assert!(client.is_closed());
        (field(&body, b'S'), field(&body, b'C'))
    };
    let fatal = |code: &str| ("FATAL".to_owned(), code.to_owned());
    assert_eq!(refusal(&[]), fatal("57P03"));
    server.open();
    assert_eq!(refusal(&[("database", "none")]), fatal("3D000"));
    assert_eq!(refusal(&[("replication", "true")]), fatal("0A000"));
    assert_eq!(refusal(&[("replication", "maybe")]), fatal("22023"));
    let first = server.connect();
    let _second = server.connect();
    assert_eq!(refusal(&[]), fatal("53300"));
    drop(first);
    eventually(|| server.server().registry().sessions() == 1);
    server.connect();
}

#[test]
fn a_wrong_password_is_refused_and_a_right_one_is_not() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("passwords");
    let hash = StoredPassword::parse("secret").md5_of("tester").unwrap();
    std::fs::write(&path, format!("tester:{hash}\nother:secret\n")).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    let passwords = Some(PasswordFile::load(&path).unwrap());
    let server = start_with(ServerOptions { passwords, ..options() });
    let attempt = |response: &dyn Fn([u8; 4]) -> String| {
        let mut client = Client::raw(server.port);
        client.start_up(&[]);
        let (tag, body) = client.receive().unwrap();
        assert_eq!((tag, &body[..4]), (b'R', &[0, 0, 0, 5][..]));
        let mut answer = Vec::new();
        crate::protocol::backend::message(&mut answer, b'p', |out| {
            crate::protocol::backend::put_text(out, &response(body[4..8].try_into().unwrap()));
        });
        client.send(&answer);
        client.tags()
    };
    assert_eq!(attempt(&|_| "md5wrong".to_owned()), "E(28P01).");
    let right = |salt: [u8; 4]| md5_response("tester", "secret", salt);
    assert!(attempt(&right).ends_with("ZI"));
}
