use std::fs;

use proptest::prelude::*;

use super::*;

fn directory(main: &str, auto: Option<&str>) -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join(MAIN_FILE), main).unwrap();
    if let Some(auto) = auto {
        fs::write(directory.path().join(AUTO_FILE), auto).unwrap();
    }
    directory
}

#[test]
fn settings_are_found_by_name_and_every_default_is_a_value() {
    assert!(definitions().is_sorted_by(|one, other| one.name < other.name));
    for definition in definitions() {
        assert!(definition.kind.parse(definition.default).is_ok(), "{}", definition.name);
        assert_eq!(definition.name, definition.name.to_ascii_lowercase());
    }
    assert_eq!(definition("Shared_Buffers").unwrap().name, "shared_buffers");
    assert!(definition("shared_buffer").is_none());
}

#[test]
fn every_setting_is_documented() {
    let documentation = include_str!("../../../../docs/operations.md");
    for definition in definitions() {
        let named = documentation.contains(&format!("`{}`", definition.name));
        assert!(named, "docs/operations.md does not tell of {}", definition.name);
    }
}

#[test]
fn later_lines_files_and_the_command_line_win() {
    let main = "port 5555\nport = '6000' # six\nshared_buffers=1GB\nmax_wal_size = 8GB\n";
    let auto = "# by hand\nprimary_conninfo = 'host=''a b'' user=x'\nmax_wal_size = '4096'\n";
    let directory = directory(main, Some(auto));
    let config = Config::load(directory.path(), &["shared-buffers=256MB".to_owned()]).unwrap();
    assert_eq!(config.integer("port"), 6000);
    assert_eq!(config.text("primary_conninfo"), "host='a b' user=x");
    assert_eq!(config.bytes("max_wal_size"), Some(4 << 30));
    assert_eq!(config.bytes("shared_buffers"), Some(256 << 20));
    assert_eq!(config.origin("shared_buffers"), Some(&Origin::CommandLine));
    assert_eq!(config.origin("wal_level"), Some(&Origin::Default));
}

#[test]
fn what_is_not_understood_is_refused_with_its_place() {
    let refused = |main: &str, overrides: &[&str]| {
        let directory = directory(main, None);
        let overrides: Vec<String> = overrides.iter().map(|text| (*text).to_owned()).collect();
        let error = Config::load(directory.path(), &overrides).unwrap_err().to_string();
        error.replace(&directory.path().display().to_string(), "D")
    };
    for (main, message) in [
        (
            "\nwork_mem = 4MB\n",
            "unrecognized configuration parameter \"work_mem\" in file \"D/postgresql.conf\" line 2",
        ),
        (
            "port = many",
            "invalid value for parameter \"port\": \"many\" in file \"D/postgresql.conf\" line 1; expected a number from 0 to 65535",
        ),
        ("port", "syntax error in file \"D/postgresql.conf\" line 1: expected name = value"),
        ("port =", "syntax error in file \"D/postgresql.conf\" line 1: expected name = value"),
        ("port = 1 2", "syntax error in file \"D/postgresql.conf\" line 1: expected name = value"),
        ("cluster_name = 'a", "syntax error in file \"D/postgresql.conf\" line 1: expected name = value"),
        (
            "wal_segment_size = 1MB",
            "parameter \"wal_segment_size\" cannot be changed in file \"D/postgresql.conf\" line 1",
        ),
    ] {
        assert_eq!(refused(main, &[]), message);
    }
    let message = "invalid value for parameter \"fsync\": \"off\" on the command line; expected one of on";
    assert_eq!(refused("", &["fsync=off"]), message);
    assert_eq!(refused("", &["port"]), "-c \"port\": expected name=value");
    let missing = tempfile::tempdir().unwrap();
    assert!(Config::load(missing.path(), &[]).unwrap_err().to_string().contains("No such file"));
}

#[test]
fn values_are_read_and_shown_in_postgresqls_units() {
    for (name, given, shown) in [
        ("shared_buffers", "16384", "128MB"),
        ("shared_buffers", "1.5GB", "1536MB"),
        ("max_wal_size", "2048", "2GB"),
        ("wal_keep_size", "0", "0"),
        ("max_slot_wal_keep_size", "-1", "-1"),
        ("wal_sender_timeout", "90s", "90s"),
        ("wal_sender_timeout", "1500", "1500ms"),
        ("checkpoint_timeout", "3600", "1h"),
        ("statement_timeout", "2 min", "2min"),
        ("checkpoint_completion_target", "0.5", "0.5"),
        ("full_page_writes", "t", "on"),
        ("wal_compression", "false", "off"),
        ("synchronous_commit", "TRUE", "on"),
        ("unix_socket_permissions", "0700", "0700"),
    ] {
        let mut config = Config::default();
        config.set(name, given, Origin::CommandLine).unwrap();
        assert_eq!(config.show(name).as_deref(), Some(shown), "{name} = {given}");
    }
    for (name, given) in [
        ("shared_buffers", "1 GiB"),
        ("shared_buffers", "-1"),
        ("port", "1kB"),
        ("checkpoint_timeout", "1s"),
        ("statement_timeout", "25d"),
        ("checkpoint_completion_target", "2"),
        ("full_page_writes", "o"),
        ("unix_socket_permissions", "999"),
    ] {
        assert!(Config::default().set(name, given, Origin::CommandLine).is_err(), "{name} = {given}");
    }
}

#[test]
fn the_sample_is_understood_and_shows_the_defaults() {
    let uncommented: String = SAMPLE
        .lines()
        .filter_map(|line| {
            line.strip_prefix('#').filter(|rest| rest.starts_with(|c: char| c.is_ascii_lowercase()))
        })
        .flat_map(|line| [line, "\n"])
        .collect();
    let directory = directory(&uncommented, None);
    let config = Config::load(directory.path(), &[]).unwrap();
    for definition in definitions() {
        assert_eq!(config.value(definition), definition.default_value(), "{}", definition.name);
    }
    assert!(uncommented.lines().count() > 15);
}

#[test]
fn sessions_begin_with_what_is_configured_for_them() {
    let mut config = Config::default();
    config.set("statement_timeout", "1s", Origin::CommandLine).unwrap();
    config.set("port", "1", Origin::CommandLine).unwrap();
    assert_eq!(config.session_defaults().collect::<Vec<_>>(), [("statement_timeout", "1s".to_owned())]);
    assert_eq!(Config::default().needs_restart(&config), ["port"]);
}

proptest! {
    #[test]
    fn a_quoted_value_comes_out_as_it_went_in(value in "[ -~]{0,30}") {
        let quoted = value.replace('\\', "\\\\").replace('\'', "''");
        let line = format!("  cluster_name='{quoted}'#x");
        prop_assert_eq!(file::parse_line(&line), Ok(Some(("cluster_name".to_owned(), value))));
    }

    #[test]
    fn no_line_makes_the_parser_panic(line in "\\PC{0,60}") {
        if let Ok(Some((name, value))) = file::parse_line(&line) {
            let _refused = Config::default().set(&name, &value, Origin::CommandLine);
        }
    }
}

#[test]
fn what_cannot_change_while_the_server_runs_stays_what_it_is_and_is_named_each_time() {
    let load = |main: &str| Config::load(directory(main, None).path(), &[]).unwrap();
    let running = load("password_file = 'one'\nrestore_command = 'a'\n");
    let mut live = running;
    for _ in 0..2 {
        let new = load("password_file = 'two'\nrestore_command = 'b'\nmax_connections = 5\n");
        assert_eq!(live.needs_restart(&new), ["max_connections", "password_file"]);
        live = new.keeping_fixed(&live);
        assert_eq!((live.text("password_file"), live.text("restore_command")), ("one".into(), "b".into()));
        assert_eq!(live.integer("max_connections"), 100);
    }
    let back = load("password_file = 'one'\n");
    assert!(live.needs_restart(&back).is_empty());
}
