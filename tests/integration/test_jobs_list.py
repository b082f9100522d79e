# SPDX-License-Identifier: Apache-2.0
"""GET /execute/processes and /execute/processes/{id}: how background jobs are shown."""

import contextlib
import datetime
import socket
import struct
import threading
import time

import httpx
import pytest

from lib import tokens
from lib.expect import expect_error, expect_json
from lib.jobs import (
    job_of,
    jobs_of,
    kill,
    page_of,
    start,
    start_code,
    start_id,
    wait_for,
    wait_for_end,
    wait_for_output,
)
from lib.raw import RawConnection, head
from lib.waiting import is_plain_build, wait_until

TAIL = 64 * 1024


def instant(text):
    return datetime.datetime.fromisoformat(text).timestamp()


@pytest.mark.smoke
def test_a_job_from_start_to_end(agent):
    started = time.time()
    answer = start(agent, "echo out; echo err >&2; read line; exit 3", name="first")
    identifier = answer["process_id"]
    job = wait_for_output(agent, identifier, "out\n")
    assert (job["status"], job["name"], job["language"]) == ("running", "first", None)
    assert job["execution_id"] == answer["execution_id"]
    assert "read line" in job["command"]
    assert abs(instant(job["started_at"]) - started) < 60
    assert not job["lingering"] and not job["tty"] and job["usage"] is None and job["error"] is None
    assert job_of(agent, job["execution_id"])["process_id"] == identifier
    (row,) = [row for row in jobs_of(agent) if row["process_id"] == identifier]
    assert "stdout" not in row and row["pid"] == job["pid"]

    expect_json(agent.http.post(f"/execute/processes/{identifier}/input", json={"eof": True}))
    wait_for_end(agent, identifier)
    job = job_of(agent, identifier)
    assert (job["status"], job["exit_code"], job["reason"], job["signal"]) == ("failed", 3, "exit", None)
    assert (job["stdout"], job["stderr"]) == ("out\n", "err\n")
    assert (job["stdout_bytes"], job["stderr_bytes"]) == (4, 4)
    assert (job["stdout_dropped"], job["stderr_dropped"]) == (0, 0)
    assert job["stdout_truncated"] is False and job["stderr_truncated"] is False
    assert instant(job["completed_at"]) - instant(job["started_at"]) == pytest.approx(job["duration"], abs=0.1)
    assert job["usage"]["cpu_time"] >= 0 and job["usage"]["max_rss_bytes"] > 0


def test_code_has_a_language(agent):
    answer = start_code(agent, "print(6 * 7)", name="sum")
    wait_for_end(agent, answer["process_id"])
    job = job_of(agent, answer["process_id"])
    assert (job["status"], job["language"], job["stdout"]) == ("completed", "python", "42\n")
    assert job["exit_code"] == 0


def test_the_duration_grows(agent):
    identifier = start_id(agent, "exec sleep 1000")
    first = wait_for(agent, identifier)["duration"]
    wait_until(lambda: job_of(agent, identifier)["duration"] > first + 0.05, "a longer duration")
    kill(agent, identifier, grace=0)


def test_what_ends_by_a_signal(agent):
    identifier = start_id(agent, "kill -SEGV $$")
    wait_for_end(agent, identifier)
    job = job_of(agent, identifier)
    assert (job["status"], job["exit_code"], job["signal"], job["reason"]) == ("failed", 139, 11, "signal")


def test_what_takes_too_long(agent):
    identifier = start_id(agent, "exec sleep 1000", timeout=0.2)
    assert job_of(agent, identifier)["timeout"] == 0.2
    job = wait_for_end(agent, identifier)
    assert (job["status"], job["exit_code"], job["reason"]) == ("timeout", 124, "timeout")
    assert identifier in [row["process_id"] for row in jobs_of(agent, status="timeout")]
    assert identifier in [row["process_id"] for row in jobs_of(agent, status="timed_out")]


def test_a_command_of_many_lines_is_shown_in_one(agent):
    identifier = start_id(agent, "true\n" + "# \"quoted\" \\ \x01 é\n" * 200)
    wait_for_end(agent, identifier)
    command = job_of(agent, identifier)["command"]
    assert "\n" not in command and len(command.encode()) <= 1024
    assert command.startswith("true")


NAMES = ['"quoted" \\ back', "naïve ☃ 𝄞", "tab\tand\nline", "</script>", "x" * 256]


@pytest.mark.parametrize("name", NAMES, ids=range(len(NAMES)))
def test_odd_names_come_back(agent, name):
    identifier = start_id(agent, "true", name=name)
    wait_for_end(agent, identifier)
    assert job_of(agent, identifier)["name"] == name
    assert identifier in [row["process_id"] for row in jobs_of(agent, name=name)]


# Output on the object


def test_the_last_of_long_output(agent):
    code = f"import sys\nsys.stdout.write('a' * 10 + 'é' * {TAIL})\nsys.stderr.write('e' * {TAIL})"
    identifier = start_code(agent, code, env={"PYTHONIOENCODING": "utf-8"})["process_id"]
    wait_for_end(agent, identifier)
    job = job_of(agent, identifier)
    assert job["stdout"] == "é" * (TAIL // 2) and job["stdout_truncated"] is True
    assert job["stderr"] == "e" * TAIL and job["stderr_truncated"] is False
    assert job["stdout_bytes"] == 2 * TAIL + 10


def test_output_starts_with_a_character(agent):
    """The cut is inside a sequence of four bytes, whatever else is in front."""
    code = f"import sys\nsys.stdout.buffer.write('𝄞'.encode() * {TAIL} + b'!')"
    identifier = start_code(agent, code)["process_id"]
    wait_for_end(agent, identifier)
    job = job_of(agent, identifier)
    assert job["stdout"] == "𝄞" * (TAIL // 4 - 1) + "!"


def test_output_that_is_no_text(agent):
    code = "import sys\nsys.stdout.buffer.write(b'a\\xffb\\0c\\xe2\\x82')"
    identifier = start_code(agent, code)["process_id"]
    wait_for_end(agent, identifier)
    assert job_of(agent, identifier)["stdout"] == "a\ufffdb\0c\ufffd"


def test_output_beyond_the_ring(new_agent):
    agent = new_agent(job_log_size="128K")
    code = "import sys\nfor n in range(100000): print(n)"
    identifier = start_code(agent, code)["process_id"]
    wait_for_end(agent, identifier)
    job = job_of(agent, identifier)
    whole = "".join(f"{n}\n" for n in range(100000))
    assert job["stdout_bytes"] == len(whole)
    assert job["stdout"] == whole[-TAIL:] and job["stdout_truncated"] is True


# What is not there


@pytest.mark.parametrize("identifier", ["proc_000000000000000000000000", "nonsense", "%2e%2e", "1", "x" * 200])
def test_unknown_jobs(agent, identifier):
    document = expect_error(agent.http.get(f"/execute/processes/{identifier}"), 404, "PROCESS_NOT_FOUND")
    assert "not found" not in document["message"]


QUERIES = [
    ("limit=0", "/limit"),
    ("limit=1001", "/limit"),
    ("limit=x", "/limit"),
    ("status=done", "/status"),
    ("cursor=x", "/cursor"),
    ("cursor=-1", "/cursor"),
    ("cursor=1%20", "/cursor"),
    ("cursor=99999999999999999999999", "/cursor"),
]


@pytest.mark.parametrize("query, field", QUERIES)
def test_bad_queries(agent, query, field):
    expect_error(agent.http.get(f"/execute/processes?{query}"), 400, "INVALID_REQUEST", field)


def test_nobody_reads_it_without_a_token(agent):
    for path in ("/execute/processes", "/execute/processes/x"):
        expect_error(agent.anonymous.get(path), 401, "AUTHENTICATION_REQUIRED")


# Filters


def test_filters(new_agent):
    agent = new_agent(max_processes=2)
    done = [start_id(agent, "true", name=f"web-{n}") for n in range(3)]
    for identifier in done:
        wait_for_end(agent, identifier)
    failed = start_id(agent, "false", name="job-web")
    wait_for_end(agent, failed)
    running = [start_id(agent, "exec sleep 1000", name="db") for _ in range(2)]
    queued = start_id(agent, "exec sleep 1000")
    for identifier in running:
        wait_for(agent, identifier)

    def ids(**query):
        return [row["process_id"] for row in jobs_of(agent, **query)]

    assert ids() == [queued, *running[::-1], failed, *done[::-1]]
    assert ids(status="queued") == [queued]
    assert ids(status="running") == running[::-1]
    assert ids(status="completed") == done[::-1]
    assert ids(status="failed") == [failed]
    assert ids(status="killed") == []
    assert ids(name="web") == [failed, *done[::-1]]
    assert ids(name="web", status="failed") == [failed]
    assert ids(name="nothing") == []
    assert ids(name="") == ids()
    document = page_of(agent, name="web", limit=2)
    assert (document["count"], document["total"], document["has_more"]) == (2, 4, True)
    document = page_of(agent, name="web", limit=2, cursor=document["next_cursor"])
    assert (document["count"], document["total"], document["has_more"]) == (2, 4, False)
    assert [row["process_id"] for row in document["processes"]] == done[1::-1]

    waiting = job_of(agent, queued)
    assert (waiting["status"], waiting["duration"], waiting["stdout"]) == ("queued", 0, "")
    assert waiting["started_at"] == waiting["queued_at"]
    for identifier in [queued, *running]:
        kill(agent, identifier, grace=0)
    assert set(ids(status="killed")) == {queued, *running}


def test_a_queued_job_that_is_killed_never_ran(new_agent):
    agent = new_agent(max_processes=1)
    running = start_id(agent, "exec sleep 1000")
    queued = start_id(agent, "touch ran")
    answer = kill(agent, queued)
    assert answer["status"] == "killed"
    job = job_of(agent, queued)
    assert (job["status"], job["reason"], job["pid"], job["usage"]) == ("killed", "killed", None, None)
    assert job["started_at"] and job["completed_at"]
    kill(agent, running, grace=0)
    wait_for_end(agent, start_id(agent, "true"))
    assert not (agent.workspace / "ran").exists()


# Pages


def test_a_thousand_jobs_page_by_page_while_new_ones_come(new_agent):
    n = 1000 if is_plain_build() else 120
    agent = new_agent(max_queued_jobs=n + 200, job_keep_count=2 * n)
    expected = []
    lock = threading.Lock()

    def submit(count):
        with httpx.Client(base_url=agent.url, headers=agent.http.headers, timeout=60) as client:
            for _ in range(count):
                with lock:
                    answer = client.post("/commands/background", json={"command": "true"})
                    assert answer.status_code == 200, answer.text
                    expected.append(answer.json()["process_id"])

    submit(n)
    expected.reverse()
    before = list(expected)
    more = threading.Thread(target=submit, args=(50,))
    more.start()
    try:
        seen = []
        cursor = None
        while True:
            document = page_of(agent, limit=70, **({"cursor": cursor} if cursor else {}))
            seen += [row["process_id"] for row in document["processes"]]
            cursor = document["next_cursor"]
            if not cursor:
                break
            assert len(document["processes"]) == 70
    finally:
        more.join()
    assert len(seen) == len(set(seen))
    assert seen[-n:] == before
    wait_until(lambda: not jobs_of(agent, status="running") and not jobs_of(agent, status="queued"), "the end", 120)
    document = page_of(agent, status="completed", limit=1000)
    assert document["total"] == n + 50 and document["count"] == min(n + 50, 1000)


@pytest.mark.plain_build
def test_large_pages_do_not_hold_others(new_agent):
    agent = new_agent(max_queued_jobs=2000, max_processes=1)
    for _ in range(1000):
        start(agent, "true")
    stop = threading.Event()

    def ask():
        with httpx.Client(base_url=agent.url, headers=agent.http.headers, timeout=60) as client:
            while not stop.is_set():
                client.get("/execute/processes", params={"limit": 1000}).raise_for_status()

    threads = [threading.Thread(target=ask) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        times = []
        for _ in range(200):
            begin = time.monotonic()
            assert agent.anonymous.get("/ping").status_code == 200
            times.append(time.monotonic() - begin)
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert sorted(times)[len(times) * 9 // 10] < 0.25  # the clients above use most of the processors


@pytest.mark.plain_build
def test_many_large_pages_at_once(new_agent):
    """A bounded number is written, slice by slice in their order; the rest is told to come again."""
    agent = new_agent(max_queued_jobs=2000, max_processes=1)
    for _ in range(1000):
        start(agent, "exec sleep 1000", name="n" * 200)
    request = head("GET", "/execute/processes?limit=1000", tokens.bearer(tokens.token(agent.secret)))
    with contextlib.ExitStack() as stack:
        connections = [stack.enter_context(RawConnection(agent.port)) for _ in range(100)]
        times = []
        for connection in connections:
            connection.send(request)
        for _ in range(20):
            begin = time.monotonic()
            assert agent.anonymous.get("/ping").status_code == 200
            times.append(time.monotonic() - begin)
        answers = [connection.read_response() for connection in connections]
    assert sorted(times)[len(times) // 2] < 0.05, times
    refused = [answer for answer in answers if answer.status_code != 200]
    assert 32 <= len(answers) - len(refused) < 100
    for answer in refused:
        assert (answer.status_code, answer.json()["code"]) == (429, "RATE_LIMIT_EXCEEDED")
        assert answer.headers["Retry-After"] == "1"
    for answer in answers:
        assert answer.status_code == 429 or answer.json()["count"] == 1000
    assert page_of(agent, limit=1000)["count"] == 1000


def test_a_client_that_leaves_in_the_middle_of_a_large_page(new_agent):
    agent = new_agent(max_queued_jobs=2000, max_processes=1)
    identifiers = [start_id(agent, "exec sleep 1000") for _ in range(300)]
    token = agent.http.headers["Authorization"]
    request = f"GET /execute/processes?limit=1000 HTTP/1.1\r\nHost: x\r\nAuthorization: {token}\r\n\r\n"
    for i in range(20):
        with socket.create_connection(("127.0.0.1", agent.port)) as client:
            client.sendall(request.encode())
            if i % 2:  # in the middle; else before it has begun, most likely
                client.recv(1)
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    assert page_of(agent, limit=1000)["count"] == 300
    for identifier in identifiers[::-1]:
        kill(agent, identifier, grace=0)
