//! Whatever the text, parsing, planning and evaluating end in a result or an error.

use proptest::prelude::*;

use super::Catalog;
use crate::expr::{EvalContext, NoServer};
use crate::parse::parse;
use crate::plan::{PlanNode, plan};

const CORPUS: &[&str] = &[
    "select a, b + 1, 'x' || c from t where a = $1 and b between 1 and 2.5 or c like 'a%' order by 2 desc limit 5 offset 1",
    "select count(*), sum(a), avg(distinct b) filter (where g) from t group by l having count(*) > 1",
    "select case a when 1 then 'x' else null end, coalesce(c, d, e), -a, not g, c::int, cast(f as text) from t as u",
    "select extract(epoch from h), substring(c from 2 for 3), trim(both 'x' from c), interval '1 day' + h from t for update",
    "insert into t (a, b, c) values (1, default, E'\\n'), (-2147483648, 2, $$x$$) on conflict (a) do update set b = excluded.b + t.b where t.a > 0 returning *",
    "insert into pair select x, 'a', 1 from generate_series(1, 10) as x",
    "update t set (b, c) = (1, 'x'), f = random(), j = '{\"a\": [1, null]}' where a in (1, 2, 3) returning a",
    "delete from pair where x = 1 and y > 'a' and y <= 'b'",
    "create table n (a int not null, b varchar(10) default 'x', primary key (a, b)) with (fillfactor=90)",
    "copy t (a, b) from stdin with (format csv, delimiter ';', null 'x', header)",
    "copy (select * from t) to stdout csv header quote as '''",
    "begin isolation level repeatable read, read only; savepoint a; rollback to a; commit and chain",
    "set local timezone to 'UTC'; show all; reset all; discard all; deallocate all; vacuum (verbose) t (a); checkpoint",
    "alter table heap add constraint k primary key (a, b); drop table if exists a, b cascade; truncate t",
    "prepare p (int) as select $1; execute p (1, 'a')",
    "values (1, 'a', null), (2.5, $1, true)",
    "select U&'\\0041', B'01', X'ff', N'a', 1e10, .5, 0x1F, \"a\"\"b\", /* c /* d */ */ 1 -- end",
];

const PIECES: &[&str] = &[
    "(",
    ")",
    ",",
    ";",
    "'",
    "\"",
    "$1",
    "$0",
    "$65536",
    "::",
    "[",
    "]",
    "{",
    "}",
    "--",
    "/*",
    "*/",
    "$$",
    "\\",
    "\0",
    "é",
    "null",
    "not",
    "select",
    "from",
    "where",
    "case",
    "end",
    "in",
    "between",
    "and",
    "or",
    "*",
    ".",
    "-",
    "1",
    "99999999999999999999999999999999999999999999",
    "1e400",
    "interval",
    "array",
    "row",
    "over",
    "distinct",
    "exists",
    "any",
    "as",
    "by",
    "order",
    "group",
    "limit",
    "@",
    "#",
    "~",
    "!",
    "<>",
    "||",
    "E'\\",
    "U&'",
    "B'",
    "\u{1F600}",
    "\r\n",
    "0x",
];

fn mutated() -> impl Strategy<Value = String> {
    let edits =
        proptest::collection::vec((any::<prop::sample::Index>(), 0..4u8, any::<prop::sample::Index>()), 0..6);
    (prop::sample::select(CORPUS), prop::sample::select(CORPUS), edits).prop_map(|(text, other, edits)| {
        let mut chars: Vec<char> = text.chars().collect();
        for (at, kind, what) in edits {
            let at = at.index(chars.len() + 1);
            let end = (at + what.index(12)).min(chars.len());
            match kind {
                0 => drop(chars.drain(at..end)),
                1 => drop(chars.splice(at..at, PIECES[what.index(PIECES.len())].chars())),
                2 => drop(chars.splice(at..end, PIECES[what.index(PIECES.len())].chars())),
                _ => {
                    let other: Vec<char> = other.chars().collect();
                    let from = what.index(other.len());
                    chars.splice(at..at, other[from..(from + 15).min(other.len())].iter().copied());
                }
            }
        }
        chars.into_iter().collect()
    })
}

fn try_out(catalog: &Catalog, text: &str) {
    let Ok(statements) = parse(text) else { return };
    for statement in &statements {
        let Ok(plan) = plan(statement, catalog, &[]) else { continue };
        if let PlanNode::Select(select) = &plan.node {
            for expr in &select.projection {
                let _either = expr.eval(&EvalContext::new(&[], &NoServer));
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, ..ProptestConfig::default() })]

    #[test]
    fn on_changed_statements(text in mutated()) {
        try_out(&Catalog::new(), &text);
    }

    #[test]
    fn on_any_characters(text in ".{0,60}") {
        try_out(&Catalog::new(), &text);
        try_out(&Catalog::new(), &format!("select {text}"));
    }
}

#[test]
fn on_the_unchanged_statements() {
    for text in CORPUS {
        try_out(&Catalog::new(), text);
    }
}
