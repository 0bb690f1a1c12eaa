"""The monitor's probes on a real cluster. The cases are in src/monitor/probe_test.cc; here are the servers."""
import os
import subprocess

from support import system


def test_probes_of_real_servers(cluster):
    program = os.path.join(os.environ.get("HERDGATE_BUILD_DIR", os.path.join(system.ROOT, "build")), "monitor_tests")
    nodes = " ".join(f"{cluster.folder}:{n.port}" for n in cluster.nodes)
    result = subprocess.run([program, "--gtest_filter=ProbeReal.*"], capture_output=True, text=True, timeout=120,
                            env=dict(os.environ, HERDGATE_TEST_NODES=nodes))
    assert result.returncode == 0, result.stdout + result.stderr
    assert "SKIPPED" not in result.stdout
