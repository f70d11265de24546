use proptest::prelude::*;
use wal::{Lsn, TimelineId};

use super::*;

fn parsed(text: &str) -> ReplicationCommand {
    parse(text).unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn lsn(text: &str) -> Lsn {
    text.parse().unwrap()
}

#[test]
fn reads_what_postgresql_15_tools_send() {
    use ReplicationCommand as Command;
    assert_eq!(parsed("IDENTIFY_SYSTEM"), Command::IdentifySystem);
    assert_eq!(parsed("SHOW data_directory_mode"), Command::Show("data_directory_mode".into()));
    assert_eq!(parsed("READ_REPLICATION_SLOT \"s\""), Command::ReadReplicationSlot("s".into()));
    assert_eq!(
        parsed("START_REPLICATION SLOT \"pg_basebackup_42\" 0/2000000 TIMELINE 1"),
        Command::StartPhysical {
            slot: Some("pg_basebackup_42".into()),
            start: lsn("0/2000000"),
            timeline: Some(TimelineId::new(1))
        }
    );
    assert_eq!(
        parsed("CREATE_REPLICATION_SLOT \"pg_basebackup_42\" TEMPORARY PHYSICAL ( RESERVE_WAL)"),
        Command::CreateReplicationSlot {
            name: "pg_basebackup_42".into(),
            temporary: true,
            kind: SlotKind::Physical,
            options: vec![ReplicationOption::flag("reserve_wal")],
        }
    );
    let backup = "BASE_BACKUP ( LABEL 'pg_basebackup base backup',  PROGRESS,  CHECKPOINT 'fast',  WAIT 0,  \
                  MANIFEST 'yes',  TARGET 'client')";
    assert_eq!(
        parsed(backup),
        Command::BaseBackup {
            options: vec![
                ReplicationOption::text("label", "pg_basebackup base backup"),
                ReplicationOption::flag("progress"),
                ReplicationOption::text("checkpoint", "fast"),
                ReplicationOption::integer("wait", 0),
                ReplicationOption::text("manifest", "yes"),
                ReplicationOption::text("target", "client"),
            ]
        }
    );
    assert_eq!(
        parsed("START_REPLICATION SLOT \"s\" LOGICAL 0/0 (\"proto_version\" '1', \"flag\")"),
        Command::StartLogical {
            slot: "s".into(),
            start: Lsn::INVALID,
            options: vec![("proto_version".into(), Some("1".into())), ("flag".into(), None)],
        }
    );
}

#[test]
fn old_forms_of_slot_options_mean_the_new_ones() {
    let old = parsed("CREATE_REPLICATION_SLOT s LOGICAL test_decoding NOEXPORT_SNAPSHOT TWO_PHASE;");
    let new = parsed("CREATE_REPLICATION_SLOT s LOGICAL test_decoding (SNAPSHOT 'nothing', TWO_PHASE)");
    assert_eq!(old, new);
    let ReplicationCommand::CreateReplicationSlot { options, .. } = new else { panic!("{new}") };
    let meaning = CreateSlotOptions::interpret(&options, true).unwrap();
    assert_eq!(meaning.snapshot, Some(SnapshotAction::Nothing));
    assert!(meaning.two_phase);
}

#[test]
fn what_is_not_a_command_is_taken_for_sql() {
    for text in
        ["", " ", "select 1", "identify_system", "show x", "; IDENTIFY_SYSTEM", "PHYSICAL", "'x'", "1/1"]
    {
        let error = parse(text).unwrap_err();
        assert_eq!(error.code, SqlState::FEATURE_NOT_SUPPORTED, "{text:?}");
        assert_eq!(error.message, "cannot execute SQL commands in WAL sender for physical replication");
    }
}

#[test]
fn malformed_commands_are_syntax_errors_with_postgresqls_texts() {
    for (text, message) in [
        ("IDENTIFY_SYSTEM x", "syntax error"),
        ("IDENTIFY_SYSTEM;;", "syntax error"),
        ("SHOW", "syntax error"),
        ("SHOW 'x'", "syntax error"),
        ("SHOW a.b.c.", "syntax error"),
        ("TIMELINE_HISTORY 0", "invalid timeline 0"),
        ("TIMELINE_HISTORY -1", "syntax error"),
        ("TIMELINE_HISTORY 0/1", "syntax error"),
        ("START_REPLICATION", "syntax error"),
        ("START_REPLICATION 0/0 TIMELINE 0", "invalid timeline 0"),
        ("START_REPLICATION LOGICAL 0/0", "syntax error"),
        ("START_REPLICATION SLOT s LOGICAL 0/0 ()", "syntax error"),
        ("START_REPLICATION 123456789/0", "invalid streaming start location"),
        ("START_REPLICATION SLOT \"s 0/0", "unterminated quoted string"),
        ("DROP_REPLICATION_SLOT 's'", "syntax error"),
        ("CREATE_REPLICATION_SLOT s", "syntax error"),
        ("CREATE_REPLICATION_SLOT s PHYSICAL ()", "syntax error"),
        ("CREATE_REPLICATION_SLOT s PHYSICAL (RESERVE_WAL", "syntax error"),
        ("CREATE_REPLICATION_SLOT s PHYSICAL TEMPORARY", "syntax error"),
        ("BASE_BACKUP LABEL 'x' PROGRESS", "syntax error"),
        ("BASE_BACKUP (LABEL 'x", "unterminated quoted string"),
        ("BASE_BACKUP (LABEL 'x' 'y')", "syntax error"),
        ("ALTER_REPLICATION_SLOT s", "syntax error"),
    ] {
        let error = parse(text).unwrap_err();
        assert_eq!((error.code.as_str(), error.message.as_str()), ("42601", message), "{text:?}");
    }
}

#[test]
fn identifiers_are_folded_and_cut_as_names_are() {
    let long = "A".repeat(70);
    assert_eq!(parsed(&format!("SHOW {long}")), ReplicationCommand::Show("a".repeat(63)));
    let wide = "é".repeat(40);
    assert_eq!(parsed(&format!("SHOW \"{wide}\"")), ReplicationCommand::Show("é".repeat(31)));
    assert_eq!(parsed("SHOW \"A\"\"b\".C"), ReplicationCommand::Show("A\"b.c".into()));
}

#[test]
fn slot_options_are_checked_as_postgresql_does() {
    let check =
        |options: &[ReplicationOption], logical| CreateSlotOptions::interpret(options, logical).unwrap_err();
    let twice = [ReplicationOption::flag("reserve_wal"), ReplicationOption::flag("reserve_wal")];
    assert_eq!(check(&twice, false).message, "conflicting or redundant options");
    assert_eq!(check(&twice[..1], true).message, "conflicting or redundant options");
    assert_eq!(check(&[ReplicationOption::flag("x")], false).message, "unrecognized option: x");
    let wrong = check(&[ReplicationOption::text("reserve_wal", "maybe")], false);
    assert_eq!(wrong, CommandError::syntax("reserve_wal requires a Boolean value"));
    assert_eq!(
        check(&[ReplicationOption::text("snapshot", "x")], true).code,
        SqlState::INVALID_PARAMETER_VALUE
    );
}

#[test]
fn slot_names_follow_postgresqls_rule() {
    assert_eq!(validate_slot_name("walship_1"), Ok(()));
    for (name, code) in
        [("", "42602"), ("Slot", "42602"), ("a-b", "42602"), (&"a".repeat(64) as &str, "42622")]
    {
        assert_eq!(validate_slot_name(name).unwrap_err().sqlstate().as_str(), code, "{name:?}");
    }
}

fn any_name() -> impl Strategy<Value = String> {
    "[a-z_\"A-Z '(),;./$0-9é\\PC]{1,20}"
        .prop_filter("identifiers are cut at 63 bytes", |name| name.len() <= 63)
}

fn any_option() -> impl Strategy<Value = ReplicationOption> {
    let value = prop_oneof![
        Just(None),
        any::<String>().prop_map(|text| Some(OptionValue::Text(text))),
        any::<u32>().prop_map(|number| Some(OptionValue::Integer(number))),
    ];
    (any_name(), value).prop_map(|(name, value)| ReplicationOption { name, value })
}

fn any_timeline() -> impl Strategy<Value = TimelineId> {
    (1..=u32::MAX).prop_map(TimelineId::new)
}

fn any_command() -> impl Strategy<Value = ReplicationCommand> {
    use ReplicationCommand as Command;
    let options = || prop::collection::vec(any_option(), 0..4);
    let start = || any::<u64>().prop_map(Lsn::new);
    let kind = prop_oneof![Just(SlotKind::Physical), any_name().prop_map(SlotKind::Logical)];
    let plugin_options = prop::collection::vec((any_name(), prop::option::of(any::<String>())), 0..4);
    prop_oneof![
        Just(Command::IdentifySystem),
        Just(Command::UploadManifest),
        "[a-z_]{1,20}(\\.[A-Z a-z\"]{1,20})?".prop_map(Command::Show),
        any_timeline().prop_map(Command::TimelineHistory),
        (any_name(), any::<bool>(), kind, options()).prop_map(|(name, temporary, kind, options)| {
            Command::CreateReplicationSlot { name, temporary, kind, options }
        }),
        any_name().prop_map(Command::ReadReplicationSlot),
        (any_name(), any::<bool>()).prop_map(|(name, wait)| Command::DropReplicationSlot { name, wait }),
        (any_name(), prop::collection::vec(any_option(), 1..4))
            .prop_map(|(name, options)| Command::AlterReplicationSlot { name, options }),
        (prop::option::of(any_name()), start(), prop::option::of(any_timeline()))
            .prop_map(|(slot, start, timeline)| Command::StartPhysical { slot, start, timeline }),
        (any_name(), start(), plugin_options).prop_map(|(slot, start, options)| Command::StartLogical {
            slot,
            start,
            options
        }),
        options().prop_map(|options| Command::BaseBackup { options }),
    ]
}

proptest! {
    #[test]
    fn every_command_reads_back_as_it_was_written(command in any_command()) {
        let text = command.to_string();
        prop_assert_eq!(parse(&text), Ok(command), "{}", text);
    }

    #[test]
    fn any_text_is_answered_without_a_panic(text in any::<String>(), keyword in "[A-Z_]{4,24}", rest in "\\PC{0,40}") {
        let _ = parse(&text);
        let _ = parse(&format!("{keyword} {rest}"));
        let _ = parse(&format!("BASE_BACKUP ({rest})"));
        let _ = parse(&format!("START_REPLICATION {rest}"));
    }
}
