//! Values of expressions; the expected ones are what PostgreSQL 15 printed (but for subqueries and arrays, which it has).

use super::Catalog;

#[test]
fn expressions_give_what_postgresql_gives() {
    let catalog = Catalog::new();
    for (text, expected) in CASES {
        let got = catalog.values(&format!("select {text}")).unwrap_or_else(|e| panic!("{text}: {e}"));
        assert_eq!(got.join("|"), *expected, "{text}");
    }
}

#[test]
fn wrong_expressions_have_postgresqls_codes() {
    let catalog = Catalog::new();
    for (text, code) in ERRORS {
        match catalog.values(&format!("select {text}")) {
            Ok(values) => panic!("{text}: {values:?}"),
            Err(error) => assert_eq!(error.sqlstate(), *code, "{text}: {error}"),
        }
    }
}

/// Expressions and what `psql -At -P null=-` prints for them.
const CASES: &[(&str, &str)] = &[
    ("1 + 2 * 3, 7 / 2, -7 / 2, 7 % -3, 2 - -2", "7|3|-3|1|4"),
    (
        "1.5 + 1, 1.10 * 2.0, 10 / 4.0, 0.1::float8 + 0.2::float8",
        "2.5|2.200|2.5000000000000000|0.30000000000000004",
    ),
    ("2147483648, -2147483648, 9223372036854775807", "2147483648|-2147483648|9223372036854775807"),
    ("null + 1, null = null, null is null, not null, null and false, null or true", "-|-|t|-|f|t"),
    ("1 = 1.0, 1 < 2.5, 'a' < 'B', 'abc' = 'abc ', 'abc'::char(5) = 'abc  '", "t|t|f|f|t"),
    ("1 in (1, 2), 3 in (1, null), 3 not in (1, 2), 3 not in (1, null)", "t|-|t|-"),
    ("2 between 1 and 3, 2 not between 1 and 3, 'b' between 'a' and 'c'", "t|f|t"),
    ("'abc' like 'a%', 'ABC' ilike 'a_c', 'a%' like 'a\\%', 'abc' not like '%z'", "t|t|t|t"),
    ("'a%c' like 'a!%c' escape '!', 'axc' like 'a!%c' escape '!'", "t|f"),
    ("case when 1 > 2 then 'x' else 'y' end, case 3 when 1 then 'a' when 3 then 'b' end", "y|b"),
    ("case when false then 1 end, case when true then 1 else 2.5 end", "-|1"),
    ("coalesce(null, 2, 3), coalesce(null, 'a'), nullif(1, 1), nullif('a', 'b')", "2|a|-|a"),
    ("greatest(1, null, 3), least('b', 'a'), greatest(1, 2.5)", "3|a|2.5"),
    ("'a' || 'b', 'a' || 1, null || 'a', 'x' || true", "ab|a1|-|xtrue"),
    ("length('äöü'), octet_length('äöü'), upper('ab'), lower('AB')", "3|6|AB|ab"),
    (
        "substr('hello', 2), substr('hello', 2, 3), substring('hello' from 2 for 2), substr('hello', -1, 3)",
        "ello|ell|el|h",
    ),
    ("left('hello', 2), left('hello', -2), right('hello', 2), right('hello', -2)", "he|hel|lo|llo"),
    ("trim('  a '), ltrim('xxa', 'x'), rtrim('ayx', 'xy'), trim(both 'x' from 'xax')", "a|a|a|a"),
    (
        "replace('aXbX', 'X', '--'), repeat('ab', 3), reverse('abc'), strpos('hello', 'l')",
        "a--b--|ababab|cba|3",
    ),
    ("lpad('a', 3), rpad('abc', 2), lpad('a', 4, 'xy'), position('l' in 'hello')", "  a|ab|xyxa|3"),
    ("concat('a', null, 1, true), concat_ws(',', 'a', null, 'b')", "a1t|a,b"),
    (
        "abs(-3), abs(-2.5), abs(-1::float8), mod(7, 3), round(2.5), round(-2.5), round(2.567, 2)",
        "3|2.5|1|1|3|-3|2.57",
    ),
    ("floor(-1.5), ceil(-1.5), floor(1.5::float8), round(2.5::float8), sqrt(16::float8)", "-2|-1|1|2|4"),
    ("1::text, '12'::int, 'true'::bool, 't'::boolean::text, 5::bool, true::int", "1|12|t|true|t|1"),
    ("3.7::int, 2.5::int, 2.5::float8::int, '3.5'::numeric::int8, 1.5::float8::numeric", "4|3|2|4|1.5"),
    (
        "'abcdef'::varchar(3), 'ab'::char(4), 'ab'::char(4)::text || 'x', cast('7' as smallint)",
        "abc|ab  |abx|7",
    ),
    ("1e3, 1.50, .5, 1e-2", "1000|1.50|0.5|0.01"),
    (
        "date_trunc('hour', timestamp '2020-01-02 03:04:05'), timestamp '2020-01-01' + interval '1 month'",
        "2020-01-02 03:00:00|2020-02-01 00:00:00",
    ),
    (
        "timestamp '2020-01-02' - timestamp '2020-01-01 12:00', interval '90 minutes' + interval '1 day'",
        "12:00:00|1 day 01:30:00",
    ),
    (
        "extract(epoch from timestamp '2000-01-01'), extract(epoch from interval '1 minute')",
        "946684800.000000|60.000000",
    ),
    (
        "timestamptz '2020-01-01 00:00+02', '2020-01-01'::timestamptz::timestamp",
        "2019-12-31 22:00:00+00|2020-01-01 00:00:00",
    ),
    (
        "pg_wal_lsn_diff('0/2000000', '0/1000000'), '0/2'::pg_lsn - '0/1'::pg_lsn, pg_size_pretty(12345678::bigint)",
        "16777216|1|12 MB",
    ),
    ("1 is distinct from null, null is not distinct from null, true is true, null is not true", "t|t|t|t"),
    (
        "encode('\\x00ff', 'hex'), decode('00ff', 'hex'), '\\x01'::bytea || '\\x02'::bytea, length('\\x0102'::bytea)",
        "00ff|\\x00ff|\\x0102|2",
    ),
    (
        "'{\"b\": 1, \"a\":[1,2]}'::jsonb, 'A0EEBC999C0B4EF8BB6D6BB9BD380A11'::uuid",
        "{\"a\": [1, 2], \"b\": 1}|a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11",
    ),
    ("to_timestamp(0), to_timestamp('-Infinity')", "1970-01-01 00:00:00+00|-infinity"),
    ("E'a\\nb', $$it's$$, 'it''s', U&'\\0041'", "a\nb|it's|it's|A"),
    (
        "ascii('A'), chr(65), to_hex(255), quote_ident('a b'), quote_literal('it''s')",
        "65|A|ff|\"a b\"|'it''s'",
    ),
    ("5 % 3, power(2, 10), exp(0::float8), ln(1::float8), sign(-2::float8)", "2|1024|1|0|-1"),
];

/// Expressions that fail, with the SQLSTATE.
const ERRORS: &[(&str, &str)] = &[
    ("1/0", "22012"),
    ("1 % 0", "22012"),
    ("1.0 / 0", "22012"),
    ("2147483647 + 1", "22003"),
    ("9223372036854775807 + 1", "22003"),
    ("32767::smallint + 1::smallint", "22003"),
    ("- ((-2147483648)::int)", "22003"),
    ("abs((-2147483648)::int)", "22003"),
    ("1e300::float8 * 1e300::float8", "22003"),
    ("100000::smallint", "22003"),
    ("'abc'::int", "22P02"),
    ("'x'::boolean", "22P02"),
    ("'2020-02-30'::timestamp", "22008"),
    ("'nonsense'::timestamp", "22007"),
    ("1 + 'a'", "22P02"),
    ("'a' + 'b'", "42725"),
    ("1 + true", "42883"),
    ("1 = 'a'::text", "42883"),
    ("1 and true", "42804"),
    ("not 1", "42804"),
    ("length(1, 2)", "42883"),
    ("nosuch(1)", "42883"),
    ("1::uuid", "42846"),
    ("case when true then 1 else 'a'::text end", "42804"),
    ("coalesce(1, true)", "42804"),
    ("1 like 'a'", "42883"),
    ("'ab' like 'a\\'", "22025"),
    ("substr('a', 1, -1)", "22011"),
    ("nosuchcolumn", "42703"),
    ("t.a", "42P01"),
    ("'a'::nosuchtype", "42704"),
    ("'a'::varchar(0)", "22023"),
    ("$0", "42P02"),
    ("sqrt(-1::float8)", "2201F"),
    ("ln(0::float8)", "2201E"),
    ("repeat('x', 2000000000)", "54000"),
    ("to_timestamp(-1e12)", "22008"),
    ("to_timestamp('NaN')", "22008"),
    ("repeat('x', 40000000) || repeat('x', 40000000)", "54000"),
    ("concat_ws(repeat('x', 40000000), 'a', 'b', 'c')", "54000"),
    ("(select 1)", "0A000"),
    ("1 = any(array[1])", "0A000"),
];
