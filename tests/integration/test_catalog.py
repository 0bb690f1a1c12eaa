"""The question that the catalog module asks a server, put to a real one: views on views, partitions, odd names, hostile
search paths. The cases are in src/catalog/catalog_real_test.cc; here is the server."""
import os
import subprocess

from support import system


def test_the_catalogs_question_on_a_real_server(cluster):
    program = os.path.join(os.environ.get("HERDGATE_BUILD_DIR", os.path.join(system.ROOT, "build")), "catalog_tests")
    cluster.primary.psql("create database catalog_test", "postgres")
    psql = f"{cluster.bin}/psql -h {cluster.folder} -p {cluster.primary.port} -U postgres -d catalog_test"
    try:
        result = subprocess.run([program, "--gtest_filter=CatalogReal.*"], capture_output=True, text=True, timeout=300,
                                env=dict(os.environ, HERDGATE_TEST_PSQL=psql))
        assert result.returncode == 0, result.stdout + result.stderr
        assert "SKIPPED" not in result.stdout
    finally:
        cluster.primary.psql("drop database catalog_test with (force)", "postgres")
