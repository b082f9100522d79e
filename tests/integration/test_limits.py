# SPDX-License-Identifier: Apache-2.0
"""memory_mb, cpu_seconds and max_processes of a request: whichever way something is run, and where it is not possible,
that is told."""

import os

import pytest

from lib.agent import Agent
from lib.executions import WAYS, expect_refused, result_of
from lib.expect import expect_json, expect_result
from lib.jobs import job_of, start, start_code, wait_for, wait_for_end
from lib.restart import kill_agent, start_agent
from lib.waiting import time_factor
from lib.webhooks import Receiver, body_of, deliver

MB = 1 << 20
UNLIMITED = 2**64 - 1

needs_root = pytest.mark.skipif(os.getuid() != 0, reason="only root can become somebody else")

SHOW = (
    "import resource as r\n"
    "for what in (r.RLIMIT_CPU, r.RLIMIT_DATA, r.RLIMIT_NPROC):\n"
    "    print(*(limit % 2**64 for limit in r.getrlimit(what)))"
)
TAKE = "import sys\ntry:\n    b = bytearray({})\nexcept MemoryError:\n    print('limited'); sys.exit(7)"
FORK = (
    "import os\n"
    "try:\n"
    "    pid = os.fork()\n"
    "except BlockingIOError:\n"
    "    print('refused')\n"
    "else:\n"
    "    os._exit(0) if pid == 0 else print('forked')"
)
SPIN = "while True: pass"
NOTE = "vm-agent: used up its 1 s of processor time\n"


@pytest.fixture(scope="module", params=["auto", "off"])
def agent(request):
    """With cgroups, where this machine has them, and without."""
    agent = Agent(cgroup=request.param)
    yield agent
    agent.close()


def limits_of(result):
    """[cpu, data, nproc], each (soft, hard), as the program has seen them."""
    assert result["exit_code"] == 0, result
    return [tuple(int(n) for n in line.split()) for line in result["stdout"].splitlines()]


def expect_too_much(result):
    """The program was told that there is no memory, or it was killed for that."""
    assert (result["exit_code"], result["reason"]) in ((7, "exit"), (137, "oom")), result
    assert result["reason"] != "oom" or "ran out of memory" in result["stderr"]


# --- all ways


@pytest.mark.parametrize("way", WAYS)
def test_they_hold_for_every_way(agent, way):
    cpu, data, _ = limits_of(result_of(agent, way, SHOW, cpu_seconds=7, memory_mb=512))
    assert cpu == (7, 8)
    assert data in ((512 * MB, 512 * MB), (UNLIMITED, UNLIMITED))  # the latter: the cgroup's
    none = result_of(agent, way, SHOW)
    assert limits_of(none)[:2] == [(UNLIMITED, UNLIMITED)] * 2
    assert "limits_not_enforced" not in none


def test_they_hold_for_async(agent):
    receiver = Receiver()
    try:
        record, _ = deliver(agent, receiver, "/ok", code=SHOW, cpu_seconds=7, memory_mb=512)
        body = body_of(record)
        assert limits_of(body)[0] == (7, 8)
    finally:
        receiver.close()


@pytest.mark.parametrize("language", ["bash", "python"])
def test_they_hold_for_every_language(agent, language):
    code = "ulimit -St; ulimit -Ht" if language == "bash" else SHOW.replace(", r.RLIMIT_DATA, r.RLIMIT_NPROC", ",")
    assert expect_result(agent.execute(code, language, cpu_seconds=9))["stdout"].split() == ["9", "10"]


BAD_VALUES = {
    "memory_mb": [15, 0, 2**40, "64", 64.5],
    "cpu_seconds": [0, -1, 1.5, 10**9],
    "max_processes": [0, -1, [3], 10**7],
}


@pytest.mark.parametrize("way", [*WAYS, "async"])
def test_bad_values(agent, way):
    for field, values in BAD_VALUES.items():
        for value in values:
            message = expect_refused(agent, way, field, **{field: value})
            assert message.startswith(f"{field}: "), (value, message)
    assert "16" in expect_refused(agent, way, "memory_mb", memory_mb=15)


# --- memory


@pytest.mark.parametrize("way", WAYS)
def test_memory(agent, way):
    result = result_of(agent, way, TAKE.format(1 << 30), memory_mb=256)
    assert (result["exit_code"], result["reason"]) in ((7, "exit"), (137, "oom")), result
    assert result_of(agent, way, TAKE.format(1 << 20), memory_mb=256)["exit_code"] == 0


def test_memory_can_only_be_lowered(new_agent):
    agent = new_agent(max_memory="256M")
    for fields in ({}, {"memory_mb": 8192}):
        expect_too_much(expect_json(agent.execute(TAKE.format(1 << 30), **fields)))
    job = result_of(agent, "code job", TAKE.format(1 << 30), memory_mb=8192)
    assert (job["exit_code"], job["reason"]) in ((7, "exit"), (137, "oom")), job
    expect_too_much(expect_json(agent.execute(TAKE.format(150 * MB), memory_mb=128)))


# --- processor time


@pytest.mark.parametrize("way", ["execute", "command stream"])
def test_cpu_seconds(agent, way):
    result = result_of(agent, way, SPIN, cpu_seconds=1)
    assert (result["exit_code"], result["reason"], result["signal"]) == (152, "cpu_limit", 24)
    assert result["success"] is False
    assert result["stderr"] == NOTE
    assert result["usage"]["cpu_time"] >= 0.5


# --- processes


def test_processes_of_root_are_counted_or_it_is_told(agent):
    """Without a pids controller nothing counts those of root, or of a user who has others."""
    for way in WAYS:
        result = result_of(agent, way, FORK, max_processes=1)
        if "limits_not_enforced" in result:
            assert result["limits_not_enforced"] == ["max_processes"]
            assert result["stdout"] == "forked\n"
        else:
            assert result["stdout"] == "refused\n"
            assert result["usage"]["process_limit_hits"] >= 1


@needs_root
@pytest.mark.parametrize("tracking", ["auto", "off"])
def test_processes_of_another_user(new_agent, tracking):
    agent = new_agent(run_as="nobody", cgroup=tracking)
    agent.workspace.chmod(0o777)
    for way in WAYS:
        result = result_of(agent, way, FORK, max_processes=1)
        assert "limits_not_enforced" not in result
        assert (result["exit_code"], result["stdout"]) == (0, "refused\n"), result
    # However many there are, the program itself starts.
    assert expect_result(agent.run("echo started", max_processes=1))["stdout"] == "started\n"
    assert result_of(agent, "execute", FORK)["stdout"] == "forked\n"


def test_callbacks_tell_what_is_not_enforced(agent):
    receiver = Receiver()
    try:
        record, _ = deliver(agent, receiver, "/ok", code=FORK, max_processes=1)
        body = body_of(record)
        job = job_of(agent, body["process_id"])
        assert body.get("limits_not_enforced") == job.get("limits_not_enforced")
        assert body["stdout"] == ("forked\n" if "limits_not_enforced" in body else "refused\n")
    finally:
        receiver.close()


# --- jobs outlive the agent


@pytest.mark.parametrize("tracking", ["auto", "off"])
def test_limits_survive_the_agent(new_agent, tracking):
    agent = new_agent(cgroup=tracking, max_processes=1, max_memory="512M")
    gate = agent.directory / "gate"
    spin = f"import os, time\nwhile not os.path.exists({str(gate)!r}): time.sleep(0.01)\n{SPIN}"
    running = start_code(agent, spin, cpu_seconds=1, memory_mb=256, max_processes=50)
    wait_for(agent, running["process_id"])
    queued = start_code(agent, SHOW, cpu_seconds=7, memory_mb=256, max_processes=50)
    command = start(agent, "ulimit -St", cpu_seconds=8)
    told = job_of(agent, running["process_id"]).get("limits_not_enforced")
    kill_agent(agent)
    start_agent(agent)
    assert job_of(agent, queued["process_id"])["status"] == "queued"
    assert job_of(agent, running["process_id"]).get("limits_not_enforced") == told
    gate.touch()
    job = wait_for_end(agent, running["process_id"], timeout=30 * time_factor())
    assert (job["status"], job["reason"], job["exit_code"]) == ("failed", "cpu_limit", 152)
    assert job["usage"]["cpu_time"] >= 0.5
    wait_for_end(agent, queued["process_id"])
    cpu, data, _ = limits_of(job_of(agent, queued["process_id"]))
    assert cpu == (7, 8) and data in ((256 * MB, 256 * MB), (UNLIMITED, UNLIMITED))
    assert job_of(agent, queued["process_id"]).get("limits_not_enforced") == told
    wait_for_end(agent, command["process_id"])
    assert job_of(agent, command["process_id"])["stdout"] == "8\n"
    # To the agent after that it is history.
    kill_agent(agent)
    start_agent(agent)
    again = job_of(agent, running["process_id"])
    assert (again["reason"], again["usage"]) == ("cpu_limit", job["usage"])
