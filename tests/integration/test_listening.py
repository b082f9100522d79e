# SPDX-License-Identifier: Apache-2.0
"""An agent that has no descriptor left for who connects."""

import os
import resource
import select

import pytest

from lib import procfs, raw
from lib.waiting import time_factor, wait_until


def lower_descriptor_limit(pid):
    """None is free any more. Returns what to restore."""
    used = {int(name) for name in os.listdir(f"/proc/{pid}/fd")}
    limits = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (min(set(range(max(used) + 2)) - used), limits[1]))
    return limits


def has_input(connection):
    return bool(select.select([connection.socket], [], [], 0)[0])


def has_run_out(agent):
    return "cannot accept connections" in agent.log()


def connect_until_it_has_run_out(agent):
    """The agent may have closed some descriptor since it was limited: the first ones may be served."""
    connections = []
    while not has_run_out(agent) and len(connections) < 30:
        connection = raw.RawConnection(agent.port, timeout=5)
        connections.append(connection)
        connection.send(raw.head("GET", "/ping"))
        wait_until(lambda: has_input(connection) or has_run_out(agent), "neither an answer nor a warning")
    assert has_run_out(agent)
    return connections


@pytest.mark.parametrize("has_other", [True, False])
def test_who_comes_without_a_descriptor_left_is_served_when_there_is_one(new_agent, has_other):
    """At once, not when some connection ends: all that there are stay."""
    agent = new_agent()
    if has_other:
        agent.gauges()  # over a connection that stays
    else:
        agent.close_clients()
    limits = lower_descriptor_limit(agent.pid)
    try:
        connections = connect_until_it_has_run_out(agent)
        ticks = procfs.cpu_ticks(agent.pid)
        if has_other:
            agent.gauges()
    finally:
        resource.prlimit(agent.pid, resource.RLIMIT_NOFILE, limits)
    for connection in connections:
        assert connection.read_response().status_code == 200
    assert procfs.cpu_ticks(agent.pid) - ticks < 50 * time_factor()  # it has waited without work
    for connection in connections:
        connection.close()
    if not has_other:
        agent.open_clients()
