# SPDX-License-Identifier: Apache-2.0
"""/health with real faults: what it says is wrong, with which status, and that it gets well again."""

import os
import resource
import shutil
import signal
import time
from unittest import mock

import pytest
from hopx_ai import Sandbox
from hopx_ai.errors import HopxError
from test_js_sdk import Client
from test_js_sdk import pytestmark as needs_js_sdk

from lib import agent as agents
from lib import raw, tokens
from lib.control_plane import ControlPlane
from lib.expect import TIMESTAMP, expect_error, expect_json
from lib.mounts import PrivateAgent, may_mount
from lib.waiting import wait_until

CHECKS = {"loop", "state_dir", "spawn"}
# A verdict on the disk is good for three seconds.
TIMEOUT = 15


@pytest.fixture
def private_agent(tmp_path):
    may_mount()
    agent = PrivateAgent(tmp_path)
    yield agent
    agent.close()


@pytest.fixture(scope="module")
def movable(tmp_path_factory):
    """An agent with programs of its own, which may be taken away."""
    directory = tmp_path_factory.mktemp("health-programs")
    for name in ("vm-agent", "agent-shim", "agent-keeper"):
        shutil.copy2(agents.BINARY.with_name(name), directory)
    shutil.copytree(agents.ROOT / "proc" / "runtimes", directory / "proc" / "runtimes")
    with mock.patch("lib.agent.BINARY", directory / "vm-agent"):
        agent = agents.Agent()
    agent.shim = directory / "agent-shim"
    yield agent
    agent.close()


@pytest.fixture
def crippled(movable):
    """No program can be started, and the agent knows. Calling its heal() ends that."""
    hidden = movable.shim.with_name("hidden")

    def heal():
        if hidden.exists():
            hidden.rename(movable.shim)

    movable.heal = heal
    movable.shim.rename(hidden)
    # Its failure makes the next look come at once.
    expect_error(movable.run("true"), 503, "SERVICE_UNAVAILABLE")
    wait_until_unhealthy(movable)
    yield movable
    heal()
    wait_until_healthy(movable)


def ask(agent):
    return agent.anonymous.get("/health")


def unhealthy(response, which):
    """The document of an unhealthy agent: an error as any other, and all that a healthy one says."""
    document = expect_error(response, 503, "SERVICE_UNAVAILABLE")
    assert document["status"] == "unhealthy"
    assert document["features"]["code_execution"] is True and document["uptime"] and document["vm_id"]
    assert response.headers["Retry-After"] == "1"
    failed = {name for name, check in document["checks"].items() if check["status"] == "failed"}
    assert failed == {which} and set(document["checks"]) == CHECKS
    error = document["checks"][which]["error"]
    assert document["message"] == f"The agent is unhealthy. {which}: {error}"
    return error


def wait_until_unhealthy(agent):
    return wait_until(lambda: (r := ask(agent)).status_code == 503 and r, "unhealthy agent", TIMEOUT)


def wait_until_healthy(agent):
    """Until all has been tried, and found to be well."""

    def checks():
        response = ask(agent)
        if response.status_code != 200:
            return None
        document = expect_json(response)
        assert document["status"] == "healthy" and "error" not in document
        checks = document["checks"]
        return all(check["status"] == "ok" for check in checks.values()) and checks

    return wait_until(checks, "healthy agent", TIMEOUT)


def wait_for_error(agent, which, error):
    def is_said():
        response = ask(agent)
        return response.status_code == 503 and error in unhealthy(response, which)

    wait_until(is_said, f"{which}: {error}", TIMEOUT)


@pytest.mark.smoke
def test_checks_are_always_told(agent):
    checks = wait_until_healthy(agent)
    assert set(checks) == CHECKS
    for check in checks.values():
        assert check["error"] is None and TIMESTAMP.match(check["checked_at"])
    assert checks["loop"]["repeated_lag_ms"] <= checks["loop"]["max_lag_ms"]


def test_checks_leave_nothing_behind(agent):
    wait_until_healthy(agent)
    assert agent.gauges()["processes_running"] == 0
    wait_until(lambda: not list(agent.directory.glob("run/state/health*")), "end of the last trial")


def test_a_disk_that_cannot_be_written(private_agent):
    """Full, then read-only; what else is wrong is found out sooner once something is."""
    agent = private_agent
    state = agent.directory / "run" / "state"
    agent.mount("-t", "tmpfs", "-o", "size=64k", "tmpfs", state)
    with open(agent.inside(state) / "filler", "wb", buffering=0) as filler, pytest.raises(OSError):
        while filler.write(b"x" * 4096) > 0:
            pass
    wait_for_error(agent, "state_dir", "cannot write there: No space left on device")
    (agent.inside(state) / "filler").unlink()
    agent.remount(state, "ro")
    wait_for_error(agent, "state_dir", "cannot write there: Read-only file system")
    assert "unhealthy" in agent.log() and "No space left" in agent.log()
    agent.remount(state, "rw")
    wait_until_healthy(agent)
    assert "health: healthy again" in agent.log()
    agent.unmount(state)


@pytest.mark.skipif(os.getuid() != 0, reason="only root can start an agent as somebody else")
def test_a_directory_without_permission(new_agent):
    agent = new_agent(user="nobody")
    state = agent.directory / "run" / "state"
    mode = state.stat().st_mode
    state.chmod(0o500)
    wait_for_error(agent, "state_dir", "cannot write there: Permission denied")
    state.chmod(mode)
    wait_until_healthy(agent)


def test_a_shim_that_is_gone(crippled):
    assert "No such file or directory" in unhealthy(ask(crippled), "spawn")
    # What needs no program goes on.
    expect_json(crippled.http.get("/files/list", params={"path": str(crippled.workspace)}))
    crippled.heal()
    wait_until_healthy(crippled)
    assert expect_json(crippled.run("echo back"))["stdout"] == "back\n"


def failing(response):
    checks = expect_error(response, 503, "SERVICE_UNAVAILABLE") and response.json()["checks"]
    return {name: check["error"] for name, check in checks.items() if check["status"] == "failed"}


@pytest.mark.plain_build
def test_no_descriptor_left(new_agent):
    agent = new_agent()
    wait_until_healthy(agent)
    assert agent.gauges()["processes_running"] == 0  # and a connection, which cannot be made later
    used = {int(name) for name in os.listdir(f"/proc/{agent.pid}/fd")}
    first_free = min(set(range(max(used) + 2)) - used)
    limits = resource.prlimit(agent.pid, resource.RLIMIT_NOFILE)
    resource.prlimit(agent.pid, resource.RLIMIT_NOFILE, (first_free, limits[1]))
    try:
        expect_error(agent.run("true"), 503, "SERVICE_UNAVAILABLE")
        assert "Too many open files" in failing(wait_until_unhealthy(agent))["spawn"]
    finally:
        resource.prlimit(agent.pid, resource.RLIMIT_NOFILE, limits)
    wait_until_healthy(agent)


def test_the_python_client_waits_for_the_recovery(crippled):
    sandbox = Sandbox.debug(crippled.url, tokens.token())
    crippled.heal()
    assert sandbox.is_healthy() is True  # it tries again after a second
    sandbox._agent_client.close()


def test_the_clients_see_an_unhealthy_agent(crippled):
    with ControlPlane(crippled.url) as plane:
        sandbox = Sandbox.debug(crippled.url, tokens.token())
        with mock.patch("time.sleep"):  # between its attempts
            assert sandbox.is_healthy() is False
        sandbox._agent_client.close()
        # The whole client, which asks thirty times before it goes on.
        sandbox = Sandbox.connect("sandbox-1", api_key="key", base_url=plane.url)
        with mock.patch("time.sleep"), pytest.raises(HopxError, match="not healthy"):
            sandbox.ensure_healthy()
        assert sandbox.files.exists(str(crippled.workspace)) is True
        sandbox._agent_client.close()
        sandbox._client.close()


@pytest.mark.skipif(any(mark.args[0] for mark in needs_js_sdk), reason="no JavaScript client")
def test_the_javascript_client_sees_an_unhealthy_agent(crippled):
    with ControlPlane(crippled.url) as plane:
        client = Client(plane, "sandbox-1")
        assert client.call("connect") == "sandbox-1"
        assert client.call("isHealthy") is False  # after two more attempts
        client.close()


def stall(agent, seconds):
    """Stands still for so long, and has a question waiting then. Longer ones are pauses, and forgiven."""
    with raw.RawConnection(agent.port) as connection:
        agent.signal(signal.SIGSTOP)
        try:
            connection.send(raw.head("GET", "/health"))
            time.sleep(seconds)
        finally:
            agent.signal(signal.SIGCONT)
        connection.read_response()


@pytest.mark.plain_build
def test_a_loop_that_lags_again_and_again(new_agent):
    agent = new_agent()
    stall(agent, 1.5)
    assert expect_json(ask(agent))["status"] == "healthy"  # it is over

    def lags():
        stall(agent, 1.5)
        response = ask(agent)
        return response.status_code == 503 and response

    error = unhealthy(wait_until(lags, "lag that is noticed", 20), "loop")
    assert "busy for more than 1000 ms again and again" in error
    wait_until_healthy(agent)
