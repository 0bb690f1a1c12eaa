"""Where statements really go, by the servers' own logs: every test statement carries a word that occurs nowhere else."""
import psycopg
import pytest

from support.system import wait_until

pytestmark = pytest.mark.proxy_only
PRIMARY, STANDBY = {0}, {1, 2}


@pytest.fixture(scope="module", autouse=True)
def tables(cluster):
    cluster.primary.psql("""
        create table if not exists cows (id int primary key, name text);
        create table if not exists barns (id int primary key);
        create unlogged table if not exists quick (id int);
        create or replace view cow_view as select * from cows;
        create or replace function reads() returns int stable language sql as 'select 1';
        create or replace function fills() returns int volatile language plpgsql as
          'begin insert into barns values (-2) on conflict do nothing; return 1; end';
        create or replace function writes() returns int volatile language plpgsql as 'begin return 1; end';
        create or replace view reads_view as select reads() as x;
        create or replace view writes_view as select writes() as x;
        create or replace view fill_view as select fills() as x;
        create or replace view above_fill_view as select * from fill_view;
        insert into cows values (1, 'a') on conflict do nothing;
    """)
    cluster.wait_replayed()


@pytest.fixture
def standby_only(start_proxy):
    """Weight 0 for the primary: what may be balanced always is, so one run decides."""
    return start_proxy({"backend_weight0": 0})


@pytest.fixture
def conn(standby_only):
    with standby_only.connect() as c:
        yield c


def where(cluster, mark):
    """The nodes that saw the statement with this mark. A server logs it before it answers, so one of them has by now."""
    places = cluster.where(mark)
    assert places, f"no server has seen {mark}"
    return places


def place(cluster, connection, sql, marks, parameters=None, **options):
    """Runs sql with a mark as its trailing comment; returns the nodes that saw it."""
    mark = marks()
    connection.execute(f"{sql} /* {mark} */", parameters, **options)
    return where(cluster, mark)


BALANCED = [
    "select 1", "select * from cows", "SELECT count(*) FROM cows WHERE id = 1", "table cows",
    "with c as (select * from cows) select * from c", "(select 1)", "select reads()", "select inet_server_port()",
    "select * from (select id from cows union select id from barns) x", "show work_mem",
    "select now()", "select lower(name) from cows",
]
TO_PRIMARY = [
    "insert into barns values (1) on conflict do nothing", "update cows set name = 'b' where id = 1",
    "delete from barns where id = -1", "select * from cows for update", "select * from cows for share",
    "with d as (delete from barns returning *) select * from d", "select writes()", "select random()",
    "select * from cows where id = writes()", "select count(*) from pg_class", "select * from quick",
    "create table if not exists made (a int)", "drop table if exists made", "analyze cows",
    "lock table cows in share row exclusive mode", "do $$ begin end $$", "explain analyze delete from barns where false",
    "truncate barns", "refresh materialized view concurrently nothing_here", "select set_config('work_mem', '5MB', false)",
    "notify nobody", "/* leading comment */ select 1", "values (1), (2)", "select nextval('pg_catalog.no_seq')",
]


@pytest.mark.parametrize("sql", BALANCED)
@pytest.mark.parametrize("how", ["simple", "prepared"])
def test_balanced(conn, cluster, marks, sql, how):
    options = {"prepare": True} if how == "prepared" else {}
    assert place(cluster, conn, sql, marks, **options) <= STANDBY


@pytest.mark.parametrize("sql", TO_PRIMARY)
@pytest.mark.parametrize("how", ["simple", "prepared"])
def test_to_primary(conn, cluster, marks, sql, how):
    mark = marks()
    options = {"prepare": True} if how == "prepared" else {}
    transaction = sql.startswith("lock")
    if transaction:
        conn.execute("begin")
    try:
        # Where the statement is not logged, because its analysis has failed, the error is, with the name in it.
        conn.execute(f"{sql} /* {mark} */".replace("no_seq", mark), **options)
    except psycopg.errors.Error:
        pass
    if transaction:
        conn.execute("rollback")
    assert where(cluster, mark) == PRIMARY
    assert conn.execute("select 1").fetchone() == (1,)


def test_answers_come_from_the_node_that_the_log_names(conn, cluster, marks):
    mark = marks()
    port = conn.execute(f"select inet_server_port() /* {mark} */").fetchone()[0]
    assert where(cluster, mark) == {cluster.node_at(port).number} <= STANDBY


def test_transaction_reads_before_and_after_a_write(conn, cluster, marks):
    conn.execute("begin")
    assert place(cluster, conn, "select 1", marks) <= STANDBY
    assert place(cluster, conn, "insert into barns values (7) on conflict do nothing", marks) == PRIMARY
    assert place(cluster, conn, "select 1", marks) == PRIMARY
    conn.execute("commit")
    assert place(cluster, conn, "select 1", marks) <= STANDBY


def test_read_sees_the_transactions_own_write(conn):
    with conn.transaction():
        conn.execute("insert into cows values (99, 'new')")
        assert conn.execute("select name from cows where id = 99").fetchone() == ("new",)
        conn.execute("delete from cows where id = 99")


@pytest.mark.parametrize("mode,in_transaction,next_transaction,outside", [
    ("off", STANDBY, STANDBY, STANDBY), ("transaction", PRIMARY, STANDBY, STANDBY),
    ("trans_transaction", PRIMARY, PRIMARY, STANDBY), ("always", PRIMARY, PRIMARY, PRIMARY),
])
def test_disable_load_balance_on_write(start_proxy, cluster, marks, mode, in_transaction, next_transaction, outside):
    proxy = start_proxy({"backend_weight0": 0, "disable_load_balance_on_write": mode})
    with proxy.connect() as c:
        assert place(cluster, c, "select 1", marks) <= STANDBY
        c.execute("begin")
        c.execute("update cows set name = 'w' where id = 1")
        assert place(cluster, c, "select 1", marks) <= in_transaction
        c.execute("commit")
        c.execute("begin")
        assert place(cluster, c, "select 1", marks) <= next_transaction
        c.execute("commit")
        assert place(cluster, c, "select 1", marks) <= outside


def test_dml_adaptive(start_proxy, cluster, marks):
    proxy = start_proxy({"backend_weight0": 0, "disable_load_balance_on_write": "dml_adaptive",
                         "dml_adaptive_object_relationship_list": "cows:cow_view"})
    with proxy.connect() as c:
        c.execute("begin")
        c.execute("update cows set name = 'w' where id = 1")
        assert place(cluster, c, "select * from cows", marks) == PRIMARY
        assert place(cluster, c, "select * from cow_view", marks) == PRIMARY
        assert place(cluster, c, "select * from barns", marks) <= STANDBY
        c.execute("commit")
        assert place(cluster, c, "select * from cows", marks) <= STANDBY


def test_load_balance_mode_off(start_proxy, cluster, marks):
    with start_proxy({"backend_weight0": 0, "load_balance_mode": False}).connect() as c:
        assert place(cluster, c, "select 1", marks) == PRIMARY


def test_raw_mode(start_proxy, cluster, marks):
    with start_proxy({"backend_clustering_mode": "raw"}).connect() as c:
        assert place(cluster, c, "select 1", marks) == PRIMARY
        assert place(cluster, c, "update cows set name = 'r' where id = 1", marks) == PRIMARY


def test_function_lists(start_proxy, cluster, marks):
    with start_proxy({"backend_weight0": 0, "write_function_list": "reads,nextval"}).connect() as c:
        assert place(cluster, c, "select reads()", marks) == PRIMARY
        assert place(cluster, c, "select lower('X')", marks) <= STANDBY
    with start_proxy({"backend_weight0": 0, "read_only_function_list": "lo.*"}).connect() as c:
        assert place(cluster, c, "select lower('X')", marks) <= STANDBY
        assert place(cluster, c, "select reads()", marks) == PRIMARY


@pytest.mark.herdgate_only
def test_a_view_that_calls_a_listed_function(start_proxy, cluster, marks):
    """Also where the catalog's cache knows the view from a time when there was no list."""
    proxy = start_proxy({"backend_weight0": 0, "write_function_list": ""})
    with proxy.connect() as c:
        assert place(cluster, c, "select * from fill_view", marks) == PRIMARY
        assert place(cluster, c, "select * from writes_view", marks) == PRIMARY
        assert place(cluster, c, "select * from reads_view", marks) <= STANDBY

        proxy.settings["write_function_list"] = "fills,reads"
        proxy.reload()
        wait_until(lambda: c.execute("pgpool show write_function_list").fetchone()[0] == "fills,reads", "the reload")
        assert place(cluster, c, "select * from fill_view", marks) == PRIMARY
        assert place(cluster, c, "select x from above_fill_view", marks) == PRIMARY
        assert place(cluster, c, "select * from writes_view", marks) <= STANDBY
        assert place(cluster, c, "select * from reads_view", marks) == PRIMARY, "listed, so it writes"
        with c.transaction():
            assert place(cluster, c, "select * from cow_view", marks) <= STANDBY
            assert place(cluster, c, "select * from fill_view", marks) == PRIMARY
            assert place(cluster, c, "select * from cow_view", marks) == PRIMARY, "after a write"


@pytest.mark.herdgate_only
def test_a_view_that_calls_a_function_that_is_not_listed(start_proxy, cluster, marks):
    with start_proxy({"backend_weight0": 0, "read_only_function_list": "public.writes"}).connect() as c:
        assert place(cluster, c, "select * from fill_view", marks) == PRIMARY
        assert place(cluster, c, "select * from writes_view", marks) <= STANDBY
        assert place(cluster, c, "select * from reads_view", marks) <= STANDBY, "it is not volatile"


def test_pattern_list(start_proxy, cluster, marks):
    proxy = start_proxy({"backend_weight0": 0, "primary_routing_query_pattern_list": "SELECT.*barns.*;select 4711.*"})
    with proxy.connect() as c:
        assert place(cluster, c, "select * from barns", marks) == PRIMARY
        assert place(cluster, c, "select 4711", marks) == PRIMARY
        assert place(cluster, c, "select * from cows", marks) <= STANDBY


def test_allow_sql_comments(start_proxy, cluster, marks):
    with start_proxy({"backend_weight0": 0, "allow_sql_comments": True}).connect() as c:
        assert place(cluster, c, "/* hello */ select 1", marks) <= STANDBY


@pytest.mark.parametrize("setting,value,words", [
    ("database_redirect_preference_list", "test:2", {}), ("user_redirect_preference_list", "postg.*:2(1.0)", {}),
    ("app_name_redirect_preference_list", "farmer:2", {"application_name": "farmer"}),
])
def test_redirect_to_a_node(start_proxy, cluster, marks, setting, value, words):
    proxy = start_proxy({setting: value, "num_init_children": 10})
    for _ in range(8):
        with proxy.connect(**words) as c:
            assert place(cluster, c, "select 1", marks) == {2}


def test_the_application_name_of_the_login_redirects(start_proxy, cluster, marks):
    """One that is set later does not, though the node is chosen anew for each statement."""
    proxy = start_proxy({"app_name_redirect_preference_list": "farmer:2,miller:1", "statement_level_load_balance": True})
    for name, node, other in [("farmer", 2, "miller"), ("miller", 1, "farmer")]:
        with proxy.connect(application_name=name) as c:
            assert place(cluster, c, "select 1", marks) == {node}
            c.execute(f"set application_name = '{other}'")
            for _ in range(4):
                assert place(cluster, c, "select 1", marks) == {node}


def test_redirect_to_primary_and_standby(start_proxy, cluster, marks):
    proxy = start_proxy({"database_redirect_preference_list": "postgres:primary,test:standby"})
    for _ in range(6):
        with proxy.connect() as c, proxy.connect(dbname="postgres") as p:
            assert place(cluster, c, "select 1", marks) <= STANDBY
            assert place(cluster, p, "select 1", marks) == PRIMARY


def test_session_level_balancing_keeps_one_node(start_proxy, cluster):
    proxy = start_proxy()
    seen = set()
    for _ in range(40):
        with proxy.connect() as c:
            ports = {c.execute("select inet_server_port()").fetchone()[0] for _ in range(5)}
            assert len(ports) == 1
            seen |= ports
    assert seen == set(cluster.ports)


def test_statement_level_balancing_goes_round(start_proxy, cluster):
    with start_proxy({"statement_level_load_balance": True}).connect() as c:
        seen = {c.execute("select inet_server_port()").fetchone()[0] for _ in range(100)}
        assert seen == set(cluster.ports)


def test_weights(start_proxy, cluster):
    proxy = start_proxy({"statement_level_load_balance": True, "backend_weight0": 0, "backend_weight1": 3})
    with proxy.connect() as c:
        ports = [c.execute("select inet_server_port()").fetchone()[0] for _ in range(2000)]
    shares = [ports.count(p) / len(ports) for p in cluster.ports]
    assert shares[0] == 0 and 0.70 < shares[1] < 0.80


APPLY_LATER = ("alter system set recovery_min_apply_delay = '1min'", "alter system reset recovery_min_apply_delay")
PAUSE = ("select pg_wal_replay_pause()", "select pg_wal_replay_resume()")


@pytest.mark.parametrize("threshold,hold,release", [
    ({"delay_threshold_by_time": 500}, *APPLY_LATER), ({"delay_threshold_by_time": 500}, *PAUSE), ({"delay_threshold": 50000}, *PAUSE),
], ids=["time-apply_delay", "time-pause", "bytes-pause"])
def test_reads_leave_a_standby_that_lags(start_proxy, cluster, marks, threshold, hold, release):
    """For the primary, or with prefer_lower_delay_standby for the other standby while that one is not too late."""
    settings = {"backend_weight0": 0, "app_name_redirect_preference_list": "farmer:2", **threshold}
    proxies = [start_proxy({**settings, "prefer_lower_delay_standby": prefers}, fresh=True) for prefers in (False, True)]

    def lag(node):
        node.psql(hold, "postgres")
        node.psql("select pg_reload_conf()", "postgres")
        cluster.primary.psql("set synchronous_commit = local; select pg_logical_emit_message(false, '', repeat('x', 100000)); "
                             "create table late (); drop table late")

    with proxies[0].connect(application_name="farmer") as plain, proxies[1].connect(application_name="farmer") as prefers:
        def served_by(*expected):
            """The nodes that serve both until they are these; what they were on the way."""
            seen = []
            wait_until(lambda: seen.append([place(cluster, c, "select 1", marks) for c in (plain, prefers)]) or
                       seen[-1] == list(expected), f"reads at {expected}")
            return seen

        served_by({2}, {2})
        try:
            lag(cluster.nodes[2])
            for both in served_by({0}, {1}):
                assert both[0] in ({2}, {0}) and both[1] in ({2}, {1})
            lag(cluster.nodes[1])
            served_by({0}, {0})
        finally:
            for node in cluster.standbys:
                node.psql(release, "postgres")
                node.psql("select pg_reload_conf()", "postgres")
        # With prefer_lower_delay_standby a session of the original stays where it was sent last.
        served_by({2}, {2} if proxies[1].kind == "herdgate" else {0})
        cluster.wait_replayed()


def test_multi_statement_with_a_write(conn, cluster, marks):
    mark = marks()
    conn.execute(f"select 1 /* {mark} */; update cows set name = 'm' where id = 1")
    assert where(cluster, mark) == PRIMARY


def test_serializable_and_read_write(conn, cluster, marks):
    conn.execute("begin isolation level serializable")
    assert place(cluster, conn, "select 1", marks) == PRIMARY
    conn.execute("commit")


def test_temporary_table_is_read_where_it_is(conn, cluster, marks):
    conn.execute("create temp table here (a int)")
    conn.execute("insert into here values (5)")
    assert place(cluster, conn, "select * from here", marks) == PRIMARY
    assert conn.execute("select * from here").fetchall() == [(5,)]


def test_select_into_and_copy(conn, cluster, marks):
    conn.execute("drop table if exists copied")
    assert place(cluster, conn, "select id into copied from cows", marks) == PRIMARY
    mark = marks()
    with conn.cursor().copy(f"copy cows to stdout /* {mark} */") as copy:
        assert b"1\t" in b"".join(copy)
    assert where(cluster, mark) <= STANDBY
    mark = marks()
    with conn.cursor().copy(f"copy copied from stdin /* {mark} */") as copy:
        copy.write("2\n")
    assert where(cluster, mark) == PRIMARY


@pytest.mark.parametrize("isolation", ["read committed", "repeatable read"])
def test_ending_a_standbys_process_leaves_the_transaction(standby_only, cluster, isolation):
    """It goes to the node of that process, and what was written on the primary is not committed for it."""
    with standby_only.connect() as c, standby_only.connect() as victim:
        pid = victim.execute("select pg_backend_pid() from cows where id = 1").fetchone()[0]
        c.execute(f"begin isolation level {isolation}")
        c.execute("insert into cows values (55, 'not to stay')")
        assert c.execute(f"select pg_terminate_backend({pid})").fetchone() == (True,)
        c.execute("insert into cows values (56, 'nor this')")  # there still is the transaction, and it is on the primary
        c.execute("rollback")
    assert cluster.primary.psql("select count(*) from cows where id in (55, 56)") == "0"


def test_which_process_is_ended_depends_on_its_number(standby_only):
    """One that is no process id, of any session, does not settle where others go."""
    with standby_only.connect() as c, standby_only.connect() as victim:
        with pytest.raises(psycopg.errors.Error):
            c.execute("select pg_terminate_backend(99999999999)")
        pid = victim.execute("select pg_backend_pid() from cows where id = 1").fetchone()[0]
        explained = dict(c.execute(f"pgpool explain route select pg_terminate_backend({pid})").fetchall())
        assert explained["node"][0] in "12" and explained["rule"] == "process_node", explained
        assert explained["effects"] == "none"
        assert c.execute(f"select pg_terminate_backend({pid})").fetchone() == (True,)
        explained = dict(c.execute("pgpool explain route select pg_terminate_backend(2147483647)").fetchall())
        assert explained["node"].startswith("0 ") and explained["rule"] == "process_node", explained


def test_ending_a_process_of_the_primary_leaves_the_snapshot(standby_only, cluster):
    """Of a transaction that reads a standby by one snapshot."""
    with standby_only.connect() as c, standby_only.connect() as victim:
        pid = victim.execute("select pg_backend_pid() from cows where id = 1 for update").fetchone()[0]
        c.execute("begin isolation level repeatable read read only")
        before = c.execute("select count(*) from cows").fetchone()
        c.execute("savepoint s")
        assert c.execute(f"select pg_terminate_backend({pid})").fetchone() == (True,)
        cluster.primary.psql("insert into cows values (57, 'later')")
        cluster.wait_replayed()
        c.execute("rollback to s")
        assert c.execute("select count(*) from cows").fetchone() == before
        c.execute("commit")
    cluster.primary.psql("delete from cows where id = 57")


@pytest.mark.parametrize("prepare", [False, True])
def test_savepoint_before_the_first_read_of_one_snapshot(conn, cluster, marks, prepare):
    """Where all of a transaction is on one node, so are its savepoints; and that node must be able to serve whatever comes."""
    for end in ("release s", "rollback to s"):
        for read in ("select * from cows", "select * from quick", "select count(*) from pg_class"):
            conn.execute("begin isolation level repeatable read read only", prepare=prepare)
            conn.execute("savepoint s", prepare=prepare)
            assert place(cluster, conn, read, marks, prepare=prepare) == PRIMARY
            conn.execute(end, prepare=prepare)
            assert place(cluster, conn, "select * from cows", marks, prepare=prepare) == PRIMARY
            conn.execute("commit", prepare=prepare)
    conn.execute("begin isolation level repeatable read read only")
    assert place(cluster, conn, "select * from cows", marks) <= STANDBY
    conn.execute("savepoint s")
    assert place(cluster, conn, "select * from cows", marks) <= STANDBY
    conn.execute("release s")
    conn.execute("commit")


def test_a_table_with_an_unlogged_partition(conn, cluster, marks):
    """A standby would refuse to read it."""
    cluster.primary.psql("""create table stalls (id int) partition by range (id);
                            create table stalls1 partition of stalls for values from (0) to (10);
                            create unlogged table stalls2 partition of stalls for values from (10) to (20)""")
    cluster.wait_replayed()
    assert place(cluster, conn, "select * from stalls", marks) == PRIMARY
    assert place(cluster, conn, "select * from stalls1", marks) <= STANDBY


def test_a_materialized_view_is_read_like_a_table(conn, cluster, marks):
    """Whatever its rows were made of."""
    cluster.primary.psql("""create materialized view drawn as select writes() as w, random() as r, relname, quick.id
                              from pg_class left join quick on true""")
    cluster.wait_replayed()
    conn.execute("begin")
    assert place(cluster, conn, "select * from drawn", marks) <= STANDBY
    conn.execute("commit")


def test_writes_outside_of_transactions_do_not_bind_later_ones(start_proxy, cluster, marks):
    """trans_transaction: the flag is that of explicit transactions."""
    with start_proxy({"backend_weight0": 0, "disable_load_balance_on_write": "trans_transaction"}).connect() as c:
        c.execute("update cows set name = 'w' where id = 1")
        c.execute("begin")
        assert place(cluster, c, "select 1", marks) <= STANDBY
        c.execute("update cows set name = 'w' where id = 1")
        c.execute("commit")
        c.execute("begin")
        assert place(cluster, c, "select 1", marks) == PRIMARY


@pytest.mark.parametrize("mode", ["session", "transaction"])
def test_reads_behind_a_long_insert_are_balanced(start_proxy, cluster, marks, mode):
    """Too long to be looked into, and nothing in it that could stay with the session."""
    proxy = start_proxy({"backend_weight0": 0, "pool_mode": mode})
    with proxy.connect() as c:
        c.execute("insert into barns values " + ",".join(f"({i})" for i in range(1000, 200_000)) + " on conflict do nothing")
        cluster.wait_replayed()
        assert place(cluster, c, "select * from cows", marks) <= STANDBY
    cluster.primary.psql("delete from barns where id >= 1000")


@pytest.mark.herdgate_only
@pytest.mark.parametrize("mode", ["session", "transaction"])
@pytest.mark.parametrize("how", ["simple", "prepared"])
def test_without_remembered_facts(start_proxy, cluster, marks, mode, how):
    """sql_facts_cache_size = 0: each text is read anew."""
    proxy = start_proxy({"backend_weight0": 0, "pool_mode": mode, "sql_facts_cache_size": 0})
    read, write = marks(), marks()

    def ask(c, n):
        if how == "prepared":
            assert c.execute(f"select 40 + %s /* {read} */", (n,), prepare=True).fetchone() == (40 + n,)
            assert c.execute(f"update cows set name = name where id = %s /* {write} */", (1,), prepare=True).rowcount == 1
        else:
            assert c.execute(f"select 40 + {n} /* {read} */").fetchone() == (40 + n,)
            assert c.execute(f"update cows set name = name where id = 1 /* {write} */").rowcount == 1

    with proxy.connect() as one, proxy.connect() as other:
        for n in range(3):
            for c in (one, other):
                ask(c, n)
                with c.transaction():
                    ask(c, n)
    assert where(cluster, read) <= STANDBY and where(cluster, write) == PRIMARY
