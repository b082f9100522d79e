# SPDX-License-Identifier: Apache-2.0
"""rate-limit: so many requests a minute for each token's subject."""

import signal
import time

import httpx
import pytest

from lib import tokens
from lib.expect import expect_error, expect_json
from lib.raw import RawConnection
from lib.waiting import wait_until
from lib.ws_raw import handshake


@pytest.fixture
def limited(new_agent, tmp_path):
    """limited(N) → an agent with that limit, and a client whose subject is not the tests' own. It ends without a limit:
    they may have to look more often than that until it has nothing to do."""
    file = tmp_path / "limited.conf"

    def start(limit):
        file.write_text(f"rate-limit = {limit}\n")
        agents.append(new_agent(config=file))
        return agents[-1], client(agents[-1], "somebody")

    def client(agent, subject):
        headers = tokens.bearer(tokens.token(sub=subject))
        clients.append(httpx.Client(base_url=agent.url, headers=headers, timeout=30))
        return clients[-1]

    agents, clients = [], []
    yield start
    for one in clients:
        one.close()
    file.write_text("")
    for agent in agents:
        agent.signal(signal.SIGHUP)
        wait_until(lambda agent=agent: "reloaded" in agent.log(), "reload")


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


# Whatever the answer is.


def test_all_kinds_of_answers_tell(limited):
    agent, http = limited(1000)
    job = expect_json(http.post("/commands/background", json={"command": "echo x"}))["process_id"]
    (agent.workspace / "file").write_text("content")
    path = {"path": str(agent.workspace / "file")}
    answers = [
        http.head("/env"),
        http.get("/files/download", params=path),
        http.get("/files/download", params=path, headers={"Range": "bytes=1-2"}),
        http.get("/files/download", params=path, headers={"Range": "bytes=100-"}),
        http.get(f"/execute/processes/{job}/output", params={"follow": "true"}),  # a stream
        http.get("/files/read", params={"path": str(agent.workspace / "missing")}),
        http.post("/execute", content=b"{", headers={"Content-Type": "application/json"}),
        http.post("/files/write", content=b"x", headers={"Content-Encoding": "gzip"}),
        http.post("/execute", json={"language": "python"}),
        http.get("/terminal"),  # no handshake
    ]
    statuses = [response.status_code for response in answers]
    assert statuses == [200, 200, 206, 416, 200, 404, 400, 415, 400, 426]
    left = [rate(response)[1] for response in answers]
    assert left == list(range(998, 998 - len(answers), -1))


def handshake_answer(agent, token):
    with RawConnection(agent.port) as connection:
        connection.send(handshake("/terminal", token=token))
        return connection.read_head()


def test_websockets_count_once(limited):
    """The handshake; what is said then is no request."""
    agent, http = limited(2)
    token = tokens.token(sub="somebody")
    response = handshake_answer(agent, token)
    assert response.status_code == 101 and rate(response)[:2] == [2, 1]
    expect_json(http.get("/metrics/snapshot"))
    response = handshake_answer(agent, token)
    assert response.status_code == 429 and rate(response)[:2] == [2, 0]
    assert int(response.headers["Retry-After"]) >= 1


def test_tokens_without_a_subject_share_one(limited):
    agent, _ = limited(2)
    headers = tokens.bearer(tokens.token(sub=None))
    for left in (1, 0):
        response = httpx.get(f"{agent.url}/metrics/snapshot", headers=headers)
        assert response.status_code == 200 and rate(response)[1] == left


def test_a_bad_token_is_nobodys(limited):
    """Whoever has none, or a bad one, uses up nothing, and is told nothing."""
    agent, http = limited(2)
    bad = tokens.bearer(tokens.token("another secret of sufficient length", sub="somebody"))
    for headers in ({}, bad, tokens.bearer(tokens.token(sub="somebody", exp=1))):
        response = httpx.get(f"{agent.url}/metrics/snapshot", headers=headers)
        assert response.status_code == 401
        assert not [name for name in response.headers if name.startswith("x-ratelimit")]
    assert rate(http.get("/metrics/snapshot"))[1] == 1


def test_tokens_come_back(limited):
    """With as many as one in 20 ms somebody who was refused is served soon, and the bucket is full when it was said."""
    _, http = limited(3000)
    for _ in range(20):
        expect_json(http.get("/metrics/snapshot"))
    limit, left, reset = rate(http.get("/metrics/snapshot"))
    assert (limit, reset - int(time.time())) <= (3000, 2) and left >= 2979
    wait_until(lambda: rate(http.get("/metrics/snapshot"))[1] == 2999, "a full bucket", timeout=10, interval=0.1)


def test_reload(new_agent, tmp_path):
    file = tmp_path / "agent.conf"
    file.write_text("")
    agent = new_agent(config=file)
    http = httpx.Client(base_url=agent.url, headers=tokens.bearer(tokens.token(sub="somebody")))
    n_reloads = 0
    for text, expected in (("rate-limit = 5\n", "5"), ("rate-limit = 2\n", "2"), ("", None)):
        file.write_text(text)
        agent.signal(signal.SIGHUP)
        n_reloads += 1
        wait_until(lambda n=n_reloads: agent.log().count("reloaded") == n, "reload")
        response = http.get("/metrics/snapshot")
        assert response.status_code == 200
        assert response.headers.get("X-RateLimit-Limit") == expected
    http.close()
