# SPDX-License-Identifier: Apache-2.0
"""The life of waiting processes: when they come, when they go, and that what they have loaded is what is installed."""

import os
import pwd
import signal
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from lib import procfs
from lib.waiting import wait_until
from lib.warm import Venv, pool, run, wait_ready, warm_up

VERSION = "import fakenumpy; print(fakenumpy.VERSION)"


@pytest.fixture
def venv(tmp_path):
    return Venv(tmp_path / "venv")


def test_nobody_waits_before_the_first_execution(new_agent):
    agent = new_agent()
    assert procfs.children(agent.pid) == []
    assert pool(agent)["server_pid"] is None


def test_at_boot_they_wait_from_the_start(new_agent):
    agent = new_agent(warm_at_boot="true", warm_preload="none", warm_javascript=0)
    wait_ready(agent)
    assert run(agent, "print(1)")[1] is None
    assert pool(agent, "python-scientific")["enabled"] is False


def test_unused_pools_end(new_agent):
    agent = new_agent(warm_idle="1s", warm_preload="none", warm_javascript=0)
    warm_up(agent)
    wait_until(lambda: pool(agent)["server_pid"] is None and not procfs.children(agent.pid), "an empty pool", 20)
    run(agent, "print(1)")
    wait_ready(agent)
    assert run(agent, "print(1)")[1] is None


def test_what_is_installed_is_there_at_once(new_agent, venv):
    agent = new_agent(environment={"PATH": venv.path}, warm_preload="none", warm_javascript=0)
    warm_up(agent)
    assert "ModuleNotFoundError" in run(agent, "import brandnew")[0]["stderr"]
    for n in range(2):
        wait_ready(agent)
        venv.install("brandnew", f"VERSION = {n}\n" + "#" * n)
        result, miss = run(agent, "import brandnew; print(brandnew.VERSION)")
        assert (result["stdout"], miss) == (f"{n}\n", "stale")
    wait_ready(agent)
    result, miss = run(agent, "import brandnew; print(brandnew.VERSION)")
    assert (result["stdout"], miss) == ("1\n", None)


def test_the_directory_of_a_missing_one_is_busy(new_agent, tmp_path):
    """As a home is, in which the directory for a user's own modules is missing until something is installed there."""
    agent = new_agent(environment={"PYTHONUSERBASE": str(tmp_path)}, warm_preload="none", warm_javascript=0)
    warm_up(agent)
    (tmp_path / ".history").write_text("x")
    result, miss = run(agent, "import site; print(site.getusersitepackages())")
    assert miss is None
    packages = Path(result["stdout"].strip())
    assert packages.is_relative_to(tmp_path)
    wait_ready(agent)
    packages.mkdir(parents=True)
    (packages / "mine.py").write_text("VERSION = 3\n")
    result, miss = run(agent, "import mine; print(mine.VERSION)")
    assert (result["stdout"], miss) == ("3\n", "stale")


def test_an_upgrade_of_what_is_preloaded_is_seen(new_agent, venv):
    package = venv.packages / "fakenumpy"
    package.mkdir()
    (package / "__init__.py").write_text("from .version import VERSION\n")
    (package / "version.py").write_text("VERSION = 'one'\n")
    agent = new_agent(environment={"PATH": venv.path}, warm_preload="nosuchmodule, fakenumpy", warm_javascript=0)
    warm_up(agent, "python-scientific")
    result, miss = run(agent, VERSION)
    assert (result["stdout"], miss) == ("one\n", None)
    assert pool(agent, "python-scientific")["hits"] == 1
    wait_ready(agent, "python-scientific")

    (package / "version.py").write_text("VERSION = 'second'\n")  # deep inside, and in place
    result, miss = run(agent, VERSION)
    assert result["stdout"] == "second\n"
    assert pool(agent, "python-scientific")["misses"]["stale"] >= 1
    wait_ready(agent, "python-scientific")
    result, miss = run(agent, VERSION)
    assert (result["stdout"], miss) == ("second\n", None)


def test_code_chooses_the_pool_by_its_imports(new_agent, venv):
    (venv.packages / "fakenumpy.py").write_text("VERSION = 1\n")
    agent = new_agent(environment={"PATH": venv.path}, warm_preload="fakenumpy", warm_javascript=0)
    warm_up(agent)
    run(agent, "x = 'fakenumpy'")
    assert pool(agent, "python-scientific")["server_pid"] is None
    run(agent, "from fakenumpy import VERSION")  # nobody has it loaded yet, but an interpreter waits
    wait_ready(agent, "python-scientific")
    before = pool(agent)["hits"]
    assert run(agent, VERSION)[1] is None
    assert pool(agent, "python-scientific")["hits"] == 1
    assert pool(agent)["hits"] == before


def test_another_program_under_the_same_name_is_seen(new_agent, venv):
    agent = new_agent(environment={"PATH": venv.path}, warm_preload="none", warm_javascript=0)
    warm_up(agent)
    program = venv.directory / "bin" / "python3"
    program.unlink()
    program.write_text("#!/bin/sh\necho another\n")
    program.chmod(0o755)
    result, miss = run(agent, "print(1)")
    assert (result["stdout"], miss) == ("another\n", "stale")


def test_who_cannot_serve_is_given_up(new_agent, tmp_path):
    directory = tmp_path / "bin"
    directory.mkdir()
    (directory / "python3").write_text("#!/bin/sh\nexit 3\n")
    (directory / "python3").chmod(0o755)
    agent = new_agent(environment={"PATH": f"{directory}:/usr/bin:/bin"}, warm_preload="none", warm_javascript=0)
    agent.execute("print(1)")
    wait_until(lambda: pool(agent)["given_up"], lambda: f"the end of it: {pool(agent)}")
    assert run(agent, "print(1)")[1] == "disabled"
    assert procfs.children(agent.pid) == []
    assert "no warm starts" in agent.log()
    agent.signal(signal.SIGHUP)
    wait_until(lambda: "reloaded" in agent.log(), "a reload")
    run(agent, "print(1)")


def test_nothing_outlives_a_killed_agent(new_agent):
    agent = new_agent(warm_preload="none")
    for name in ("python", "javascript"):
        warm_up(agent, name)
    assert procfs.children(agent.pid)
    agent.process.kill()
    agent.process.wait()
    wait_until(lambda: not agent.survivors(), lambda: f"survivors: {procfs.describe(agent.survivors())}")
    agent.close_clients()
    agent.is_closed = True


@pytest.mark.parametrize("cgroup", ["auto", "off"])
def test_both_ways_of_knowing_a_tree(new_agent, cgroup):
    agent = new_agent(cgroup=cgroup, warm_preload="none", warm_javascript=0)
    warm_up(agent)
    with ThreadPoolExecutor(8) as threads:
        results = list(threads.map(lambda i: agent.execute(f"print({i})").json()["stdout"], range(40)))
    assert results == [f"{i}\n" for i in range(40)]
    code = "import subprocess, time; subprocess.Popen(['setsid', 'sleep', '1000']); time.sleep(1000)"
    wait_ready(agent)
    before = pool(agent)["hits"]
    assert agent.execute(code, timeout=1).json()["exit_code"] == 124
    assert pool(agent)["hits"] == before + 1
    agent.wait_until_idle()


def test_limits_of_the_configuration_hold(new_agent):
    agent = new_agent(max_memory="200M", max_tasks=20, warm_preload="none", warm_javascript=0)
    warm_up(agent)
    before = pool(agent)["hits"]
    result = agent.execute("x = bytearray(400 * 2 ** 20); print('had it')").json()
    assert "had it" not in result["stdout"] and result["success"] is False
    assert pool(agent)["hits"] == before + 1


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can run code as another user")
def test_limits_of_another_users_processes(new_agent):
    """Root may be without the right to limit them (CAP_SYS_RESOURCE). That costs one that waits, and not more."""
    agent = new_agent(run_as="nobody", max_memory="200M", warm_preload="none", warm_javascript=0)
    code = "import resource as r; print(r.getrlimit(r.RLIMIT_CPU))"
    warm_up(agent)
    assert run(agent, "print(1)")[1] is None
    misses = []
    for _ in range(4):
        wait_ready(agent)
        result, miss = run(agent, code, cpu_seconds=7)
        assert result["stdout"] == "(7, 8)\n"
        misses.append(miss)
    assert misses in ([None] * 4, ["failed"] + ["limits"] * 3)
    wait_ready(agent)
    assert run(agent, "print(1)")[1] is None


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can run code as another user")
@pytest.mark.parametrize("cgroup", ["auto", "off"])
def test_waiting_processes_are_the_users(new_agent, cgroup):
    agent = new_agent(run_as="nobody", cgroup=cgroup, warm_preload="none")
    uid = str(pwd.getpwnam("nobody").pw_uid)
    for name, code, expected in (
        ("python", "import os; print(os.getresuid(), os.getgroups())", f"({uid}, {uid}, {uid})"),
        ("javascript", "console.log(process.getuid(), process.geteuid())", f"{uid} {uid}"),
    ):
        found = warm_up(agent, name)
        for pid in [*found["pids"], found["server_pid"]]:
            if pid:
                assert procfs.status(pid)["Uid"].split() == [uid] * 4
        result, miss = run(agent, code, name)
        assert miss is None
        assert result["stdout"].startswith(expected)
    # A pipe that is another user's could not be opened again.
    wait_ready(agent)
    assert run(agent, "open('/dev/stdout', 'w').write('x')")[0]["stdout"] == "x"


def test_a_reload_changes_the_pools(new_agent):
    agent = new_agent(warm_preload="none", warm_javascript=0)
    warm_up(agent)
    agent.signal(signal.SIGHUP)
    wait_until(lambda: "reloaded" in agent.log(), "a reload")
    wait_ready(agent)
    assert run(agent, "print(1)")[1] is None


def test_the_end_comes_while_executions_wait(new_agent):
    agent = new_agent(warm_preload="none", warm_javascript=0, shutdown_grace="200ms")
    warm_up(agent)
    with ThreadPoolExecutor(20) as threads:
        pending = [threads.submit(agent.execute, "import time; time.sleep(1000)") for _ in range(20)]
        wait_until(lambda: agent.gauges()["processes_running"] > 3, "running executions")
        agent.signal(signal.SIGTERM)
        agent.wait_for_exit(20)
        for future in pending:
            future.exception()


def stop_who_waits(agent, name):
    """The only one, so that it is taken, and does not read its job."""
    pid = wait_ready(agent, name)["pids"][0]
    os.kill(pid, signal.SIGSTOP)
    wait_until(lambda: procfs.status(pid)["State"].split()[0] == "T", "a stopped process")
    return pid


@pytest.mark.parametrize("name", ["python", "javascript"])
def test_nothing_is_lost_with_a_process_that_dies_before_it_begins(new_agent, name):
    agent = new_agent(warm_preload="none", warm_python=1, warm_javascript=1)
    code = {"python": "print(42)", "javascript": "console.log(42)"}[name]
    warm_up(agent, name)
    pid = stop_who_waits(agent, name)
    before = pool(agent, name)
    with ThreadPoolExecutor(1) as threads:
        future = threads.submit(agent.execute, code, name)
        wait_until(lambda: agent.gauges()["processes_running"] == 1, "an execution")
        os.kill(pid, signal.SIGKILL)
        assert future.result().json()["stdout"] == "42\n"
    after = pool(agent, name)
    assert after["hits"] == before["hits"]
    assert after["misses"]["failed"] == before["misses"]["failed"] + 1

    stop_who_waits(agent, name)  # who never begins has a deadline, too
    assert agent.execute(code, name, timeout=1).json()["exit_code"] == 124
    agent.wait_until_idle()
