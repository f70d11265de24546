//! From everything that was said to one [`ConnInfo`]. Source: `conninfo_add_defaults`, `connectOptions2`.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::keyword::KEYWORDS;
use super::options::{
    ChannelBindingMode, Keepalives, RequireAuth, RootCert, SslMode, SslNegotiation, TargetSessionAttrs,
    TlsOptions, TlsVersion,
};
use super::{
    ConnArgs, ConnInfo, ConnInfoError, Environment, Host, HostName, Password, Settings, parse, service,
};

/// Where servers put their sockets: Debian's directory, then PostgreSQL's own default.
pub(super) const DEFAULT_SOCKET_DIRECTORIES: [&str; 2] = ["/var/run/postgresql", "/tmp"];

/// Keywords and their values, once decided.
struct Values(BTreeMap<&'static str, String>);

impl Values {
    fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// The value of a keyword that takes a word, made sense of by `parse`.
    fn word<T>(
        &self,
        name: &'static str,
        default: T,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Result<T, ConnInfoError> {
        let Some(value) = self.get(name) else { return Ok(default) };
        parse(value).ok_or_else(|| ConnInfoError::InvalidValue { keyword: name, value: value.to_owned() })
    }

    /// The value of a keyword that takes an integer.
    fn integer(&self, name: &'static str) -> Result<Option<i32>, ConnInfoError> {
        let Some(value) = self.get(name) else { return Ok(None) };
        value.trim().parse().map(Some).map_err(|_| {
            ConnInfoError::Syntax(format!(
                "invalid integer value \"{value}\" for connection option \"{name}\""
            ))
        })
    }

    /// The same in seconds; zero and less mean "not given".
    fn seconds(&self, name: &'static str) -> Result<Option<Duration>, ConnInfoError> {
        let seconds = self.integer(name)?.and_then(|value| u64::try_from(value).ok());
        Ok(seconds.filter(|&seconds| seconds > 0).map(Duration::from_secs))
    }
}

impl ConnInfo {
    /// Puts together what the command line, the connection string, the service file and the environment say.
    pub fn resolve(args: &ConnArgs, environment: &Environment) -> Result<Self, ConnInfoError> {
        let values = collect(args, environment)?;
        let home_file = |name: &str| environment.home().map(|home| home.join(".postgresql").join(name));
        let user = match values.get("user").or(environment.user()) {
            Some(user) => user.to_owned(),
            None => {
                return Err(ConnInfoError::Unsupported(
                    "local user does not exist; give one with -U".to_owned(),
                ));
            }
        };
        refuse_unsupported(&values)?;
        let tls = tls_options(&values, home_file)?;
        let settings = KEYWORDS
            .iter()
            .filter_map(|keyword| Some((keyword.name, values.get(keyword.name)?.to_owned())))
            .collect();
        Ok(Self {
            hosts: hosts(&values)?,
            user,
            dbname: values.get("dbname").map(str::to_owned),
            password: values.get("password").map(Password::new),
            passfile: values.get("passfile").map(PathBuf::from),
            application_name: values
                .get("application_name")
                .or(values.get("fallback_application_name"))
                .unwrap_or_default()
                .to_owned(),
            options: values.get("options").map(str::to_owned),
            client_encoding: values.get("client_encoding").filter(|&name| name != "auto").map(str::to_owned),
            // One second is too short for name look-up and log-in; libpq rounds it up too.
            connect_timeout: values
                .seconds("connect_timeout")?
                .map(|limit| limit.max(Duration::from_secs(2))),
            keepalives: Keepalives {
                enabled: values.integer("keepalives")? != Some(0),
                idle: values.seconds("keepalives_idle")?,
                interval: values.seconds("keepalives_interval")?,
                count: values
                    .integer("keepalives_count")?
                    .and_then(|n| u32::try_from(n).ok())
                    .filter(|&n| n > 0),
            },
            tcp_user_timeout: values
                .integer("tcp_user_timeout")?
                .and_then(|millis| u64::try_from(millis).ok())
                .filter(|&millis| millis > 0)
                .map(Duration::from_millis),
            target_session_attrs: values.word(
                "target_session_attrs",
                TargetSessionAttrs::Any,
                TargetSessionAttrs::parse,
            )?,
            random_host_order: values.word("load_balance_hosts", false, |value| match value {
                "disable" => Some(false),
                "random" => Some(true),
                _ => None,
            })?,
            channel_binding: values.word(
                "channel_binding",
                ChannelBindingMode::Prefer,
                |value| match value {
                    "disable" => Some(ChannelBindingMode::Disable),
                    "prefer" => Some(ChannelBindingMode::Prefer),
                    "require" => Some(ChannelBindingMode::Require),
                    _ => None,
                },
            )?,
            require_auth: values.word("require_auth", RequireAuth::Any, RequireAuth::parse)?,
            tls,
            settings: Settings(settings),
        })
    }
}

/// Every keyword's value by precedence.
fn collect(args: &ConnArgs, environment: &Environment) -> Result<Values, ConnInfoError> {
    let mut given: BTreeMap<&'static str, String> = BTreeMap::new();
    if !args.program.is_empty() {
        given.insert("fallback_application_name", args.program.clone());
    }
    if let Some(text) = &args.connection_string {
        given.extend(parse::parse(text).map_err(|error| without_secrets(text, error))?);
    }
    for (name, value) in [("host", &args.host), ("port", &args.port), ("user", &args.user)] {
        if let Some(value) = value {
            given.insert(name, value.clone());
        }
    }
    let value_of = |name: &str, variable: &str| {
        given.get(name).map(String::as_str).filter(|value| !value.is_empty()).or(environment.get(variable))
    };
    if let Some(name) = value_of("service", "PGSERVICE") {
        let file = value_of("servicefile", "PGSERVICEFILE");
        for (name, value) in service::load(name, file, environment)? {
            given.entry(name).or_insert(value);
        }
    }
    // Only where nothing was said of sslmode do PGREQUIRESSL and sslrootcert=system have a say.
    let unsaid_mode = !given.contains_key("sslmode") && environment.get("PGSSLMODE").is_none();
    for keyword in KEYWORDS {
        let variable = keyword.variable.and_then(|variable| environment.get(variable));
        if let (false, Some(value)) = (given.contains_key(keyword.name), variable.or(keyword.default)) {
            given.insert(keyword.name, value.to_owned());
        }
    }
    if unsaid_mode {
        if given.get("sslrootcert").is_some_and(|roots| roots == "system") {
            given.insert("sslmode", "verify-full".to_owned());
        } else if environment.get("PGREQUIRESSL").is_some_and(|value| value.starts_with('1')) {
            given.insert("sslmode", "require".to_owned());
        }
    }
    if !given.contains_key("user")
        && let Some(user) = environment.user()
    {
        given.insert("user", user.to_owned());
    }
    if !given.contains_key("passfile")
        && let Some(home) = environment.home()
    {
        given.insert("passfile", home.join(".pgpass").display().to_string());
    }
    Ok(Values(given))
}

/// What is wrong with the connection string `text`: not in its own words if it may hold a password, of which they could be
/// a part.
fn without_secrets(text: &str, error: ConnInfoError) -> ConnInfoError {
    let may_hold_one = text.contains("password") || (super::uri::is_uri(text) && text.contains('@'));
    if !may_hold_one {
        return error;
    }
    let what =
        "connection string is malformed; it may hold a password, and what is wrong is therefore not shown";
    ConnInfoError::Syntax(what.to_owned())
}

fn refuse_unsupported(values: &Values) -> Result<(), ConnInfoError> {
    let refuse = |text: String| Err(ConnInfoError::Unsupported(text));
    for name in ["sslcrl", "sslcrldir"] {
        if values.get(name).is_some() {
            return refuse(format!("{name} is not supported: certificate revocation lists are not checked"));
        }
    }
    for name in ["requirepeer", "sslpassword"] {
        if values.get(name).is_some() {
            return refuse(format!("{name} is not supported"));
        }
    }
    match values.get("gssencmode") {
        None | Some("disable" | "prefer") => Ok(()),
        Some("require") => {
            refuse("gssencmode value \"require\" invalid when GSSAPI support is not compiled in".to_owned())
        }
        Some(other) => Err(ConnInfoError::InvalidValue { keyword: "gssencmode", value: other.to_owned() }),
    }
}

/// Pairs hosts, addresses and ports.
fn hosts(values: &Values) -> Result<Vec<Host>, ConnInfoError> {
    let list = |name: &str| values.get(name).map(|text| text.split(',').collect::<Vec<_>>());
    let (names, addresses) = (list("host"), list("hostaddr"));
    let count = addresses.as_ref().or(names.as_ref()).map_or(1, Vec::len);
    if let (Some(names), Some(addresses)) = (&names, &addresses)
        && names.len() != addresses.len()
    {
        return Err(ConnInfoError::Syntax(format!(
            "could not match {} host names to {} hostaddr values",
            names.len(),
            addresses.len()
        )));
    }
    let ports = list("port").unwrap_or_else(|| vec![""]);
    if ports.len() != 1 && ports.len() != count {
        let text = format!("could not match {} port numbers to {count} hosts", ports.len());
        return Err(ConnInfoError::Syntax(text));
    }
    (0..count)
        .map(|index| {
            let port = ports.get(index).or(ports.first()).copied().unwrap_or_default();
            let item = |list: &Option<Vec<&str>>| {
                list.as_ref().and_then(|list| list.get(index).copied()).unwrap_or_default().to_owned()
            };
            host(&item(&names), &item(&addresses), port)
        })
        .collect()
}

fn host(name: &str, address: &str, port: &str) -> Result<Host, ConnInfoError> {
    let port = match port.trim() {
        "" => 5432,
        text => match text.parse::<i64>() {
            Ok(number) => u16::try_from(number)
                .ok()
                .filter(|&port| port > 0)
                .ok_or_else(|| ConnInfoError::Syntax(format!("invalid port number: \"{text}\"")))?,
            Err(_) => {
                let text = format!("invalid integer value \"{text}\" for connection option \"port\"");
                return Err(ConnInfoError::Syntax(text));
            }
        },
    };
    if !address.is_empty() {
        let Ok(parsed) = address.parse::<IpAddr>() else {
            let text = format!("could not parse network address \"{address}\": expected an IP address");
            return Err(ConnInfoError::Syntax(text));
        };
        return Ok(Host { name: HostName::Tcp(name.to_owned()), address: Some(parsed), port });
    }
    let name = match name {
        "" => HostName::Unix(default_directory(port)),
        path if path.starts_with(['/', '@']) => HostName::Unix(PathBuf::from(path)),
        name => HostName::Tcp(name.to_owned()),
    };
    Ok(Host { name, address: None, port })
}

/// The first default directory that has the server's socket; else the first.
fn default_directory(port: u16) -> PathBuf {
    let directories = DEFAULT_SOCKET_DIRECTORIES.map(PathBuf::from);
    let has_socket = |directory: &&PathBuf| directory.join(format!(".s.PGSQL.{port}")).exists();
    let [first, _] = &directories;
    directories.iter().find(has_socket).unwrap_or(first).clone()
}

fn tls_options(
    values: &Values,
    home_file: impl Fn(&str) -> Option<PathBuf>,
) -> Result<TlsOptions, ConnInfoError> {
    let mode = values.word("sslmode", SslMode::Prefer, SslMode::parse)?;
    let negotiation = values.word("sslnegotiation", SslNegotiation::Postgres, |value| match value {
        "postgres" => Some(SslNegotiation::Postgres),
        "direct" => Some(SslNegotiation::Direct),
        _ => None,
    })?;
    if negotiation == SslNegotiation::Direct && mode < SslMode::Require {
        return Err(ConnInfoError::Unsupported(format!(
            "weak sslmode \"{}\" may not be used with sslnegotiation=direct (use \"require\", \"verify-ca\", or \
             \"verify-full\")",
            mode.as_str()
        )));
    }
    let root_cert = match values.get("sslrootcert") {
        Some("system") if mode != SslMode::VerifyFull => {
            return Err(ConnInfoError::Unsupported(format!(
                "weak sslmode \"{}\" may not be used with sslrootcert=system (use \"verify-full\")",
                mode.as_str()
            )));
        }
        Some("system") => RootCert::System,
        Some(path) => RootCert::File(PathBuf::from(path)),
        None => home_file("root.crt").map_or(RootCert::None, RootCert::File),
    };
    let sends_certificate = values.word("sslcertmode", true, |value| match value {
        "disable" => Some(false),
        "allow" => Some(true),
        _ => None,
    })?;
    let version = |value: &str| match value {
        "TLSv1" | "TLSv1.1" | "TLSv1.2" => Some(TlsVersion::V1_2),
        "TLSv1.3" => Some(TlsVersion::V1_3),
        _ => None,
    };
    // A ceiling below what rustls speaks leaves nothing to offer.
    if let Some(old @ ("TLSv1" | "TLSv1.1")) = values.get("ssl_max_protocol_version") {
        let text = format!("ssl_max_protocol_version={old} is not supported: TLS 1.2 is the oldest");
        return Err(ConnInfoError::Unsupported(text));
    }
    let explicit = |name: &str| values.get(name).map(PathBuf::from);
    Ok(TlsOptions {
        mode,
        negotiation,
        root_cert,
        cert: if sends_certificate {
            explicit("sslcert").or_else(|| home_file("postgresql.crt"))
        } else {
            None
        },
        key: explicit("sslkey").or_else(|| home_file("postgresql.key")),
        cert_is_explicit: values.get("sslcert").is_some(),
        sni: values.get("sslsni") != Some("0"),
        min_version: values.word("ssl_min_protocol_version", TlsVersion::V1_2, version)?,
        max_version: values.word("ssl_max_protocol_version", None, |value| version(value).map(Some))?,
    })
}

#[cfg(test)]
#[path = "resolve_tests.rs"]
mod tests;
