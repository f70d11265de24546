use super::*;
use crate::take::inspection::Inspection;
use crate::take::ledger::Ledger;
use crate::take::members::Unpacker;
use crate::tar::{Owner, TRAILER, padding};

/// An archive of these members: name, kind, contents.
fn archive(members: &[(&str, MemberKind, &[u8])]) -> Vec<u8> {
    let mut out = Vec::new();
    for (name, kind, contents) in members {
        let path = RelativePath::new(name.as_bytes()).unwrap();
        let mode = if *kind == MemberKind::Directory { 0o700 } else { 0o600 };
        let header = Header { path, kind: kind.clone(), mode, size: contents.len() as u64, modified: 0 };
        out.extend(header.encode(Owner { uid: 0, gid: 0 }).unwrap());
        out.extend(*contents);
        out.extend(vec![0; padding(contents.len() as u64)]);
    }
    out.extend(TRAILER);
    out
}

struct Target {
    temp: tempfile::TempDir,
    links: Vec<Tablespace>,
}

impl Target {
    fn new() -> Self {
        let temp = tempfile::tempdir().unwrap();
        for name in ["data", "space", "outside"] {
            fs::create_dir(temp.path().join(name)).unwrap();
        }
        let space = Tablespace {
            oid: 16384,
            path: RelativePath::new(b"pg_tblspc/16384").unwrap(),
            location: "/server/space".to_owned(),
            directory: temp.path().join("space"),
            in_place: false,
        };
        Self { temp, links: vec![space] }
    }

    fn unpack(&self, members: &[(&str, MemberKind, &[u8])]) -> Result<Tree, TakeError> {
        let mut tree = Tree::new(&self.temp.path().join("data"), true);
        let mut ledger = Ledger::new(None);
        let mut inspection = Inspection::new(&self.links, false, None);
        let mut unpacker = Unpacker::new("base.tar", None, &mut ledger, &mut inspection);
        let mut sink = tree.archive(None, &self.links);
        for chunk in archive(members).chunks(1000) {
            unpacker.feed(chunk, &mut sink)?;
        }
        unpacker.finish()?;
        tree.finish_files()?;
        Ok(tree)
    }

    fn outside_is_untouched(&self) -> bool {
        fs::read_dir(self.temp.path().join("outside")).unwrap().count() == 0
    }
}

const DIR: MemberKind = MemberKind::Directory;
const FILE: MemberKind = MemberKind::File;

fn link(to: &str) -> MemberKind {
    MemberKind::Symlink(to.as_bytes().to_vec())
}

#[test]
fn members_become_files_directories_and_links() {
    let target = Target::new();
    let tree = target
        .unpack(&[
            ("PG_VERSION", FILE, b"15\n"),
            ("global", DIR, b""),
            ("pg_tblspc", DIR, b""),
            ("pg_tblspc/16384", link("/server/space"), b""),
            ("global/1262", FILE, &[7; 9000]),
            (CONTROL_FILE, FILE, &[1; 8192]),
        ])
        .unwrap();
    let data = target.temp.path().join("data");
    assert_eq!(fs::read(data.join("global/1262")).unwrap(), [7; 9000]);
    assert_eq!(fs::read_link(data.join("pg_tblspc/16384")).unwrap(), target.temp.path().join("space"));
    assert_eq!(fs::metadata(data.join("PG_VERSION")).unwrap().permissions().mode() & 0o777, 0o600);
    assert!(!data.join(CONTROL_FILE).exists(), "a server could start from half a backup");
    tree.reveal().unwrap();
    assert_eq!(fs::read(data.join(CONTROL_FILE)).unwrap(), [1; 8192]);
}

#[test]
fn no_link_leads_out() {
    let outside = |target: &Target| target.temp.path().join("outside").to_str().unwrap().to_owned();
    let target = Target::new();
    for (path, to) in [
        ("evil", outside(&target)),
        ("pg_tblspc/16384", outside(&target)),
        ("pg_tblspc/16385", "/server/space".to_owned()),
        ("pg_wal", "/server/space".to_owned()),
    ] {
        let target = Target::new();
        let to = to.replace(target.temp.path().to_str().unwrap(), "");
        let refused =
            target.unpack(&[("pg_tblspc", DIR, b""), (path, link(&to), b""), ("evil/x", FILE, b"")]);
        assert!(matches!(refused, Err(TakeError::Refused(_))), "{path} -> {to}");
        assert!(target.outside_is_untouched());
    }
}

#[test]
fn nothing_is_written_through_a_link() {
    let target = Target::new();
    let refused = target.unpack(&[
        ("pg_tblspc", DIR, b""),
        ("pg_tblspc/16384", link("/server/space"), b""),
        ("pg_tblspc/16384/x", FILE, b"1"),
    ]);
    assert!(matches!(refused, Err(TakeError::Refused(_))));
    assert_eq!(fs::read_dir(target.temp.path().join("space")).unwrap().count(), 0);
}

#[test]
fn existing_files_are_never_opened() {
    let target = Target::new();
    let twice = target.unpack(&[("a", FILE, b"1"), ("a", FILE, b"2")]);
    assert!(matches!(twice, Err(TakeError::File(_) | TakeError::Refused(_))));
    // A link that somebody else put there is not followed either.
    let target = Target::new();
    let outside = target.temp.path().join("outside/file");
    std::os::unix::fs::symlink(&outside, target.temp.path().join("data/a")).unwrap();
    assert!(matches!(target.unpack(&[("a", FILE, b"1")]), Err(TakeError::File(_))));
    assert!(!outside.exists());
}

#[test]
fn what_belongs_to_the_backup_itself_is_not_sent() {
    for name in [manifest::FILE_NAME, UNFINISHED_CONTROL_FILE] {
        let target = Target::new();
        let refused = target.unpack(&[("global", DIR, b""), (name, FILE, b"{}")]);
        assert!(matches!(refused, Err(TakeError::Refused(_))), "{name}");
    }
    let target = Target::new();
    let without = target.unpack(&[("global", DIR, b"")]).unwrap();
    assert!(matches!(without.reveal(), Err(TakeError::Answer(_))));
}
