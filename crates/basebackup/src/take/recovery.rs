//! What makes a copy a standby: `standby.signal`, and settings in `postgresql.auto.conf` (`-R`).

/// The file whose presence makes a server start as a standby. It is empty.
pub(super) const STANDBY_SIGNAL: &str = "standby.signal";

/// The file that settings are appended to.
pub(super) const AUTO_CONF: &str = "postgresql.auto.conf";

/// The lines to append, as `GenerateRecoveryConfig` makes them.
pub(super) fn settings(primary_conninfo: &str, slot: Option<&str>) -> String {
    let mut text = format!("primary_conninfo = '{}'\n", escape(primary_conninfo));
    if let Some(slot) = slot {
        // A slot name consists of letters, digits and underscores, or the server would have refused it.
        text.push_str(&format!("primary_slot_name = '{}'\n", escape(slot)));
    }
    text
}

/// Doubles quotes and backslashes (`escape_quotes`).
fn escape(text: &str) -> String {
    text.replace('\\', "\\\\").replace('\'', "''")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_quoted_for_a_configuration_file() {
        let text = settings(r"user=x passfile='/home/it\'s' port=5432", Some("one"));
        let expected =
            "primary_conninfo = 'user=x passfile=''/home/it\\\\''s'' port=5432'\nprimary_slot_name = 'one'\n";
        assert_eq!(text, expected);
        assert!(!settings("user=x", None).contains("slot"));
    }
}
