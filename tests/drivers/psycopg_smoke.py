"""What programs do with psycopg 3, done against the server that PG* variables name. Its own tests are in no package.

Usage: psycopg_smoke.py
"""

import datetime
import logging
import threading
import unittest
import uuid

import psycopg
from psycopg import errors
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb

UTC = datetime.timezone.utc
ROW = (1, 2, 3, 1.5, True, "text", b"\x00\xff", datetime.datetime(2026, 2, 3, 4, 5, 6, 789),
       datetime.datetime(2026, 2, 3, 4, 5, 6, tzinfo=UTC), uuid.UUID(int=7), {"a": [1, None]})
TABLE = """create temp table v (n serial primary key, a smallint, b integer, c bigint, d double precision, e boolean,
           f text, g bytea, h timestamp, i timestamptz, j uuid, k jsonb)"""
COLUMNS = "a, b, c, d, e, f, g, h, i, j, k"


class Psycopg(unittest.TestCase):
    def setUp(self):
        self.conn = psycopg.connect("options='-c timezone=UTC'")
        self.addCleanup(self.conn.close)

    def insert(self, cursor, row=ROW):
        values = row[:-1] + (Jsonb(row[-1]),)
        cursor.execute(f"insert into v ({COLUMNS}) values ({', '.join(['%s'] * len(row))})", values)

    def test_every_type_goes_there_and_back_in_both_formats(self):
        for binary in (False, True):
            with self.conn.cursor(binary=binary) as cursor:
                cursor.execute(TABLE)
                self.insert(cursor)
                self.insert(cursor, (None,) * 10 + (ROW[-1],))
                cursor.execute(f"select {COLUMNS} from v order by n")
                self.assertEqual(cursor.fetchone(), ROW)
                self.assertEqual(cursor.fetchone(), (None,) * 10 + (ROW[-1],))
                cursor.execute("select n from v where f = %s and c = %s and i = %s", (ROW[5], ROW[2], ROW[8]))
                self.assertEqual(cursor.fetchall(), [(1,)])
            self.conn.rollback()

    def test_the_description_names_types(self):
        cursor = self.conn.execute("select 1::bigint as a, 'x'::varchar(9) as b")
        self.assertEqual([(c.name, c.type_code, c.display_size) for c in cursor.description], [("a", 20, None), ("b", 1043, 9)])

    def test_a_transaction_commits_and_rolls_back_with_savepoints(self):
        self.conn.execute("create temp table t (a int)")
        self.conn.commit()
        with self.conn.transaction():
            self.conn.execute("insert into t values (1)")
            with self.assertRaises(errors.DivisionByZero):
                with self.conn.transaction():
                    self.conn.execute("insert into t values (2)")
                    self.conn.execute("select 1 / 0")
            self.conn.execute("insert into t values (3)")
        with self.assertRaises(ZeroDivisionError):
            with self.conn.transaction():
                self.conn.execute("insert into t values (4)")
                raise ZeroDivisionError
        self.assertEqual(self.conn.execute("select a from t order by a").fetchall(), [(1,), (3,)])

    def test_isolation_levels_and_read_only_are_taken(self):
        self.conn.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        self.conn.read_only = True
        self.assertEqual(self.conn.execute("show transaction_isolation").fetchone(), ("repeatable read",))
        with self.assertRaises(errors.ReadOnlySqlTransaction):
            self.conn.execute("create table never (a int)")
        self.conn.rollback()
        self.conn.isolation_level = psycopg.IsolationLevel.SERIALIZABLE
        with self.assertRaises(errors.FeatureNotSupported):
            self.conn.execute("select 1")

    def test_copy_goes_both_ways_in_text_and_binary(self):
        self.conn.execute("create temp table t (a int, b text)")
        rows = [(1, "one"), (2, None), (3, "tab\tand\nline")]
        for option in ("", " (format binary)"):
            cursor = self.conn.cursor()
            with cursor.copy(f"copy t from stdin{option}") as copy:
                if option:
                    copy.set_types(["int4", "text"])
                for row in rows:
                    copy.write_row(row)
            self.assertEqual(cursor.rowcount, 3)
            with cursor.copy(f"copy (select a, b from t order by a) to stdout{option}") as copy:
                copy.set_types(["int4", "text"])
                self.assertEqual(list(copy.rows()), rows)
            self.conn.execute("truncate t")

    def test_a_copy_that_the_client_gives_up_leaves_nothing(self):
        self.conn.execute("create temp table t (a int)")
        self.conn.commit()
        with self.assertRaises(ZeroDivisionError):
            with self.conn.cursor().copy("copy t from stdin") as copy:
                copy.write_row([1])
                raise ZeroDivisionError
        self.conn.rollback()
        self.assertEqual(self.conn.execute("select count(*) from t").fetchone(), (0,))

    def test_many_executions_and_pipelines(self):
        self.conn.execute("create temp table t (a int primary key, b text)")
        cursor = self.conn.cursor()
        cursor.executemany("insert into t values (%s, %s) returning a", [(n, str(n)) for n in range(50)], returning=True)
        returned = [cursor.fetchone()[0]]
        while cursor.nextset():
            returned.append(cursor.fetchone()[0])
        self.assertEqual(returned, list(range(50)))
        with self.conn.pipeline() as pipeline:
            first = self.conn.execute("select b from t where a = %s", (7,))
            second = self.conn.execute("update t set b = 'x' where a < %s", (10,))
            pipeline.sync()
            self.assertEqual((first.fetchone(), second.rowcount), (("7",), 10))

    def test_an_error_in_a_pipeline_fails_what_comes_behind_it(self):
        self.conn.autocommit = True
        with self.assertRaises(errors.UndefinedTable):
            with self.conn.pipeline():
                self.conn.execute("select 1 from nowhere")
                with self.assertRaises(psycopg.errors.PipelineAborted):
                    behind = self.conn.execute("select 2")
                    behind.fetchone()
        self.assertEqual(self.conn.execute("select 3").fetchone(), (3,))

    def test_statements_are_prepared_and_forgotten(self):
        for n in range(20):
            self.assertEqual(self.conn.execute("select %s::int + 1", (n,)).fetchone(), (n + 1,))
        self.conn.execute("create temp table t (a int)")
        self.conn.execute("select * from t", prepare=True)
        self.conn.rollback()
        self.assertEqual(self.conn.execute("select %b::bigint", (5,), prepare=True).fetchone(), (5,))
        self.conn.execute("deallocate all")

    def test_errors_say_what_postgresql_says(self):
        with self.assertRaises(errors.UndefinedColumn) as caught:
            self.conn.execute("select nothing from pg_tables")
        diagnosis = caught.exception.diag
        self.assertEqual((diagnosis.severity, diagnosis.sqlstate, diagnosis.statement_position), ("ERROR", "42703", "8"))
        self.conn.rollback()
        self.conn.execute("create temp table t (a int primary key, b text not null)")
        self.conn.execute("insert into t values (1, '')")
        self.conn.commit()
        with self.assertRaises(errors.UniqueViolation) as caught:
            self.conn.execute("insert into t values (1, '')")
        self.assertEqual(caught.exception.diag.message_detail, "Key (a)=(1) already exists.")
        self.conn.rollback()
        with self.assertRaises(errors.NotNullViolation) as caught:
            self.conn.execute("insert into t values (2)")
        self.assertEqual(caught.exception.sqlstate, "23502")
        self.assertEqual(self.conn.info.transaction_status, psycopg.pq.TransactionStatus.INERROR)

    def test_notices_reach_the_client(self):
        seen = []
        self.conn.add_notice_handler(lambda diagnosis: seen.append(diagnosis.message_primary))
        self.conn.execute("drop table if exists nowhere")
        self.assertEqual(seen, ['table "nowhere" does not exist, skipping'])

    def test_a_statement_is_cancelled(self):
        timer = threading.Timer(0.3, self.conn.cancel_safe)
        timer.start()
        with self.assertRaises(errors.QueryCanceled):
            self.conn.execute("select pg_sleep(60)")
        timer.join()
        self.conn.rollback()
        self.assertEqual(self.conn.execute("select 1").fetchone(), (1,))

    def test_rows_stream_one_by_one(self):
        cursor = self.conn.cursor(row_factory=dict_row)
        rows = cursor.stream("select g from generate_series(1, 5000) g")
        self.assertEqual(sum(row["g"] for row in rows), 5000 * 5001 // 2)

    def test_parameters_of_a_connection_are_those_of_the_server(self):
        info = self.conn.info
        self.assertEqual((info.parameter_status("server_encoding"), info.encoding, info.server_version // 10000),
                         ("UTF8", "utf-8", 15))
        self.conn.execute("set application_name to 'smoke'")
        self.assertEqual(info.parameter_status("application_name"), "smoke")
        with self.assertRaises(psycopg.OperationalError):
            psycopg.connect(dbname="no_such_database", connect_timeout=10)


class Asynchronous(unittest.IsolatedAsyncioTestCase):
    async def test_an_asynchronous_connection_does_the_same(self):
        async with await psycopg.AsyncConnection.connect() as conn:
            await conn.execute("create temp table t (a int)")
            async with conn.cursor() as cursor:
                async with cursor.copy("copy t from stdin") as copy:
                    await copy.write_row([4])
                await cursor.execute("select a from t where a = %s", (4,))
                self.assertEqual(await cursor.fetchall(), [(4,)])


if __name__ == "__main__":
    # It warns of pipelines that end with an error, as one here does.
    logging.getLogger("psycopg").setLevel(logging.ERROR)
    unittest.main()
