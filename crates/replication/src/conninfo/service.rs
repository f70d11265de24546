//! The connection service file. Source: `parseServiceInfo`.

use std::path::{Path, PathBuf};

use super::parse::{Settings, known};
use super::{ConnInfoError, Environment};

/// The settings of `service`, from the file that `file` or `PGSERVICEFILE` names, else `~/.pg_service.conf`, else the
/// system's `pg_service.conf` under `PGSYSCONFDIR`.
pub(super) fn load(
    service: &str,
    file: Option<&str>,
    environment: &Environment,
) -> Result<Settings, ConnInfoError> {
    let own = match file {
        Some(file) => Some(PathBuf::from(file)),
        None => environment.home().map(|home| home.join(".pg_service.conf")),
    };
    if let (Some(_), Some(path)) = (file, &own)
        && !path.exists()
    {
        return Err(ConnInfoError::Service(format!("service file \"{}\" not found", path.display())));
    }
    let system = environment.get("PGSYSCONFDIR").unwrap_or("/etc/postgresql-common");
    for path in own.into_iter().chain([Path::new(system).join("pg_service.conf")]) {
        if !path.exists() {
            continue;
        }
        let text = std::fs::read_to_string(&path).map_err(|error| {
            ConnInfoError::Service(format!("could not read service file \"{}\": {error}", path.display()))
        })?;
        if let Some(settings) = section(&text, service, &path)? {
            return Ok(settings);
        }
    }
    Err(ConnInfoError::Service(format!("definition of service \"{service}\" not found")))
}

fn section(text: &str, service: &str, path: &Path) -> Result<Option<Settings>, ConnInfoError> {
    let mut found: Option<Settings> = None;
    for (number, line) in (1..).zip(text.lines()) {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let wrong = |what: &str| {
            ConnInfoError::Service(format!("{what} in service file \"{}\", line {number}", path.display()))
        };
        if let Some(name) = line.strip_prefix('[') {
            if found.is_some() {
                break;
            }
            if name.split(']').next() == Some(service) {
                found = Some(Settings::new());
            }
            continue;
        }
        let Some(settings) = &mut found else { continue };
        let (name, value) = line.split_once('=').ok_or_else(|| wrong("syntax error"))?;
        match known(name) {
            Ok("service" | "servicefile") => {
                return Err(wrong("nested service specifications not supported"));
            }
            Ok(name) => settings.push((name, value.to_owned())),
            Err(_) => return Err(wrong("syntax error")),
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_is_its_section_alone() {
        let text = "# comment\n[other]\nhost=x\n[mine]\nhost=db\nport=5433\n\n[last]\nuser=y\n";
        let settings = section(text, "mine", Path::new("f")).unwrap().unwrap();
        assert_eq!(settings, [("host", "db".to_owned()), ("port", "5433".to_owned())]);
        assert_eq!(section(text, "none", Path::new("f")).unwrap(), None);
    }

    #[test]
    fn mistakes_are_named_with_their_line() {
        for (text, complaint) in [
            ("[a]\nhost", "syntax error in service file \"f\", line 2"),
            ("[a]\nhots=x", "syntax error in service file \"f\", line 2"),
            ("[a]\n\nservice=b", "nested service specifications not supported in service file \"f\", line 3"),
        ] {
            assert_eq!(section(text, "a", Path::new("f")).unwrap_err().to_string(), complaint);
        }
    }
}
