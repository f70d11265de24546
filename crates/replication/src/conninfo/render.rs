//! `primary_conninfo`, as `pg_basebackup -R` writes it. Source: `GenerateRecoveryConfig`, `appendConnStrVal`.

use super::{ConnInfo, keyword::KEYWORDS};

impl ConnInfo {
    /// A connection string for a standby: everything that was set, or has a default, and is not the connection's own
    /// business. Contains the password, if there is one.
    pub fn to_primary_conninfo(&self) -> String {
        let mut text = String::new();
        for keyword in KEYWORDS {
            let value = match keyword.name {
                "replication" | "dbname" | "fallback_application_name" | "service" | "servicefile" => None,
                "password" => self.password.as_ref().map(|password| password.reveal()),
                name => self.settings.iter().find(|(set, _)| *set == name).map(|(_, value)| value.as_str()),
            };
            let Some(value) = value.filter(|value| !value.is_empty()) else { continue };
            if !text.is_empty() {
                text.push(' ');
            }
            text.push_str(keyword.name);
            text.push('=');
            push_value(&mut text, value);
        }
        text
    }
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
