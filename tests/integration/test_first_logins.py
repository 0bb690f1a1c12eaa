"""Many clients at the very moment of the start: every one of them gets in, none waits for a wake-up that was lost."""
import concurrent.futures

import pytest

from support.proxy import Proxy

pytestmark = [pytest.mark.proxy_only, pytest.mark.herdgate_only]


def log_in(proxy):
    with proxy.connect(user="test") as c:
        return c.execute("select 1").fetchone()[0]


@pytest.mark.parametrize("mode", [pytest.param("session", marks=pytest.mark.long), "transaction"])
def test_logins_at_start(cluster, mode):
    with concurrent.futures.ThreadPoolExecutor(16) as threads:
        for _ in range(8):
            proxy = Proxy(cluster)
            proxy.settings.update({"pool_mode": mode, "max_pool": 1, "authentication_timeout": 20})
            try:
                proxy.start()
                assert list(threads.map(log_in, [proxy] * 32)) == [1] * 32
                proxy.stop()
            finally:
                proxy.remove()
