//! What nests within the limits fits half the stack of the threads that it is meant for: parsed, planned, evaluated and
//! dropped. What nests deeper is refused.

use super::Catalog;
use crate::expr::{EvalContext, NoServer};
use crate::nesting::STACK;
use crate::parse::parse;
use crate::plan::{PlanNode, plan};
use crate::{SqlError, Value};

/// A statement that nests; each level is written once in front of the innermost expression and once behind it.
struct Shape {
    before: &'static str,
    open: &'static str,
    inner: &'static str,
    close: &'static str,
    /// How many levels are accepted
    limit: usize,
}

const fn nested(open: &'static str, inner: &'static str, close: &'static str, limit: usize) -> Shape {
    Shape { before: "select ", open, inner, close, limit }
}

const fn chain(inner: &'static str, link: &'static str, limit: usize) -> Shape {
    nested("", inner, link, limit)
}

/// What can be executed.
const SHAPES: &[Shape] = &[
    nested("(", "$1::int", ")", 500),
    nested("(1 + ", "$1::int", ")", 500),
    nested("(true and (false or ", "$1::bool", "))", 250),
    nested("not ", "$1::bool", "", 1006),
    nested("- ", "$1::int", "", 1006),
    nested("case when $1::bool then 1 else ", "$1::int", " end", 500),
    nested("case ", "$1::int", " when 1 then 1 end", 500),
    nested("case 1 when 1 then ", "$1::int", " end", 500),
    nested("abs(", "$1::int", ")", 500),
    nested("coalesce($1, ", "$1::int", ")", 500),
    nested("cast(", "$1::int", " as bigint)", 500),
    nested("substring(", "$1::text", " from 1)", 500),
    nested("true in (", "$1::bool", ")", 500),
    nested("true between false and (", "$1::bool", ")", 500),
    nested("'a' like (", "$1::text", ")::text", 500),
    nested("(", "$1::int", " is null)", 500),
    Shape { before: "", ..nested("(", "select 1", ")", 500) },
    chain("$1::int", "+1", 14_997),
    chain("1", "*1", 14_999),
    chain("$1::text", "||'a'", 14_997),
    chain("$1::bool", "=true", 7_498),
    chain("$1::int", "::text::int", 3_749),
    chain("$1::bool", " is null", 7_498),
    chain("$1::bool", " is not true", 4_999),
    chain("$1::bool", " between false and true", 3_749),
    chain("$1::int = 1", " or $1 = 1", 7_498),
    chain("$1::int = 1", " and $1 <> 1", 7_498),
    chain("$1::bool", " and true or false", 3_749),
];

/// What is read, and refused only then.
const REFUSED: &[Shape] = &[
    nested("(select ", "1", ")", 500),
    nested("exists (select ", "1", ")", 500),
    Shape { before: "", ..nested("select * from (", "select 1", ") x", 500) },
    Shape { before: "select * from ", ..nested("(", "t join t on true", ")", 500) },
    nested("array[", "1", "]", 500),
    nested("a[", "1", "]", 500),
    nested("(1, ", "1", ")", 500),
    nested("count(*) over (order by ", "1", ")", 500),
    nested("position('x' in (", "'a'", "))", 6),
    nested("extract(epoch from ", "1", ")", 500),
    nested("interval ", "'1'", "", 1006),
    chain("'a'", " like 'a'", 14_999),
    chain("now()", " at time zone 'utc'", 4_999),
    chain("'a'", " rlike 'a'", 14_999),
    chain("'a'", " similar to 'a'", 7_499),
    chain("'{}'::jsonb", "->'a'", 14_997),
    chain("1", "+1+true", 4_999),
    chain("1", " union select 1", 7_499),
    chain("1 from t", " join t on true", 3_749),
    chain("1::int", "[]", 14_997),
    chain("array[1,2]", "+array[1,2]", 4_999),
    chain("1", "+x.and+x.or+x.end", 1_666),
];

impl Shape {
    fn text(&self, levels: usize) -> String {
        let Self { before, open, inner, close, .. } = self;
        format!("{before}{}{inner}{}", open.repeat(levels), close.repeat(levels))
    }
}

/// Executes a statement with a parameter that is NULL.
fn execute(catalog: &Catalog, text: &str) -> Result<(), SqlError> {
    let statements = parse(text)?;
    let plan = plan(&statements[0], catalog, &[])?;
    let PlanNode::Select(select) = &plan.node else { panic!("{text} selects nothing") };
    let copy = select.projection.clone();
    for expr in &copy {
        expr.eval(&EvalContext::new(&[Value::Null], &NoServer))?;
    }
    Ok(())
}

fn is_too_deep(result: &Result<(), SqlError>) -> bool {
    result.as_ref().is_err_and(|error| error.sqlstate() == "54001")
}

/// On a thread with half of the stack that threads are given.
fn on_half_the_stack(work: impl FnOnce() + Send + 'static) {
    let thread = std::thread::Builder::new().stack_size(STACK / 2).spawn(work).unwrap();
    thread.join().unwrap();
}

#[test]
fn expressions_as_deep_as_the_limit_are_executed_and_deeper_ones_are_refused() {
    on_half_the_stack(|| {
        let catalog = Catalog::new();
        for shape in SHAPES {
            let result = execute(&catalog, &shape.text(shape.limit));
            assert!(result.is_ok(), "{}: {result:?}", shape.text(1));
            let result = execute(&catalog, &shape.text(shape.limit + 1));
            assert!(is_too_deep(&result), "{}: {result:?}", shape.text(1));
        }
    });
}

#[test]
fn what_is_not_supported_is_refused_at_any_depth() {
    on_half_the_stack(|| {
        let catalog = Catalog::new();
        for shape in REFUSED {
            let result = execute(&catalog, &shape.text(shape.limit));
            assert!(result.is_err() && !is_too_deep(&result), "{}: {result:?}", shape.text(1));
            for levels in [shape.limit + 1, 30_000] {
                let result = execute(&catalog, &shape.text(levels));
                assert!(is_too_deep(&result), "{levels} levels of {}: {result:?}", shape.text(1));
            }
        }
    });
}

#[test]
fn a_plan_at_the_limit_can_be_dropped_by_any_thread() {
    let shape = chain("$1::int", "+1", 14_997);
    let planner = std::thread::Builder::new().stack_size(STACK / 2).spawn(move || {
        let statement = parse(&shape.text(shape.limit)).unwrap().remove(0);
        let plan = plan(&statement, &Catalog::new(), &[]).unwrap();
        (statement, plan)
    });
    let made = planner.unwrap().join().unwrap();
    std::thread::Builder::new().stack_size(2 << 20).spawn(move || drop(made)).unwrap().join().unwrap();
}

#[test]
fn operands_are_bound_once_however_deep_they_nest() {
    // Binding them twice would take 2^60 steps.
    on_half_the_stack(|| {
        let catalog = Catalog::new();
        execute(&catalog, &format!("select $1::bool{}", " between false and true".repeat(60))).unwrap();
        let (open, close) = ("case ".repeat(60), " when 1 then 1 when 2 then 2 end".repeat(60));
        execute(&catalog, &format!("select {open}$1::int{close}")).unwrap();
        let text = format!("select {}'a'{}", "position(".repeat(60), ")".repeat(60));
        assert!(is_too_deep(&execute(&catalog, &text)));
    });
}

#[test]
fn between_and_case_compare_as_their_definitions_say() {
    let catalog = Catalog::new();
    for (text, wanted) in [
        ("$1 + 2 between 1 and 3", Value::Null),
        ("abs($2) between 1 and 3", Value::Bool(true)),
        ("abs($2) between 1 and $1", Value::Null),
        ("abs($2) between $1 and 1", Value::Bool(false)),
        ("abs($2) not between 2.5 and 1", Value::Bool(true)),
        ("abs($2) not between 1 and 3", Value::Bool(false)),
        ("$2 between 1 and 3000000000", Value::Bool(true)),
        ("case abs($2) when 1 then 5 when 2 then 6 else 7 end", Value::Int4(6)),
        ("case abs($2) when 1.5 then 5 when 2 then 6 end", Value::Int4(6)),
        ("case $1 when null then 5 else 7 end", Value::Int4(7)),
        ("case 'b' when 'a' then 1 when 'b' then 2 end", Value::Int4(2)),
        ("case abs($2) when 1 then 5 end", Value::Null),
    ] {
        let statements = parse(&format!("select {text}")).unwrap();
        let plan = plan(&statements[0], &catalog, &[crate::Type::Int4, crate::Type::Int4]).unwrap();
        let PlanNode::Select(select) = &plan.node else { panic!() };
        let params = [Value::Null, Value::Int4(2)];
        let value = select.projection[0].eval(&EvalContext::new(&params, &NoServer)).unwrap();
        assert_eq!(value, wanted, "{text}");
    }
}
