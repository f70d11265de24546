//! Connection strings and URIs.
#![no_main]

use std::path::Path;

use libfuzzer_sys::fuzz_target;
use replication::conninfo::{ConnArgs, ConnInfo, Environment};

fuzz_target!(|input: &str| walship_fuzz::bounded(input.as_bytes(), |_| {
    // Services would have files read that the input names.
    if input.contains("service") {
        return;
    }
    let environment = Environment::of("user", Some(Path::new("/nonexistent")), &[]);
    let written = |text: &str| {
        let args = ConnArgs { connection_string: Some(text.to_owned()), ..ConnArgs::default() };
        ConnInfo::resolve(&args, &environment).map(|info| info.to_primary_conninfo())
    };
    if let Ok(first) = written(input) {
        // A value that was set to nothing is not written, and read again it gets its default; after that nothing changes.
        let second = written(&first).expect("what was written can be read");
        assert_eq!(written(&second).as_ref().ok(), Some(&second));
    }
}));
