use proptest::prelude::*;

use super::*;

const OWNER: Owner = Owner { uid: 0o4000, gid: 0o2000 };

fn file(name: &str, size: u64) -> Header {
    let path = RelativePath::new(name.as_bytes()).unwrap();
    Header { path, kind: MemberKind::File, mode: 0o600, size, modified: 1_700_000_000 }
}

fn with(at: usize, bytes: &[u8]) -> [u8; BLOCK_SIZE] {
    let mut block = file("base/1/1259", 5).encode(OWNER).unwrap();
    block[at..at + bytes.len()].copy_from_slice(bytes);
    let sum = checksum(&block);
    put_number(&mut block[CHECKSUM], sum.into());
    block
}

#[test]
fn fields_are_laid_out_as_postgresql_lays_them_out() {
    let block = file("base/1/1259", 8192).encode(OWNER).unwrap();
    assert_eq!(&block[MODE], b"0000600 ");
    assert_eq!(&block[UID], b"0004000 ");
    assert_eq!(&block[SIZE], b"00000020000 ");
    assert_eq!(&block[257..265], b"ustar\x0000");
    assert_eq!(&block[329..345], b"0000000 0000000 ");
}

#[test]
fn sizes_from_8_gib_are_binary() {
    for size in [(8 << 30) - 1, 8 << 30, u64::MAX >> 8] {
        let block = file("x", size).encode(OWNER).unwrap();
        assert_eq!(block[SIZE.start] == 0x80, size >= 8 << 30);
        assert_eq!(Header::decode(&block).unwrap().size, size);
    }
    assert_eq!(Header::decode(&with(SIZE.start, &[0xff; 12])), Err(HeaderError::Number("size")));
    let mut too_large = [0xff; 12];
    too_large[0] = 0x80;
    assert_eq!(Header::decode(&with(SIZE.start, &too_large)), Err(HeaderError::Number("size")));
}

#[test]
fn forged_headers_are_refused() {
    let name = |name: &[u8]| Header::decode(&with(0, name));
    assert!(matches!(name(b"/etc/passwd\0"), Err(HeaderError::Path(_))));
    assert!(matches!(name(b"../../x\0"), Err(HeaderError::Path(_))));
    assert!(matches!(name(b"\0"), Err(HeaderError::Path(_))));
    assert!(matches!(Header::decode(&with(PREFIX.start, b"../..\0")), Err(HeaderError::Path(_))));
    for kind in [b'1', b'3', b'L', b'x', b'g'] {
        assert!(matches!(Header::decode(&with(KIND, &[kind])), Err(HeaderError::Kind { .. })));
    }
    assert!(matches!(Header::decode(&with(KIND, b"5")), Err(HeaderError::Contents(_))));
    assert_eq!(Header::decode(&with(257, b"gnutar")), Err(HeaderError::Magic));
    assert_eq!(Header::decode(&with(SIZE.start, b"0000000009 8")), Err(HeaderError::Number("size")));
    let mut block = with(0, b"x");
    block[0] = b'y';
    assert_eq!(Header::decode(&block), Err(HeaderError::Checksum));
}

#[test]
fn the_dot_that_postgresql_puts_before_some_names_is_dropped() {
    let header =
        Header::decode(&with(0, b"./pg_wal/archive_status/\0")).map(|header| header.path.to_string());
    assert!(matches!(header, Err(HeaderError::Kind { .. })), "a file's name has no slash at its end");
    let header = Header::decode(&with(0, b"./pg_wal/archive_status\0")).unwrap();
    assert_eq!(header.path.to_string(), "pg_wal/archive_status");
    assert!(matches!(Header::decode(&with(0, b"././x\0")), Err(HeaderError::Path(_))));
}

#[test]
fn a_name_without_room_is_an_error() {
    assert!(file(&"n".repeat(99), 0).encode(OWNER).is_ok());
    assert!(matches!(file(&"n".repeat(100), 0).encode(OWNER), Err(HeaderError::NameTooLong(_))));
}

proptest! {
    #[test]
    fn headers_round_trip(name in "[a-zA-Z0-9_.]{3,30}(/[a-z0-9]{1,20}){0,3}", size in 0u64..1 << 62, mode in 0u32..0o10000,
                          kind in 0..3, target in "/[a-z/]{0,90}") {
        let kind = match kind { 0 => MemberKind::File, 1 => MemberKind::Directory, _ => MemberKind::Symlink(target.into_bytes()) };
        let size = if kind == MemberKind::File { size } else { 0 };
        let Ok(path) = RelativePath::new(name.as_bytes()) else { return Ok(()) };
        let header = Header { path, kind, mode, size, modified: 1_700_000_000 };
        let block = header.encode(OWNER).unwrap();
        prop_assert_eq!(Header::decode(&block), Ok(header));
    }

    #[test]
    fn any_block_is_decoded_or_refused(bytes in proptest::array::uniform32(any::<u8>()), at in 0usize..480) {
        let mut block = file("x", 3).encode(OWNER).unwrap();
        block[at..at + 32].copy_from_slice(&bytes);
        let sum = checksum(&block);
        put_number(&mut block[CHECKSUM], sum.into());
        let _ = Header::decode(&block);
    }
}
