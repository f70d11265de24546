//! Query texts, as any client may send them: read, planned over a small catalog, and evaluated.
#![no_main]

use std::sync::{Arc, LazyLock};
use std::thread;

use libfuzzer_sys::fuzz_target;
use sql::catalog::{CatalogView, SystemRelation, TableDef};
use sql::expr::NoServer;
use sql::nesting::STACK;
use sql::parse::{Normalized, normalize};
use sql::plan::{Source, plan};
use sql::types::text;
use sql::{EvalContext, ParsedStatement, Plan, PlanNode, SqlError, Type, Value, parse};

/// A letter that is a token, a node of the syntax tree and an expression of the plan.
const PER_BYTE: usize = 4096;

fuzz_target!(|input: &str| {
    let catalog = &*CATALOG;
    walship_fuzz::bounded_by(PER_BYTE, input.as_bytes(), |_| {
        thread::scope(|scope| {
            let work = || {
                statements(catalog, input);
                literals(catalog, input);
            };
            thread::Builder::new().stack_size(STACK).spawn_scoped(scope, work).expect("a thread");
        });
    });
});

static CATALOG: LazyLock<Catalog> = LazyLock::new(|| {
    let mut catalog = Catalog(Vec::new());
    for text in [
        "create table t (a int primary key, b bigint, c text default 'x', d varchar(5), e char(4), f float8, \
         g boolean, h timestamptz default now(), i uuid, j jsonb, k bytea, l smallint, m timestamp)",
        "create table pair (x int, y text, z int not null, primary key (x, y))",
        "create table heap (a int, b text)",
    ] {
        let statement = parse(text).expect("a statement").remove(0);
        let PlanNode::CreateTable(create) = plan(&statement, &catalog, &[]).expect("a plan").node else {
            unreachable!("it creates a table")
        };
        let oid = 16_384 + catalog.0.len() as u32;
        let table = TableDef::new(oid, create.name, create.columns, create.primary_key, oid);
        catalog.0.push(Arc::new(table.expect("a table")));
    }
    catalog
});

struct Catalog(Vec<Arc<TableDef>>);

impl CatalogView for Catalog {
    fn table(&self, schema: Option<&str>, name: &str) -> Option<Arc<TableDef>> {
        self.0.iter().find(|table| schema.is_none_or(|s| s == "public") && table.name == name).cloned()
    }

    fn system_relation(&self, _: Option<&str>, _: &str) -> Option<Arc<SystemRelation>> {
        None
    }
}

/// Every statement is planned, or refused with an error whose place is in the text; what a plan computes can be printed.
fn statements(catalog: &Catalog, text: &str) {
    let characters = text.chars().count();
    let check_place = |error: &SqlError| {
        assert!(error.position().is_none_or(|at| (1..=characters + 1).contains(&(at as usize))), "{error:?}");
    };
    match parse(text) {
        Ok(statements) => {
            for statement in &statements {
                match plan(statement, catalog, &[]) {
                    Ok(plan) => evaluate(&plan, text),
                    Err(error) => check_place(&error),
                }
            }
        }
        Err(error) => check_place(&error),
    }
}

/// The rows that a query without a table returns; nothing if it has no such rows, or fails.
fn results(plan: &Plan, params: &[Value<'_>]) -> Option<Vec<Value<'static>>> {
    let PlanNode::Select(select) = &plan.node else { return None };
    let row = match &select.source {
        Source::Nothing => Vec::new(),
        Source::Table { table, .. } => table.columns().iter().map(|column| sample(column.ty)).collect(),
        _ => return None,
    };
    let context = EvalContext::new(params, &NoServer);
    let context = context.with_values(&row);
    if select.grouping.is_some() {
        return None;
    }
    let values = select.projection.iter().map(|expr| expr.eval(&context).map(Value::into_owned));
    values.collect::<Result<_, _>>().ok()
}

fn evaluate(plan: &Plan, text: &str) {
    // A few letters of these make megabytes, as they should.
    if ["repeat", "pad"].iter().any(|word| text.to_ascii_lowercase().contains(word)) {
        return;
    }
    for (value, column) in results(plan, &[]).unwrap_or_default().iter().zip(&plan.columns) {
        check(value, column.ty, text);
    }
}

/// A value of a result is shown as text that stands for it.
fn check(value: &Value<'_>, ty: Type, statement: &str) {
    if value.is_null() || ty == Type::Void {
        return;
    }
    let mut shown = Vec::new();
    text::write(value, ty, &mut shown);
    let shown = String::from_utf8(shown).expect("text");
    assert!(!shown.contains('\0') || statement.contains('\0'), "a zero in {shown:?}");
    if matches!(ty, Type::Unknown | Type::Name) {
        return;
    }
    let again = text::parse(ty, &shown).unwrap_or_else(|error| panic!("{ty:?} {shown:?}: {error:?}"));
    assert_eq!(value.compare(&again), Some(std::cmp::Ordering::Equal), "{ty:?} {shown:?}");
}

fn sample(ty: Type) -> Value<'static> {
    match ty {
        Type::Bool => Value::Bool(true),
        Type::Int2 => Value::Int2(i16::MIN),
        Type::Int4 => Value::Int4(i32::MAX),
        Type::Int8 => Value::Int8(i64::MIN),
        Type::Float8 => Value::Float8(f64::MAX),
        Type::Timestamp | Type::Timestamptz => Value::Timestamp(i64::MAX),
        Type::Uuid => Value::Uuid([7; 16]),
        Type::Bytea => Value::Bytes(vec![0, 255].into()),
        Type::Jsonb => Value::text("{\"a\": [1, null]}"),
        _ => Value::text("\u{e9}a%"),
    }
}

/// A statement whose literals were made parameters returns the same columns and the same values.
fn literals(catalog: &Catalog, text: &str) {
    let mut normalized = Normalized::default();
    if !normalize(text, &mut normalized) || normalized.is_empty() {
        return;
    }
    let plan_of = |text: &str, types: &[Type]| -> Option<Plan> {
        let mut statements: Vec<ParsedStatement> = parse(text).ok()?;
        assert_eq!(statements.len(), 1, "{text}");
        plan(&statements.pop()?, catalog, types).ok()
    };
    let Some(shared) = plan_of(&normalized.text, &normalized.types) else { return };
    let mut values = Vec::new();
    if normalized.values(text, &shared.params, &mut values).is_err() {
        return;
    }
    let Some(plain) = plan_of(text, &[]) else {
        panic!("{text} cannot be planned, but {} can", normalized.text)
    };
    assert_eq!(plain.columns, shared.columns, "{text}");
    if let (Some(plain), Some(shared)) = (results(&plain, &[]), results(&shared, &values)) {
        for (plain, shared) in plain.iter().zip(&shared) {
            let equal =
                plain.is_null() && shared.is_null() || plain.compare(shared).is_some_and(|o| o.is_eq());
            assert!(equal, "{text}: {plain:?} and {shared:?}");
        }
    }
}
