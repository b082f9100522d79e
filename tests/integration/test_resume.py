# SPDX-License-Identifier: Apache-2.0
"""Pausing everything, as a sandbox is paused, and going on: by SIGSTOP, which looks the same from inside."""

import contextlib
import os
import platform
import signal
import socket
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from lib import procfs
from lib.agent import MARK
from lib.halted import halted_at_syscall
from lib.jobs import start_id, wait_for, wait_for_end, wait_for_output
from lib.raw import ConnectionEnded, RawConnection, head, post
from lib.stream import CODE, Stream
from lib.tokens import bearer, token
from lib.waiting import time_factor, wait_until
from lib.warm import pool, wait_ready, warm_up
from lib.ws_raw import RawWebSocket

# Far more than what is done until the pause takes on a busy machine.
TIMEOUT = 3 + 2 * time_factor()
# So that whoever counted it would kill.
PAUSE = TIMEOUT + 1

TCP_REPAIR = 19
READ = {"x86_64": 0, "aarch64": 63}

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


def pause_everything(agent, seconds, meanwhile):
    """The agent first, so that it sees nothing of the others' end; and last back, so that they have not ended."""
    agent.signal(signal.SIGSTOP)
    stopped = processes_of(agent) - {agent.pid}
    try:
        signal_all(stopped, signal.SIGSTOP)
        meanwhile()
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


def stream_terminal(agent):
    """Its library answers pings in a thread of its own."""
    stream = Stream(agent, "/terminal")
    stream.wait_for(lambda: stream.messages)
    return stream


def has_keep_alive(agent, connection):
    """Whether the kernel asks the client of a connection if it still lives. Both ends are in the table; this is ours."""
    ours, theirs = f":{agent.port:04X}", f":{connection.socket.getsockname()[1]:04X}"
    with open("/proc/net/tcp", encoding="ascii") as table:
        rows = [line.split() for line in table]
    timers = [row[5] for row in rows if row[1].endswith(ours) and row[2].endswith(theirs)]
    assert len(timers) == 1, rows
    return timers[0].startswith("02:")


def vanish(connection):
    """The client's machine is gone: nothing is said to the agent. False: that takes rights that we do not have."""
    try:
        connection.socket.setsockopt(socket.IPPROTO_TCP, TCP_REPAIR, 1)
    except PermissionError:
        return False
    finally:
        connection.close()
    return True


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


class Begun:
    """What is under way when everything stops."""

    def __init__(self, agent, threads):
        self.job = start_id(agent, SHELL_WORK, timeout=TIMEOUT)
        wait_for_output(agent, self.job, "begun")
        self.waiting = threads.submit(wait_for_end, agent, self.job, TIMEOUT / time_factor())
        self.sync = threads.submit(agent.execute, WORK, timeout=TIMEOUT)
        self.stream = threads.submit(stream_work, agent)
        self.endless = self.request(agent, TIMEOUT)
        self.lost = self.request(agent, 1000)
        wait_until(lambda: agent.gauges()["processes_running"] >= 6, "four executions, two terminals")

    @staticmethod
    def request(agent, timeout):
        connection = RawConnection(agent.port)
        body = {"code": ENDLESS, "language": "python", "timeout": timeout}
        connection.send(post("/execute", body, bearer(token(agent.secret))))
        return connection

    def expect_success(self):
        result = self.sync.result().json()
        assert (result["stdout"], result["exit_code"]) == ("begun\ndone\n", 0), result
        last, output = self.stream.result()
        assert (output, last["exit_code"]) == ("begun\ndone\n", 0), last
        assert self.waiting.result()["status"] == "completed"

    def expect_timeout(self, resumed):
        """In time: with what was left of it, and not with all of it."""
        response = self.endless.read_response()
        assert response.json()["exit_code"] == 124, response.text
        assert time.monotonic() - resumed < TIMEOUT + PAUSE / 2
        self.endless.close()


def expect_told(agent):
    found = health(agent)
    assert found["resumes"] == 1, found
    assert found["last_resume"]["kind"] == "pause", found
    assert PAUSE <= found["last_resume"]["paused_seconds"] < PAUSE + 2 * time_factor(), found
    assert agent.gauges()["loop_lag_max_ms"] < PAUSE * 1000, "to stand still is not to be late"


def expect_new_pools(agent, before):
    wait_ready(agent)
    wait_ready(agent, "javascript")
    assert before and not before & waiting_pids(agent)


def expect_deadlines(agent):
    begun = time.monotonic()
    assert agent.execute(ENDLESS, timeout=1).json()["exit_code"] == 124
    assert 1 <= time.monotonic() - begun < 5 * time_factor()


def test_a_pause_ends_nothing_but_what_is_dead(new_agent):
    agent = new_agent(warm_preload="none")
    warm_up(agent)
    warm_up(agent, "javascript")
    assert (health(agent)["resumes"], health(agent)["last_resume"]) == (0, None)
    idle, silent = Idle(agent), RawWebSocket(agent)
    with stream_terminal(agent) as live, ThreadPoolExecutor() as threads:
        begun = Begun(agent, threads)
        wait_ready(agent)
        wait_ready(agent, "javascript")
        before = waiting_pids(agent)

        pause_everything(agent, PAUSE, lambda: vanish(begun.lost))
        resumed = time.monotonic()

        wait_until(lambda: health(agent)["resumes"], "a resume")
        assert has_keep_alive(agent, begun.endless)
        begun.expect_success()
        begun.expect_timeout(resumed)
        expect_told(agent)
        idle.wait_for_end()
        expect_new_pools(agent, before)
        expect_deadlines(agent)
        wait_until(lambda: agent.gauges()["hangups"], "a client that has left", 10)
        expect_cut(silent, 10)
        assert live.socket.ping().wait(10 * time_factor()), "who answers pings stays"
    silent.connection.close()


@pytest.mark.skipif(platform.machine() not in READ, reason="another system call table")
def test_a_keeper_is_paused_in_the_middle_of_its_work(new_agent):
    """Not while it waits: with much output that is no more likely."""
    agent = new_agent()
    first, second = agent.directory / "first", agent.directory / "second"
    command = f"until [ -e {first} ]; do sleep 0.01; done; echo x; until [ -e {second} ]; do sleep 0.01; done; echo done"
    job = start_id(agent, command, timeout=3)
    wait_for(agent, job)
    (keeper,) = agent.keepers()
    with halted_at_syscall(keeper, READ[platform.machine()], first.touch):
        time.sleep(3.5)  # the pause itself
    second.touch()
    assert wait_for_end(agent, job)["status"] == "completed"
