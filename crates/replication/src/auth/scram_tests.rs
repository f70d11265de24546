//! Our client against our server.

use bytes::Bytes;
use proptest::prelude::*;

use super::*;
use crate::auth::{AuthError, AuthStep, ClientAuth};
use crate::conninfo::{ChannelBindingMode, Password, RequireAuth};
use crate::message::AuthenticationRequest;

const HASH: &[u8] = b"hash of the certificate";

fn server(password: Option<&str>, end_point: Option<&[u8]>) -> ScramServer {
    let stored = password.map(StoredPassword::parse);
    let mock = MockSecret::new([7; 32]);
    ScramServer::new("alice", stored.as_ref(), &mock, end_point.map(<[u8]>::to_vec), [9; 18])
}

fn client(password: &str, mode: ChannelBindingMode, tls: Option<&[u8]>) -> ClientAuth {
    let tls = tls.map(|hash| Some(hash.to_vec()));
    ClientAuth::new("alice", Some(Password::new(password)), mode, RequireAuth::Any, tls)
}

#[derive(Debug, PartialEq)]
enum Failure {
    Client(AuthError),
    Server(ScramError),
}

/// Runs the whole exchange.
fn exchange(mut client: ClientAuth, mut server: ScramServer) -> Result<(), Failure> {
    let mut request = AuthenticationRequest::Sasl(server.mechanisms());
    loop {
        match client.step(request).map_err(Failure::Client)? {
            AuthStep::Send(body) => match server.step(&body).map_err(Failure::Server)? {
                ScramStep::Continue(data) => request = AuthenticationRequest::SaslContinue(data.into()),
                ScramStep::Finished(data) => request = AuthenticationRequest::SaslFinal(data.into()),
            },
            AuthStep::Wait => request = AuthenticationRequest::Ok,
            AuthStep::Done => return Ok(()),
        }
    }
}

#[test]
fn the_right_password_is_let_in_with_and_without_binding() {
    use ChannelBindingMode::{Disable, Prefer, Require};
    let stored = postgres_protocol::password::scram_sha_256("sécret".as_bytes());
    for kept in ["sécret", &stored] {
        for (mode, tls, offered) in [
            (Prefer, None, None),
            (Disable, Some(HASH), Some(HASH)),
            (Prefer, Some(HASH), Some(HASH)),
            (Prefer, Some(HASH), None),
            (Require, Some(HASH), Some(HASH)),
        ] {
            assert_eq!(
                exchange(client("sécret", mode, tls), server(Some(kept), offered)),
                Ok(()),
                "{mode:?} {tls:?}"
            );
        }
    }
}

#[test]
fn wrong_password_unknown_user_and_md5_only_user_look_alike() {
    let md5 = postgres_protocol::password::md5(b"secret", "alice");
    for kept in [Some("other"), None, Some(md5.as_str())] {
        let result = exchange(client("secret", ChannelBindingMode::Prefer, None), server(kept, None));
        assert_eq!(result, Err(Failure::Server(ScramError::WrongPassword)));
    }
    let error = ScramError::WrongPassword.to_server_error("alice");
    assert_eq!(error.to_string(), "FATAL:  password authentication failed for user \"alice\"");
}

#[test]
fn an_unknown_users_salt_stays_the_same() {
    let salt = || {
        let mut client = client("x", ChannelBindingMode::Disable, None);
        let Ok(AuthStep::Send(body)) = client.step(AuthenticationRequest::Sasl(vec![SCRAM_SHA_256.into()]))
        else {
            panic!("no client-first");
        };
        let Ok(ScramStep::Continue(first)) = server(None, None).step(&body) else {
            panic!("no server-first")
        };
        String::from_utf8(first).unwrap().split(',').nth(1).unwrap().to_owned()
    };
    assert_eq!(salt(), salt());
}

#[test]
fn another_tls_channel_is_noticed() {
    let result = exchange(
        client("x", ChannelBindingMode::Prefer, Some(b"man in the middle")),
        server(Some("x"), Some(HASH)),
    );
    assert!(matches!(result, Err(Failure::Server(ScramError::Protocol { .. }))), "{result:?}");
}

#[test]
fn hiding_the_offer_of_plus_is_noticed() {
    let mut client = client("x", ChannelBindingMode::Prefer, Some(HASH));
    let Ok(AuthStep::Send(body)) = client.step(AuthenticationRequest::Sasl(vec![SCRAM_SHA_256.into()]))
    else {
        panic!("no client-first");
    };
    let error = server(Some("x"), Some(HASH)).step(&body).unwrap_err();
    assert_eq!(error.to_server_error("alice").message, "SCRAM channel binding negotiation error");
}

#[test]
fn a_client_that_requires_binding_refuses_to_go_without() {
    use ChannelBindingMode::Require;
    let refuses = |tls: Option<&[u8]>, request| match client("x", Require, tls).step(request) {
        Err(AuthError::ChannelBinding(_)) => (),
        other => panic!("{other:?}"),
    };
    refuses(None, AuthenticationRequest::Sasl(vec![SCRAM_SHA_256.into()]));
    refuses(Some(HASH), AuthenticationRequest::Sasl(vec![SCRAM_SHA_256.into()]));
    refuses(Some(HASH), AuthenticationRequest::CleartextPassword);
    refuses(Some(HASH), AuthenticationRequest::Md5Password([0; 4]));
    refuses(Some(HASH), AuthenticationRequest::Ok);
}

#[test]
fn plus_without_tls_is_refused_by_the_client() {
    let mechanisms = vec![SCRAM_SHA_256_PLUS.into(), SCRAM_SHA_256.into()];
    let result = client("x", ChannelBindingMode::Prefer, None).step(AuthenticationRequest::Sasl(mechanisms));
    assert!(matches!(result, Err(AuthError::ChannelBinding(_))));
}

#[test]
fn a_server_that_breaks_off_its_proof_is_not_believed() {
    let mut client = client("x", ChannelBindingMode::Prefer, None);
    client.step(AuthenticationRequest::Sasl(vec![SCRAM_SHA_256.into()])).unwrap();
    assert!(matches!(client.step(AuthenticationRequest::Ok), Err(AuthError::Unexpected(_))));
}

#[test]
fn no_password_is_said_so() {
    for request in [
        AuthenticationRequest::CleartextPassword,
        AuthenticationRequest::Md5Password([0; 4]),
        AuthenticationRequest::Sasl(vec![SCRAM_SHA_256.into()]),
    ] {
        let mut client = ClientAuth::new("alice", None, ChannelBindingMode::Prefer, RequireAuth::Any, None);
        let error = client.step(request).unwrap_err();
        assert_eq!(error.to_string(), "fe_sendauth: no password supplied");
    }
}

proptest! {
    #[test]
    fn garbage_never_panics(body in prop::collection::vec(any::<u8>(), 0..80), text in "[nyp=,rcn:a-z]{0,40}") {
        let mut initial = b"SCRAM-SHA-256\0".to_vec();
        initial.extend_from_slice(&(text.len() as i32).to_be_bytes());
        initial.extend_from_slice(text.as_bytes());
        for first in [&body[..], &initial, b"SCRAM-SHA-256\0\0\0\0\x09n,,n=,r=a"] {
            // An unknown user's exchange takes the same path, and needs no slow hashing of a password.
            for second in [&body[..], text.as_bytes()] {
                let mut server = server(None, None);
                let _ = server.step(first);
                let _ = server.step(second);
            }
        }
        let mut client = client("x", ChannelBindingMode::Prefer, None);
        client.step(AuthenticationRequest::Sasl(vec![SCRAM_SHA_256.into()])).unwrap();
        prop_assert!(client.step(AuthenticationRequest::SaslContinue(Bytes::from(body))).is_err());
    }
}
