# SPDX-License-Identifier: Apache-2.0
"""An agent that is not root: everything that it starts and writes is its own user's."""

import os
import pwd
import shutil
import subprocess
import tempfile
from pathlib import Path
from unittest import mock

import pytest

from lib import agent as agents
from lib.agent import Agent
from lib.expect import expect_error, expect_json, expect_result
from lib.files import get, listing, names, post, read, remove, write
from lib.jobs import job_of, kill, start, start_code, wait_for_end, wait_for_output
from lib.webhooks import Receiver, body_of, deliver
from lib.ws_raw import Terminal, plain_home  # noqa: F401 (for the terminals)

USER = "nobody"

# Fails for those who may not raise it again.
LIMITED = """#!/bin/sh
exec prlimit --data=1000000000 {binary} "$@"
"""

pytestmark = pytest.mark.skipif(os.getuid() != 0, reason="only root can start an agent as somebody else")


@pytest.fixture(scope="module")
def agent(plain_home):  # noqa: F811
    agent = Agent(user=USER)
    yield agent
    agent.close()


def identity():
    entry = pwd.getpwnam(USER)
    return f"{entry.pw_uid} {entry.pw_gid}\n"


def output_of(agent, process_id):
    wait_for_end(agent, process_id)
    job = job_of(agent, process_id)
    assert job["status"] == "completed", job
    return job["stdout"]


@pytest.mark.smoke
def test_executions(agent):
    assert expect_result(agent.run("id -u; id -g"))["stdout"].split() == identity().split()
    code = "import os; print(os.getuid(), os.getgid())"
    assert expect_result(agent.execute(code))["stdout"] == identity()


@pytest.mark.smoke
def test_jobs(agent):
    command = start(agent, "echo $(id -u) $(id -g)")
    assert output_of(agent, command["process_id"]) == identity()
    code = start_code(agent, "import os; print(os.getuid(), os.getgid())")
    assert output_of(agent, code["process_id"]) == identity()


def test_a_job_of_the_users_own_name(new_agent):
    """There is nothing to change, nor may the agent."""
    agent = new_agent(user=USER, run_as=USER)
    assert output_of(agent, start(agent, "echo $(id -u) $(id -g)")["process_id"]) == identity()
    assert expect_result(agent.run("echo $(id -u) $(id -g)"))["stdout"] == identity()


def test_a_job_with_a_terminal(agent):
    answer = start(agent, "test -t 0 && stat -c %u $(tty)", tty=True)
    wait_for_end(agent, answer["process_id"])
    assert job_of(agent, answer["process_id"])["stdout"].split() == identity().split()[:1]


def test_killing_a_job(agent):
    answer = start(agent, "echo on; sleep 1000")
    wait_for_output(agent, answer["process_id"], "on")
    kill(agent, answer["process_id"])
    assert wait_for_end(agent, answer["process_id"])["status"] == "killed"


def test_async(agent):
    receiver = Receiver()
    try:
        record, _ = deliver(agent, receiver, "/ok", code="import os; print(os.getuid(), os.getgid())")
        assert identity().strip() in body_of(record)["stdout"]
    finally:
        receiver.close()


def test_terminals(agent):
    with Terminal(agent, "/terminal") as ws:
        assert ws.run("stat -c %u $(tty)").split() == identity().split()[:1]
        ws.type("exit\n")
        ws.read_exit()
        ws.read_close()


def test_files(agent):
    directory = agent.workspace / "files"
    expect_json(post(agent, "mkdir", path=str(directory)))
    write(agent, directory / "file", "text")
    assert (directory / "file").stat().st_uid == directory.stat().st_uid == pwd.getpwnam(USER).pw_uid
    assert read(agent, directory / "file")["content"] == "text"
    target = {"path": str(directory / "uploaded")}
    expect_json(agent.http.put("/files/upload", params=target, content=b"up"))
    assert get(agent, "download", directory / "uploaded").content == b"up"
    expect_json(post(agent, "copy", source=str(directory), destination=f"{directory}-2"))
    assert names(listing(agent, f"{directory}-2")) == ["file", "uploaded"]
    expect_json(remove(agent, f"{directory}-2", recursive="true"))


def test_what_the_user_may_not(agent):
    locked = agent.workspace / "locked"
    locked.mkdir(mode=0o700)
    expect_error(get(agent, "list", locked), 403, "PERMISSION_DENIED")
    expect_error(agent.run("true", workdir=str(locked)), 400, "WORKDIR_NOT_FOUND", "/workdir")


@pytest.mark.skipif(not shutil.which("prlimit"), reason="no prlimit")
def test_what_cannot_be_set_up_is_not_tried_again(new_agent):
    """Public clients take every 5xx for a reason to try again."""
    agent = new_agent(user=USER)
    # What runs gets as many descriptors as the agent was started with.
    group = pwd.getpwnam(USER).pw_gid
    command = ["prlimit", "--pid", str(agent.pid), "--nofile=200:200"]
    subprocess.run(command, user=USER, group=group, extra_groups=[], check=True)
    for answer in (
        agent.run("true"),
        agent.execute("pass"),
        agent.http.post("/commands/background", json={"command": "true"}),
    ):
        assert "could not be set up" in expect_error(answer, 400, "COMMAND_NOT_EXECUTABLE")["message"]


@pytest.mark.plain_build  # a sanitizer takes more memory than that
@pytest.mark.skipif(not shutil.which("prlimit"), reason="no prlimit")
def test_a_limit_only_lowers(new_agent):
    """An agent that may use less than its option says runs what it runs with that."""
    with tempfile.TemporaryDirectory(prefix="vm-agent-test-") as name:
        script = Path(name, "limited")
        script.write_text(LIMITED.format(binary=agents.BINARY))
        script.chmod(0o755)
        script.parent.chmod(0o755)
        with mock.patch("lib.agent.BINARY", script):
            agent = new_agent(user=USER, max_memory="2G")
    assert int(expect_result(agent.run("ulimit -Sd"))["stdout"]) == 1000000000 // 1024
