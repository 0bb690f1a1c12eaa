"""Fixtures: one three-node cluster a run, one proxy a set of parameters."""
import itertools
import os
import sys

import pytest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from support.cluster import Cluster  # noqa: E402
from support.memcached import Memcached  # noqa: E402
from support.proxy import UNDER_TEST, Proxy  # noqa: E402


def pytest_addoption(parser):
    parser.addoption("--long", action="store_true", help="also the tests marked long")
    parser.addoption("--seed", type=int, help="choices of the random tests; without it, others each time")
    parser.addoption("--seconds", type=float, default=5, help="length of each run of test_ledger.py")


def pytest_collection_modifyitems(config, items):
    for item in items:
        if UNDER_TEST == "direct" and item.get_closest_marker("proxy_only"):
            item.add_marker(pytest.mark.skip(reason="needs a proxy"))
        if UNDER_TEST != "herdgate" and item.get_closest_marker("herdgate_only"):
            item.add_marker(pytest.mark.skip(reason="Herdgate only"))
        if item.get_closest_marker("long") and not config.getoption("--long"):
            item.add_marker(pytest.mark.skip(reason="long; --long runs it"))


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    """A test that fails shows the end of the log of every proxy that was there."""
    report = (yield).get_result()
    if report.when == "call" and report.failed:
        for proxy in Proxy.live():
            report.sections.append((f"log of the proxy in {proxy.folder}", proxy.log()[-6000:]))


def pytest_runtest_logreport(report):
    """Failures are told as they happen: a run that is cut short has told its own."""
    if report.failed:
        crash = getattr(report.longrepr, "reprcrash", None)
        print(f"\nFAILED {report.nodeid} ({report.when}): {(crash.message if crash else str(report.longrepr))[:400]}", flush=True)


@pytest.fixture(scope="session")
def cluster():
    """Three nodes that all tests share. remote_apply: a read after a write sees it on every node."""
    c = Cluster(nodes=3, remote_apply=True, conf="max_connections = 300", keeps_sessions=True)
    try:
        c.create().start()
        yield c
    finally:
        c.destroy()


class Proxies:
    """Those of one module. Each asks every server each second, so only the last ones are left running; whoever asks for one
    that has ended gets it anew. What a fixture starts stays."""

    KEPT = 6

    def __init__(self, cluster):
        self.cluster, self.running, self.user, self.problems = cluster, {}, {}, []

    def start(self, parameters=None, files=None, fresh=False, on=None):
        key = (str(sorted((parameters or {}).items())), str(sorted((files or {}).items())), id(on))
        if not fresh and key in self.running:
            proxy = self.running.pop(key)
            self.running[key] = proxy  # the last one used is the last
            self.note_user(key)
            if proxy.process is not None:
                proxy.check_alive()
                return proxy
            self.end(key)  # it has not started
        self.end_old()
        proxy = Proxy(on or self.cluster)
        proxy.settings.update(parameters or {})
        proxy.files.update(files or {})
        key = object() if fresh else key
        self.running[key] = proxy
        self.note_user(key)
        return proxy.start()

    def note_user(self, key):
        test, _, phase = os.environ.get("PYTEST_CURRENT_TEST", "").rpartition(" ")
        if self.user.get(key) != "a fixture":
            self.user[key] = "a fixture" if phase == "(setup)" else test

    def end_old(self):
        now = os.environ.get("PYTEST_CURRENT_TEST", "").rpartition(" ")[0]
        old = [key for key in self.running if self.user[key] not in ("a fixture", now)]
        for key in old[:max(0, len(old) - self.KEPT)]:
            self.end(key)

    def end(self, key):
        proxy = self.running.pop(key)
        try:
            proxy.stop()
        except AssertionError as e:
            self.problems.append(e)
        finally:
            proxy.remove()


@pytest.fixture(scope="module")
def start_proxy(cluster):
    """start_proxy(parameters, files): a proxy of this module's own; the same arguments give the same running proxy."""
    for node in cluster.nodes:
        node.begin_log()
    proxies = Proxies(cluster)
    yield proxies.start
    for key in list(proxies.running):
        proxies.end(key)
    assert not proxies.problems, proxies.problems


@pytest.fixture(scope="module")
def memcached():
    server = Memcached()
    try:
        yield server.start()
    finally:
        server.remove()


@pytest.fixture
def proxy(start_proxy):
    """A proxy with default parameters, shared within a module."""
    return start_proxy()


@pytest.fixture(scope="session")
def marks():
    """Words that occur nowhere else, to find a statement again in the servers' logs."""
    counter = itertools.count()
    return lambda: f"mark_{os.getpid()}_{next(counter)}_"
