# SPDX-License-Identifier: Apache-2.0
"""Input and signals for background jobs, and waiting for their end."""

import base64
import hashlib
import os
import signal
import threading
import time

import httpx
import pytest

from lib.expect import TIMESTAMP, expect_error, expect_json
from lib.jobs import (
    expect_job,
    job_of,
    kill,
    start,
    start_code,
    start_id,
    wait_for,
    wait_for_end,
    wait_for_output,
)
from lib.waiting import time_factor, wait_until

QUEUE = 4 * 1024 * 1024


def send(agent, identifier, **body):
    return agent.http.post(f"/execute/processes/{identifier}/input", json=body)


def send_when_running(agent, identifier, **body):
    wait_for(agent, identifier)
    return send(agent, identifier, **body)


def signalled(agent, identifier, name):
    return agent.http.post(f"/execute/processes/{identifier}/signal", json={"signal": name})


def wait(agent, identifier, **query):
    return agent.http.get(f"/execute/processes/{identifier}/wait", params=query)


@pytest.fixture
def sleeper(agent):
    identifier = start_id(agent, "exec sleep 1000")
    wait_for(agent, identifier)
    yield identifier
    kill(agent, identifier, grace=0)


# Input


@pytest.mark.smoke
def test_input_with_an_end(agent):
    identifier = start_id(agent, "exec cat")
    document = expect_json(send_when_running(agent, identifier, data="one\n"))
    assert document["success"] is True and document["process_id"] == identifier
    assert (document["bytes_written"], document["eof"]) == (4, False)
    assert TIMESTAMP.match(document["timestamp"])
    wait_for_output(agent, identifier, "one\n")
    document = expect_json(send(agent, identifier, input="zwei ☃\n", eof=True))
    assert (document["bytes_written"], document["eof"]) == (len("zwei ☃\n".encode()), True)
    wait_for_end(agent, identifier)
    assert job_of(agent, identifier)["stdout"] == "one\nzwei ☃\n"
    expect_error(send(agent, identifier, data="late"), 409, "PROCESS_NOT_RUNNING")


def test_only_the_end(agent):
    identifier = start_id(agent, "exec cat; true")
    expect_json(send_when_running(agent, identifier, eof=True))
    assert wait_for_end(agent, identifier)["status"] == "completed"


def test_input_by_execution_id(agent):
    answer = start(agent, "exec cat")
    wait_for(agent, answer["process_id"])
    expect_json(send(agent, answer["execution_id"], data="x", eof=True))
    wait_for_end(agent, answer["process_id"])
    assert job_of(agent, answer["process_id"])["stdout"] == "x"


def test_input_is_exact_in_base64(agent):
    data = bytes(range(256)) * 1500  # so much that a worker decodes it
    code = "import hashlib, sys\nprint(hashlib.sha256(sys.stdin.buffer.read()).hexdigest())"
    identifier = start_code(agent, code)["process_id"]
    wait_for(agent, identifier)
    for piece, eof in ((data[:3], False), (data[3:], True)):
        text = base64.b64encode(piece).decode()
        document = expect_json(send(agent, identifier, data=text, encoding="base64", eof=eof))
        assert document["bytes_written"] == len(piece)
    wait_for_end(agent, identifier)
    assert job_of(agent, identifier)["stdout"].strip() == hashlib.sha256(data).hexdigest()


def test_nul_bytes_are_input(agent):
    identifier = start_id(agent, "od -An -tx1")
    expect_json(send_when_running(agent, identifier, data="a\0b", eof=True))
    wait_for_end(agent, identifier)
    assert job_of(agent, identifier)["stdout"].split() == ["61", "00", "62"]


def test_who_does_not_read_is_told_so(agent, sleeper):
    """A bounded queue: then 429, and what was refused was refused as a whole."""
    taken = 0
    for _ in range(100):
        response = send(agent, sleeper, data="x" * (1024 * 1024))
        if response.status_code == 429:
            break
        taken += expect_json(response)["bytes_written"]
    expect_error(response, 429, "RATE_LIMIT_EXCEEDED", "/data")
    assert response.headers["Retry-After"] == "1"
    assert QUEUE / 2 <= taken <= QUEUE + 2 * 1024 * 1024


def test_what_was_refused_can_be_sent_again(agent):
    (agent.workspace / "go").unlink(missing_ok=True)
    code = "import os, sys, time\nwhile not os.path.exists('go'): time.sleep(0.01)\nprint(len(sys.stdin.buffer.read()))"
    identifier = start_code(agent, code)["process_id"]
    wait_for(agent, identifier)
    answers = []

    def is_taken():
        answers.append(send(agent, identifier, data="x" * (1024 * 1024)))
        return answers[-1].status_code != 429

    while is_taken():
        assert len(answers) < 100
    (agent.workspace / "go").touch()
    for _ in range(5):
        wait_until(is_taken, "room for more", timeout=10)
    expect_json(send(agent, identifier, eof=True))
    wait_for_end(agent, identifier)
    taken = sum(expect_json(response)["bytes_written"] for response in answers if response.status_code != 429)
    assert job_of(agent, identifier)["stdout"] == f"{taken}\n"


def test_input_that_can_never_be_taken(agent, sleeper):
    document = expect_error(send(agent, sleeper, data="x" * (QUEUE + 1)), 400, "INVALID_REQUEST", "/data")
    assert str(QUEUE) in document["message"]


def test_input_of_what_has_its_input_already(agent):
    identifier = start_id(agent, "exec sleep 1000", stdin="given")
    document = expect_error(send_when_running(agent, identifier, data="more"), 409, "PROCESS_NOT_RUNNING", "/data")
    assert "standard input" in document["message"]
    kill(agent, identifier, grace=0)


def test_input_behind_the_end(agent):
    identifier = start_id(agent, "cat >/dev/null; exec sleep 1000")
    expect_json(send_when_running(agent, identifier, eof=True))
    expect_error(send(agent, identifier, data="more"), 409, "PROCESS_NOT_RUNNING", "/data")
    kill(agent, identifier, grace=0)


BAD_INPUT = [
    ({}, "MISSING_PARAMETER", "/data"),
    ({"eof": False}, "MISSING_PARAMETER", "/data"),
    ({"data": 1}, "INVALID_REQUEST", "/data"),
    ({"data": "x", "encoding": "utf-16"}, "INVALID_REQUEST", "/encoding"),
    ({"data": "###", "encoding": "base64"}, "INVALID_REQUEST", "/data"),
    ({"data": "YQ", "encoding": "base64"}, "INVALID_REQUEST", "/data"),
    ({"data": "x", "eof": "yes"}, "INVALID_REQUEST", "/eof"),
]


@pytest.mark.parametrize("body, code, field", BAD_INPUT)
def test_bad_input(agent, sleeper, body, code, field):
    expect_error(send(agent, sleeper, **body), 400, code, field)


def test_a_terminal_is_typed_on(agent):
    identifier = start_id(agent, "read line; echo got $line", tty=True)
    expect_json(send_when_running(agent, identifier, data="word\n"))
    wait_for_end(agent, identifier)
    job = job_of(agent, identifier)
    assert job["tty"] is True and "got word" in job["stdout"]


# Signals


@pytest.mark.parametrize("name", ["SIGUSR1", "usr1", str(int(signal.SIGUSR1))])
def test_a_signal_for_a_trap(agent, name):
    command = "trap 'echo caught; exit 9' USR1; echo ready; while :; do sleep 0.02; done"
    identifier = start_id(agent, command)
    wait_for_output(agent, identifier, "ready")
    document = expect_json(signalled(agent, identifier, name))
    assert (document["success"], document["signal"], document["process_id"]) == (True, "SIGUSR1", identifier)
    job = wait_for_end(agent, identifier)
    assert (job["status"], job["exit_code"]) == ("failed", 9)
    assert "caught" in job_of(agent, identifier)["stdout"]


def test_a_signal_that_ends_it(agent):
    identifier = start_id(agent, "exec sleep 1000")
    wait_for(agent, identifier)
    expect_json(signalled(agent, identifier, "SIGINT"))
    job = wait_for_end(agent, identifier)
    assert (job["exit_code"], job["signal"], job["reason"]) == (130, 2, "signal")
    expect_error(signalled(agent, identifier, "SIGINT"), 409, "PROCESS_NOT_RUNNING")


def test_stop_and_continue(agent, sleeper):
    pid = job_of(agent, sleeper)["pid"]

    def state():
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rsplit(")", 1)[1].split()[0]

    expect_json(signalled(agent, sleeper, "STOP"))
    wait_until(lambda: state() == "T", "a stopped process")
    assert job_of(agent, sleeper)["status"] == "running"
    expect_json(signalled(agent, sleeper, "CONT"))
    wait_until(lambda: state() == "S", "a sleeping process")


@pytest.mark.parametrize("name", ["SIGNAL", "", "0", "-9", "65", "1000", "SIG", "x" * 33])
def test_unknown_signals(agent, sleeper, name):
    expect_error(signalled(agent, sleeper, name), 400, "INVALID_REQUEST", "/signal")


def test_no_signal(agent, sleeper):
    response = agent.http.post(f"/execute/processes/{sleeper}/signal", json={})
    expect_error(response, 400, "MISSING_PARAMETER", "/signal")


# Jobs that are not running


def test_queued_jobs(new_agent):
    agent = new_agent(max_processes=1)
    running = start_id(agent, "exec sleep 1000")
    wait_for(agent, running)
    queued = start_id(agent, "exec cat")
    for response in (send(agent, queued, data="x"), signalled(agent, queued, "TERM")):
        document = expect_error(response, 409, "PROCESS_NOT_RUNNING")
        assert "has not been started yet" in document["message"]
    document = expect_json(wait(agent, queued, timeout=0))
    assert document["finished"] is False and document["status"] == "queued"
    answers = []

    def ask():
        with httpx.Client(base_url=agent.url, headers=agent.http.headers, timeout=60) as client:
            answers.append(client.get(f"/execute/processes/{queued}/wait", params={"timeout": 50}))

    thread = threading.Thread(target=ask)
    thread.start()
    kill(agent, running, grace=0)
    expect_json(send_when_running(agent, queued, data="now", eof=True))
    thread.join()
    assert expect_json(answers[0])["status"] == "completed"
    assert job_of(agent, queued)["stdout"] == "now"


@pytest.mark.parametrize("identifier", ["proc_000000000000000000000000", "1", "x"])
def test_unknown_jobs(agent, identifier):
    for response in (send(agent, identifier, data="x"), signalled(agent, identifier, "TERM"), wait(agent, identifier)):
        document = expect_error(response, 404, "PROCESS_NOT_FOUND")
        assert "not found" not in document["message"]


def test_nobody_does_it_without_a_token(agent, sleeper):
    path = f"/execute/processes/{sleeper}"
    for response in (
        agent.anonymous.post(f"{path}/input", json={"eof": True}),
        agent.anonymous.post(f"{path}/signal", json={"signal": "KILL"}),
        agent.anonymous.get(f"{path}/wait"),
    ):
        expect_error(response, 401, "AUTHENTICATION_REQUIRED")


# Waiting


def test_waiting_ends_with_the_job(agent):
    identifier = start_id(agent, "sleep 0.3; exit 2")
    began = time.monotonic()
    document = expect_json(wait(agent, identifier))
    assert time.monotonic() - began < 5 * time_factor()
    assert document["finished"] is True
    assert (expect_job(document)["status"], document["exit_code"]) == ("failed", 2)
    assert document["duration"] >= 0.3
    again = expect_json(wait(agent, identifier))  # at once
    assert again == document


def test_waiting_ends_by_itself(agent, sleeper):
    began = time.monotonic()
    document = expect_json(wait(agent, sleeper, timeout=0.2))
    assert 0.2 <= time.monotonic() - began < 5 * time_factor()
    assert document["finished"] is False and expect_job(document)["status"] == "running"
    assert expect_json(wait(agent, sleeper, timeout=0))["finished"] is False
    expect_error(wait(agent, sleeper, timeout=-1), 400, "INVALID_REQUEST", "/timeout")
    expect_error(wait(agent, sleeper, timeout="x"), 400, "INVALID_REQUEST", "/timeout")


def test_many_wait_for_one(agent):
    identifier = start_id(agent, "read line")
    wait_for(agent, identifier)
    answers = []

    def ask():
        with httpx.Client(base_url=agent.url, headers=agent.http.headers, timeout=60) as client:
            answers.append(client.get(f"/execute/processes/{identifier}/wait", params={"timeout": 50}))

    threads = [threading.Thread(target=ask) for _ in range(20)]
    for thread in threads:
        thread.start()
    wait_until(lambda: agent.gauges()["requests_live"] == 21, "all who wait")
    expect_json(send(agent, identifier, data="go\n"))
    for thread in threads:
        thread.join()
    assert all(expect_json(answer)["finished"] is True for answer in answers) and len(answers) == 20


def test_who_waits_may_leave(agent, sleeper):
    with pytest.raises(httpx.TimeoutException):
        agent.http.get(f"/execute/processes/{sleeper}/wait", params={"timeout": 1000}, timeout=0.2)
    wait_until(lambda: agent.gauges()["requests_live"] == 1, "the end of the request")
    assert job_of(agent, sleeper)["status"] == "running"


def test_long_waits_are_kept_alive(new_agent):
    agent = new_agent(heartbeat="1s")
    identifier = start_id(agent, "exec sleep 1000")
    wait_for(agent, identifier)
    with agent.http.stream("GET", f"/execute/processes/{identifier}/wait", params={"timeout": 3}) as response:
        pieces = list(response.iter_raw())
    assert len(pieces) > 1 and not pieces[0].strip()
    kill(agent, identifier, grace=0)


def test_an_agent_that_stops_lets_nobody_wait(new_agent):
    """The job outlives it, so waiting for its end would be waiting for nothing."""
    agent = new_agent(shutdown_grace="20s")
    identifier = start_id(agent, "exec sleep 1000")
    pid = wait_for(agent, identifier)["pid"]
    answers = []

    def ask():
        with httpx.Client(base_url=agent.url, headers=agent.http.headers, timeout=60) as client:
            answers.append(client.get(f"/execute/processes/{identifier}/wait", params={"timeout": 1000}))

    thread = threading.Thread(target=ask)
    thread.start()
    wait_until(lambda: agent.gauges()["requests_live"] == 2, "who waits")
    agent.signal(signal.SIGTERM)
    thread.join()
    document = expect_json(answers[0])
    assert document["finished"] is False and document["status"] == "running"
    assert agent.wait_for_exit(10) == 0
    for keeper in agent.keepers():  # it would live on
        os.kill(keeper, signal.SIGTERM)
    wait_until(lambda: not os.path.exists(f"/proc/{pid}"), "the end of the job")
