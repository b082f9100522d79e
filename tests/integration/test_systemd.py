# SPDX-License-Identifier: Apache-2.0
"""What the agent tells a service manager: that it is ready, reloads and stops, that it lives, and how it is."""

import re
import signal
import tempfile
import time
from pathlib import Path

import pytest

from lib import agent as agents
from lib import procfs
from lib.notify import Manager
from lib.waiting import wait_until

WATCHDOG_S = 0.4
ALIVE = "WATCHDOG=1"


@pytest.fixture
def managed(tmp_path):
    """Starts an agent under a manager, and stops both."""
    started = []

    def start(on_message=None, watchdog_s=None, **options):
        manager = Manager(tmp_path, watchdog_s, on_message)
        started.append(manager)
        agent = agents.Agent(environment=manager.environment, **options)
        started.append(agent)
        return agent, manager

    yield start
    for what in reversed(started):
        what.close()


def test_ready_when_it_listens(managed, tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    was_listening = []

    def on_message(text):
        if text == "READY=1":
            [log] = Path(tmp_path).glob("*/log")
            was_listening.append(bool(agents.LISTENING.search(log.read_text())))

    _, manager = managed(on_message)
    manager.wait_for("READY=1")
    wait_until(lambda: was_listening, "the log at that time")
    assert was_listening == [True]


def test_no_watchdog_unless_asked_for(managed):
    agent, manager = managed()
    agent.run("true")
    manager.wait_for("READY=1")
    agent.signal(signal.SIGTERM)
    agent.wait_for_exit()
    manager.wait_for("STOPPING=1")
    assert manager.texts() == ["READY=1", "STOPPING=1"]


@pytest.mark.plain_build
def test_the_watchdog_is_fed_twice_in_its_interval(managed):
    _, manager = managed(watchdog_s=WATCHDOG_S)
    wait_until(lambda: len(manager.times_of(ALIVE)) > 6, "signs of life")
    times = manager.times_of(ALIVE)
    gaps = sorted(b - a for a, b in zip(times, times[1:]))
    # One may be late, on a busy machine.
    assert WATCHDOG_S / 4 < gaps[len(gaps) // 2] < WATCHDOG_S, gaps


def test_the_watchdog_starves_while_the_loop_stands_still(managed):
    agent, manager = managed(watchdog_s=WATCHDOG_S)
    manager.wait_for(ALIVE)
    agent.signal(signal.SIGSTOP)
    try:
        wait_until(lambda: procfs.status(agent.pid)["State"].strip().startswith("T"), "stopped agent")
        manager.forget()
        time.sleep(2 * WATCHDOG_S)  # nothing comes: there is nothing to wait for
        assert manager.texts() == []
    finally:
        agent.signal(signal.SIGCONT)
    manager.wait_for(ALIVE)


def test_a_reload_is_framed(managed):
    agent, manager = managed()
    manager.wait_for("READY=1")
    manager.forget()
    before = time.monotonic_ns() // 1000
    agent.signal(signal.SIGHUP)
    manager.wait_for("READY=1")
    after = time.monotonic_ns() // 1000
    reloading, ready = manager.texts()
    match = re.fullmatch(r"RELOADING=1\nMONOTONIC_USEC=(\d+)", reloading)
    assert match and before <= int(match[1]) <= after
    assert ready == "READY=1"


def test_stopping_is_told_before_the_end(managed):
    agent, manager = managed(shutdown_grace="30s")
    agent.signal(signal.SIGTERM)
    manager.wait_for("STOPPING=1")
    assert agent.wait_for_exit() == 0


def test_the_status_line_says_what_is_wrong(managed):
    agent, manager = managed()
    state = agent.directory / "run" / "state"
    moved = state.with_name("moved")
    state.rename(moved)
    try:

        def is_unhealthy():
            return agent.anonymous.get("/health").status_code == 503

        wait_until(is_unhealthy, "unhealthy agent", 15)
        expected = "STATUS=unhealthy: state_dir: cannot write there: No such file or directory"
        assert manager.wait_for("STATUS=") == expected
    finally:
        moved.rename(state)
    wait_until(lambda: agent.anonymous.get("/health").status_code == 200, "healthy agent", 15)
    manager.wait_for("STATUS=healthy")
