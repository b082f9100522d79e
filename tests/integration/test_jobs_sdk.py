# SPDX-License-Identifier: Apache-2.0
"""Background jobs as the users of the public clients know them."""

import json
import re
import shutil
import subprocess
import time
from pathlib import Path

import pytest
from hopx_ai.errors import AgentError

from lib import procfs
from lib.control_plane import ControlPlane
from lib.jobs import job_of, wait_for, wait_for_end
from lib.sdk import async_sandbox, control_plane, fresh_token_cache  # noqa: F401 (fixtures)
from lib.sdk import debug_sandbox as sandbox  # noqa: F401
from lib.waiting import wait_until

SLEEP = "import time; print('begun', flush=True); time.sleep(1000)"


@pytest.fixture(scope="module")
def workspace(agent):
    return str(agent.workspace)


def process_id_in(result):
    """The client hides it in a sentence."""
    assert result.exit_code == 0
    return re.fullmatch(r"Background process started: (proc_\w+)", result.stdout).group(1)


def row_of(rows, identifier):
    (row,) = [row for row in rows if row["process_id"] == identifier]
    return row


# The synchronous client


def test_code_in_the_background(agent, sandbox):
    began = time.monotonic()
    answer = sandbox.run_code_background(SLEEP, name="training", env={"A": "b"})
    assert time.monotonic() - began < 5
    assert answer["process_id"] and answer["execution_id"] and answer["status"] in ("queued", "running")
    wait_for(agent, answer["process_id"])
    row = row_of(sandbox.list_processes(), answer["process_id"])
    assert (row["name"], row["language"], row["status"]) == ("training", "python", "running")
    assert procfs.environment(row["pid"])["A"] == "b"

    began = time.monotonic()
    result = sandbox.kill_process(answer["process_id"])
    assert result["status"] == "killed" and result["success"] is True
    assert time.monotonic() - began < 5
    assert row_of(sandbox.list_processes(), answer["process_id"])["status"] == "killed"
    assert sandbox.kill_process(answer["process_id"])["status"] == "killed"


def test_code_that_ends(agent, sandbox):
    answer = sandbox.run_code_background("print(6 * 7)")
    wait_for_end(agent, answer["process_id"])
    row = row_of(sandbox.list_processes(), answer["process_id"])
    assert (row["status"], row["exit_code"]) == ("completed", 0)
    assert job_of(agent, answer["process_id"])["stdout"] == "42\n"


def test_kill_by_other_names(agent, sandbox):
    for name in ("execution_id", "pid"):
        answer = sandbox.run_code_background(SLEEP)
        job = wait_for(agent, answer["process_id"])
        assert sandbox.kill_process(str(job[name]))["process_id"] == answer["process_id"]


def test_commands_in_the_background(agent, sandbox, workspace):
    result = sandbox.commands.run("echo $A; sleep 1000", background=True, working_dir=workspace, env={"A": "hi"})
    identifier = process_id_in(result)
    wait_until(lambda: job_of(agent, identifier)["stdout"] == "hi\n", "output of the command")
    assert row_of(sandbox.list_processes(), identifier)["status"] == "running"
    assert sandbox.kill_process(identifier)["status"] == "killed"


def test_errors(sandbox):
    with pytest.raises(AgentError) as caught:
        sandbox.kill_process("proc_000000000000000000000000")
    assert caught.value.code == "PROCESS_NOT_FOUND"
    with pytest.raises(AgentError) as caught:
        sandbox.kill_process("1")
    assert caught.value.code == "PROCESS_NOT_FOUND"


# The asynchronous client


async def test_async_code_in_the_background(agent, async_sandbox):
    answer = await async_sandbox.run_code_background(SLEEP, name="training")
    job = wait_for(agent, answer["process_id"])
    assert job["name"] == "training"
    # This client lists the system's processes.
    rows = [row for row in await async_sandbox.list_processes() if row["process_id"] == answer["process_id"]]
    (leader,) = [row for row in rows if row["pid"] == job["pid"]]
    assert leader["status"] == "running" and leader["execution_id"] == answer["execution_id"]
    result = await async_sandbox.kill_process(answer["process_id"])
    assert result["status"] == "killed" and result["success"] is True
    wait_until(lambda: not procfs.is_running(job["pid"]), "the end of the job")
    listed = await async_sandbox.list_processes()
    assert not [row for row in listed if row["pid"] == job["pid"] and row["state"] != "zombie"]


async def test_async_kill_by_the_pid_that_the_list_shows(agent, async_sandbox):
    answer = await async_sandbox.run_code_background(SLEEP)
    job = wait_for(agent, answer["process_id"])
    result = await async_sandbox.kill_process(str(job["pid"]))
    assert result["process_id"] == answer["process_id"]
    assert job_of(agent, answer["process_id"])["status"] == "killed"


async def test_async_commands_in_the_background(agent, async_sandbox, workspace):
    result = await async_sandbox.commands.run("echo hi; sleep 1000", background=True, working_dir=workspace)
    identifier = process_id_in(result)
    wait_until(lambda: job_of(agent, identifier)["stdout"] == "hi\n", "output of the command")
    assert (await async_sandbox.kill_process(identifier))["status"] == "killed"


async def test_async_errors(async_sandbox):
    with pytest.raises(AgentError) as caught:
        await async_sandbox.kill_process("proc_000000000000000000000000")
    assert "404" in str(caught.value)  # all that this client tells


# The JavaScript client

DRIVER = Path(__file__).with_name("sdk_jobs.mjs")
SDK = Path(__file__).parents[1] / "node_modules" / "@hopx-ai" / "sdk"

needs_node = pytest.mark.skipif(
    shutil.which("node") is None or not SDK.is_dir(), reason="no node, or not the client: npm ci in tests/"
)


def run_driver(agent, mode, workspace):
    with ControlPlane(agent.url) as plane:
        arguments = ["node", str(DRIVER), plane.url, "sandbox-js", mode, workspace]
        done = subprocess.run(arguments, stdout=subprocess.PIPE, text=True, timeout=120)
    assert done.returncode == 0, done.stdout
    return json.loads(done.stdout)


@needs_node
def test_javascript_code_in_the_background(agent, workspace):
    answer = run_driver(agent, "code", workspace)
    identifier = answer["started"]["process_id"]
    assert (answer["listed"]["status"], answer["listed"]["name"]) == ("running", "training")
    assert answer["after"]["status"] == "killed"
    job = job_of(agent, identifier)
    assert (job["status"], job["language"]) == ("killed", "python")


@needs_node
def test_javascript_commands_in_the_background(agent, workspace):
    answer = run_driver(agent, "command", workspace)
    assert answer["started"]["success"] is True
    assert answer["listed"]["pid"] > 1 and answer["listed"]["command"]
    assert answer["after"]["status"] == "killed"


@needs_node
def test_javascript_kill_by_pid(agent, workspace):
    assert run_driver(agent, "pid", workspace)["after"]["status"] == "killed"


@needs_node
def test_javascript_errors(agent, workspace):
    error = run_driver(agent, "unknown", workspace)["error"]
    assert (error["statusCode"], error["code"]) == (404, "PROCESS_NOT_FOUND")
    assert "FileNotFound" not in error["name"] and "Expired" not in error["name"]
