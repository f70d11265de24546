//! Connection URIs: `postgresql://user:password@host:port,host:port/dbname?keyword=value`. Source: `conninfo_uri_parse`.

use super::ConnInfoError;
use super::parse::{Settings, known};

const SCHEMES: [&str; 2] = ["postgresql://", "postgres://"];

pub(super) fn is_uri(text: &str) -> bool {
    SCHEMES.iter().any(|scheme| text.starts_with(scheme))
}

fn syntax<T>(text: String) -> Result<T, ConnInfoError> {
    Err(ConnInfoError::Syntax(text))
}

pub(super) fn parse(text: &str) -> Result<Settings, ConnInfoError> {
    let rest = SCHEMES.iter().find_map(|scheme| text.strip_prefix(scheme)).unwrap_or(text);
    let mut settings = Settings::new();
    // The user ends at an `@` that comes before any `/`.
    let authority_end = rest.find('/').unwrap_or(rest.len());
    let rest = match rest.get(..authority_end).and_then(|authority| authority.find('@')) {
        Some(at) => {
            let (credentials, rest) = rest.split_at(at);
            let (user, password) = match credentials.split_once(':') {
                Some((user, password)) => (user, Some(password)),
                None => (credentials, None),
            };
            set_unless_empty(&mut settings, "user", user)?;
            set_unless_empty(&mut settings, "password", password.unwrap_or_default())?;
            rest.get(1..).unwrap_or_default()
        }
        None => rest,
    };
    let rest = hosts(text, rest, &mut settings)?;
    let (path, query) = match rest.split_once('?') {
        Some((path, query)) => (path, query),
        None => (rest, ""),
    };
    if let Some(dbname) = path.strip_prefix('/') {
        set_unless_empty(&mut settings, "dbname", dbname)?;
    }
    parameters(query, &mut settings)?;
    Ok(settings)
}

fn set_unless_empty(settings: &mut Settings, name: &'static str, encoded: &str) -> Result<(), ConnInfoError> {
    if !encoded.is_empty() {
        settings.push((name, decoded(encoded)?));
    }
    Ok(())
}

/// Reads hosts and ports, and gives what follows them.
fn hosts<'a>(uri: &str, mut rest: &'a str, settings: &mut Settings) -> Result<&'a str, ConnInfoError> {
    let (mut hosts, mut ports) = (Vec::new(), Vec::new());
    loop {
        let host = match rest.strip_prefix('[') {
            Some(inner) => {
                let Some((host, tail)) = inner.split_once(']') else {
                    return syntax(format!(
                        "end of string reached when looking for matching \"]\" in IPv6 host address in URI: \"{uri}\""
                    ));
                };
                if host.is_empty() {
                    return syntax(format!("IPv6 host address may not be empty in URI: \"{uri}\""));
                }
                if let Some(odd) = tail.chars().next().filter(|c| !matches!(c, ':' | '/' | '?' | ',')) {
                    return syntax(format!(
                        "unexpected character \"{odd}\" at position {} in URI (expected \":\" or \"/\"): \"{uri}\"",
                        uri.len() - tail.len() + 1
                    ));
                }
                rest = tail;
                host
            }
            None => {
                let end = rest.find([':', '/', '?', ',']).unwrap_or(rest.len());
                let (host, tail) = rest.split_at(end);
                rest = tail;
                host
            }
        };
        let port = match rest.strip_prefix(':') {
            Some(tail) => {
                let end = tail.find(['/', '?', ',']).unwrap_or(tail.len());
                let (port, tail) = tail.split_at(end);
                rest = tail;
                port
            }
            None => "",
        };
        hosts.push(decoded(host)?);
        ports.push(decoded(port)?);
        match rest.strip_prefix(',') {
            Some(tail) => rest = tail,
            None => break,
        }
    }
    for (name, values) in [("host", hosts), ("port", ports)] {
        let joined = values.join(",");
        // One host that is empty is none; several are so many.
        if !joined.is_empty() {
            settings.push((name, joined));
        }
    }
    Ok(rest)
}

fn parameters(query: &str, settings: &mut Settings) -> Result<(), ConnInfoError> {
    if query.is_empty() {
        return Ok(());
    }
    for pair in query.split('&') {
        let Some((name, value)) = pair.split_once('=') else {
            return syntax(format!("missing key/value separator \"=\" in URI query parameter: \"{pair}\""));
        };
        if value.contains('=') {
            return syntax(format!("extra key/value separator \"=\" in URI query parameter: \"{name}\""));
        }
        let (name, value) = (decoded(name)?, decoded(value)?);
        // JDBC's way of saying it.
        if name == "ssl" && value == "true" {
            settings.push(("sslmode", "require".to_owned()));
            continue;
        }
        let Ok(name) = known(&name) else {
            return syntax(format!("invalid URI query parameter: \"{name}\""));
        };
        settings.push((name, value));
    }
    Ok(())
}

/// Resolves `%XX`.
fn decoded(text: &str) -> Result<String, ConnInfoError> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, tail)) = rest.split_first() {
        rest = tail;
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let digits = rest.get(..2).and_then(|digits| std::str::from_utf8(digits).ok());
        let digits = digits.filter(|digits| digits.bytes().all(|digit| digit.is_ascii_hexdigit()));
        let Some(value) = digits.and_then(|digits| u8::from_str_radix(digits, 16).ok()) else {
            return syntax(format!("invalid percent-encoded token: \"{text}\""));
        };
        if value == 0 {
            return syntax(format!("forbidden value %00 in percent-encoded value: \"{text}\""));
        }
        bytes.push(value);
        rest = rest.get(2..).unwrap_or_default();
    }
    String::from_utf8(bytes).map_err(|_| ConnInfoError::Syntax(format!("not in UTF-8: \"{text}\"")))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// After libpq's own table, src/interfaces/libpq/t/001_uri.pl.
    #[test]
    fn uris_say_what_libpq_takes_them_to_say() {
        for (uri, expected) in [
            (
                "postgresql://uri-user:secret@host:12345/db",
                "user=uri-user password=secret host=host port=12345 dbname=db",
            ),
            ("postgres://uri-user@host/db", "user=uri-user host=host dbname=db"),
            ("postgresql://host:12345/", "host=host port=12345"),
            ("postgresql://", ""),
            ("postgresql://hostname?user=uri-user", "host=hostname user=uri-user"),
            ("postgresql://?hostaddr=127.0.0.1", "hostaddr=127.0.0.1"),
            ("postgresql://example.com?hostaddr=63.1.2.4", "host=example.com hostaddr=63.1.2.4"),
            ("postgresql://%68ost/", "host=host"),
            ("postgresql://[::1]:5433/db", "host=::1 port=5433 dbname=db"),
            ("postgresql://[2001:db8::1234]/", "host=2001:db8::1234"),
            ("postgresql://%2Fvar%2Frun/db", "host=/var/run dbname=db"),
            ("postgresql:///db?host=/var/run", "dbname=db host=/var/run"),
            ("postgresql://otheruser@?host=/unix/socket/path", "user=otheruser host=/unix/socket/path"),
            ("postgresql://a:1,b,c:3/db", "host=a,b,c port=1,,3 dbname=db"),
            ("postgresql://host?ssl=true", "host=host sslmode=require"),
            ("postgresql://user@host?application_name=a%20b", "user=user host=host application_name=a b"),
            ("postgresql://:secret@host", "password=secret host=host"),
        ] {
            let found = parse(uri).unwrap_or_else(|error| panic!("{uri}: {error}"));
            let found: Vec<String> = found.iter().map(|(name, value)| format!("{name}={value}")).collect();
            assert_eq!(found.join(" "), expected, "{uri}");
        }
    }

    #[test]
    fn complaints_are_libpqs() {
        for (uri, complaint) in [
            ("postgresql://host?uzer=", "invalid URI query parameter: \"uzer\""),
            ("postgresql://host?user", "missing key/value separator \"=\" in URI query parameter: \"user\""),
            (
                "postgresql://host?user=a=b",
                "extra key/value separator \"=\" in URI query parameter: \"user\"",
            ),
            ("postgresql://%", "invalid percent-encoded token: \"%\""),
            ("postgresql://%1g", "invalid percent-encoded token: \"%1g\""),
            ("postgresql://a%00b", "forbidden value %00 in percent-encoded value: \"a%00b\""),
            (
                "postgresql://[::1",
                "end of string reached when looking for matching \"]\" in IPv6 host address in URI: \"postgresql://[::1\"",
            ),
            ("postgresql://[]", "IPv6 host address may not be empty in URI: \"postgresql://[]\""),
            (
                "postgresql://[::1]z",
                "unexpected character \"z\" at position 19 in URI (expected \":\" or \"/\"): \"postgresql://[::1]z\"",
            ),
        ] {
            assert_eq!(parse(uri).unwrap_err().to_string(), complaint);
        }
    }

    proptest! {
        #[test]
        fn any_text_is_parsed_or_refused(text in "[ -~é]{0,40}") {
            let _ = parse(&format!("postgresql://{text}"));
        }
    }
}
