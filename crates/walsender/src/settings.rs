//! The settings that `-c name=value` changes and `SHOW` shows, under PostgreSQL's names and in its units.

use std::path::PathBuf;
use std::time::Duration;

use wal::SegmentSize;

/// A unit of time and how many milliseconds it has; the largest last.
const UNITS: [(&str, u64); 5] =
    [("ms", 1), ("s", 1_000), ("min", 60_000), ("h", 3_600_000), ("d", 86_400_000)];
/// The longest time in milliseconds (`INT_MAX`).
const LONGEST: u64 = i32::MAX as u64;

/// What can be configured, with PostgreSQL's defaults.
#[derive(Debug, Clone)]
pub struct Settings {
    /// After how long a silence a follower is dropped; `None` never.
    pub wal_sender_timeout: Option<Duration>,
    /// How many followers may be connected.
    pub max_wal_senders: usize,
    /// How many slots there may be, temporary ones included.
    pub max_replication_slots: usize,
    /// How long a client may take to log in.
    pub authentication_timeout: Duration,
    /// The server's certificate chain; with `ssl_key_file` it turns TLS on.
    pub ssl_cert_file: Option<PathBuf>,
    /// The certificate's key.
    pub ssl_key_file: Option<PathBuf>,
    /// Users and their passwords; without one everybody is trusted.
    pub password_file: Option<PathBuf>,
    /// The version to claim instead of that of the WAL.
    pub server_version: Option<String>,
    /// What the log lines and the process list may call this server.
    pub cluster_name: String,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            wal_sender_timeout: Some(Duration::from_secs(60)),
            max_wal_senders: 10,
            max_replication_slots: 10,
            authentication_timeout: Duration::from_secs(60),
            ssl_cert_file: None,
            ssl_key_file: None,
            password_file: None,
            server_version: None,
            cluster_name: String::new(),
        }
    }
}

/// A setting that cannot be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SettingError {
    /// Not `name=value`.
    #[error("-c \"{0}\": expected name=value")]
    NotAnAssignment(String),
    /// No such setting.
    #[error("unrecognized configuration parameter \"{0}\"")]
    Unknown(String),
    /// A value that this setting cannot have.
    #[error("invalid value for parameter \"{name}\": \"{value}\"; expected {expected}")]
    Invalid {
        /// The setting.
        name: &'static str,
        /// What was given.
        value: String,
        /// What would do.
        expected: &'static str,
    },
}

impl Settings {
    /// Makes the setting `name=value`. Blanks and dashes in the name are read as PostgreSQL's options are.
    ///
    /// # Errors
    /// Unknown names and values out of range.
    pub fn assign(&mut self, assignment: &str) -> Result<(), SettingError> {
        let (name, value) =
            assignment.split_once('=').ok_or_else(|| SettingError::NotAnAssignment(assignment.to_owned()))?;
        let name = name.trim().replace('-', "_").to_ascii_lowercase();
        self.set(&name, value.trim())
    }

    fn set(&mut self, name: &str, value: &str) -> Result<(), SettingError> {
        let path = |value: &str| (!value.is_empty()).then(|| PathBuf::from(value));
        match name {
            "wal_sender_timeout" => {
                let timeout = time("wal_sender_timeout", value, 1, 0..=LONGEST)?;
                self.wal_sender_timeout = (!timeout.is_zero()).then_some(timeout);
            }
            "authentication_timeout" => {
                self.authentication_timeout = time("authentication_timeout", value, 1_000, 1_000..=600_000)?;
            }
            "max_wal_senders" => self.max_wal_senders = count("max_wal_senders", value)?,
            "max_replication_slots" => self.max_replication_slots = count("max_replication_slots", value)?,
            "ssl_cert_file" => self.ssl_cert_file = path(value),
            "ssl_key_file" => self.ssl_key_file = path(value),
            "password_file" => self.password_file = path(value),
            "server_version" => {
                let starts_with_a_number = value.starts_with(|c: char| c.is_ascii_digit());
                if !starts_with_a_number || value.chars().any(char::is_control) {
                    let expected = "a version such as 15.3";
                    return Err(SettingError::Invalid {
                        name: "server_version",
                        value: value.into(),
                        expected,
                    });
                }
                self.server_version = Some(value.to_owned());
            }
            "cluster_name" => value.clone_into(&mut self.cluster_name),
            unknown => return Err(SettingError::Unknown(unknown.to_owned())),
        }
        Ok(())
    }

    /// The value of `name` as `SHOW` prints it; `None` for what there is not. `facts` are those of the directory.
    pub fn show(&self, name: &str, facts: &ShownFacts) -> Option<String> {
        let file =
            |path: &Option<PathBuf>| path.as_ref().map_or_else(String::new, |p| p.display().to_string());
        let number = facts.server_version.split('.').next().unwrap_or_default();
        Some(match name.to_ascii_lowercase().as_str() {
            "wal_sender_timeout" => show_time(self.wal_sender_timeout.unwrap_or_default()),
            "authentication_timeout" => show_time(self.authentication_timeout),
            "max_wal_senders" => self.max_wal_senders.to_string(),
            "max_replication_slots" => self.max_replication_slots.to_string(),
            "ssl" => on_off(facts.tls),
            "ssl_cert_file" => file(&self.ssl_cert_file),
            "ssl_key_file" => file(&self.ssl_key_file),
            "cluster_name" => self.cluster_name.clone(),
            "server_version" => facts.server_version.clone(),
            "server_version_num" => format!("{number}0000"),
            "wal_segment_size" => facts.segment_size.to_string(),
            "data_directory_mode" => format!("{:04o}", facts.directory_mode),
            "in_hot_standby" | "transaction_read_only" => on_off(facts.received),
            "integer_datetimes" | "standard_conforming_strings" => on_off(true),
            "default_transaction_read_only" => on_off(false),
            "wal_block_size" | "block_size" => "8192".to_owned(),
            "wal_level" => "replica".to_owned(),
            "port" => facts.port.to_string(),
            "server_encoding" | "client_encoding" => "UTF8".to_owned(),
            _ => return None,
        })
    }
}

/// What `SHOW` shows that nobody configures.
#[derive(Debug, Clone)]
pub struct ShownFacts {
    /// The version that clients are told.
    pub server_version: String,
    /// The directory's segment size.
    pub segment_size: SegmentSize,
    /// The directory's permissions, the lower nine bits.
    pub directory_mode: u32,
    /// The port that is listened on.
    pub port: u16,
    /// Whether TLS is offered.
    pub tls: bool,
    /// Whether the WAL is received from elsewhere.
    pub received: bool,
}

fn on_off(value: bool) -> String {
    if value { "on" } else { "off" }.to_owned()
}

fn count(name: &'static str, value: &str) -> Result<usize, SettingError> {
    let invalid =
        || SettingError::Invalid { name, value: value.to_owned(), expected: "a number from 0 to 262143" };
    value.parse().ok().filter(|&count| count <= 0x3_FFFF).ok_or_else(invalid)
}

/// A time in milliseconds, given as a number with an optional unit; `default` is the unit's length without one.
fn time(
    name: &'static str,
    value: &str,
    default: u64,
    range: std::ops::RangeInclusive<u64>,
) -> Result<Duration, SettingError> {
    let invalid = || SettingError::Invalid {
        name,
        value: value.to_owned(),
        expected: "a time such as 60s (units are us, ms, s, min, h and d) within the setting's range",
    };
    let end = value.find(|c: char| !c.is_ascii_digit()).unwrap_or(value.len());
    let (digits, unit) = value.split_at(end);
    let number: u64 = digits.parse().map_err(|_| invalid())?;
    let milliseconds = match unit.trim() {
        "" => number.checked_mul(default),
        "us" => Some(number.div_ceil(1000)),
        unit => {
            let (_, length) = UNITS.iter().find(|(name, _)| *name == unit).ok_or_else(invalid)?;
            number.checked_mul(*length)
        }
    };
    let milliseconds = milliseconds.filter(|time| range.contains(time)).ok_or_else(invalid)?;
    Ok(Duration::from_millis(milliseconds))
}

/// In the largest unit that divides it, as PostgreSQL prints times.
fn show_time(time: Duration) -> String {
    let milliseconds = u64::try_from(time.as_millis()).unwrap_or(LONGEST);
    match UNITS.iter().rev().find(|(_, length)| milliseconds > 0 && milliseconds.is_multiple_of(*length)) {
        Some((unit, length)) => format!("{}{unit}", milliseconds / length),
        None => "0".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts() -> ShownFacts {
        ShownFacts {
            server_version: "15.0 (walship 0.1.0)".to_owned(),
            segment_size: SegmentSize::DEFAULT,
            directory_mode: 0o700,
            port: 5432,
            tls: false,
            received: true,
        }
    }

    #[test]
    fn times_are_read_and_shown_in_postgresqls_units() {
        for (given, shown) in [
            ("60s", "1min"),
            ("1500", "1500ms"),
            ("2min", "2min"),
            ("90 s", "90s"),
            ("1h", "1h"),
            ("0", "0"),
            ("1d", "1d"),
            ("1500us", "2ms"),
        ] {
            let mut settings = Settings::default();
            settings.assign(&format!("wal_sender_timeout={given}")).unwrap();
            assert_eq!(settings.show("wal_sender_timeout", &facts()).unwrap(), shown, "{given}");
        }
        let mut settings = Settings::default();
        settings.assign("authentication-timeout = 5").unwrap();
        assert_eq!(settings.authentication_timeout, Duration::from_secs(5));
        settings.assign("wal_sender_timeout=0").unwrap();
        assert_eq!(settings.wal_sender_timeout, None);
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for assignment in [
            "wal_sender_timeout=-1",
            "wal_sender_timeout=1 week",
            "wal_sender_timeout=",
            "wal_sender_timeout=25d",
            "authentication_timeout=0",
            "max_wal_senders=many",
            "max_wal_senders=1000000",
            "server_version=walship",
        ] {
            let error = Settings::default().assign(assignment).unwrap_err();
            assert!(matches!(error, SettingError::Invalid { .. }), "{assignment}: {error}");
        }
        assert_eq!(
            Settings::default().assign("shared_buffers=1GB").unwrap_err().to_string(),
            "unrecognized configuration parameter \"shared_buffers\""
        );
        assert!(matches!(Settings::default().assign("port"), Err(SettingError::NotAnAssignment(_))));
    }

    #[test]
    fn what_tools_ask_for_is_shown() {
        let settings = Settings::default();
        for (name, value) in [
            ("wal_segment_size", "16MB"),
            ("data_directory_mode", "0700"),
            ("server_version_num", "150000"),
            ("MAX_WAL_SENDERS", "10"),
        ] {
            assert_eq!(settings.show(name, &facts()).as_deref(), Some(value));
        }
        assert_eq!(settings.show("no_such_setting", &facts()), None);
    }
}
