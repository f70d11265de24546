//! `backup_manifest`: what a server sends and what lies in a backup directory.
#![no_main]

use basebackup::manifest::Manifest;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| walship_fuzz::bounded(input, |input| {
    if let Ok(manifest) = Manifest::parse(input) {
        let written = manifest.to_bytes();
        assert_eq!(
            Manifest::parse(&written).as_ref().ok(),
            Some(&manifest),
            "what was read can be written and read"
        );
    }
}));
