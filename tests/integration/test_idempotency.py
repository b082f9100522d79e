# SPDX-License-Identifier: Apache-2.0
"""Idempotency-Key: however often a request is repeated, its code runs once, and whoever asks gets the one answer.

A file with a line for each run proves how often the code ran."""

import json
import signal
import threading
import time
import uuid
from pathlib import Path

import httpx
import pytest

from lib import procfs, raw, tokens
from lib.expect import expect_error, expect_json, expect_result
from lib.waiting import wait_until

REPLAYED = "Idempotency-Replayed"
TOO_LARGE = "IDEMPOTENCY_RESULT_TOO_LARGE"
MIB = 1 << 20


class Job:
    """A command that leaves a line in a file, says what it is told to, and ends when the gate opens."""

    def __init__(self, agent, then="echo done", gate=False):
        name = uuid.uuid4().hex
        self.agent = agent
        self.key = name
        self.counter = agent.workspace / f"{name}.runs"
        self.gate = agent.workspace / f"{name}.gate"
        wait = f"while [ ! -e {self.gate} ]; do sleep 0.01; done; " if gate else ""
        self.document = {"command": f"echo run >> {self.counter}; {wait}{then}", "env": {"JOB_MARK": name}}
        self.headers = {"Idempotency-Key": self.key}

    def post(self, client=None, headers=(), **fields):
        """The bytes are those that send sends: it is by them that a body is the same."""
        body = json.dumps({**self.document, **fields})
        headers = {**self.headers, **dict(headers)}
        return (client or self.agent.http).post("/commands/run", content=body, headers=headers)

    def send(self, **options):
        """The same on a connection of its own, without waiting for the answer."""
        connection = raw.RawConnection(self.agent.port, **options)
        connection.send(raw.post("/commands/run", self.document, {**self.agent.http.headers, **self.headers}))
        return connection

    def runs(self):
        return self.counter.read_text().count("run\n") if self.counter.exists() else 0

    def is_running(self):
        return bool(procfs.with_environment("JOB_MARK", self.key))

    def wait_for_start(self):
        wait_until(lambda: self.runs() == 1 and self.is_running(), "start of the program")

    def open_gate(self):
        self.gate.touch()


def wait_for_requests(agent, n):
    """Until so many requests are being handled, beside the one that asks."""
    wait_until(lambda: agent.gauges()["requests_live"] == n + 1, lambda: f"{n} requests: {agent.gauges()}")


def expect_repeat(response, first):
    """An answer that belongs to another request."""
    assert response.headers[REPLAYED] == "true"
    assert response.status_code == first.status_code
    assert response.json() == first.json()
    assert response.headers["X-Request-ID"] != first.headers["X-Request-ID"]


@pytest.mark.smoke
def test_a_repeat_gets_the_first_answer(agent):
    job = Job(agent, "echo out; echo err >&2; exit 3")
    first = job.post()
    assert REPLAYED not in first.headers
    result = expect_result(first, 3)
    assert (result["stdout"], result["stderr"]) == ("out\n", "err\n")
    for _ in range(10):
        expect_repeat(job.post(), first)
    assert job.runs() == 1


def test_parallel_repeats_run_once(agent):
    job = Job(agent, gate=True)
    responses = []

    def repeat():
        with httpx.Client(base_url=agent.url, headers=agent.http.headers, timeout=60) as client:
            responses.append(job.post(client))

    threads = [threading.Thread(target=repeat) for _ in range(10)]
    for thread in threads:
        thread.start()
    wait_for_requests(agent, 10)
    job.open_gate()
    for thread in threads:
        thread.join()
    assert job.runs() == 1
    first = [response for response in responses if REPLAYED not in response.headers]
    assert len(first) == 1 and len(responses) == 10
    for response in responses:
        if response is not first[0]:
            expect_repeat(response, first[0])
    assert len({response.headers["X-Request-ID"] for response in responses}) == 10
    expect_repeat(job.post(), first[0])


def test_code_too(agent):
    counter = agent.workspace / uuid.uuid4().hex
    document = {"code": f"open({str(counter)!r}, 'a').write('x')\nprint(6 * 7)"}
    headers = {"Idempotency-Key": uuid.uuid4().hex}
    first = agent.http.post("/execute", json=document, headers=headers)
    assert expect_result(first)["stdout"] == "42\n"
    expect_repeat(agent.http.post("/execute", json=document, headers=headers), first)
    assert counter.read_text() == "x"


@pytest.mark.parametrize("way", ["close", "reset", "half_close"])
def test_the_first_client_leaves_and_comes_back(agent, way):
    """What the key is for: the client's patience ended, but the program's work did not."""
    job = Job(agent, "echo kept", gate=True)
    connection = job.send()
    job.wait_for_start()
    getattr(connection, way)()
    wait_until(lambda: agent.gauges()["connections"] <= 1, "end of the connection")
    again = job.send()
    wait_for_requests(agent, 2)
    assert job.is_running()
    job.open_gate()
    response = again.read_response()
    assert expect_result(response)["stdout"] == "kept\n"
    assert response.headers[REPLAYED] == "true"
    expect_repeat(job.post(), response)
    assert job.runs() == 1
    again.close()
    connection.close()


def test_nobody_waits_at_the_end(agent):
    job = Job(agent, "echo kept", gate=True)
    connection = job.send()
    job.wait_for_start()
    connection.close()
    wait_until(lambda: agent.gauges()["connections"] <= 1, "end of the connection")
    job.open_gate()
    agent.wait_until_idle()
    response = job.post()
    assert expect_result(response)["stdout"] == "kept\n"
    assert response.headers[REPLAYED] == "true"
    assert job.runs() == 1


def test_the_deadline_holds_without_a_client(agent):
    job = Job(agent, "sleep 1000")
    job.document["timeout"] = 1
    connection = job.send()
    job.wait_for_start()
    connection.close()
    expect_result(job.post(), 124, "timeout")
    assert job.runs() == 1


def test_without_a_key_a_hang_up_still_ends_it(agent):
    job = Job(agent, gate=True)
    job.headers = {}
    connection = job.send()
    job.wait_for_start()
    connection.close()
    wait_until(lambda: not job.is_running(), "end of the program")


def test_without_a_key_every_request_runs(agent):
    job = Job(agent)
    job.headers = {}
    responses = [job.post() for _ in range(2)]
    assert job.runs() == 2
    assert all(REPLAYED not in response.headers for response in responses)


def test_waiters_come_and_go(agent):
    job = Job(agent, "echo kept", gate=True)
    first = job.send()
    job.wait_for_start()
    waiters = [job.send() for _ in range(4)]
    wait_for_requests(agent, 5)
    waiters[0].close()
    waiters[2].reset()
    wait_for_requests(agent, 3)
    first.close()
    job.open_gate()
    for n in (1, 3):
        response = waiters[n].read_response()
        assert expect_result(response)["stdout"] == "kept\n"
        waiters[n].close()
    assert job.runs() == 1


def test_waiters_are_counted(agent):
    job = Job(agent, gate=True)
    connections = [job.send()]
    job.wait_for_start()
    connections += [job.send() for _ in range(32)]
    wait_for_requests(agent, 33)
    response = job.post()
    expect_error(response, 429, "RATE_LIMIT_EXCEEDED")
    assert response.headers["Retry-After"] == "1"
    job.open_gate()
    for connection in connections:
        expect_result(connection.read_response())
        connection.close()
    assert job.runs() == 1


def test_waiters_get_signs_of_life(new_agent):
    agent = new_agent(heartbeat="200ms")
    job = Job(agent, gate=True)
    with job.send() as first, job.send() as second:
        for connection in (first, second):
            head = connection.read_head()
            assert head.status_code == 200
            assert all(not connection.read_chunk().strip() for _ in range(2))
        job.open_gate()
        bodies = [b"".join(iter(connection.read_chunk, b"")).strip() for connection in (first, second)]
    assert bodies[0] == bodies[1] and b"done" in bodies[0]
    assert job.runs() == 1


# Whose key it is, and for what.


def test_another_body(agent):
    job = Job(agent, gate=True)
    connection = job.send()
    job.wait_for_start()
    expect_error(job.post(timeout=10), 422, "IDEMPOTENCY_KEY_REUSED")
    job.open_gate()
    expect_result(connection.read_response())
    connection.close()
    response = job.post(timeout=10)
    expect_error(response, 422, "IDEMPOTENCY_KEY_REUSED")
    assert REPLAYED not in response.headers
    assert job.runs() == 1


def test_large_bodies(agent):
    """Those are parsed, and digested, by a worker."""
    job = Job(agent, "wc -c")
    job.document["stdin"] = "x" * MIB
    first = job.post()
    assert expect_result(first)["stdout"].strip() == str(MIB)
    expect_repeat(job.post(), first)
    job.document["stdin"] = "x" * (MIB - 1) + "y"
    expect_error(job.post(), 422, "IDEMPOTENCY_KEY_REUSED")
    assert job.runs() == 1


def test_keys_belong_to_a_subject(agent):
    job = Job(agent)
    expect_result(job.post())
    other = tokens.bearer(tokens.token(agent.secret, sub="somebody-else"))
    response = job.post(headers=other)
    expect_result(response)
    assert REPLAYED not in response.headers and job.runs() == 2


def test_keys_belong_to_a_route(agent):
    headers = {"Idempotency-Key": uuid.uuid4().hex}
    document = {"command": "echo one", "code": "echo two", "language": "bash"}
    assert expect_result(agent.http.post("/commands/run", json=document, headers=headers))["stdout"] == "one\n"
    assert expect_result(agent.http.post("/execute", json=document, headers=headers))["stdout"] == "two\n"


@pytest.mark.parametrize("key", ["", "two words", "x" * 256, "caf\u00e9", "tab\tbed"])
def test_keys_that_are_none(agent, key):
    job = Job(agent)
    headers = {**agent.http.headers, "Idempotency-Key": key}
    with raw.RawConnection(agent.port) as connection:
        connection.send(raw.post("/commands/run", job.document, headers))
        document = expect_error(connection.read_response(), 400, "INVALID_REQUEST")
    assert "Idempotency-Key" in document["message"]
    assert job.runs() == 0


def test_the_longest_key(agent):
    job = Job(agent)
    job.headers = {"Idempotency-Key": "!~" * 127 + "x"}
    first = job.post()
    expect_repeat(job.post(), first)
    assert job.runs() == 1


def test_routes_that_do_not_know_it_ignore_it(agent):
    response = agent.http.get("/health", headers={"Idempotency-Key": "not a key"})
    expect_json(response)


# What is kept, and what is not.


@pytest.mark.parametrize("fields", [{"timeout": -1}, {"workdir": "/no/such/directory"}])
def test_refusals_are_not_kept(agent, fields):
    """Nothing was started, so the key is free for what is meant."""
    job = Job(agent)
    response = job.post(**fields)
    assert response.status_code == 400
    response = job.post()
    expect_result(response)
    assert REPLAYED not in response.headers and job.runs() == 1


def test_a_lack_of_room_is_not_kept(new_agent):
    agent = new_agent(max_processes=1)
    other, job = Job(agent, gate=True), Job(agent)
    connection = other.send()
    other.wait_for_start()
    response = job.post()
    expect_error(response, 429, "RATE_LIMIT_EXCEEDED")
    assert response.headers["Retry-After"] == "1"
    other.open_gate()
    expect_result(connection.read_response())
    connection.close()
    expect_result(job.post())
    assert job.runs() == 1


def test_expiry_counts_from_the_end(new_agent):
    agent = new_agent(idempotency_ttl="1s")
    job = Job(agent, "sleep 1.5; echo done")
    connection = job.send()
    job.wait_for_start()
    time.sleep(1.2)  # the point is that this much time passes while it runs
    expect_result(job.post())
    expect_result(connection.read_response())
    connection.close()
    assert job.runs() == 1

    def runs_again():
        return REPLAYED not in job.post().headers

    wait_until(runs_again, "expiry", timeout=10)
    assert job.runs() == 2


def test_the_time_is_reloadable(new_agent, tmp_path):
    options = "[agent]\nidempotency-ttl = {}\n"
    path = tmp_path / "agent.conf"
    path.write_text(options.format("1h"))
    agent = new_agent(config=path)
    job = Job(agent)
    first = job.post()
    expect_repeat(job.post(), first)
    path.write_text(options.format("0"))
    agent.signal(signal.SIGHUP)
    wait_until(lambda: "reloaded" in agent.log(), "reload")
    expect_result(job.post())
    assert job.runs() == 2


LARGE = "head -c {} /dev/zero | tr '\\0' x"


def test_large_answers_are_kept(agent):
    job = Job(agent, LARGE.format(3 * MIB))
    first = job.post()
    assert len(expect_result(first)["stdout"]) == 3 * MIB
    expect_repeat(job.post(), first)
    assert job.runs() == 1


@pytest.mark.parametrize("size, octet", [(5 * MIB, "x"), (3 * MIB, "\\1")], ids=["as it is", "when escaped"])
def test_too_large_answers(agent, size, octet):
    job = Job(agent, f"head -c {size} /dev/zero | tr '\\0' '{octet}'; exit 7")
    first = job.post()
    result = expect_result(first, 7)
    assert result["stdout"] == ("x" if octet == "x" else "\x01") * size
    for _ in range(2):
        response = job.post()
        facts = expect_error(response, 409, TOO_LARGE)["details"]["result"]
        assert response.headers[REPLAYED] == "true"
        assert "stdout" not in facts
        assert facts == {name: result[name] for name in facts}
        for name in ("success", "exit_code", "execution_id", "execution_time", "stdout_bytes"):
            assert name in facts
    expect_error(job.post(timeout=9), 422, "IDEMPOTENCY_KEY_REUSED")
    assert job.runs() == 1


@pytest.mark.parametrize("size, octet", [(5 * MIB, "x"), (3 * MIB, "\\1")], ids=["as it is", "when escaped"])
def test_a_too_large_answer_goes_to_one_who_is_there(agent, size, octet):
    job = Job(agent, f"head -c {size} /dev/zero | tr '\\0' '{octet}'", gate=True)
    first = job.send()
    job.wait_for_start()
    waiters = [job.send() for _ in range(3)]
    wait_for_requests(agent, 4)
    first.close()
    wait_until(lambda: agent.gauges()["connections"] <= 4, "end of the connection")
    job.open_gate()
    responses = [waiter.read_response() for waiter in waiters]
    assert sorted(response.status_code for response in responses) == [200, 409, 409]
    for response in responses:
        assert response.headers[REPLAYED] == "true"
        if response.status_code == 200:
            assert len(expect_result(response)["stdout"]) == size
        else:
            assert expect_error(response, 409, TOO_LARGE)["details"]["result"]["exit_code"] == 0
    for waiter in waiters:
        waiter.close()
    assert job.runs() == 1


def test_a_large_answer_without_anybody(agent):
    job = Job(agent, LARGE.format(3 * MIB), gate=True)
    connection = job.send()
    job.wait_for_start()
    connection.close()
    wait_until(lambda: agent.gauges()["connections"] <= 1, "end of the connection")
    job.open_gate()
    assert len(expect_result(job.post())["stdout"]) == 3 * MIB
    assert job.runs() == 1


@pytest.mark.plain_build
def test_memory_is_bounded(new_agent):
    agent = new_agent()
    for _ in range(20):
        expect_result(Job(agent, LARGE.format(3 * MIB)).post())
    status = Path(f"/proc/{agent.pid}/status").read_text()
    rss = int(status.split("VmRSS:")[1].split()[0])
    assert rss < 64 * 1024, f"{rss} KiB"


# Clients, and the end.


def test_a_client_with_little_patience(agent):
    """As the SDKs do it: three tries, each given up by the client after a while."""
    job = Job(agent, "sleep 1.2; echo worth the wait")
    response = None
    for _ in range(5):
        with httpx.Client(base_url=agent.url, headers=agent.http.headers, timeout=0.5) as client:
            try:
                response = job.post(client)
                break
            except httpx.ReadTimeout:
                continue
    assert expect_result(response)["stdout"] == "worth the wait\n"
    assert job.runs() == 1


@pytest.mark.parametrize("leaves", [False, True])
def test_stopping_ends_it(new_agent, leaves):
    agent = new_agent(shutdown_grace="300ms")
    job = Job(agent, gate=True)
    first = job.send()
    job.wait_for_start()
    second = job.send()
    wait_for_requests(agent, 2)
    if leaves:
        first.close()
        second.close()
        wait_until(lambda: agent.gauges()["connections"] <= 1, "end of the connections")
    agent.signal(signal.SIGTERM)
    assert agent.wait_for_exit() == 0
    assert not job.is_running()
    if not leaves:
        results = [expect_json(connection.read_response()) for connection in (first, second)]
        assert results[0] == results[1] and results[0]["reason"] == "cancelled"
        first.close()
        second.close()


def test_the_grace_period_is_for_it_too(new_agent):
    agent = new_agent(shutdown_grace="20s")
    job = Job(agent, "sleep 0.5; echo end >> $JOB_MARK.end")
    connection = job.send()
    job.wait_for_start()
    connection.close()
    agent.signal(signal.SIGTERM)
    assert agent.wait_for_exit() == 0
    assert (agent.workspace / f"{job.key}.end").read_text() == "end\n"
