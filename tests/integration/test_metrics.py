# SPDX-License-Identifier: Apache-2.0
"""What the agent counts about itself."""

import contextlib
import time

import pytest

from lib import procfs, raw
from lib.expect import TIMESTAMP, expect_error, expect_json
from lib.metrics import snapshot
from lib.stream import COMMANDS, Stream
from lib.waiting import wait_until


@pytest.mark.smoke
def test_requests_by_route(new_agent):
    agent = new_agent()
    for _ in range(3):
        expect_json(agent.run("true"))
    assert agent.http.post("/commands/run", json={}).status_code == 400
    assert agent.http.get("/no/such").status_code == 404
    wanted = {"success": 3, "error": 1}
    wait_until(lambda: snapshot(agent)["requests_total"].get("POST /commands/run") == wanted, "the counts")
    document = snapshot(agent)
    average, p95 = (document[name]["POST /commands/run"] for name in ("avg_duration_ms", "p95_duration_ms"))
    assert 0 < average <= 4 * p95
    assert not [name for name in document["requests_total"] if "no/such" in name]
    assert document["requests_total"]["GET /metrics/snapshot"]["error"] == 0
    assert document["total_errors"] == document["error_count"] == 2


def test_both_paths(agent):
    assert snapshot(agent, "/metrics").keys() == snapshot(agent).keys()
    assert agent.http.get("/metrics").headers["Content-Type"] == "application/json"


def test_what_clients_read(agent):
    document = snapshot(agent)
    for name in ("uptime_seconds", "total_requests", "total_errors", "error_count", "active_executions"):
        assert isinstance(document[name], int), name
    cpu, memory, disk = (document["system"][name] for name in ("cpu", "memory", "disk"))
    assert 0 <= cpu["usage_percent"] <= 100 and cpu["cores"] > 0
    for space in (memory, disk):
        assert space["total"] >= space["used"] > 0 and space["free"] > 0
        available = space["used"] + space["free"]  # of a disk root has a share of its own
        assert space["usage_percent"] == pytest.approx(100 * space["used"] / available, abs=0.01)
    assert set(document["process"]) == {"count", "running"}
    assert set(document["cache"]) >= {"size", "hits", "misses", "hit_rate"}
    assert TIMESTAMP.match(document["timestamp"])


def test_executions(new_agent):
    agent = new_agent()
    took = [expect_json(agent.run(command))["execution_time"] * 1000 for command in ("sleep 0.1", "exit 3", "true")]
    expect_json(agent.execute("true", "bash"))
    document = snapshot(agent)
    assert (document["total_executions"], document["failed_executions"]) == (4, 1)
    assert set(document["executions"]) == {"command", "bash"}
    commands = document["executions"]["command"]
    assert (commands["outcomes"], commands["modes"]) == ({"success": 2, "error": 1}, {"sync": 3})
    assert commands["avg_duration_ms"] == pytest.approx(sum(took) / 3, abs=5)
    assert max(took) - 5 <= commands["p95_duration_ms"] <= max(took) * 9 / 8 + 5


def test_what_runs(agent):
    before = snapshot(agent)["process"]
    with Stream(agent, COMMANDS) as stream:
        stream.execute(command="echo on; read line")
        stream.read_until("on\n")
        running = snapshot(agent)
        assert running["active_executions"] == 1
        assert running["process"] == {"count": before["count"] + 1, "running": before["running"] + 1}
    wait_until(lambda: snapshot(agent)["active_executions"] == 0, "its end")


def test_the_agent_itself(agent):
    gauges = agent.gauges()
    known = len(procfs.open_fds(agent.pid))
    assert abs(gauges["open_fds"] - known) <= 4 and gauges["max_fds"] >= 1024
    assert gauges["resident_bytes"] > 1 << 20 and gauges["cpu_seconds"] > 0
    assert gauges["loop_lag_p99_ms"] <= gauges["loop_lag_max_ms"] + 1


@pytest.mark.plain_build
def test_many_descriptors_cost_nothing(new_agent):
    """The loop counts them for each snapshot."""
    agent = new_agent(max_connections=3000)
    with contextlib.ExitStack() as stack:
        for _ in range(2000):
            stack.enter_context(raw.RawConnection(agent.port))
        wait_until(lambda: agent.gauges()["connections"] > 2000, "the connections")
        times = []
        for _ in range(21):
            started = time.monotonic()
            assert agent.gauges()["open_fds"] > 2000
            times.append(time.monotonic() - started)
    assert sorted(times)[10] < 0.02


def test_a_token_is_needed(agent):
    for path in ("/metrics", "/metrics/snapshot"):
        expect_error(agent.anonymous.get(path), 401, "AUTHENTICATION_REQUIRED")
