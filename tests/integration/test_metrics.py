# SPDX-License-Identifier: Apache-2.0
"""What the agent counts about itself."""

import pytest

from lib.expect import expect_json
from lib.waiting import wait_until


def snapshot(agent, path="/metrics/snapshot"):
    return expect_json(agent.http.get(path))


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
