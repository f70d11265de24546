//! Small binary files that are read at start: `pg_control`, and what the validator remembered.
#![no_main]

use libfuzzer_sys::fuzz_target;
use replication::waldir::ControlFile;
use wal::ValidatorState;
use wal::crc::Crc;

fuzz_target!(|input: &[u8]| walship_fuzz::bounded(input, |input| {
    let _ = ControlFile::parse(input);
    if let Ok(state) = ValidatorState::from_bytes(input) {
        let written = state.to_bytes();
        assert_eq!(ValidatorState::from_bytes(&written), Ok(state));
    }
    // Checksums are made right for the fuzzer: over the fixed part of each layout.
    for checksum_at in [48, 288, 292] {
        let mut sealed = input.to_vec();
        sealed.resize(if checksum_at == 48 { 52 } else { 8192 }, 0);
        if checksum_at != 48 {
            let version: u32 = if checksum_at == 288 { 1300 } else { 1800 };
            sealed[8..12].copy_from_slice(&version.to_le_bytes());
        }
        let crc = Crc::default().append(&sealed[..checksum_at]).value().to_le_bytes();
        sealed[checksum_at..checksum_at + 4].copy_from_slice(&crc);
        let _ = ControlFile::parse(&sealed);
        let _ = ValidatorState::from_bytes(&sealed);
    }
    of_the_engine(input);
}));

/// The engine reads more of `pg_control`, of one version, and writes what it has read.
fn of_the_engine(input: &[u8]) {
    const CHECKSUM: usize = 288;
    let mut sealed = input.to_vec();
    sealed.resize(8192, 0);
    sealed[8..12].copy_from_slice(&1300_u32.to_le_bytes());
    sealed[12..16].copy_from_slice(&202_209_061_u32.to_le_bytes());
    let crc = Crc::default().append(&sealed[..CHECKSUM]).value().to_le_bytes();
    sealed[CHECKSUM..CHECKSUM + 4].copy_from_slice(&crc);
    if let Ok(control) = engine::control::ControlFile::decode(&sealed) {
        assert_eq!(engine::control::ControlFile::decode(&control.encode()).as_ref(), Ok(&control));
    }
}
