//! The keywords of a connection string. Source: `PQconninfoOptions`, PostgreSQL 15 to 18.

/// One keyword.
pub(super) struct Keyword {
    pub(super) name: &'static str,
    /// The environment variable that gives its default.
    pub(super) variable: Option<&'static str>,
    /// Its value if nobody gives one.
    pub(super) default: Option<&'static str>,
}

const fn keyword(
    name: &'static str,
    variable: Option<&'static str>,
    default: Option<&'static str>,
) -> Keyword {
    Keyword { name, variable, default }
}

/// All of them, in libpq's order.
pub(super) const KEYWORDS: &[Keyword] = &[
    keyword("service", Some("PGSERVICE"), None),
    keyword("servicefile", Some("PGSERVICEFILE"), None),
    keyword("user", Some("PGUSER"), None),
    keyword("password", Some("PGPASSWORD"), None),
    keyword("passfile", Some("PGPASSFILE"), None),
    keyword("channel_binding", Some("PGCHANNELBINDING"), Some("prefer")),
    keyword("connect_timeout", Some("PGCONNECT_TIMEOUT"), None),
    keyword("dbname", Some("PGDATABASE"), None),
    keyword("host", Some("PGHOST"), None),
    keyword("hostaddr", Some("PGHOSTADDR"), None),
    keyword("port", Some("PGPORT"), Some("5432")),
    keyword("client_encoding", Some("PGCLIENTENCODING"), None),
    keyword("options", Some("PGOPTIONS"), None),
    keyword("application_name", Some("PGAPPNAME"), None),
    keyword("fallback_application_name", None, None),
    keyword("keepalives", None, None),
    keyword("keepalives_idle", None, None),
    keyword("keepalives_interval", None, None),
    keyword("keepalives_count", None, None),
    keyword("tcp_user_timeout", None, None),
    keyword("sslmode", Some("PGSSLMODE"), Some("prefer")),
    keyword("sslnegotiation", Some("PGSSLNEGOTIATION"), None),
    keyword("sslcompression", Some("PGSSLCOMPRESSION"), None),
    keyword("sslcert", Some("PGSSLCERT"), None),
    keyword("sslkey", Some("PGSSLKEY"), None),
    keyword("sslcertmode", Some("PGSSLCERTMODE"), None),
    keyword("sslpassword", None, None),
    keyword("sslrootcert", Some("PGSSLROOTCERT"), None),
    keyword("sslcrl", Some("PGSSLCRL"), None),
    keyword("sslcrldir", Some("PGSSLCRLDIR"), None),
    keyword("sslsni", Some("PGSSLSNI"), None),
    keyword("requirepeer", Some("PGREQUIREPEER"), None),
    keyword("require_auth", Some("PGREQUIREAUTH"), None),
    keyword("ssl_min_protocol_version", Some("PGSSLMINPROTOCOLVERSION"), None),
    keyword("ssl_max_protocol_version", Some("PGSSLMAXPROTOCOLVERSION"), None),
    keyword("gssencmode", Some("PGGSSENCMODE"), None),
    keyword("krbsrvname", Some("PGKRBSRVNAME"), None),
    keyword("gsslib", Some("PGGSSLIB"), None),
    keyword("gssdelegation", Some("PGGSSDELEGATION"), None),
    keyword("replication", None, None),
    keyword("target_session_attrs", Some("PGTARGETSESSIONATTRS"), Some("any")),
    keyword("load_balance_hosts", Some("PGLOADBALANCEHOSTS"), None),
];

/// The keyword called `name`.
pub(super) fn find(name: &str) -> Option<&'static Keyword> {
    KEYWORDS.iter().find(|keyword| keyword.name == name)
}
