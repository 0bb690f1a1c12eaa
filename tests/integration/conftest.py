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


@pytest.fixture(scope="session")
def cluster():
    """Three nodes that all tests share. remote_apply: a read after a write sees it on every node."""
    c = Cluster(nodes=3, remote_apply=True, conf="max_connections = 300")
    try:
        c.create().start()
        yield c
    finally:
        c.destroy()


@pytest.fixture(scope="module")
def start_proxy(cluster):
    """start_proxy(parameters, files): a proxy of this module's own; the same arguments give the same running proxy."""
    running = {}

    def start(parameters=None, files=None, fresh=False, on=None):
        key = (str(sorted((parameters or {}).items())), str(sorted((files or {}).items())), id(on))
        if not fresh and key in running:
            running[key].check_alive() if running[key].process else None
            return running[key]
        proxy = Proxy(on or cluster)
        proxy.settings.update(parameters or {})
        proxy.files.update(files or {})
        running[key if not fresh else object()] = proxy
        return proxy.start()

    yield start
    problems = []
    for proxy in running.values():
        try:
            proxy.stop()
        except AssertionError as e:
            problems.append(e)
        finally:
            proxy.remove()
    assert not problems, problems


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
