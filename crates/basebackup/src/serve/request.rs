//! What a BASE_BACKUP command asks for (`parse_basebackup_options`).

use replication::command::{CommandError, ReplicationOption};
use replication::error::SqlState;

use crate::compression::{Method, Settings, Specification};
use crate::manifest::ChecksumAlgorithm;

/// The lowest rate that can be asked for, in kB/s.
const LEAST_RATE: u32 = 32;
/// The highest.
const MOST_RATE: u32 = 1_048_576;

/// A BASE_BACKUP command, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BackupRequest {
    /// The backup's name, for its label.
    pub label: String,
    /// Whether the client wants to know beforehand how much comes.
    pub progress: bool,
    /// Whether the checkpoint that the backup starts with is to be made at once.
    pub fast: bool,
    /// Whether the WAL that the backup needs comes with it.
    pub wal: bool,
    /// The most kB/s to send; `None` for no limit.
    pub max_rate: Option<u32>,
    /// Whether the checksums of the pages are verified while they are read.
    pub verify_checksums: bool,
    /// The manifest that is wanted, if any.
    pub manifest: Option<ManifestRequest>,
    /// How the archive is compressed.
    pub compression: Option<Settings>,
    /// Whether the backup is only read and thrown away (`TARGET 'blackhole'`).
    pub blackhole: bool,
}

/// What a manifest is to be like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ManifestRequest {
    /// Whether every path is written in hexadecimal.
    pub force_encode: bool,
    /// The checksum of each file; `None` for none.
    pub checksums: Option<ChecksumAlgorithm>,
}

impl BackupRequest {
    /// Checks `options`.
    ///
    /// # Errors
    /// With PostgreSQL's texts: unknown options, options given twice, wrong values; and targets on the server, which there
    /// are none of.
    pub fn interpret(options: &[ReplicationOption]) -> Result<Self, CommandError> {
        let mut request = Self {
            label: "base backup".to_owned(),
            progress: false,
            fast: false,
            wal: false,
            max_rate: None,
            verify_checksums: true,
            manifest: None,
            compression: None,
            blackhole: false,
        };
        let mut raw = Raw::default();
        let mut seen: Vec<&str> = Vec::new();
        for option in options {
            if seen.contains(&option.name.as_str()) {
                return Err(syntax(format!("duplicate option \"{}\"", option.name)));
            }
            seen.push(&option.name);
            request.apply(option, &mut raw)?;
        }
        request.combine(raw)
    }

    fn apply(&mut self, option: &ReplicationOption, raw: &mut Raw) -> Result<(), CommandError> {
        match option.name.as_str() {
            "label" => self.label = option.string()?,
            "progress" => self.progress = option.boolean()?,
            "checkpoint" => {
                self.fast = match option.string()?.as_str() {
                    "fast" => true,
                    "spread" => false,
                    other => return Err(invalid(format!("unrecognized checkpoint type: \"{other}\""))),
                }
            }
            "wal" => self.wal = option.boolean()?,
            // There is no archiver to wait for, and no tablespace to map.
            "wait" | "tablespace_map" => drop(option.boolean()?),
            "max_rate" => self.max_rate = Some(rate(&option.string()?)?),
            "verify_checksums" => self.verify_checksums = option.boolean()?,
            "manifest" => raw.manifest = Some(option.string()?),
            "manifest_checksums" => raw.manifest_checksums = Some(option.string()?),
            "target" => raw.target = Some(option.string()?),
            "target_detail" => raw.target_detail = Some(option.string()?),
            "compression" => raw.compression = Some(option.string()?),
            "compression_detail" => raw.compression_detail = Some(option.string()?),
            other => return Err(syntax(format!("unrecognized base backup option: \"{other}\""))),
        }
        Ok(())
    }

    fn combine(mut self, raw: Raw) -> Result<Self, CommandError> {
        self.manifest = manifest(raw.manifest.as_deref(), raw.manifest_checksums.as_deref())?;
        match raw.target.as_deref() {
            None | Some("client") => {}
            Some("blackhole") => self.blackhole = true,
            Some("server") => {
                return Err(CommandError {
                    code: SqlState::FEATURE_NOT_SUPPORTED,
                    message: "base backups cannot be stored on this server".to_owned(),
                });
            }
            Some(other) => return Err(invalid(format!("unrecognized target: \"{other}\""))),
        }
        if let Some(detail) = raw.target_detail {
            let target = raw.target.unwrap_or_default();
            let message = match target.as_str() {
                "" => "target detail cannot be used without target".to_owned(),
                _ => format!("target \"{target}\" does not accept a target detail (\"{detail}\")"),
            };
            return Err(syntax(message));
        }
        self.compression = compression(raw.compression.as_deref(), raw.compression_detail)?;
        Ok(self)
    }
}

/// Options that mean something only together.
#[derive(Default)]
struct Raw {
    manifest: Option<String>,
    manifest_checksums: Option<String>,
    target: Option<String>,
    target_detail: Option<String>,
    compression: Option<String>,
    compression_detail: Option<String>,
}

fn rate(text: &str) -> Result<u32, CommandError> {
    text.parse().ok().filter(|rate| (LEAST_RATE..=MOST_RATE).contains(rate)).ok_or_else(|| {
        invalid(format!(
            "{text} is outside the valid range for parameter \"MAX_RATE\" ({LEAST_RATE} .. {MOST_RATE})"
        ))
    })
}

fn manifest(wanted: Option<&str>, checksums: Option<&str>) -> Result<Option<ManifestRequest>, CommandError> {
    let force_encode = match wanted {
        Some("yes") => false,
        Some("force-encode") => true,
        None | Some("no") if checksums.is_none() => return Ok(None),
        None | Some("no") => return Err(syntax("manifest checksums require a backup manifest")),
        Some(other) => return Err(invalid(format!("unrecognized manifest option: \"{other}\""))),
    };
    let checksums = match checksums {
        None => Some(ChecksumAlgorithm::Crc32c),
        Some(name) if name.eq_ignore_ascii_case("none") => None,
        Some(name) => Some(
            ChecksumAlgorithm::ALL
                .into_iter()
                .find(|algorithm| algorithm.name().eq_ignore_ascii_case(name))
                .ok_or_else(|| invalid(format!("unrecognized checksum algorithm: \"{name}\"")))?,
        ),
    };
    Ok(Some(ManifestRequest { force_encode, checksums }))
}

fn compression(name: Option<&str>, detail: Option<String>) -> Result<Option<Settings>, CommandError> {
    let Some(name) = name else {
        return match detail {
            None => Ok(None),
            Some(_) => Err(syntax("cannot specify compression detail unless compression is enabled")),
        };
    };
    let method = Method::ALL.into_iter().find(|method| method.name() == name);
    let Some(method) = method else {
        return match (name, detail) {
            ("none", None) => Ok(None),
            ("none", Some(_)) => {
                Err(syntax("cannot specify compression detail unless compression is enabled"))
            }
            _ => Err(syntax(format!("unrecognized compression algorithm: \"{name}\""))),
        };
    };
    let specification = Specification { location: None, method, detail };
    let refuse = |error| syntax(format!("invalid compression specification: {error}"));
    specification.settings().map(Some).map_err(refuse)
}

fn syntax(message: impl Into<String>) -> CommandError {
    CommandError { code: SqlState::SYNTAX_ERROR, message: message.into() }
}

fn invalid(message: impl Into<String>) -> CommandError {
    CommandError { code: SqlState::INVALID_PARAMETER_VALUE, message: message.into() }
}
