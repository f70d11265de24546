//! `postgresql.conf`, and the settings that have a syntax of their own.
#![no_main]

use std::path::Path;

use libfuzzer_sys::fuzz_target;
use walwriter::config::{Config, Origin, definitions};
use walwriter::sync::SynchronousNames;

fuzz_target!(|input: &str| walship_fuzz::bounded(input.as_bytes(), |_| {
    file(input);
    value(input);
    let _ = SynchronousNames::parse(input);
}));

fn file(text: &str) {
    let mut config = Config::default();
    if config.read(text, Path::new("postgresql.conf")).is_ok() {
        for definition in definitions() {
            config.show(definition.name).expect("a setting's value");
        }
    }
}

/// A setting takes the value or refuses it, and takes it again as it shows it. The first character chooses the setting.
fn value(text: &str) {
    let mut characters = text.chars();
    let Some(number) = characters.next() else { return };
    let definition = &definitions()[number as usize % definitions().len()];
    let mut config = Config::default();
    if config.set(definition.name, characters.as_str(), Origin::CommandLine).is_ok() {
        let shown = config.show(definition.name).expect("a value");
        let again = config.set(definition.name, &shown, Origin::CommandLine);
        again.unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(config.show(definition.name).as_ref(), Some(&shown));
    }
}
