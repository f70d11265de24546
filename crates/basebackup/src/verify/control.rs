//! The control file's own checks (`catalog/pg_control.h`): its CRC, which system it is of, and in whose formats.

use replication::waldir::unknown_format;
use wal::SystemId;

/// Where versions 15 to 17 keep the CRC, and 18, in bytes from the start; it covers everything before it.
const CRC_AT: usize = 288;
const CRC_AT_18: usize = 292;

/// The version number that 18 introduced.
const VERSION_18: u32 = 1800;

/// What is wrong with the control file `bytes`, if anything; it should be of `system`, where that is known.
pub(crate) fn check(bytes: &[u8], system: Option<SystemId>) -> Option<String> {
    let u32_at = |at: usize| Some(u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?));
    let found = bytes.first_chunk().map(|bytes| SystemId::new(u64::from_le_bytes(*bytes)));
    let (Some(found), Some(version)) = (found, u32_at(8)) else { return Some("it is too short".to_owned()) };
    let crc_at = if version >= VERSION_18 { CRC_AT_18 } else { CRC_AT };
    match (bytes.get(..crc_at), u32_at(crc_at)) {
        (Some(covered), Some(crc)) if crc32c::crc32c(covered) == crc => {}
        (Some(_), Some(_)) => return Some("CRC is incorrect".to_owned()),
        _ => return Some("it is too short".to_owned()),
    }
    if let Some(format) = u32_at(12).and_then(unknown_format) {
        return Some(format!("it is of a walwriter with format {format}, which is not known here"));
    }
    match system {
        Some(system) if system != found => {
            Some(format!("manifest system identifier is {system}, but control file has {found}"))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn control_file(version: u32, crc_at: usize) -> Vec<u8> {
        let mut bytes = vec![0; 8192];
        bytes[..8].copy_from_slice(&77u64.to_le_bytes());
        bytes[8..12].copy_from_slice(&version.to_le_bytes());
        let crc = crc32c::crc32c(&bytes[..crc_at]);
        bytes[crc_at..crc_at + 4].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    #[test]
    fn crc_and_system_are_checked() {
        for (version, crc_at) in [(1300, CRC_AT), (1700, CRC_AT), (1800, CRC_AT_18)] {
            let mut bytes = control_file(version, crc_at);
            assert_eq!(check(&bytes, Some(SystemId::new(77))), None);
            assert_eq!(check(&bytes, None), None);
            assert!(
                check(&bytes, Some(SystemId::new(78))).unwrap().contains("manifest system identifier is 78")
            );
            bytes[100] ^= 1;
            assert_eq!(check(&bytes, None).unwrap(), "CRC is incorrect");
        }
        assert!(check(&[0; 100], None).is_some());
        assert!(check(&[], None).is_some());
    }
}
