"""Units of the extended protocol at their edges: what is sent behind an error, what is forgotten and what is not."""
import threading

import pytest

from support.wire import FLUSH, SYNC, Client, bind, close, error, execute, kinds, parse, row

pytestmark = [pytest.mark.proxy_only, pytest.mark.herdgate_only]


@pytest.fixture
def one_link(start_proxy):
    """Whatever one session leaves on the link, the next one meets."""
    return start_proxy({"pool_mode": "transaction", "pool_size": 1, "load_balance_mode": False, "num_init_children": 40,
                        "query_wait_timeout": 30})


@pytest.fixture
def new_link(start_proxy):
    """The same, and nobody has been on it yet."""
    return start_proxy({"pool_mode": "transaction", "pool_size": 1, "load_balance_mode": False, "num_init_children": 40,
                        "query_wait_timeout": 30}, fresh=True)


def said(messages):
    return [error(payload)["C"] if kind == "E" else kind for kind, payload in messages if kind not in "SN"]


def ask(client, *messages):
    client.send(*messages, SYNC)
    return said(client.until("Z"))


def test_a_statement_that_is_to_be_prepared_anew_behind_an_error(one_link):
    """What it was to be closed by went to a server that was skipping: its name was taken there for good."""
    with Client(one_link.port).login() as c, Client(one_link.port).login() as other:
        assert ask(c, parse("select $1::int", "s")) == ["1", "Z"]
        for turn in range(2):
            c.send(bind("no number", statement="s"), execute(), FLUSH)
            assert said(c.until("E")) == ["22P02"]
            assert ask(c, *[execute()] * turn) == ["Z"]
            assert ask(c, bind("1", statement="s"), execute()) == ["2", "D", "C", "Z"]
            assert ask(other, parse("select $1::int"), bind("1"), execute()) == ["1", "2", "D", "C", "Z"]
            assert ask(other, parse("select $1::int", f"s{turn}"), bind("1", statement=f"s{turn}"), execute()) == \
                ["1", "2", "D", "C", "Z"]
