//! What `-Z` says.

use super::{Method, Settings};

/// Which side compresses.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Location {
    /// This one.
    Client,
    /// The server.
    Server,
}

/// `-Z`, taken apart: `[{client|server}-]METHOD[:DETAIL]`, or a level alone, which means gzip.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Specification {
    /// `None` if the option does not say.
    pub location: Option<Location>,
    /// The method.
    pub method: Method,
    /// What follows the colon, which a server is sent as it is.
    pub detail: Option<String>,
}

/// A specification that is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidSpecification(String);

impl Specification {
    /// gzip at its default level, as `-z` asks for.
    pub const GZIP: Self = Self { location: None, method: Method::Gzip, detail: None };

    /// Takes `text` apart; `None` for `none`. The detail is looked at by [`Specification::settings`], or by the server.
    pub fn parse(text: &str) -> Result<Option<Self>, InvalidSpecification> {
        // A number alone is the gzip level of times when there was only gzip, and 0 is no compression.
        if let Ok(level) = text.parse::<i32>() {
            let detail = Some(level.to_string());
            return Ok((level != 0).then_some(Self { location: None, method: Method::Gzip, detail }));
        }
        let (location, rest) = if let Some(rest) = text.strip_prefix("client-") {
            (Some(Location::Client), rest)
        } else if let Some(rest) = text.strip_prefix("server-") {
            (Some(Location::Server), rest)
        } else {
            (None, text)
        };
        let (name, detail) = match rest.split_once(':') {
            Some((name, detail)) => (name, Some(detail.to_owned())),
            None => (rest, None),
        };
        if name == "none" {
            return match detail {
                None => Ok(None),
                Some(_) => Err(invalid("compression algorithm \"none\" does not accept a compression level")),
            };
        }
        let method = Method::ALL.into_iter().find(|method| method.name() == name);
        let method =
            method.ok_or_else(|| invalid(format!("unrecognized compression algorithm: \"{name}\"")))?;
        Ok(Some(Self { location, method, detail }))
    }

    /// The settings that the detail stands for, checked as PostgreSQL checks them.
    pub fn settings(&self) -> Result<Settings, InvalidSpecification> {
        let mut settings = Settings { method: self.method, level: None, workers: 0, long: false };
        match self.detail.as_deref() {
            None => {}
            Some(detail) if detail.parse::<i32>().is_ok() => settings.level = detail.parse().ok(),
            Some(detail) => {
                for option in detail.split(',') {
                    settings.apply(option)?;
                }
            }
        }
        settings.check_level()?;
        Ok(settings)
    }
}

impl Settings {
    fn apply(&mut self, option: &str) -> Result<(), InvalidSpecification> {
        let (keyword, value) = match option.split_once('=') {
            Some((keyword, value)) => (keyword, Some(value)),
            None => (option, None),
        };
        let number = || {
            let value =
                value.ok_or_else(|| invalid(format!("compression option \"{keyword}\" requires a value")))?;
            value.parse::<i32>().map_err(|_| {
                invalid(format!("value for compression option \"{keyword}\" must be an integer"))
            })
        };
        let zstd = self.method == Method::Zstd;
        let name = self.method.name();
        match keyword {
            "" => Err(invalid("found empty string where a compression option was expected")),
            "level" => {
                self.level = Some(number()?);
                Ok(())
            }
            "workers" => {
                let workers = number()?;
                if !zstd {
                    return Err(invalid(format!(
                        "compression algorithm \"{name}\" does not accept a worker count"
                    )));
                }
                let refuse = |_| invalid(format!("invalid worker count {workers}"));
                self.workers = u32::try_from(workers).map_err(refuse)?;
                Ok(())
            }
            "long" => {
                self.long = boolean(value).ok_or_else(|| {
                    invalid("value for compression option \"long\" must be a Boolean value")
                })?;
                if self.long && !zstd {
                    return Err(invalid(format!(
                        "compression algorithm \"{name}\" does not support long-distance mode"
                    )));
                }
                Ok(())
            }
            _ => Err(invalid(format!("unrecognized compression option: \"{keyword}\""))),
        }
    }

    fn check_level(&self) -> Result<(), InvalidSpecification> {
        let (least, most, default) = match self.method {
            Method::Gzip => (1, 9, -1),
            Method::Lz4 => (0, 12, 0),
            Method::Zstd => (*zstd::compression_level_range().start(), 22, 3),
        };
        match self.level {
            Some(level) if level != default && !(least..=most).contains(&level) => Err(invalid(format!(
                "compression algorithm \"{}\" expects a compression level between {least} and {most} \
                 (default at {default})",
                self.method.name()
            ))),
            _ => Ok(()),
        }
    }
}

/// No value is true; otherwise the words that PostgreSQL's options take.
fn boolean(value: Option<&str>) -> Option<bool> {
    let Some(value) = value else { return Some(true) };
    match value.to_ascii_lowercase().as_str() {
        "true" | "yes" | "on" | "1" => Some(true),
        "false" | "no" | "off" | "0" => Some(false),
        _ => None,
    }
}

fn invalid(message: impl Into<String>) -> InvalidSpecification {
    InvalidSpecification(message.into())
}
