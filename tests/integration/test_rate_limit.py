# SPDX-License-Identifier: Apache-2.0
"""rate-limit: so many requests a minute for each token's subject."""

import time

import httpx
import pytest

from lib import tokens
from lib.expect import expect_error, expect_json


@pytest.fixture
def limited(new_agent):
    """limited(N) → an agent with that limit, and a client whose subject is not the tests' own, which look after it."""

    def start(limit):
        agent = new_agent(rate_limit=limit)
        return agent, client(agent, "somebody")

    def client(agent, subject):
        headers = tokens.bearer(tokens.token(sub=subject))
        clients.append(httpx.Client(base_url=agent.url, headers=headers, timeout=30))
        return clients[-1]

    clients = []
    yield start
    for one in clients:
        one.close()


def rate(response):
    return [int(response.headers[f"X-RateLimit-{name}"]) for name in ("Limit", "Remaining", "Reset")]


def test_off_by_default(agent):
    response = agent.http.get("/metrics/snapshot")
    assert not [name for name in response.headers if name.startswith("x-ratelimit")]


@pytest.mark.smoke
def test_a_subject_runs_out(limited):
    agent, http = limited(3)
    for remaining in (2, 1, 0):
        response = http.post("/commands/run", json={"command": "true"})
        expect_json(response)
        limit, left, reset = rate(response)
        assert (limit, left) == (3, remaining)
        assert 0 < reset - time.time() <= 62
    response = http.get("/info")
    expect_json(response)  # needs no token here, so it does not count
    response = http.post("/commands/run", json={"command": "touch ran"})
    document = expect_error(response, 429, "RATE_LIMIT_EXCEEDED")
    assert 1 <= int(response.headers["Retry-After"]) == document["retry_after"] <= 20
    assert rate(response)[:2] == [3, 0]
    assert not (agent.workspace / "ran").exists()
    other = tokens.bearer(tokens.token(sub="somebody-else"))
    response = httpx.get(f"{agent.url}/metrics/snapshot", headers=other)
    assert rate(response)[:2] == [3, 2]
    assert httpx.get(f"{agent.url}/health").status_code == 200


def test_errors_count_and_tell(limited):
    agent, http = limited(2)
    response = http.post("/execute", json={})
    assert response.status_code == 400 and rate(response)[:2] == [2, 1]
    response = http.get("/no/such")
    assert response.status_code == 404 and "X-RateLimit-Limit" not in response.headers
    assert httpx.get(f"{agent.url}/metrics/snapshot").status_code == 401
    assert rate(http.get("/metrics/snapshot"))[:2] == [2, 0]


def test_repeats_are_told_their_own_rate(limited):
    """The kept answer is the first one's, the headers are not."""
    _, http = limited(5)
    body, headers = {"command": "echo $$"}, {"Idempotency-Key": "one"}
    first = http.post("/commands/run", json=body, headers=headers)
    again = http.post("/commands/run", json=body, headers=headers)
    assert first.json()["stdout"] == again.json()["stdout"]
    assert (rate(first)[1], rate(again)[1]) == (4, 3)
