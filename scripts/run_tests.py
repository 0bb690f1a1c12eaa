#!/usr/bin/python3
"""Runs the test suites and ends with one line `N passed, N failed` over all of them.

run_tests.py test    lints, unit tests (g++), unit tests under ASan and UBSan (clang), short fuzz, integration tests
run_tests.py check   the long ones: integration with its long tests, plain, in part by epoll, under ASan and (what threads share)
                     under TSan; unit tests under TSan, regression suite, long fuzz
run_tests.py lint | unit | asan | tsan | fuzz | integration | epoll_integration | asan_integration | tsan_integration | regress
                     one suite
"""
import argparse
import glob
import json
import os
import re
import subprocess
import sys
import time
import xml.etree.ElementTree as xml
from concurrent import futures

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
JOBS = os.cpu_count() or 2
# What threads share is at work in these: logins, the pool, cancels, reloads, the monitor, and everything by chance.
THREADED = ["test_ledger.py", "test_pooling.py", "test_cancel.py", "test_auth.py", "test_first_logins.py", "test_monitor.py",
            "test_shows.py", "test_query_cache.py::test_nobody_reads_what_is_older_than_what_was_seen",
            "test_query_cache.py::test_eviction_under_load", "test_memcached.py", "test_cache_definitions.py::test_seeds"]
# What depends on how sockets are waited for and written to.
BY_EPOLL = ["test_basic.py", "test_io_method.py", "test_moments.py", "test_hostile.py", "test_ledger.py", "test_extended_edges.py",
            "test_session_edges.py", "test_cancel.py", "test_pooling.py", "test_auth.py", "test_drivers.py", "test_pgbench.py",
            "test_robust.py"]
# What a failover breaks is counted, and how often a busy worker waits: nothing else is at work meanwhile.
ALONE = ["test_promises.py", "test_system_calls.py"]
LEDGER_SECONDS = "60"  # for each of the runs of test_ledger.py in the long suites
SANITIZER = {"ASAN_OPTIONS": "detect_stack_use_after_return=1:check_initialization_order=1:strict_string_checks=1",
             "UBSAN_OPTIONS": "print_stacktrace=1", "TSAN_OPTIONS": "second_deadlock_stack=1:halt_on_error=1"}


class Tally:
    def __init__(self):
        self.passed, self.failed = 0, 0

    def add(self, name, passed, failed, seconds):
        self.passed += passed
        self.failed += failed
        print(f"-- {name}: {passed} passed, {failed} failed, {seconds:.0f} s", flush=True)


def call(args, log, **options):
    """Runs a command with its output in a file under build/; returns the exit code."""
    with open(log, "ab") as out:
        return subprocess.run(args, cwd=ROOT, stdout=out, stderr=subprocess.STDOUT, **options).returncode


def tail(log, lines=60, skip=r"^\[\d+/\d+\]"):
    with open(log, errors="replace") as f:
        text = [line for line in f if not re.match(skip, line)]
    print("".join(text[-lines:]), flush=True)


def build(preset, choose=lambda folder: []):
    """Configures and compiles all targets, or those that choose(folder) names; returns the folder, or None after showing
    what went wrong."""
    folder = os.path.join(ROOT, {"release": "build"}.get(preset, f"build-{preset}"))
    os.makedirs(folder, exist_ok=True)
    log = f"{folder}/build.log"
    open(log, "w").close()
    if not os.path.exists(f"{folder}/build.ninja") and call(["cmake", "--preset", preset], log) != 0:
        tail(log)
        return None
    # What there is to choose from stands in build.ninja, which may be older than CMakeLists.txt.
    if call(["ninja", "-C", folder, "build.ninja"], log) != 0 or \
            call(["ninja", "-C", folder, f"-j{JOBS}", *choose(folder)], log) != 0:
        tail(log)
        return None
    return folder


def fuzzers(folder):
    """Names of the fuzzers in a configured build folder."""
    listed = subprocess.run(["ninja", "-C", folder, "-t", "targets", "all"], capture_output=True, text=True).stdout
    return sorted(re.findall(r"^(\w+_fuzz): CXX_EXECUTABLE", listed, re.M))


def lint(tally, _):
    checks = [["scripts/check_layers"], ["scripts/check_limits"], ["scripts/check_coroutines"], ["scripts/check_docs"],
              ["scripts/check_format"], ["scripts/check_python"]]
    generate = f"{ROOT}/build/tools/herdgate_generate"
    if os.path.exists(generate):
        checks.append([generate, "--check"])
    else:
        print("not checked: the generated files, for build/tools/herdgate_generate is not built")
    begin, failed = time.monotonic(), 0
    for check in checks:
        result = subprocess.run(check, cwd=ROOT, capture_output=True, text=True)
        if result.returncode != 0:
            failed += 1
            print(f"{' '.join(check)}:\n{result.stdout}{result.stderr}")
    tally.add("lint", len(checks) - failed, failed, time.monotonic() - begin)


def count_unit(folder, report):
    """Counts GoogleTest cases; a program that died without a report is one failure."""
    passed = failed = 0
    for case in xml.parse(report).getroot().iter("testcase"):
        ok = case.get("status") == "run"
        try:
            with open(f"{folder}/{case.get('name')}_tests.json") as f:
                result = json.load(f)
            bad = result["failures"] + result.get("errors", 0)
            passed += result["tests"] - bad - result.get("disabled", 0)
            failed += bad
            if not ok and bad == 0:
                failed += 1
        except (OSError, ValueError):
            passed, failed = passed + ok, failed + (not ok)
    return passed, failed


def unit_in(tally, name, preset):
    begin = time.monotonic()
    folder = build(preset)
    if folder is None:
        tally.add(f"{name} (did not compile)", 0, 1, time.monotonic() - begin)
        return
    reports = f"{folder}/reports"
    os.makedirs(reports, exist_ok=True)
    for old in glob.glob(f"{reports}/*"):
        os.remove(old)
    log = f"{folder}/ctest.log"
    open(log, "w").close()
    environment = {**os.environ, **SANITIZER, "GTEST_OUTPUT": f"json:{reports}/"}
    code = call(["ctest", "--test-dir", folder, f"-j{JOBS}", "--output-on-failure", "--timeout", "600",
                 "--output-junit", f"{reports}/ctest.xml"], log, env=environment)
    if code != 0:
        tail(log, 150)
    passed, failed = count_unit(reports, f"{reports}/ctest.xml")
    tally.add(name, passed, failed or int(code != 0), time.monotonic() - begin)


def unit(tally, _):
    unit_in(tally, "unit", "release")


def asan(tally, _):
    unit_in(tally, "unit under ASan and UBSan", "asan")


def tsan(tally, _):
    unit_in(tally, "unit under TSan", "tsan")


def fuzz(tally, options):
    """Each fuzzer for a moment from its kept corpus, tests/corpus/NAME."""
    begin = time.monotonic()
    folder = build("asan", fuzzers)
    if folder is None:
        tally.add("fuzz (did not compile)", 0, 1, time.monotonic() - begin)
        return
    programs = [f"{folder}/{name}" for name in fuzzers(folder)]
    seconds = options.fuzz_seconds or max(1, 20 // max(1, len(programs)))

    def run(program):
        name = os.path.basename(program)
        fresh = f"{folder}/corpus/{name}"
        os.makedirs(fresh, exist_ok=True)
        kept = [d for d in [f"{ROOT}/tests/corpus/{name}"] if os.path.isdir(d)]
        log = f"{folder}/{name}.log"
        open(log, "w").close()
        return call([program, f"-max_total_time={seconds}", "-timeout=10", "-rss_limit_mb=2048", "-print_final_stats=1",
                     f"-artifact_prefix={folder}/", fresh, *kept], log, env={**os.environ, **SANITIZER})
    failed = 0
    with futures.ThreadPoolExecutor(JOBS) as pool:
        for program, code in zip(programs, pool.map(run, programs)):
            if code != 0:
                failed += 1
                print(os.path.basename(program))
                tail(f"{folder}/{os.path.basename(program)}.log", 60)
    tally.add(f"fuzz ({len(programs)} programs, {seconds} s each)", len(programs) - failed, failed,
              time.monotonic() - begin)


def pytest(tally, name, more=(), environment=None):
    begin = time.monotonic()
    os.makedirs(f"{ROOT}/build", exist_ok=True)
    report = f"{ROOT}/build/pytest-{'-'.join(re.findall('[a-z]+', name))}.xml"
    if os.path.exists(report):
        os.remove(report)
    code = subprocess.run(["/usr/bin/python3", "-m", "pytest", "--junit-xml", report, *more], stdin=subprocess.DEVNULL,
                          cwd=f"{ROOT}/tests/integration", env={**os.environ, **SANITIZER, **(environment or {})}).returncode
    passed, failed = 0, int(code not in (0, 1, 5))
    if os.path.exists(report):
        suite = next(xml.parse(report).getroot().iter("testsuite"))
        bad = int(suite.get("failures")) + int(suite.get("errors"))
        failed += bad
        passed = max(0, int(suite.get("tests")) - bad - int(suite.get("skipped")))
    tally.add(name, passed, failed, time.monotonic() - begin)


def several(tally, name, options, more=(), environment=None):
    """Much of the integration tests is waiting: as many files at a time as there are cores, each with a cluster of its own."""
    parallel = ["-n", str(JOBS), "--dist", "loadfile", *more]
    if options.rest:
        return pytest(tally, name, [*parallel, *options.rest], environment)
    pytest(tally, name, [*parallel, *(f"--ignore={alone}" for alone in ALONE)], environment)
    pytest(tally, f"alone ({name})", [*more, *ALONE], environment)


def integration(tally, options):
    if build("release") is None:
        tally.add("integration (did not compile)", 0, 1, 0)
        return
    several(tally, "integration", options)


def epoll_integration(tally, options):
    """Where the kernel has no io_uring, or forbids it."""
    if build("release") is None:
        tally.add("integration by epoll (did not compile)", 0, 1, 0)
        return
    pytest(tally, "integration by epoll", ["-n", str(JOBS), "--dist", "loadfile", *(options.rest or BY_EPOLL)],
           {"HERDGATE_IO_METHOD": "epoll"})


def long_integration(tally, options):
    if build("release") is None:
        tally.add("integration (did not compile)", 0, 1, 0)
        return
    several(tally, "long integration", options, ["--long", "--seconds", LEDGER_SECONDS])


def sanitized_integration(tally, preset, run):
    """Calls run(name, environment) for the integration tests with a sanitizer's pgpool."""
    folder = build(preset, lambda _: ["pgpool"])
    if folder is None or build("release") is None:  # of the latter come the tools, and the programs that tests call
        tally.add(f"integration under {preset} (did not compile)", 0, 1, 0)
        return
    run(f"{preset}-integration", {"HERDGATE_BINARY": f"{folder}/tools/pgpool"})


def asan_integration(tally, options):
    sanitized_integration(tally, "asan", lambda name, environment: several(
        tally, name, options, ["--long", "--seconds", LEDGER_SECONDS], environment))


def tsan_integration(tally, options):
    # One after the other: what TSan looks for wants the cores for the threads of one proxy.
    sanitized_integration(tally, "tsan", lambda name, environment: pytest(
        tally, name, ["--long", "--seconds", LEDGER_SECONDS, *THREADED, *options.rest], environment))


def regress(tally, _):
    """PostgreSQL's own suite: the same set of scripts must pass as in a direct run, but for those that are explained."""
    for mode in ("raw", "off", "balanced", "transaction"):
        begin = time.monotonic()
        code = subprocess.run([f"{ROOT}/scripts/regress", mode, "--brief"]).returncode
        tally.add(f"PostgreSQL regression suite, {mode}", int(code == 0), int(code != 0), time.monotonic() - begin)


def long_fuzz(tally, options):
    options.fuzz_seconds = options.fuzz_seconds or 120
    fuzz(tally, options)


SUITES = {
    "test": [lint, unit, asan, fuzz, integration],
    "check": [lint, unit, long_integration, epoll_integration, asan_integration, tsan, tsan_integration, regress, long_fuzz],
    "lint": [lint], "unit": [unit], "asan": [asan], "tsan": [tsan], "fuzz": [fuzz], "integration": [integration],
    "epoll_integration": [epoll_integration], "asan_integration": [asan_integration], "tsan_integration": [tsan_integration], "regress": [regress],
}


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("suite", choices=SUITES)
    p.add_argument("--fuzz-seconds", type=int, default=0, help="for each fuzzer")
    p.add_argument("rest", nargs="*", help="handed to pytest")
    options = p.parse_intermixed_args()
    tally = Tally()
    for suite in SUITES[options.suite]:
        try:
            suite(tally, options)
        except Exception as e:  # a suite that breaks down is a failure; the others still run
            print(f"{suite.__name__}: {type(e).__name__}: {e}")
            tally.add(suite.__name__, 0, 1, 0)
    print(f"{tally.passed} passed, {tally.failed} failed")
    return 1 if tally.failed else 0


sys.exit(main())
