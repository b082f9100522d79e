# SPDX-License-Identifier: Apache-2.0
"""GET /system: what machine this is and how it is doing, in the fields of two generations of clients."""

import concurrent.futures
import getpass
import os
import platform
import pwd
import shutil
import signal
import socket
import subprocess

import httpx
import pytest

from lib import tokens
from lib.cgroups import Absent, Cgroup
from lib.expect import TIMESTAMP, expect_error, expect_json
from lib.processes import SLEEPER, child
from lib.sdk import control_plane, fresh_token_cache, sandbox  # noqa: F401 (fixtures)
from lib.waiting import wait_until

MIB = 1 << 20
NUMBER = (int, float)
AMOUNTS = {"total": int, "used": int, "free": int, "usage_percent": NUMBER}

SHAPE = {
    "os": {name: str for name in ("name", "version", "id", "kernel", "arch", "hostname", "timezone")},
    "hardware": {"cpu_cores": int, "cpu_model": str, "memory_mb": int, "disk_mb": int},
    "network": {
        "interfaces": list,
        "hostname": str,
        "rx_bytes": int,
        "rx_packets": int,
        "tx_bytes": int,
        "tx_packets": int,
    },
    "environment": {
        "shell": str,
        "path": str,
        "user": str,
        "home": str,
        "working_dir": str,
        "environment": dict,
    },
    "capabilities": list,
    "cpu": {"usage_percent": NUMBER, "cores": NUMBER, "online": int, "limited": bool, "load_average": list},
    "memory": {**AMOUNTS, "limited": bool},
    "swap": AMOUNTS,
    "disk": {**AMOUNTS, "mount": str, "type": str},
    "disks": list,
    "uptime": int,
    "uptime_seconds": int,
    "agent_uptime_seconds": int,
    "sampled_at": str,
    "timestamp": str,
}


def expect_shape(document, shape, where=""):
    assert document.keys() == shape.keys(), where
    for name, wanted in shape.items():
        if isinstance(wanted, dict):
            expect_shape(document[name], wanted, f"{where}/{name}")
        else:
            assert isinstance(document[name], wanted), f"{where}/{name}: {document[name]!r}"


def system(agent, client=None):
    document = expect_json((client or agent.http).get("/system"))
    expect_shape(document, SHAPE)
    for name in ("memory", "swap", "disk"):
        amounts = document[name]
        assert amounts["used"] + amounts["free"] <= amounts["total"]
        assert 0 <= amounts["usage_percent"] <= 100
    assert 0 <= document["cpu"]["usage_percent"] <= 100
    assert TIMESTAMP.match(document["timestamp"]) and TIMESTAMP.match(document["sampled_at"])
    return document


@pytest.mark.smoke
def test_the_machine(agent):
    found = system(agent)
    assert found["os"]["kernel"] == platform.release()
    assert found["os"]["hostname"] == found["network"]["hostname"] == socket.gethostname()
    assert found["os"]["name"] and found["os"]["timezone"]
    assert found["cpu"]["cores"] <= len(os.sched_getaffinity(0)) <= found["cpu"]["online"]
    assert found["hardware"]["cpu_cores"] == -(-found["cpu"]["cores"] // 1)
    assert found["hardware"]["memory_mb"] == found["memory"]["total"] // MIB > 0
    disk = shutil.disk_usage(agent.workspace)
    assert found["disk"]["total"] == disk.total
    assert found["hardware"]["disk_mb"] == disk.total // MIB
    assert found["disks"][0]["mount"] == found["disk"]["mount"]
    assert len({d["mount"] for d in found["disks"]}) == len(found["disks"])
    assert found["uptime"] > found["agent_uptime_seconds"] >= 0


def test_the_network(agent):
    interfaces = {row["name"]: row for row in system(agent)["network"]["interfaces"]}
    assert interfaces.keys() == {name for _, name in socket.if_nameindex()}
    assert interfaces["lo"]["ip"] == "127.0.0.1" and interfaces["lo"]["loopback"]
    for row in interfaces.values():
        expect_shape(row, {"name": str, "ip": str, "mac": str, "addresses": list, "up": bool, "loopback": bool})
        assert row["ip"] == (row["addresses"][0] if row["addresses"] else "")


def test_what_it_can_do(agent):
    features = expect_json(agent.http.get("/info"))["features"]
    assert features["system_metrics"] is True
    wanted = {name for name, value in features.items() if value is True} | set(features["languages"])
    assert set(system(agent)["capabilities"]) == wanted


def test_where_things_are_executed(agent):
    environment = system(agent)["environment"]
    user = pwd.getpwnam(getpass.getuser())
    assert (environment["user"], environment["home"]) == (user.pw_name, user.pw_dir)
    assert environment["working_dir"] == str(agent.workspace)
    for name, variable in (("shell", "SHELL"), ("path", "PATH"), ("home", "HOME")):
        shown = agent.run(f"printf %s ${variable}").json()["stdout"]
        assert environment[name] == environment["environment"][variable] == shown


def test_variables_are_for_those_with_a_token(new_agent):
    agent = new_agent()
    change = {"env_vars": {"HIDDEN": "value of it", "HIDDEN_PASSWORD": "value of it"}}
    expect_json(agent.http.patch("/env", json=change))
    shown = system(agent)["environment"]["environment"]
    assert shown == expect_json(agent.http.get("/env"))["env_vars"]
    assert shown["HIDDEN"] == "value of it"
    for headers in ({}, {"Authorization": "Bearer rubbish"}, tokens.bearer(tokens.token("x" * 64))):
        answer = agent.anonymous.get("/system", headers=headers)
        assert expect_json(answer)["environment"]["environment"] == {}
        assert "value of it" not in answer.text


def test_paths_that_clients_set_are_variables_too(new_agent):
    agent = new_agent()
    hidden = {"PATH": "/usr/bin:/bin:/hidden/tools", "HOME": "/hidden/home", "SHELL": "/hidden/shell"}
    expect_json(agent.http.patch("/env", json={"env_vars": hidden}))
    shown = system(agent)["environment"]
    assert [shown["path"], shown["home"], shown["shell"]] == list(hidden.values())
    answer = agent.anonymous.get("/system")
    assert expect_json(answer)["environment"]["path"]
    assert "hidden" not in answer.text


def test_it_can_be_closed(new_agent):
    agent = new_agent(public_info="false")
    expect_error(agent.anonymous.get("/system"), 401, "AUTHENTICATION_REQUIRED")
    assert system(agent)["environment"]["environment"]


def test_many_who_are_the_first(new_agent):
    """They wait for the same readings, and leave nothing behind; who leaves before they are there is no matter."""
    agent = new_agent()

    def ask(_):
        with httpx.Client(base_url=agent.url, timeout=60) as client:
            return system(agent, client)["sampled_at"]

    with pytest.raises(httpx.TimeoutException):
        httpx.get(f"{agent.url}/system", timeout=httpx.Timeout(60, read=0.001))
    with concurrent.futures.ThreadPoolExecutor(20) as pool:
        assert all(pool.map(ask, range(20)))
    agent.wait_until_idle()


SILENT_DISK = """
#include <unistd.h>
int statvfs(const char *path, void *ret) { for (;;) pause(); }
int statvfs64(const char *path, void *ret) { for (;;) pause(); }
"""


@pytest.mark.plain_build
def test_a_disk_that_does_not_answer_holds_up_nothing(new_agent, tmp_path, monkeypatch):
    """Not the readings of all else, and not the agent's end: the worker that asked will never come back."""
    source, library = tmp_path / "silent.c", tmp_path / "silent.so"
    source.write_text(SILENT_DISK)
    subprocess.run(["cc", "-shared", "-fPIC", "-o", library, source], check=True)
    with monkeypatch.context() as patch:
        patch.setenv("LD_PRELOAD", str(library))
        agent = new_agent()
    found = expect_json(agent.http.get("/system"))
    assert found["disk"] is None and found["memory"]["total"] > 0
    assert expect_json(agent.http.get("/metrics/snapshot"))["system"]["memory"]["total"] > 0
    agent.signal(signal.SIGTERM)
    assert agent.wait_for_exit(30) == 0
    assert "workers do not come back" in agent.log_tail()


def test_readings_go_on_while_somebody_asks(agent):
    first = system(agent)["sampled_at"]
    wait_until(lambda: system(agent)["sampled_at"] != first, "new readings", timeout=10)


def test_a_sleeping_agent_lets_nobody_wait_at_its_end(new_agent):
    agent = new_agent()
    system(agent)
    agent.close()  # at once, between two readings


@pytest.fixture
def limited(new_agent):
    """An agent in a cgroup of its own, with a fifth of a processor and 512 MiB, or a skip."""
    try:
        with Cgroup(cores=0.2, memory=512 * MIB) as cgroup:
            agent = new_agent()
            try:
                cgroup.add(agent.pid)
                yield agent
            finally:
                agent.close()
    except Absent as reason:
        pytest.skip(str(reason))


@pytest.mark.plain_build
def test_limits_of_a_cgroup(limited):
    found = system(limited)
    assert found["cpu"]["cores"] == 0.2 and found["cpu"]["limited"]
    assert found["hardware"]["cpu_cores"] == 1
    assert found["memory"]["total"] == 512 * MIB and found["memory"]["limited"]
    assert found["hardware"]["memory_mb"] == 512
    assert found["memory"]["used"] < 300 * MIB

    # What it may use is what its share is of: of a fifth of a processor half is a tenth, which it gets however busy
    # the machine is.
    held = "x = bytearray(200 << 20)\nwhile True: pass"
    with httpx.Client(base_url=limited.url, headers=limited.http.headers, timeout=60) as client:
        started = client.post("/execute/background", json={"code": held, "language": "python", "timeout": 600})
        process = expect_json(started)["process_id"]

        def is_busy():
            now = system(limited)
            return now["cpu"]["usage_percent"] > 50 and now["memory"]["used"] > 190 * MIB

        wait_until(is_busy, lambda: f"a busy machine: {system(limited)['cpu']}", timeout=60)
        expect_json(client.post(f"/execute/kill/{process}", json={"grace": 0}))


def test_the_python_client(agent, sandbox):  # noqa: F811 (fixture)
    with child(SLEEPER) as sleeper:
        rows = {row["pid"]: row for row in sandbox.list_system_processes()}
    row = rows[sleeper.pid]
    assert (row["name"], row["command"], row["status"]) == ("sleep", " ".join(SLEEPER), "sleeping")
    assert row["cpu_percent"] >= 0 and row["memory_mb"] > 0
    assert rows[agent.pid]["user"] == getpass.getuser()
