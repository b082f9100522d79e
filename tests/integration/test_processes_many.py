# SPDX-License-Identifier: Apache-2.0
"""GET /processes with thousands of processes, with many clients, and with processes that come and go."""

import asyncio
import json
import os
import resource
import signal
import subprocess
import sys
import threading
import time

import httpx
import pytest

from lib import procfs, raw
from lib.expect import expect_error, expect_json
from lib.processes import SLEEPER, child, listing, rows_by_pid
from lib.waiting import has_sanitizer, time_factor


def test_looks_during_a_storm_of_births_and_deaths(agent):
    """Whatever vanishes in the middle costs only its own row."""
    storm = "while :; do /bin/true & /bin/true & /bin/true & wait; done"
    with child(["bash", "-c", storm]) as bash, child(SLEEPER) as sleeper:
        for _ in range(30):
            rows = rows_by_pid(agent, limit=8192)
            assert {bash.pid, sleeper.pid, agent.pid} <= set(rows)
            assert all(row["name"] or row["command"] for row in rows.values())


async def test_many_clients_share_the_work(agent):
    """More than may wait: some are refused, nobody waits for long, and everybody gets what is true now."""
    with child(SLEEPER) as process:
        async with httpx.AsyncClient(
            base_url=agent.url, headers=agent.http.headers, timeout=60, limits=httpx.Limits(max_connections=200)
        ) as client:
            responses = await asyncio.gather(*(client.get("/processes?limit=8192") for _ in range(100)))
    statuses = [response.status_code for response in responses]
    assert set(statuses) <= {200, 429}
    assert statuses.count(200) >= 33
    for response in responses:
        if response.status_code == 429:
            expect_error(response, 429, "RATE_LIMIT_EXCEEDED")
            assert response.headers["Retry-After"] == "1"
        else:
            assert process.pid in [row["pid"] for row in response.json()["processes"]]


def test_clients_that_leave(agent):
    request = raw.head("GET", "/processes?limit=8192", {"Authorization": agent.http.headers["Authorization"]})
    for _ in range(20):
        connection = raw.RawConnection(agent.port)
        connection.send(request)
        connection.reset()
    agent.wait_until_idle()
    assert agent.pid in rows_by_pid(agent)


# Others may run these tests on the same machine. The kernel keeps 15 bytes of a name, and no pid has more digits.
CROWD = f"crowd-{os.getpid():07}"


@pytest.fixture
def crowd():
    """2000 processes that do nothing, or a skip."""
    code = (
        "import ctypes, os, signal, sys\n"
        f"ctypes.CDLL(None).prctl(15, {CROWD.encode()!r}, 0, 0, 0)\n"
        "try:\n"
        "    for _ in range(2000):\n"
        "        if os.fork() == 0:\n"
        "            signal.pause()\n"
        "            os._exit(0)\n"
        "except OSError as error:\n"
        "    print(error, flush=True)\n"
        "else:\n"
        "    print('ready', flush=True)\n"
        "signal.pause()\n"
    )
    soft, _ = resource.getrlimit(resource.RLIMIT_NPROC)
    if soft != resource.RLIM_INFINITY and soft < 4000:
        pytest.skip("not enough processes allowed")
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, start_new_session=True)
    try:
        answer = process.stdout.readline().strip()
        if answer != "ready":
            pytest.skip(f"no 2000 processes: {answer}")
        yield process.pid
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        process.stdout.close()


def test_thousands(agent, crowd):
    document = listing(agent, name=CROWD, limit=8192)
    assert document["count"] == 2001
    assert not document["truncated"]
    document = expect_json(agent.http.get("/processes"))
    assert (document["count"], document["truncated"]) == (1000, True)
    assert document["total"] > 2000
    started = time.monotonic()
    assert len(listing(agent, name=CROWD, sort="memory", limit=10)["processes"]) == 10
    assert time.monotonic() - started < 2 * time_factor()
    assert crowd in rows_by_pid(agent, name=CROWD, limit=3000)


@pytest.mark.plain_build
def test_thousands_hold_nobody_up(agent, crowd):
    """The loop does other things while the list is made, and memory does not grow."""
    listing(agent, limit=8192)
    resident = procfs.status_kib(agent.pid, "VmRSS")
    stop = threading.Event()
    answered = []

    def ping():
        with httpx.Client(base_url=agent.url, timeout=60) as client:
            while not stop.is_set():
                client.get("/ping")
                answered.append(1)

    thread = threading.Thread(target=ping)
    thread.start()
    try:
        for _ in range(20):
            response = agent.http.get("/processes", params={"limit": 8192})
            assert json.loads(response.content)["count"] > 2000
    finally:
        stop.set()
        thread.join()
    # Were the list made on the loop, then there would be about one for each.
    assert len(answered) > 20 * 5
    assert procfs.status_kib(agent.pid, "VmRSS") - resident < 16 * 1024


def test_out_of_descriptors_is_an_error_not_an_empty_list(agent):
    """What cannot be looked at is not reported as gone."""
    if has_sanitizer():
        pytest.skip("a sanitizer needs descriptors of its own")
    limits = resource.prlimit(agent.pid, resource.RLIMIT_NOFILE)
    agent.gauges()  # the connection is there
    used = {int(name) for name in procfs.open_fds(agent.pid)}
    lowest = next(number for number in range(len(used) + 1) if number not in used)
    resource.prlimit(agent.pid, resource.RLIMIT_NOFILE, (lowest + 1, limits[1]))
    try:
        expect_error(agent.http.get("/processes"), 503, "SERVICE_UNAVAILABLE")
    finally:
        resource.prlimit(agent.pid, resource.RLIMIT_NOFILE, limits)
    assert agent.pid in rows_by_pid(agent)
