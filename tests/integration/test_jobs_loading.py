# SPDX-License-Identifier: Apache-2.0
"""Large programs of many jobs that get room together: only a few of them are in memory at a time."""

import pytest

from lib import procfs
from lib.jobs import jobs_of, kill, start_code, start_id
from lib.restart import kill_agent, start_agent
from lib.waiting import wait_until

N_JOBS = 40
MIB = 1 << 20


def end_all(agent):
    for job in jobs_of(agent):
        kill(agent, job["process_id"])


@pytest.mark.plain_build
def test_many_large_programs_at_a_restart(new_agent):
    agent = new_agent(max_processes=1)
    first = start_id(agent, "sleep 1000")
    code = "exit 4 #" + "x" * (7 * MIB)
    for _ in range(N_JOBS):
        assert start_code(agent, code, "bash")["status"] == "queued"
    kill_agent(agent)
    agent.options["max_processes"] = 64
    start_agent(agent)
    wait_until(lambda: len(jobs_of(agent, status="failed")) == N_JOBS, "all of them", 60)
    assert all(job["exit_code"] == 4 for job in jobs_of(agent, status="failed"))
    peak = procfs.status_kib(agent.pid, "VmHWM")
    assert peak < 128 * 1024, f"{peak} KiB: {N_JOBS} programs are {N_JOBS * 7} MiB, and twice that decoded"
    kill(agent, first)


def test_killed_while_they_wait_for_their_programs(new_agent):
    """More than are loaded together, and some of them end before their turn."""
    agent = new_agent(max_processes=1)
    first = start_id(agent, "sleep 1000")
    code = "sleep 1000 #" + "x" * MIB
    jobs = [start_code(agent, code, "bash")["process_id"] for _ in range(24)]
    kill_agent(agent)
    agent.options["max_processes"] = 64
    start_agent(agent)
    for identifier in jobs[::2]:
        kill(agent, identifier)
    wait_until(lambda: len(jobs_of(agent, status="running")) == 1 + len(jobs) // 2, "those that were left", 20)
    wait_until(lambda: len(jobs_of(agent, status="killed")) == len(jobs) // 2, "those that were killed", 20)
    assert {job["process_id"] for job in jobs_of(agent, status="running")} == {first, *jobs[1::2]}
    end_all(agent)
