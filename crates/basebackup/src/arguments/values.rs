//! Values of options that have a syntax of their own.

use std::path::PathBuf;

use anyhow::{Context, ensure};

/// kB/s, from 32 to 1048576, with an optional unit.
pub(super) fn parse_rate(text: &str) -> anyhow::Result<u32> {
    let (number, factor) = match text.trim_end().strip_suffix(['k', 'M']) {
        Some(number) if text.trim_end().ends_with('M') => (number, 1024.0),
        Some(number) => (number, 1.0),
        None => (text.trim_end(), 1.0),
    };
    let rate: f64 =
        number.trim().parse().ok().with_context(|| format!("invalid transfer rate \"{text}\""))?;
    ensure!(rate > 0.0, "transfer rate must be greater than zero");
    let rate = rate * factor;
    ensure!((32.0..=1_048_576.0).contains(&rate), "transfer rate \"{text}\" is out of range");
    Ok(rate as u32)
}

/// `OLDDIR=NEWDIR`, in which `\=` is an equals sign.
pub(super) fn parse_mapping(text: &str) -> anyhow::Result<(PathBuf, PathBuf)> {
    let mut sides = vec![String::new()];
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        let side = sides.last_mut().context("a mapping has a side")?;
        match character {
            '\\' if characters.next_if_eq(&'=').is_some() => side.push('='),
            '=' => sides.push(String::new()),
            other => side.push(other),
        }
    }
    ensure!(sides.len() <= 2, "multiple \"=\" signs in tablespace mapping");
    let [old, new] = <[String; 2]>::try_from(sides)
        .ok()
        .filter(|sides| sides.iter().all(|side| !side.is_empty()))
        .with_context(|| {
            format!("invalid tablespace mapping format \"{text}\", must be \"OLDDIR=NEWDIR\"")
        })?;
    // Without trailing slashes, as the server tells locations.
    let canonical = |path: &str| path.chars().rev().skip_while(|c| *c == '/').collect::<Vec<_>>();
    let canonical = |path: &str| PathBuf::from(canonical(path).into_iter().rev().collect::<String>());
    let (old, new) = (canonical(&old), canonical(&new));
    ensure!(
        old.is_absolute(),
        "old directory is not an absolute path in tablespace mapping: {}",
        old.display()
    );
    ensure!(
        new.is_absolute(),
        "new directory is not an absolute path in tablespace mapping: {}",
        new.display()
    );
    Ok((old, new))
}
