//! What libpq makes of the same words.

use std::path::Path;

use super::*;
use crate::conninfo::{AuthMethod, TlsOptions};

fn with(text: &str, variables: &[(&str, &str)]) -> Result<ConnInfo, ConnInfoError> {
    let args = ConnArgs { connection_string: Some(text.to_owned()), ..ConnArgs::default() };
    ConnInfo::resolve(&args, &Environment::of("me", Some(Path::new("/home/me")), variables))
}

fn info(text: &str) -> ConnInfo {
    with(text, &[]).unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn complaint(text: &str) -> String {
    match with(text, &[]) {
        Ok(_) => panic!("{text} is taken"),
        Err(error) => error.to_string(),
    }
}

fn tcp(name: &str, port: u16) -> Host {
    Host { name: HostName::Tcp(name.to_owned()), address: None, port }
}

fn unix(path: &str, port: u16) -> Host {
    Host { name: HostName::Unix(path.into()), address: None, port }
}

#[test]
fn nothing_said_means_the_defaults() {
    let info = info("");
    assert!(matches!(&info.hosts[..], [Host { name: HostName::Unix(_), port: 5432, .. }]));
    assert_eq!(info.user, "me");
    assert_eq!((info.dbname.as_deref(), info.password.as_ref()), (None, None));
    assert_eq!(info.passfile.as_deref(), Some(Path::new("/home/me/.pgpass")));
    assert_eq!(info.tls.mode, SslMode::Prefer);
    assert_eq!(info.tls.root_cert, RootCert::File("/home/me/.postgresql/root.crt".into()));
    assert_eq!(info.connect_timeout, None);
    assert!(info.keepalives.enabled);
}

#[test]
fn hosts_ports_and_addresses_are_paired() {
    assert_eq!(info("host=a,b port=1,2").hosts, [tcp("a", 1), tcp("b", 2)]);
    assert_eq!(info("host=a,b port=7").hosts, [tcp("a", 7), tcp("b", 7)]);
    assert_eq!(info("host=a,b port=,7").hosts, [tcp("a", 5432), tcp("b", 7)]);
    assert_eq!(
        info("host=/run/x,@abstract,a").hosts,
        [unix("/run/x", 5432), unix("@abstract", 5432), tcp("a", 5432)]
    );
    let both = info("host=db hostaddr=10.0.0.1 port=3");
    assert_eq!(both.hosts, [Host { address: Some([10, 0, 0, 1].into()), ..tcp("db", 3) }]);
    assert_eq!(unix("/run/x", 5433).socket_path().unwrap(), Path::new("/run/x/.s.PGSQL.5433"));
    assert_eq!(info("postgresql://[::1]:1,b:2/x").hosts, [tcp("::1", 1), tcp("b", 2)]);
}

#[test]
fn the_command_line_goes_before_the_string_before_the_environment() {
    let environment = Environment::of(
        "me",
        None,
        &[
            ("PGHOST", "env"),
            ("PGPORT", "1"),
            ("PGUSER", "envuser"),
            ("PGAPPNAME", "envapp"),
            ("PGPASSWORD", "p"),
        ],
    );
    let args = ConnArgs {
        connection_string: Some("host=string port=2 application_name=''".to_owned()),
        host: Some("line".to_owned()),
        program: "tool".to_owned(),
        ..ConnArgs::default()
    };
    let info = ConnInfo::resolve(&args, &environment).unwrap();
    assert_eq!(info.hosts, [tcp("line", 2)]);
    assert_eq!(info.user, "envuser");
    assert_eq!(info.password.unwrap().reveal(), "p");
    // Set, and to nothing: libpq then falls back too.
    assert_eq!(info.application_name, "tool");
    assert_eq!(info.passfile, None);
}

#[test]
fn a_service_gives_what_the_string_does_not() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("services");
    std::fs::write(&file, "[mine]\nhost=fromservice\nport=1\nuser=serviceuser\n").unwrap();
    let file = file.to_str().unwrap();
    let info = with("service=mine port=2", &[("PGSERVICEFILE", file), ("PGUSER", "envuser")]).unwrap();
    assert_eq!((&info.hosts[..], info.user.as_str()), (&[tcp("fromservice", 2)][..], "serviceuser"));
    let error = with("service=other", &[("PGSERVICEFILE", file)]).unwrap_err();
    assert_eq!(error.to_string(), "definition of service \"other\" not found");
    let error = with("service=mine", &[("PGSERVICEFILE", "/nowhere/x")]).unwrap_err();
    assert_eq!(error.to_string(), "service file \"/nowhere/x\" not found");
}

#[test]
fn numbers_are_checked() {
    for (text, expected) in [
        ("port=x", "invalid integer value \"x\" for connection option \"port\""),
        ("port=0", "invalid port number: \"0\""),
        ("port=65536", "invalid port number: \"65536\""),
        ("host=a,b port=1,2,3", "could not match 3 port numbers to 2 hosts"),
        ("host=a,b hostaddr=::1", "could not match 2 host names to 1 hostaddr values"),
        ("connect_timeout=soon", "invalid integer value \"soon\" for connection option \"connect_timeout\""),
        ("keepalives=x", "invalid integer value \"x\" for connection option \"keepalives\""),
        ("hostaddr=db", "could not parse network address \"db\": expected an IP address"),
    ] {
        assert_eq!(complaint(text), expected, "{text}");
    }
}

#[test]
fn words_are_checked() {
    for (text, expected) in [
        ("sslmode=verify", "invalid sslmode value: \"verify\""),
        ("channel_binding=yes", "invalid channel_binding value: \"yes\""),
        ("target_session_attrs=master", "invalid target_session_attrs value: \"master\""),
        ("load_balance_hosts=on", "invalid load_balance_hosts value: \"on\""),
        ("require_auth=kerberos", "invalid require_auth value: \"kerberos\""),
        ("gssencmode=maybe", "invalid gssencmode value: \"maybe\""),
        ("gssencmode=require", "gssencmode value \"require\" invalid when GSSAPI support is not compiled in"),
        ("sslcrl=x", "sslcrl is not supported: certificate revocation lists are not checked"),
        (
            "sslnegotiation=direct",
            "weak sslmode \"prefer\" may not be used with sslnegotiation=direct (use \"require\", \"verify-ca\", or \
             \"verify-full\")",
        ),
        (
            "sslrootcert=system sslmode=require",
            "weak sslmode \"require\" may not be used with sslrootcert=system (use \"verify-full\")",
        ),
    ] {
        assert_eq!(complaint(text), expected, "{text}");
    }
}

#[test]
fn timeouts_and_keepalives() {
    assert_eq!(info("connect_timeout=1").connect_timeout, Some(Duration::from_secs(2)));
    assert_eq!(info("connect_timeout=10").connect_timeout, Some(Duration::from_secs(10)));
    assert_eq!(info("connect_timeout=0").connect_timeout, None);
    assert_eq!(info("connect_timeout=-1").connect_timeout, None);
    let keepalives = info("keepalives_idle=5 keepalives_interval=6 keepalives_count=7").keepalives;
    assert_eq!(keepalives.idle, Some(Duration::from_secs(5)));
    assert_eq!((keepalives.interval, keepalives.count), (Some(Duration::from_secs(6)), Some(7)));
    assert!(!info("keepalives=0").keepalives.enabled);
    assert_eq!(info("tcp_user_timeout=1500").tcp_user_timeout, Some(Duration::from_millis(1500)));
}

#[test]
fn tls_settings_imply_each_other() {
    let tls = |text: &str| -> TlsOptions { info(text).tls };
    assert_eq!(tls("sslrootcert=system").mode, SslMode::VerifyFull);
    assert_eq!(tls("sslrootcert=/x.crt sslmode=verify-ca").root_cert, RootCert::File("/x.crt".into()));
    assert_eq!(tls("sslmode=require sslnegotiation=direct").negotiation, SslNegotiation::Direct);
    assert!(!tls("sslcert=/c").sni || tls("sslcert=/c").cert_is_explicit);
    assert_eq!(tls("sslcertmode=disable").cert, None);
    assert!(!tls("sslsni=0").sni);
    assert_eq!(tls("ssl_min_protocol_version=TLSv1.3").min_version, TlsVersion::V1_3);
    assert_eq!(with("", &[("PGREQUIRESSL", "1")]).unwrap().tls.mode, SslMode::Require);
    assert_eq!(with("", &[("PGSSLMODE", "disable")]).unwrap().tls.mode, SslMode::Disable);
}

#[test]
fn the_rest_of_the_words() {
    let info = info(
        "target_session_attrs=read-write load_balance_hosts=random channel_binding=require gssencmode=disable \
         require_auth=scram-sha-256 options='-c a=b' replication=true dbname=d client_encoding=auto",
    );
    assert_eq!(info.target_session_attrs, TargetSessionAttrs::ReadWrite);
    assert_eq!(info.channel_binding, ChannelBindingMode::Require);
    assert!(info.random_host_order && !info.require_auth.allows(AuthMethod::Md5));
    assert_eq!(info.options.as_deref(), Some("-c a=b"));
    assert_eq!((info.dbname.as_deref(), info.client_encoding), (Some("d"), None));
}

#[test]
fn primary_conninfo_is_as_pg_basebackup_writes_it() {
    let mut info = info("host=/tmp port=5433 user=repl application_name=its dbname=d replication=true");
    assert_eq!(
        info.to_primary_conninfo(),
        "user=repl passfile='/home/me/.pgpass' channel_binding=prefer host='/tmp' port=5433 application_name=its \
         sslmode=prefer target_session_attrs=any"
    );
    info.password = Some(Password::new("it's \\"));
    assert!(
        info.to_primary_conninfo().contains(" password='it\\'s \\\\' "),
        "{}",
        info.to_primary_conninfo()
    );
}

#[test]
fn primary_conninfo_means_what_it_was_made_from() {
    for text in
        ["host=a,b port=1,2 sslmode=verify-full", "host='a b' password='' user='x\\\\y'", "hostaddr=::1"]
    {
        let before = info(text);
        let after = info(&before.to_primary_conninfo());
        assert_eq!(after.hosts, before.hosts);
        assert_eq!((after.user, after.tls), (before.user, before.tls));
    }
}

#[test]
fn a_password_does_not_show_in_debug_output() {
    assert!(!format!("{:?}", with("", &[("PGPASSWORD", "hush-hush")]).unwrap().password).contains("hush"));
}

#[test]
fn a_password_file_is_used_unless_others_can_read_it() {
    use std::os::unix::fs::PermissionsExt;
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("pgpass");
    std::fs::write(&file, "db:*:replication:me:secret\n").unwrap();
    let info = info(&format!("host=db passfile={}", file.display()));
    let look_up = || info.password_from_file(&info.hosts[0], "replication");
    std::fs::set_permissions(&file, PermissionsExt::from_mode(0o640)).unwrap();
    assert_eq!(look_up(), None);
    std::fs::set_permissions(&file, PermissionsExt::from_mode(0o600)).unwrap();
    assert_eq!(look_up(), Some(Password::new("secret")));
}
