"""psqlODBC below pyodbc, in the ways it can be told to talk. Arguments: port, database. Prints every answer; ends with "end"."""
import datetime
import decimal
import glob
import sys

import pyodbc

DRIVER = glob.glob("/usr/lib/*/odbc/psqlodbcw.so")[0]
WAYS = ({}, {"UseServerSidePrepare": 1, "UseDeclareFetch": 1, "Fetch": 7}, {"UseServerSidePrepare": 0, "Protocol": "7.4-0"},
        {"Protocol": "7.4-2", "UseDeclareFetch": 1, "Fetch": 5})


def say(*what):
    print(*map(repr, what))


def attempt(name, do):
    try:
        say(name, do())
    except pyodbc.Error as e:
        say(name, type(e).__name__, e.args[0], e.args[1].split("\n")[0].rstrip(";"))


def connect(way):
    port, database = sys.argv[1:]
    words = {"Driver": DRIVER, "Server": "127.0.0.1", "Port": port, "Database": database, "Uid": "postgres", "Pwd": "x", **way}
    return pyodbc.connect(";".join(f"{k}={v}" for k, v in words.items()), autocommit=True)


def fill(x):
    x.execute("drop table if exists t")
    x.execute("create table t (id serial primary key, a int, b text, c bytea, d timestamp, e numeric(10, 2), f date, g bool)")
    for i in range(5):
        x.execute("insert into t (a, b, c, d, e, f, g) values (?, ?, ?, ?, ?, ?, ?)", i, f"é'{i}", b"\0\xff\\",
                  datetime.datetime(2026, 1, 2, 3, 4, 5), decimal.Decimal("1.25"), datetime.date(2026, 1, 2), True)


def drive(way):
    say(way)
    c = connect(way)
    x = c.cursor()
    fill(x)
    attempt("rows", lambda: [tuple(r) for r in x.execute("select * from t order by id").fetchall()])
    attempt("each", lambda: [tuple(x.execute("select b, a from t where a = ?", i).fetchone()) for i in range(4)])
    attempt("texts", lambda: [x.execute(f"select ?::int + {i}", i).fetchval() for i in range(30)])
    attempt("many", lambda: x.executemany("insert into t (a, b) values (?, ?)", [(i, str(i)) for i in range(50)]))
    attempt("count", lambda: x.execute("select count(*) from t").fetchval())
    attempt("fetched by parts", lambda: sum(r[0] for r in x.execute("select g from generate_series(1, 100) g")))
    for wrong in ("select 1 / 0", "insert into t (id) values (1)", "selekt"):
        attempt(wrong, lambda sql=wrong: x.execute(sql).fetchall())
    c.autocommit = False
    for sql in ("insert into t (a) values (100)", "select 1 / 0", "insert into t (id) values (1)", "select count(*) from t"):
        attempt(sql, lambda sql=sql: x.execute(sql).rowcount)
    c.commit()
    attempt("after COMMIT", lambda: x.execute("select count(*) from t").fetchval())
    c.rollback()
    y = c.cursor()
    x.execute("select g from generate_series(1, 20) g")
    attempt("one cursor", lambda: x.fetchone()[0])
    attempt("another one", lambda: (y.execute("select 77").fetchval(), y.execute("update t set b = 'u' where a = 1").rowcount))
    attempt("the first again", lambda: len(x.fetchall()))
    c.commit()
    c.autocommit = True
    attempt("several", lambda: (x.execute("select 1; select 2").fetchval(), x.nextset(), x.fetchval()))
    attempt("tables", lambda: [tuple(r)[2:4] for r in x.tables(schema="public")])
    attempt("columns", lambda: [(r.column_name, r.type_name, r.column_size, r.nullable) for r in x.columns("t")])
    attempt("keys", lambda: [tuple(r)[1:4] for r in x.primaryKeys("t")])
    attempt("described", lambda: [d[:2] for d in x.execute("select a, b, e from t where false").description])
    attempt("before DDL", lambda: len(x.execute("select * from t where id = ?", 1).fetchone()))
    x.execute("alter table t add column z int")
    attempt("after DDL", lambda: len(x.execute("select * from t where id = ?", 1).fetchone()))
    c.close()


for one in WAYS:
    drive(one)
say("end")
