//! Replication commands, as any client that is let in may send them.
#![no_main]

use libfuzzer_sys::fuzz_target;
use replication::command::parse;

fuzz_target!(|input: &str| walship_fuzz::bounded(input.as_bytes(), |_| {
    if let Ok(command) = parse(input) {
        let printed = command.to_string();
        assert_eq!(parse(&printed).as_ref(), Ok(&command), "{printed}");
    }
}));
