use super::*;

fn path(name: &str) -> RelativePath {
    RelativePath::new(name.as_bytes()).unwrap()
}

fn tablespace() -> Tablespace {
    Tablespace {
        oid: 7,
        path: path("pg_tblspc/7"),
        location: "/srv/seven".to_owned(),
        directory: "/srv/seven".into(),
        in_place: false,
    }
}

fn header(name: &str, kind: MemberKind, mode: u32) -> Header {
    Header { path: path(name), kind, mode, size: 0, modified: 0 }
}

fn directory(name: &str) -> Header {
    header(name, MemberKind::Directory, 0o700)
}

fn file(name: &str) -> Header {
    header(name, MemberKind::File, 0o600)
}

fn link(name: &str, to: &str) -> Header {
    header(name, MemberKind::Symlink(to.as_bytes().to_vec()), 0o700)
}

fn inspect(is_main: bool, wants_map: bool, members: &[Header]) -> Result<(), TakeError> {
    let mut inspection = Inspection::new(&[tablespace()], wants_map, None);
    inspection.archive(is_main);
    members.iter().try_for_each(|member| inspection.begin(member))
}

#[test]
fn what_could_lead_out_of_a_backup_is_refused() {
    let space = directory("pg_tblspc");
    for (members, word) in [
        (vec![file("base/1")], "not sent before"),
        (vec![space.clone(), link("pg_tblspc/7", "/etc")], "no tablespace"),
        (vec![space.clone(), link("pg_tblspc/8", "/srv/seven")], "no tablespace"),
        (vec![link("pg_wal", "/srv/seven")], "no tablespace"),
        (vec![space.clone(), link("pg_tblspc/7", "/srv/seven"), file("pg_tblspc/7/x")], "not sent before"),
        (vec![space.clone(), link("pg_tblspc/7", "/srv/seven"), directory("pg_tblspc/7")], "as a link"),
        (vec![space.clone(), directory("pg_tblspc/7"), link("pg_tblspc/7", "/srv/seven")], "no tablespace"),
        (vec![space.clone(), file("pg_tblspc")], "as a directory"),
        (vec![header("x", MemberKind::File, 0o4755)], "somebody else"),
        (vec![file("backup_manifest")], "does not belong"),
        (vec![directory("global"), file(UNFINISHED_CONTROL_FILE)], "does not belong"),
        (vec![file("tablespace_map")], "does not belong"),
    ] {
        let error = inspect(true, false, &members).unwrap_err().to_string();
        assert!(error.contains(word), "{error}");
    }
    inspect(true, true, &[space.clone(), link("pg_tblspc/7", "/srv/seven"), file("tablespace_map")]).unwrap();
    let error = inspect(false, true, &[space, link("pg_tblspc/7", "/srv/seven")]).unwrap_err();
    assert!(error.to_string().contains("no tablespace"), "{error}");
}

fn control_file() -> Vec<u8> {
    let mut bytes = vec![0; 8192];
    bytes[..8].copy_from_slice(&77u64.to_le_bytes());
    bytes[8..12].copy_from_slice(&1300u32.to_le_bytes());
    let crc = crc32c::crc32c(&bytes[..288]);
    bytes[288..292].copy_from_slice(&crc.to_le_bytes());
    bytes
}

const LABEL_TEXT: &str = "START WAL LOCATION: 0/2000028 (file 000000010000000000000002)\nSTART TIMELINE: 1\n";

fn agreed() -> Agreed {
    Agreed {
        start: Lsn::new(0x200_0028),
        timeline: TimelineId::FIRST,
        end: Lsn::new(0x320_0100),
        end_timeline: TimelineId::FIRST,
        system_id: SystemId::new(77),
    }
}

/// A backup of these files, concluded.
fn conclude(files: &[(&str, &[u8])]) -> Result<(), TakeError> {
    let mut inspection = Inspection::new(&[tablespace()], true, None);
    inspection.archive(true);
    inspection.begin(&directory("global")).unwrap();
    inspection.begin(&directory("pg_wal")).unwrap();
    for (name, content) in files {
        inspection.begin(&file(name)).unwrap();
        content.chunks(100).for_each(|chunk| inspection.data(chunk));
    }
    inspection.conclude(&agreed())
}

#[test]
fn a_backup_has_its_label_its_map_and_its_control_file() {
    let control = control_file();
    let files = |label: &'static str, map: &'static str, control: &'static [u8]| {
        [(LABEL, label.as_bytes()), (TABLESPACE_MAP, map.as_bytes()), (CONTROL_FILE, control)]
    };
    let control: &'static [u8] = control.leak();
    let map = "7 /srv/seven\n";
    conclude(&files(LABEL_TEXT, map, control)).unwrap();
    let other: &'static [u8] = {
        let mut other = control.to_vec();
        other[0] ^= 1;
        other.leak()
    };
    for (files, word) in [
        (&files(LABEL_TEXT, map, control)[1..], "no \"backup_label\""),
        (&files("START WAL LOCATION: 0/3000028 (file x)\nSTART TIMELINE: 1\n", map, control), "0/2000028"),
        (&files(LABEL_TEXT, "7 /etc\n", control), "tablespace_map"),
        (&files(LABEL_TEXT, "", control), "tablespace_map"),
        (&files(LABEL_TEXT, "7 /srv/seven\n8 /etc\n", control), "tablespace_map"),
        (&files(LABEL_TEXT, map, control)[..2], "no \"global/pg_control\""),
        (&files(LABEL_TEXT, map, other), "pg_control"),
    ] {
        let error = conclude(files).unwrap_err().to_string();
        assert!(error.contains(word), "{word}: {error}");
    }
}

#[test]
fn a_manifest_is_that_of_the_backup() {
    use crate::manifest::WalRange;
    let Agreed { start, end, system_id, timeline, .. } = agreed();
    let (middle, other) = (Lsn::new(0x300_0000), Lsn::new(0x300_0008));
    let manifest = |system_id, ranges: &[(Lsn, Lsn)]| Manifest {
        system_id,
        files: Vec::new(),
        wal_ranges: ranges.iter().map(|&(start, end)| WalRange { timeline, start, end }).collect(),
    };
    let good: &[(Lsn, Lsn)] = &[(middle, end), (start, middle)];
    for system in [None, Some(system_id)] {
        agreed().check_manifest(&manifest(system, good)).unwrap();
        agreed().check_manifest(&manifest(system, &[(start, end)])).unwrap();
    }
    for (system, ranges, word) in [
        (Some(SystemId::new(78)), good, "system identifier is 78"),
        (None, &[(start, other)][..], "WAL ranges"),
        (None, &[(other, end)], "WAL ranges"),
        (None, &[], "WAL ranges"),
    ] {
        let error = agreed().check_manifest(&manifest(system, ranges)).unwrap_err().to_string();
        assert!(error.contains(word), "{word}: {error}");
    }
}

#[test]
fn maps_are_read_as_the_server_reads_them() {
    assert_eq!(map_lines(b"1 /a\\\nb\n2 /c\\\\d\n"), ["1 /a\nb", "2 /c\\d"]);
    assert!(map_lines(b"").is_empty());
}
