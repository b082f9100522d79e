# SPDX-License-Identifier: Apache-2.0
"""What executions have used: in every answer, split in what is the program's and what is the kernel's."""

import os
import resource

import pytest

from lib.agent import Agent
from lib.executions import WAYS, result_of
from lib.expect import expect_json, expect_result
from lib.jobs import job_of, jobs_of, start_id, wait_for, wait_for_output
from lib.webhooks import Receiver, body_of, deliver

MB = 1 << 20

# Long enough to be seen beside the start of an interpreter.
BURN_USER = "import os\nwhile os.times().user < 0.2: sum(range(20000))"
BURN_SYSTEM = (
    "import os\nbuffer = bytearray(1 << 20)\n"
    "with open('/dev/zero', 'rb', buffering=0) as file:\n"
    "    while os.times().system < 0.2: file.readinto(buffer)"
)
WRITE = "import os\nwith open({!r}, 'wb') as f:\n    f.write(os.urandom({})); f.flush(); os.fsync(f.fileno())"


@pytest.fixture(scope="module", params=["auto", "off"])
def agent(request):
    """With cgroups, where this machine has them, and without."""
    agent = Agent(cgroup=request.param)
    yield agent
    agent.close()


def expect_usage(usage):
    """Complete, and in itself consistent."""
    assert abs(usage["user_seconds"] + usage["system_seconds"] - usage["cpu_time"]) < 1e-5, usage
    assert usage["cpu_time"] > 0 and usage["max_rss_bytes"] > MB
    assert usage["io_read_bytes"] >= 0 and usage["io_write_bytes"] >= 0
    assert "peak_processes" not in usage or usage["peak_processes"] >= 1
    return usage


@pytest.mark.parametrize("way", WAYS)
def test_every_answer_has_it(agent, way):
    expect_usage(result_of(agent, way, "print('x')")["usage"])


def test_user_time(agent):
    usage = expect_usage(expect_result(agent.execute(BURN_USER))["usage"])
    assert usage["user_seconds"] >= 0.19
    assert usage["user_seconds"] > 2 * usage["system_seconds"]


@pytest.mark.parametrize("way", ["run", "command job"])
def test_system_time(agent, way):
    usage = expect_usage(result_of(agent, way, BURN_SYSTEM)["usage"])
    assert usage["system_seconds"] >= 0.19
    assert usage["system_seconds"] > 2 * usage["user_seconds"]


def test_children_count(agent):
    code = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {BURN_USER!r}])"
    assert expect_result(agent.execute(code))["usage"]["user_seconds"] >= 0.19


def test_an_execution_does_not_inherit_usage(agent):
    """Cgroups are used again."""
    heavy = expect_result(agent.execute(BURN_USER))["usage"]["cpu_time"]
    for _ in range(3):
        assert expect_result(agent.run("true"))["usage"]["cpu_time"] < heavy / 2


@pytest.mark.parametrize("way", ["execute", "code job"])
def test_memory(agent, way):
    usage = result_of(agent, way, f"print(len(bytearray(b'x') * {64 * MB}))")["usage"]
    assert 64 * MB < usage["max_rss_bytes"] < 512 * MB


def counts_writes(directory):
    """Whether writing there is input and output to the kernel: it is not, in memory."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_oublock
    exec(WRITE.format(str(directory / "probe"), MB))
    return resource.getrusage(resource.RUSAGE_SELF).ru_oublock > before


@pytest.mark.parametrize("way", ["execute", "code job"])
def test_written_bytes(agent, way):
    if not counts_writes(agent.workspace):
        pytest.skip("this file system does not count")
    code = WRITE.format(str(agent.workspace / f"file-{os.getpid()}"), 4 * MB)
    assert result_of(agent, way, code)["usage"]["io_write_bytes"] >= 4 * MB
    assert result_of(agent, way, "pass")["usage"]["io_write_bytes"] < 4 * MB


def test_the_killed_have_used_something_too(agent):
    """With SIGTERM: at SIGKILL the answer does not wait until it is known."""
    result = expect_result(agent.execute("while True: pass", timeout=0.3, kill_grace=30), 124, "timeout")
    expect_usage(result["usage"])


def test_what_runs_has_none_yet(agent):
    identifier = start_id(agent, "echo begun; sleep 1000")
    wait_for_output(agent, identifier, "begun")  # before that there is hardly a program
    assert job_of(agent, identifier)["usage"] is None
    agent.http.post(f"/execute/kill/{identifier}", json={"grace": 0})
    wait_for(agent, identifier, "killed")
    expect_usage(job_of(agent, identifier)["usage"])
    assert [row["usage"] for row in jobs_of(agent) if row["id"] == identifier] == [
        job_of(agent, identifier)["usage"]
    ]


def test_callbacks_have_it(agent):
    receiver = Receiver()
    try:
        record, _ = deliver(agent, receiver, "/ok", code=BURN_USER)
        usage = expect_usage(body_of(record)["usage"])
        assert usage["user_seconds"] >= 0.19
        known = expect_json(agent.http.get(f"/execute/processes/{body_of(record)['process_id']}"))["usage"]
        assert known == usage
    finally:
        receiver.close()
