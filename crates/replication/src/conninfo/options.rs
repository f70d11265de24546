//! The keywords whose values are one of a few words, or belong together.

use std::path::PathBuf;
use std::time::Duration;

/// `sslmode`, from the weakest to the strictest.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub enum SslMode {
    /// Never.
    Disable,
    /// Only if the server does not let us in without.
    Allow,
    /// If the server can.
    #[default]
    Prefer,
    /// Always; whoever it is. With a root certificate file, as `VerifyCa`.
    Require,
    /// Always, and a trusted authority vouches for the server.
    VerifyCa,
    /// Always, and a trusted authority vouches for this host name.
    VerifyFull,
}

impl SslMode {
    pub(super) fn parse(text: &str) -> Option<Self> {
        Some(match text {
            "disable" => Self::Disable,
            "allow" => Self::Allow,
            "prefer" => Self::Prefer,
            "require" => Self::Require,
            "verify-ca" => Self::VerifyCa,
            "verify-full" => Self::VerifyFull,
            _ => return None,
        })
    }

    /// The word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Disable => "disable",
            Self::Allow => "allow",
            Self::Prefer => "prefer",
            Self::Require => "require",
            Self::VerifyCa => "verify-ca",
            Self::VerifyFull => "verify-full",
        }
    }
}

/// `sslnegotiation`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum SslNegotiation {
    /// Ask first, by SSLRequest.
    #[default]
    Postgres,
    /// Begin with the TLS handshake; saves a round trip, needs PostgreSQL 17.
    Direct,
}

/// Where trusted root certificates are.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum RootCert {
    /// `sslrootcert=system`: the operating system's. Needs, and implies, `sslmode=verify-full`.
    System,
    /// A PEM file; in modes below verify-ca it may be absent.
    File(PathBuf),
    /// No file, and no home directory to look for one.
    None,
}

/// `ssl_min_protocol_version` and `ssl_max_protocol_version`; versions before 1.2 are not offered at all.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum TlsVersion {
    /// TLS 1.2.
    V1_2,
    /// TLS 1.3.
    V1_3,
}

/// Everything about TLS.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TlsOptions {
    /// When, and how much is verified.
    pub mode: SslMode,
    /// How it starts.
    pub negotiation: SslNegotiation,
    /// Whom to trust.
    pub root_cert: RootCert,
    /// The client's certificate chain, PEM. A default file may be absent.
    pub cert: Option<PathBuf>,
    /// Its private key, PEM.
    pub key: Option<PathBuf>,
    /// Whether the user named `cert` (then it must exist).
    pub cert_is_explicit: bool,
    /// Whether to send the host's name in the clear at the start of the handshake (`sslsni`).
    pub sni: bool,
    /// The oldest version to accept.
    pub min_version: TlsVersion,
    /// The newest version to offer.
    pub max_version: Option<TlsVersion>,
}

/// `channel_binding`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum ChannelBindingMode {
    /// Do not.
    Disable,
    /// If TLS is on and the server can.
    #[default]
    Prefer,
    /// Or do not log in.
    Require,
}

/// `target_session_attrs`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum TargetSessionAttrs {
    /// Any server.
    #[default]
    Any,
    /// One where sessions may write.
    ReadWrite,
    /// One where they may not.
    ReadOnly,
    /// One that is not in hot standby.
    Primary,
    /// One that is.
    Standby,
    /// One that is, if any of the hosts is; else any.
    PreferStandby,
}

impl TargetSessionAttrs {
    pub(super) fn parse(text: &str) -> Option<Self> {
        Some(match text {
            "any" => Self::Any,
            "read-write" => Self::ReadWrite,
            "read-only" => Self::ReadOnly,
            "primary" => Self::Primary,
            "standby" => Self::Standby,
            "prefer-standby" => Self::PreferStandby,
            _ => return None,
        })
    }
}

/// A way of logging in, for `require_auth`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AuthMethod {
    /// `none`: the server asked for nothing.
    None,
    /// `password`: in clear.
    Password,
    /// `md5`.
    Md5,
    /// `scram-sha-256`, with or without channel binding.
    ScramSha256,
}

/// `require_auth` (PostgreSQL 16): which methods the server may use.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub enum RequireAuth {
    /// Any.
    #[default]
    Any,
    /// Only these.
    Only(Vec<AuthMethod>),
    /// Any but these.
    AllBut(Vec<AuthMethod>),
}

impl RequireAuth {
    /// Whether the server may use `method`.
    pub fn allows(&self, method: AuthMethod) -> bool {
        match self {
            Self::Any => true,
            Self::Only(methods) => methods.contains(&method),
            Self::AllBut(methods) => !methods.contains(&method),
        }
    }

    pub(super) fn parse(text: &str) -> Option<Self> {
        if text.is_empty() {
            return Some(Self::Any);
        }
        let (mut only, mut but) = (Vec::new(), Vec::new());
        for word in text.split(',').map(str::trim) {
            let (word, list) = match word.strip_prefix('!') {
                Some(word) => (word, &mut but),
                None => (word, &mut only),
            };
            list.extend(match word {
                "none" => Some(AuthMethod::None),
                "password" => Some(AuthMethod::Password),
                "md5" => Some(AuthMethod::Md5),
                "scram-sha-256" => Some(AuthMethod::ScramSha256),
                // Known to libpq and never used by this client: nothing to add to either list.
                "gss" | "sspi" | "oauth" => None,
                _ => return None,
            });
        }
        let negated = text.trim_start().starts_with('!');
        let mixed = text.split(',').any(|word| word.trim().starts_with('!') != negated);
        (!mixed).then_some(if negated { Self::AllBut(but) } else { Self::Only(only) })
    }
}

impl AuthMethod {
    const fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Password => "password",
            Self::Md5 => "md5",
            Self::ScramSha256 => "scram-sha-256",
        }
    }
}

impl std::fmt::Display for RequireAuth {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (methods, sign) = match self {
            Self::Any => return Ok(()),
            Self::Only(methods) => (methods, ""),
            Self::AllBut(methods) => (methods, "!"),
        };
        let words: Vec<String> = methods.iter().map(|method| format!("{sign}{}", method.as_str())).collect();
        f.write_str(&words.join(","))
    }
}

/// TCP keepalives; `None`: as the system wants.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Keepalives {
    /// Whether to send any.
    pub enabled: bool,
    /// After how much silence.
    pub idle: Option<Duration>,
    /// How long between two.
    pub interval: Option<Duration>,
    /// How many may be lost.
    pub count: Option<u32>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn required_methods_are_listed_or_excluded() {
        let only = RequireAuth::parse("scram-sha-256,md5").unwrap();
        assert!(only.allows(AuthMethod::Md5) && !only.allows(AuthMethod::None));
        let but = RequireAuth::parse("!password,!none").unwrap();
        assert!(but.allows(AuthMethod::Md5) && !but.allows(AuthMethod::Password));
        assert!(RequireAuth::parse("gss").is_some_and(|gss| !gss.allows(AuthMethod::None)));
        for wrong in ["md5,!password", "kerberos", "md5,"] {
            assert_eq!(RequireAuth::parse(wrong), None, "{wrong}");
        }
    }
}
