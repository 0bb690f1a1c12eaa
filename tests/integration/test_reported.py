"""What clients are told of the settings by which they read texts (ParameterStatus), when a server's own settings change under
sessions that live: always what the answer beside it was written by."""
import contextlib
import itertools

import pytest

from support.system import wait_until
from support.wire import SYNC, Client, bind, execute, parse, query, row

pytestmark = [pytest.mark.proxy_only, pytest.mark.herdgate_only]
WAYS = {"session": {"pool_mode": "session", "load_balance_mode": False},
        "session, balanced": {"pool_mode": "session"},
        "transaction": {"pool_mode": "transaction", "load_balance_mode": False, "pool_size": 2},
        "transaction, balanced": {"pool_mode": "transaction", "pool_size": 2}}


class Told(Client):
    """Remembers what it was told."""

    def login(self, **words):
        self.told = {}
        return super().login(**words)

    def receive(self):
        kind, payload = super().receive()
        if kind == "S":
            name, value = payload.split(b"\0")[:2]
            self.told[name.decode()] = value.decode()
        return kind, payload


LOOKS = {"SQL, DMY": "03/02/2020", "ISO, MDY": "2020-02-03"}


def shown(c, request):
    """The settings that an answer was written by: those that the client has been told of."""
    c.send(request)
    settings, day = next(row(p) for k, p in c.until() if k == "D")
    assert settings == c.told["DateStyle"] and day == LOOKS[settings]
    return settings


def set_everywhere(cluster, value):
    for node in cluster.nodes:
        node.psql(f"alter system set datestyle = {value}" if value else "alter system reset datestyle")
        node.psql("select pg_reload_conf()")


def shown_everywhere(cluster, value):
    for node in cluster.nodes:
        def is_there():
            with Client(node.port).login() as c:
                return c.ask("show datestyle") == [[value]]
        wait_until(is_there, "the reload")


@pytest.fixture
def reloaded(cluster):
    """reloaded(): all servers write dates otherwise from now on."""
    before = cluster.primary.psql("show datestyle")

    def reload():
        set_everywhere(cluster, "'SQL, DMY'")
        shown_everywhere(cluster, "SQL, DMY")
    yield reload
    set_everywhere(cluster, None)
    shown_everywhere(cluster, before)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("first", ["a statement", "a question of ours", "within a transaction"])
def test_who_was_there_before_the_reload(start_proxy, cluster, reloaded, marks, way, first):
    proxy = start_proxy({**WAYS[way], "num_workers": 1}, fresh=True)
    table = marks()
    cluster.primary.psql(f"create table {table} as select '2020-02-03'::date as day")
    clients = [Told(proxy.port).login() for _ in range(3)]
    own = Told(proxy.port).login(DateStyle="German")
    try:
        for c in clients:
            c.ask("select 1")
            assert c.told["DateStyle"] == "ISO, MDY"
        assert own.ask("select '2020-02-03'::date") == [["03.02.2020"]]
        reloaded()
        for turn, c in itertools.product(range(3), clients):
            if turn == 0 and first == "a question of ours":
                c.ask(f"select day as day_{c.key[0]} from {table}")
            if first == "within a transaction":
                c.ask("begin")
            shown(c, query("select current_setting('datestyle'), '2020-02-03'::date"))
            shown(c, parse(f"select current_setting('datestyle'), day from {table}") + bind() + execute() + SYNC)
            if first == "within a transaction":
                c.ask("commit")
            own.send(query(f"select day from {table}"))
            messages = own.until()
            assert [row(p) for k, p in messages if k == "D"] == [["03.02.2020"]] and own.told["DateStyle"].startswith("German")
        for c in clients:  # the signal comes to each server process when it comes
            wait_until(lambda c=c: shown(c, query("select current_setting('datestyle'), '2020-02-03'::date")) == "SQL, DMY",
                       "the new settings")
    finally:
        for c in (*clients, own):
            c.close()
        cluster.primary.psql(f"drop table {table}")


def test_nodes_that_write_dates_each_in_its_own_way(start_proxy, cluster, marks):
    """The client is told of each, with the answer."""
    standby = cluster.nodes[1]
    proxy = start_proxy({"pool_mode": "transaction", "num_workers": 1, "backend_weight0": 0, "backend_weight2": 0}, fresh=True)
    standby.psql("alter system set timezone = 'Asia/Tokyo'")
    standby.psql("select pg_reload_conf()")
    try:
        wait_until(lambda: standby.psql("select current_setting('timezone')", "postgres") == "Asia/Tokyo", "the reload")
        with Told(proxy.port).login() as c:
            for _ in range(3):
                assert c.ask("select current_setting('timezone')") == [["Asia/Tokyo"]] and c.told["TimeZone"] == "Asia/Tokyo"
                assert c.ask("/*NO LOAD BALANCE*/ select current_setting('timezone')") == [["UTC"]] and c.told["TimeZone"] == "UTC"
            c.ask("set timezone = 'Europe/Rome'")
            for comment in ("", "/*NO LOAD BALANCE*/ "):
                assert c.ask(f"{comment}select current_setting('timezone')") == [["Europe/Rome"]]
                assert c.told["TimeZone"] == "Europe/Rome"
    finally:
        standby.psql("alter system reset timezone")
        standby.psql("select pg_reload_conf()")
        wait_until(lambda: standby.psql("select current_setting('timezone')", "postgres") == "UTC", "the reload")


def test_what_another_session_has_set_is_the_servers_own_now(start_proxy, cluster, marks):
    """Taking it back changes nothing, so the server says nothing of it."""
    proxy = start_proxy({**WAYS["transaction"], "num_workers": 1, "pool_size": 1}, fresh=True)
    with Told(proxy.port).login() as c, Told(proxy.port).login(TimeZone="Asia/Tokyo") as other:
        assert c.ask("show timezone") == [["UTC"]] and other.ask("show timezone") == [["Asia/Tokyo"]]
        cluster.primary.psql("alter system set timezone = 'Asia/Tokyo'")
        cluster.primary.psql("select pg_reload_conf()")
        try:
            own = "select reset_val from pg_settings where name = 'TimeZone'"
            wait_until(lambda: other.ask(own) == [["Asia/Tokyo"]], "the reload in the only server process")
            assert other.ask("show timezone") == [["Asia/Tokyo"]]
            assert c.ask("show timezone") == [["Asia/Tokyo"]] and c.told["TimeZone"] == "Asia/Tokyo"
        finally:
            cluster.primary.psql("alter system reset timezone")
            cluster.primary.psql("select pg_reload_conf()")
            wait_until(lambda: cluster.primary.psql("show timezone", "postgres") == "UTC", "the reload")


@pytest.mark.parametrize("before", ["select 1", "set timezone = 'Europe/Rome'"])
@pytest.mark.parametrize("way", ["session", "transaction"])
def test_what_a_lost_transaction_had_set(start_proxy, cluster, way, before):
    proxy = start_proxy({**WAYS[way], "num_workers": 1})
    with Told(proxy.port).login() as c:
        c.ask(before)
        expected = c.ask("show timezone")[0][0]
        c.ask("begin")
        c.ask("set local timezone = 'Asia/Tokyo'")
        pid = c.ask("select pg_backend_pid()")[0][0]
        assert c.told["TimeZone"] == "Asia/Tokyo"
        cluster.primary.psql(f"select pg_terminate_backend({pid})")
        wait_until(lambda: cluster.primary.psql(f"select count(*) from pg_stat_activity where pid = {pid}") == "0", "its end")
        with contextlib.suppress(RuntimeError):  # on its way when the loss is seen, it hears of that
            c.ask("rollback")
        assert c.ask("show timezone") == [[expected]] and c.told["TimeZone"] == expected


def test_a_transactions_settings_on_its_second_node(start_proxy):
    proxy = start_proxy({"pool_mode": "transaction", "num_workers": 1, "backend_weight0": 0})
    with Told(proxy.port).login() as c:
        for node in ("", "/*NO LOAD BALANCE*/ "):
            c.ask("begin")
            c.ask("set local timezone = 'Asia/Tokyo'")
            assert c.ask(f"{node}select current_setting('timezone')") == [["Asia/Tokyo"]] and c.told["TimeZone"] == "Asia/Tokyo"
            c.ask("commit")
            assert c.ask("select current_setting('timezone')") == [["UTC"]] and c.told["TimeZone"] == "UTC"


def test_a_kept_answer_is_written_by_what_was_told(start_proxy, cluster, marks):
    """Of nodes that write dates each in its own way."""
    standby, table = cluster.nodes[1], marks()
    proxy = start_proxy({"pool_mode": "transaction", "num_workers": 1, "backend_weight0": 0, "backend_weight2": 0,
                         "memory_cache_enabled": True}, fresh=True)
    cluster.primary.psql(f"create table {table} as select '2020-02-03'::date as day")
    standby.psql("alter system set datestyle = 'SQL, DMY'")
    standby.psql("select pg_reload_conf()")
    try:
        wait_until(lambda: standby.psql("show datestyle", "postgres") == "SQL, DMY", "the reload")
        with Told(proxy.port).login() as c, Told(proxy.port).login() as other:
            for _ in range(5):
                for session in (c, other):
                    for comment in ("", "/*NO LOAD BALANCE*/ "):
                        assert session.ask(f"{comment}select day from {table}") == [[LOOKS[session.told["DateStyle"]]]]
                c.ask(f"update {table} set day = day")
                assert c.ask(f"select day from {table}") == [[LOOKS[c.told["DateStyle"]]]]
    finally:
        standby.psql("alter system reset datestyle")
        standby.psql("select pg_reload_conf()")
        wait_until(lambda: standby.psql("show datestyle", "postgres") == "ISO, MDY", "the reload")
        cluster.primary.psql(f"drop table {table}")
