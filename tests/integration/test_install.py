"""What `cmake --install` lays down, file by file, and that scripts can use it as they use the original's."""
import hashlib
import os
import re
import shutil
import stat
import subprocess

import pytest

from support import system
from support.proxy import UNDER_TEST
from support.system import wait_until

pytestmark = pytest.mark.skipif(UNDER_TEST != "herdgate", reason="Herdgate only")
BUILD = os.path.join(system.ROOT, "build")
# Those parts of the contract that are built. A new one gets its line here.
PCP = ("attach_node", "detach_node", "promote_node", "recovery_node", "node_count", "node_info", "health_check_stats",
       "pool_status", "proc_count", "proc_info", "watchdog_info", "stop_pgpool", "reload_config", "log_rotate",
       "invalidate_query_cache", "pause", "resume")
FILES = {"bin/pgpool", "bin/pg_md5", "bin/pg_enc", "bin/wd_cli", "etc/pgpool.conf.sample", "etc/pool_hba.conf.sample",
         "etc/pcp.conf.sample", "etc/failover.sh.sample", "etc/follow_primary.sh.sample",
         "etc/recovery_1st_stage.sample", "etc/recovery_basebackup.sample", "etc/pgpool_remote_start.sample",
         "etc/escalation.sh.sample", "etc/aws_eip_if_cmd.sh.sample", "etc/aws_rtb_if_cmd.sh.sample",
         "share/pgpool-II/insert_lock.sql", "share/pgpool-II/pgpool.logrotate",
         *(f"bin/pcp_{name}" for name in PCP)}


def files_below(folder):
    return {os.path.relpath(os.path.join(where, name), folder) for where, _, names in os.walk(folder) for name in names}


@pytest.fixture(scope="module")
def prefix():
    if not os.path.exists(f"{BUILD}/CMakeCache.txt"):
        pytest.skip("build/ is not configured")
    folder = system.scratch("install")
    subprocess.run(["cmake", "--install", BUILD, "--prefix", folder], check=True, capture_output=True, umask=0o022)
    yield folder
    shutil.rmtree(folder)


def as_user(*words, **options):
    return subprocess.run(words, capture_output=True, text=True, timeout=60, cwd="/", stdin=subprocess.DEVNULL,
                          **system.run_as(), **options)


def read(path):
    with open(path) as f:
        return f.read()


def test_every_file_and_no_other(prefix):
    assert files_below(prefix) == FILES


def test_readable_and_runnable_by_everybody(prefix):
    for name in FILES:
        mode = stat.S_IMODE(os.stat(f"{prefix}/{name}").st_mode)
        assert mode & 0o444 == 0o444, name
        assert bool(mode & 0o111) == name.startswith("bin/"), name


def test_programs_run(prefix):
    version = as_user(f"{prefix}/bin/pgpool", "--version").stderr.split()
    assert version[1] == "version" and version[2].startswith("4.6")
    assert as_user(f"{prefix}/bin/pg_md5", "moo").stdout == hashlib.md5(b"moo").hexdigest() + "\n"
    assert as_user(f"{prefix}/bin/pg_enc", "-K", "key", "moo").returncode == 0
    assert as_user(f"{prefix}/bin/wd_cli", "-V").stderr.startswith("wd_cli (pgpool-II) 4.6")


def test_samples_are_what_scripts_edit(prefix):
    hba = read(f"{prefix}/etc/pool_hba.conf.sample")
    assert re.search(r"^local\s+all\s+all\s+trust$", hba, re.M)
    assert re.findall(r"^host\s+all\s+all\s+(\S+)\s+trust$", hba, re.M) == ["127.0.0.1/32", "::1/128"]
    assert read(f"{prefix}/etc/pcp.conf.sample").endswith("\n")
    conf = read(f"{prefix}/etc/pgpool.conf.sample")
    named = set(re.findall(r"^#?(\w+) = ", conf, re.M))
    with open(f"{system.ROOT}/src/config/testdata/parameters_4_6.tsv") as f:
        original = {line.split("\t")[0] for line in f.readlines()[1:]}
    left_out = {"dml_adaptive_object_relationship_list", "health_check_test", "replication_mode",
                "ssl_passphrase_command", "delegate_IP", "fail_over_on_backend_error"}  # the last two: old spellings
    # A parameter of many nodes stands there with the number 0.
    missing = {p for p in original if not named & {p, f"{p}0", f"{p}1"}} - left_out
    assert not missing


def test_a_copied_sample_with_lines_appended_serves(prefix):
    """As setup scripts do it: copy, append, the last line wins; nothing is written below the prefix."""
    before = files_below(prefix)
    run = system.scratch("installed")
    port, dead = system.free_ports(2)
    try:
        for name in ("pgpool.conf", "pool_hba.conf", "pcp.conf"):
            shutil.copy(f"{prefix}/etc/{name}.sample", f"{run}/{name}")
        with open(f"{run}/pgpool.conf", "a") as f:
            for value in (dead, port):
                f.write(f"port = {value}\n")
            f.write(f"backend_clustering_mode = 'raw'\nbackend_hostname0 = '127.0.0.1'\nbackend_port0={dead}\n"
                    f"unix_socket_directories = '{run}'\npcp_socket_dir = '{run}'\npid_file_name = '{run}/pid'\n"
                    f"logdir='{run}'\nenable_pool_hba\ton\nsr_check_period=0\n")
        for name in os.listdir(run):
            system.give(f"{run}/{name}")
        words = [f"{prefix}/bin/pgpool", "-f", f"{run}/pgpool.conf", "-F", f"{run}/pcp.conf", "-a",
                 f"{run}/pool_hba.conf"]
        assert as_user(*words, "--check").returncode == 0
        started = as_user(*words)
        assert started.returncode == 0, started.stderr
        wait_until(lambda: system.can_connect(port, "localhost"), "the port")
        assert stat.S_ISSOCK(os.stat(f"{run}/.s.PGSQL.{port}").st_mode)
        assert as_user(*words, "-m", "f", "stop").returncode == 0
        assert not os.path.exists(f"{run}/pid") and not system.can_connect(port)
    finally:
        shutil.rmtree(run)
    assert files_below(prefix) == before


def test_files_are_found_beside_the_program(prefix):
    """Without -f the files in etc beside bin count, wherever the prefix has been moved to."""
    moved = system.scratch("moved")
    try:
        shutil.copytree(prefix, f"{moved}/here")
        conf = f"{moved}/here/etc/pgpool.conf"
        with open(conf, "w") as f:
            f.write("nonsense_here = 1\n")
        os.chmod(conf, 0o644)
        result = as_user(f"{moved}/here/bin/pgpool", "--check")
        assert result.returncode == 1 and f"{conf}:1:" in result.stderr
    finally:
        shutil.rmtree(moved)


def test_server_side_extensions():
    """Into another folder: below the prefix there is nothing of them."""
    asked = lambda what: subprocess.run(["pg_config", what], capture_output=True, text=True).stdout.strip()
    if not shutil.which("pg_config") or not os.path.exists(f"{asked('--includedir-server')}/postgres.h"):
        pytest.skip("no headers of the server")
    folder = system.scratch("extensions")
    try:
        subprocess.run([f"{system.ROOT}/scripts/install_extensions"], check=True, capture_output=True, umask=0o022,
                       env={**os.environ, "DESTDIR": folder})
        libraries, texts = asked("--pkglibdir")[1:], f"{asked('--sharedir')[1:]}/extension"
        assert files_below(folder) == {
            *(f"{libraries}/{name}.so" for name in ("pgpool-recovery", "pgpool-regclass", "pgpool_adm")),
            *(f"{texts}/{name}.control" for name in ("pgpool_recovery", "pgpool_regclass", "pgpool_adm")),
            *(f"{texts}/{name}.sql" for name in ("pgpool_recovery--1.4", "pgpool_regclass--1.0", "pgpool_adm--1.5"))}
    finally:
        shutil.rmtree(folder)


def test_insert_lock_sql(prefix, cluster):
    script = read(f"{prefix}/share/pgpool-II/insert_lock.sql")
    copy = os.path.join(cluster.folder, "insert_lock.sql")
    with open(copy, "w") as f:
        f.write(script)
    system.give(copy)
    cluster.run("psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", "-h", cluster.inner, "-p", str(cluster.primary.port), "-U",
                "postgres", "-d", "test", "-f", copy)
    assert cluster.primary.psql("select * from pgpool_catalog.insert_lock") == "0"
    cluster.primary.psql("drop schema pgpool_catalog cascade")
