use super::*;
use crate::copy::CopyOptions;

fn one(text: &str) -> Statement {
    let mut statements = parse(text).unwrap_or_else(|e| panic!("{text}: {e}"));
    assert_eq!(statements.len(), 1, "{text}");
    statements.remove(0).kind
}

fn utility(text: &str) -> Utility {
    match one(text) {
        Statement::Utility(utility) => utility,
        other => panic!("{text}: {other:?}"),
    }
}

fn error(text: &str) -> (&'static str, String, Option<u32>) {
    let error = parse(text).map(|s| s.len()).expect_err(text);
    (error.sqlstate(), error.message().to_owned(), error.position())
}

#[test]
fn a_text_is_split_into_its_statements() {
    let text = "begin; select ';' -- ; no\n, \"a;b\" from t;\n;  ü as x; end";
    let error = parse(text).unwrap_err();
    assert_eq!((error.sqlstate(), error.position()), ("42601", Some(46)));
    let statements = parse("begin;\n select ';é';;commit ;").unwrap();
    let texts: Vec<_> = statements.iter().map(|s| (s.text.as_str(), s.offset)).collect();
    assert_eq!(texts, [("begin", 0), ("select ';é'", 8), ("commit", 21)]);
    assert!(matches!(parse(" /* nothing */ ; ").unwrap()[0].kind, Statement::Utility(Utility::Empty)));
}

#[test]
fn transactions_are_read() {
    let repeatable =
        TransactionModes { isolation: Some(IsolationLevel::RepeatableRead), ..Default::default() };
    assert_eq!(utility("BEGIN ISOLATION LEVEL REPEATABLE READ"), Utility::Begin(repeatable, false));
    let all = TransactionModes {
        isolation: Some(IsolationLevel::Serializable),
        read_only: Some(true),
        deferrable: Some(true),
    };
    let text = "start transaction isolation level serializable, read only, deferrable";
    assert_eq!(utility(text), Utility::Begin(all, true));
    assert_eq!(utility("end"), Utility::Commit { chain: false });
    assert_eq!(utility("commit work and chain"), Utility::Commit { chain: true });
    assert_eq!(utility("rollback to savepoint \"S\""), Utility::RollbackTo("S".into()));
    assert_eq!(utility("abort"), Utility::Rollback { chain: false });
    assert_eq!(utility("RELEASE Sp"), Utility::Release("sp".into()));
    assert_eq!(utility("set transaction read write").tag(), "SET");
    assert_eq!(error("begin foo"), ("42601", "syntax error at or near \"foo\"".into(), Some(7)));
    assert_eq!(error("commit prepared 'x'").0, "0A000");
}

#[test]
fn settings_are_read() {
    let set = |name: &str, value: Option<&str>, local| Utility::Set {
        name: name.into(),
        value: value.map(str::to_owned),
        local,
    };
    assert_eq!(utility("SET DateStyle = ISO, MDY"), set("datestyle", Some("iso, mdy"), false));
    assert_eq!(utility("set local statement_timeout to -1"), set("statement_timeout", Some("-1"), true));
    assert_eq!(utility("set session a.b = 'X y'"), set("a.b", Some("X y"), false));
    assert_eq!(utility("set time zone 'UTC'"), set("timezone", Some("UTC"), false));
    assert_eq!(utility("set names 'utf8'"), set("client_encoding", Some("utf8"), false));
    assert_eq!(utility("set extra_float_digits to default"), set("extra_float_digits", None, false));
    assert_eq!(utility("show transaction isolation level"), Utility::Show("transaction_isolation".into()));
    assert_eq!(utility("SHOW ALL"), Utility::Show("all".into()));
    assert_eq!(utility("reset all"), Utility::Reset("all".into()));
    assert_eq!(utility("discard all").tag(), "DISCARD ALL");
    assert_eq!(utility("checkpoint"), Utility::Checkpoint);
    assert_eq!(utility("deallocate all").tag(), "DEALLOCATE ALL");
}

#[test]
fn prepared_statements_of_the_language_keep_their_texts() {
    assert_eq!(
        utility("prepare p (int, double precision) as select $1, ';'"),
        Utility::Prepare("p".into(), vec!["int".into(), "double precision".into()], "select $1, ';'".into())
    );
    assert_eq!(
        utility("execute p (1, f(2, 3), 'a,b')"),
        Utility::Execute("p".into(), vec!["1".into(), "f(2, 3)".into(), "'a,b'".into()])
    );
}

#[test]
fn tables_are_dropped_emptied_and_given_keys() {
    let Statement::DropTables { if_exists: true, names } =
        one("drop table if exists pgbench_accounts, public.pgbench_branches, \"T\" cascade")
    else {
        panic!()
    };
    assert_eq!(names[1], Name { schema: Some("public".into()), name: "pgbench_branches".into() });
    assert_eq!(names[2].name, "T");
    assert!(
        matches!(one("truncate table a, b"), Statement::Truncate { names, restart: false } if names.len() == 2)
    );
    let Statement::AddPrimaryKey { table, constraint: None, columns, .. } =
        one("alter table pgbench_branches add primary key (bid, X)")
    else {
        panic!()
    };
    assert_eq!((table.name.as_str(), columns), ("pgbench_branches", vec!["bid".to_owned(), "x".to_owned()]));
    assert_eq!(error("alter table t add constraint c foreign key (a) references b").0, "0A000");
    assert_eq!(error("alter table t rename to u").0, "0A000");
    assert!(
        matches!(one("vacuum analyze pgbench_branches"), Statement::Maintain { tag: "VACUUM", names } if names.len() == 1)
    );
    assert!(matches!(one("analyze"), Statement::Maintain { tag: "ANALYZE", names } if names.is_empty()));
}

#[test]
fn copy_takes_both_forms_of_options() {
    let options = |text: &str| match one(text) {
        Statement::Copy(copy) => copy.options,
        other => panic!("{other:?}"),
    };
    let freeze = CopyOptions { freeze: true, ..CopyOptions::default() };
    assert_eq!(options("copy pgbench_accounts from stdin with (freeze on)"), freeze);
    assert_eq!(options("copy t from stdin"), CopyOptions::default());
    let csv = CopyOptions { header: true, delimiter: b';', ..CopyOptions::csv() };
    assert_eq!(options("copy t (a, b) to stdout with (format csv, header, delimiter ';')"), csv);
    assert_eq!(options("COPY t TO STDOUT WITH CSV HEADER DELIMITER AS ';'"), csv);
    assert_eq!(options("copy (select 1) to stdout (null 'x')").null, b"x");
    for (text, code) in [
        ("copy t from '/etc/passwd'", "0A000"),
        ("copy t from stdin (format binary, null 'x')", "42601"),
        ("copy t from stdin (delimiter 'ab')", "0A000"),
        ("copy t from stdin (delimiter 'a')", "22023"),
        ("copy t from stdin (quote 'a')", "0A000"),
        ("copy t from stdin (nonsense)", "42601"),
        ("copy t sideways stdin", "42601"),
    ] {
        assert_eq!(error(text).0, code, "{text}");
    }
}

#[test]
fn syntax_errors_name_the_token_and_its_position() {
    for (text, message, position) in [
        ("selec 1", "syntax error at or near \"selec\"", 1),
        ("select 1 +", "syntax error at end of input", 11),
        ("select * from", "syntax error at end of input", 14),
        ("select é from t wher x = 1 1", "syntax error at or near \"x\"", 22),
        ("insert into t values (1", "syntax error at end of input", 24),
        ("select 1 1", "syntax error at or near \"1\"", 10),
        ("select 'abc", "unterminated quoted string at or near \"'abc\"", 8),
    ] {
        assert_eq!(error(text), ("42601", message.into(), Some(position)), "{text}");
    }
    assert_eq!(error("explain select 1").0, "0A000");
    assert_eq!(error("create index on t (a)").0, "0A000");
}

#[test]
fn lists_may_be_as_wide_as_they_like() {
    one(&format!("insert into t values {}(1, -1 + 2)", "(1, -1 + 2), ".repeat(30_000)));
    one(&format!("select 1 where a in ({}1)", "-1, ".repeat(100_000)));
}

#[test]
fn many_statements_on_one_line_are_read_in_time_that_grows_with_their_number_alone() {
    // Finding each of them from the beginning of its line would take minutes.
    let statements = parse(&"select 'é';".repeat(40_000)).unwrap();
    assert_eq!(statements.len(), 40_000);
    let last = statements.last().unwrap();
    assert_eq!((last.text.as_str(), last.offset), ("select 'é'", 39_999 * 11));
    assert_eq!(error(&format!("{}select 1 1", "select 'é';".repeat(1000))).2, Some(11_010));
}

#[test]
fn a_text_of_too_many_tokens_is_refused_before_it_takes_memory() {
    let (code, message, _) = error(&format!("select {}1", "1,".repeat(1 << 21)));
    assert_eq!(code, "54000", "{message}");
    one(&format!("select '{}'", "a ".repeat(1 << 22)));
}
