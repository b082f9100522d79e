# SPDX-License-Identifier: Apache-2.0
"""GET /metrics/stream: a snapshot again and again, for as long as somebody reads them."""

import contextlib
import json
import time

import pytest

from lib import metrics, raw
from lib.expect import expect_error
from lib.waiting import wait_until

PATH = "/metrics/stream"
NDJSON = {"Accept": "application/x-ndjson"}
LIMIT = 32  # LIMIT_METRICS_STREAMS


@contextlib.contextmanager
def follow(agent, interval=None, headers=NDJSON):
    """A stream's answer; gone, also for the agent, at the end."""
    parameters = {} if interval is None else {"interval": interval}
    before = agent.gauges()["metrics_streams"]
    with agent.http.stream("GET", PATH, params=parameters, headers=headers) as response:
        assert response.status_code == 200
        yield response
    wait_until(lambda: agent.gauges()["metrics_streams"] <= before, "the end of the stream")


def snapshots(response, n):
    """The next of a stream of lines."""
    found = []
    for line in response.iter_lines():
        if line:
            found.append(json.loads(line))
        if len(found) == n:
            return found
    raise AssertionError(f"the stream ended after {len(found)}")


def events(response, n):
    """The next of a stream of events, as dictionaries of their fields."""
    found, event = [], {}
    for line in response.iter_lines():
        name, _, value = line.partition(": ")
        if line and name:
            event[name] = value
        elif event:
            found.append(event)
            event = {}
        if len(found) == n:
            return found
    raise AssertionError(f"the stream ended after {len(found)}")


@pytest.mark.smoke
def test_events(agent):
    with follow(agent, 0.1, {}) as response:
        assert response.headers["Content-Type"] == "text/event-stream"
        found = events(response, 3)
    assert all(event["event"] == "snapshot" for event in found)
    names = metrics.snapshot(agent).keys()
    assert all(json.loads(event["data"]).keys() == names for event in found)


def test_lines_show_what_happens(agent):
    with follow(agent, 0.1) as response:
        assert response.headers["Content-Type"] == "application/x-ndjson"
        lines = response.iter_lines()
        first = json.loads(next(lines))
        assert first["agent"]["metrics_streams"] == 1
        with metrics.expect_changes(agent, "executions_total", {("command", "sync", "success"): 1}):
            agent.run("true")
        for line in lines:
            if line and json.loads(line)["total_executions"] == first["total_executions"] + 1:
                break


def test_the_interval(agent):
    with follow(agent, 0.3) as response:
        lines = response.iter_lines()
        next(lines)
        started = time.monotonic()
        for _ in range(3):
            next(lines)
        assert time.monotonic() - started > 0.8


@pytest.mark.parametrize("interval", ["0", "0.09", "-1", "x", ""])
def test_intervals_that_are_none(agent, interval):
    response = agent.http.get(PATH, params={"interval": interval})
    expect_error(response, 400, "INVALID_REQUEST", "/interval")


def test_only_so_many(new_agent):
    """Also when all come before the machine has been looked at for the first time."""
    agent = new_agent()
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(raw.RawConnection(agent.port)) for _ in range(LIMIT + 4)]
        for client in clients:
            client.send(raw.head("GET", PATH, agent._headers))
        statuses = [client.read_head().status_code for client in clients]
        assert (statuses.count(200), statuses.count(429)) == (LIMIT, 4)
        document = expect_error(agent.http.get(PATH), 429, "RATE_LIMIT_EXCEEDED")
        assert str(LIMIT) in document["error"]
    wait_until(lambda: agent.gauges()["metrics_streams"] == 0, "the end of the streams")
    with follow(agent) as response:
        snapshots(response, 1)


def test_who_does_not_read_is_in_nobodys_way(agent):
    client = raw.RawConnection(agent.port, receive_buffer=4096)
    client.send(raw.head("GET", f"{PATH}?interval=0.1", agent._headers))

    with client:
        wait_until(lambda: agent.gauges()["metrics_streams"] == 1, "the stream")
        before = agent.gauges()
        with follow(agent, 0.1) as other:
            assert len(snapshots(other, 12)) == 12
        assert agent.gauges()["resident_bytes"] - before["resident_bytes"] < 4 << 20
    wait_until(lambda: agent.gauges()["metrics_streams"] == 0, "the end of the stream")


def test_a_stopping_agent_ends_them(new_agent):
    agent = new_agent()
    with follow_until_end(agent) as response:
        lines = response.iter_lines()
        json.loads(next(lines))
        agent.signal(15)
        for _ in lines:  # ends as a complete answer
            pass
    agent.wait_for_exit()
    assert agent.process.returncode == 0


@contextlib.contextmanager
def follow_until_end(agent):
    with agent.http.stream("GET", PATH, params={"interval": 60}, headers=NDJSON) as response:
        yield response


def test_a_token_is_needed(agent):
    expect_error(agent.anonymous.get(PATH), 401, "AUTHENTICATION_REQUIRED")
