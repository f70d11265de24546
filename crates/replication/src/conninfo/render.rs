//! `primary_conninfo`, as `pg_basebackup -R` writes it. Source: `GenerateRecoveryConfig`, `appendConnStrVal`.

use super::{ConnInfo, keyword::KEYWORDS, parse};

/// What stands for a secret.
const MASK: &str = "********";
/// Keywords whose values are secrets.
const SECRETS: [&str; 2] = ["password", "sslpassword"];

/// The connection string or URI `text` with its secrets made unreadable, as it may be shown to anybody. One without secrets is
/// given back as it is; one that cannot be taken apart might have them anywhere, and is not shown at all.
pub fn masked(text: &str) -> String {
    match parse::parse(text) {
        Ok(settings) if settings.iter().all(|(name, value)| value.is_empty() || !SECRETS.contains(name)) => {
            text.to_owned()
        }
        Ok(settings) => {
            let shown = settings.iter().map(|(name, value)| {
                let is_secret = SECRETS.contains(name) && !value.is_empty();
                (*name, if is_secret { MASK } else { value.as_str() })
            });
            render(shown)
        }
        Err(_) => MASK.to_owned(),
    }
}

impl ConnInfo {
    /// A connection string for a standby: everything that was set, or has a default, and is not the connection's own
    /// business. Contains the password, if there is one.
    pub fn to_primary_conninfo(&self) -> String {
        render(self.standby_settings(self.password.as_ref().map(|password| password.reveal())))
    }

    /// The same as it may be shown to anybody: without the password.
    pub fn to_shown_conninfo(&self) -> String {
        render(self.standby_settings(self.password.as_ref().map(|_| MASK)))
    }

    fn standby_settings<'a>(
        &'a self,
        password: Option<&'a str>,
    ) -> impl Iterator<Item = (&'static str, &'a str)> {
        KEYWORDS.iter().filter_map(move |keyword| {
            let value = match keyword.name {
                "replication" | "dbname" | "fallback_application_name" | "service" | "servicefile" => None,
                "password" => password,
                name => self.settings.0.iter().find(|(set, _)| *set == name).map(|(_, value)| value.as_str()),
            };
            Some((keyword.name, value.filter(|value| !value.is_empty())?))
        })
    }
}

fn render<'a>(settings: impl Iterator<Item = (&'static str, &'a str)>) -> String {
    let mut text = String::new();
    for (name, value) in settings {
        if !text.is_empty() {
            text.push(' ');
        }
        text.push_str(name);
        text.push('=');
        push_value(&mut text, value);
    }
    text
}

/// Appends a value, quoted if anything in it calls for it.
fn push_value(text: &mut String, value: &str) {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '.';
    if !value.is_empty() && value.chars().all(is_plain) {
        text.push_str(value);
        return;
    }
    text.push('\'');
    for character in value.chars() {
        if matches!(character, '\'' | '\\') {
            text.push('\\');
        }
        text.push(character);
    }
    text.push('\'');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_masked_however_they_are_written() {
        for text in [
            "host=a password=sesame",
            "host=a password='se\\'sa me' port=1",
            "password = sesame\\ open user=b",
            "postgresql://joe:sesame@a/db",
            "postgres://joe:s%65same@a?sslmode=require",
            "postgresql://a?password=sesame",
            "host=a sslpassword=sesame",
            "password=sesame password='",
            "password=sesame open host",
        ] {
            let shown = masked(text);
            assert!(shown.contains(MASK), "{text}: {shown}");
            assert!(
                !shown.contains("same") && !shown.contains("open") && !shown.contains("sa me"),
                "{shown}"
            );
        }
        assert_eq!(masked("host=a password=x"), "host=a password='********'");
        for text in ["host = a  user=b", "postgresql://joe@a", "", "password=", "passfile=/p"] {
            assert_eq!(masked(text), text);
        }
    }
}
