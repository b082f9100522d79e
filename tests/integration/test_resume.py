# SPDX-License-Identifier: Apache-2.0
"""Pausing everything, as a sandbox is paused, and going on: by SIGSTOP, which looks the same from inside."""

import contextlib
import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from lib import procfs
from lib.agent import MARK
from lib.jobs import start_id, wait_for_end, wait_for_output
from lib.raw import ConnectionEnded, RawConnection, head
from lib.stream import CODE, Stream
from lib.tokens import bearer, token
from lib.waiting import time_factor, wait_until
from lib.warm import pool, wait_ready, warm_up
from lib.ws_raw import RawWebSocket

# Longer than what is left of the timeout, so that whoever counted it would kill.
PAUSE = 3.0
TIMEOUT = 2 * time_factor()

# A second of work in small steps: a single sleep would be over when its process is resumed.
WORK = "import time\nprint('begun', flush=True)\nfor _ in range(10): time.sleep(0.1)\nprint('done', flush=True)"
ENDLESS = "import time\nprint('begun', flush=True)\nwhile True: time.sleep(0.1)"
SHELL_WORK = "echo begun; for i in $(seq 10); do sleep 0.1; done; echo done"


def processes_of(agent):
    """The agent, all that it has started, and the keepers, which hide their environment."""
    return {agent.pid, *procfs.with_environment(MARK, agent.mark), *agent.keepers()}


def signal_all(pids, number):
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


def pause_everything(agent, seconds):
    """The agent first, so that it sees nothing of the others' end; and last back, so that they have not ended."""
    agent.signal(signal.SIGSTOP)
    stopped = processes_of(agent) - {agent.pid}
    try:
        signal_all(stopped, signal.SIGSTOP)
        time.sleep(seconds)  # the pause itself: nothing is waited for
    finally:
        signal_all(stopped, signal.SIGCONT)
        agent.signal(signal.SIGCONT)


def health(agent):
    return agent.anonymous.get("/health").json()


def stream_work(agent):
    with Stream(agent, CODE) as stream:
        stream.execute(code=WORK, language="python", timeout=TIMEOUT)
        stream.finish()
        return stream.messages[-1], stream.stdout


def waiting_pids(agent):
    pools = [pool(agent, name) for name in ("python", "javascript")]
    return {pid for found in pools for pid in [*found["pids"], found["server_pid"]] if pid}


def is_answered(connection):
    connection.send(head("GET", "/ping", {}))
    response = connection.read_response()
    return response.status_code == 200


class Idle:
    """A connection that has had its answer, and waits for the next request."""

    def __init__(self, agent):
        self.connection = RawConnection(agent.port)
        assert is_answered(self.connection)

    def wait_for_end(self):
        with pytest.raises(ConnectionEnded):
            self.connection.read_head()
        self.connection.close()


def expect_cut(ws, timeout):
    """It ends, although we never answered a ping."""
    ws.answers_pings = False
    with pytest.raises(ConnectionEnded):
        deadline = time.monotonic() + timeout * time_factor()
        while time.monotonic() < deadline:
            ws.read_frame(timeout)


def test_a_pause_ends_nothing_but_what_is_dead(new_agent):
    agent = new_agent(warm_preload="none")
    warm_up(agent)
    warm_up(agent, "javascript")
    assert (health(agent)["resumes"], health(agent)["last_resume"]) == (0, None)
    idle, silent = Idle(agent), RawWebSocket(agent)
    with ThreadPoolExecutor() as threads:
        job = start_id(agent, SHELL_WORK, timeout=TIMEOUT)
        wait_for_output(agent, job, "begun")
        sync = threads.submit(agent.execute, WORK, timeout=TIMEOUT)
        endless = threads.submit(agent.execute, ENDLESS, timeout=TIMEOUT)
        stream = threads.submit(stream_work, agent)
        wait_until(lambda: agent.gauges()["processes_running"] >= 4, "four executions and a terminal")
        wait_ready(agent)
        wait_ready(agent, "javascript")
        before = waiting_pids(agent)

        pause_everything(agent, PAUSE)
        resumed = time.monotonic()

        assert sync.result().json()["stdout"] == "begun\ndone\n", sync.result().text
        assert sync.result().json()["exit_code"] == 0
        last, output = stream.result()
        assert (output, last["exit_code"]) == ("begun\ndone\n", 0), last
        assert wait_for_end(agent, job)["status"] == "completed"
        assert endless.result().json()["exit_code"] == 124, endless.result().text
        assert time.monotonic() - resumed < TIMEOUT + 1 * time_factor()

    found = health(agent)
    assert found["resumes"] == 1, found
    assert found["last_resume"]["kind"] == "pause"
    assert PAUSE <= found["last_resume"]["paused_seconds"] < PAUSE + 3 * time_factor()
    idle.wait_for_end()
    expect_cut(silent, 10)
    silent.connection.close()
    wait_ready(agent)
    wait_ready(agent, "javascript")
    assert before and not before & waiting_pids(agent)

    begun = time.monotonic()
    assert agent.execute(ENDLESS, timeout=1).json()["exit_code"] == 124
    assert time.monotonic() - begun < 2 * time_factor()
