# SPDX-License-Identifier: Apache-2.0
"""POST /execute/background, /commands/background and /execute/async: what is answered, and what then runs."""

import base64
import json
import os
import shutil
import signal
import threading
import uuid

import httpx
import pytest

from lib import raw
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
from lib.waiting import wait_until

CALLBACK = "http://127.0.0.1:9/nobody"
DAY = 24 * 3600


def start_async(agent, code, language="python", callback_url=CALLBACK, **fields):
    body = {"code": code, "language": language, "callback_url": callback_url, **fields}
    return agent.http.post("/execute/async", json=body)


def output_of(agent, answer, timeout=10):
    """What a started job has written when it has ended."""
    wait_for_end(agent, answer["process_id"], timeout)
    job = job_of(agent, answer["process_id"])
    assert job["status"] == "completed", job
    return job["stdout"]


@pytest.fixture
def gate(agent):
    """A file that jobs wait for, and the shell command for doing so."""
    return Gate(agent)


class Gate:
    def __init__(self, agent):
        self.path = agent.workspace / f"{uuid.uuid4().hex}.gate"
        self.wait = f"while [ ! -e {self.path} ]; do sleep 0.01; done"

    def open(self):
        self.path.touch()


# Answers


def expect_started(answer):
    """As clients have it: the job's object, and something for people."""
    expect_job(answer)
    assert answer["success"] is True
    assert answer["process_id"] in answer["message"]
    assert TIMESTAMP.match(answer["timestamp"])


@pytest.mark.smoke
def test_answer_of_a_command(agent, gate):
    answer = start(agent, gate.wait, name="waiting")
    expect_started(answer)
    assert (answer["status"], answer["name"], answer["command"]) == ("running", "waiting", gate.wait)
    assert (answer["language"], answer["timeout"], answer["tty"]) == (None, 300, False)
    assert os.path.exists(f"/proc/{answer['pid']}")
    assert answer["message"].startswith("started; ")
    assert f"/execute/processes/{answer['process_id']}" in answer["message"]
    gate.open()
    assert output_of(agent, answer) == ""


@pytest.mark.smoke
def test_answer_of_code(agent):
    answer = start_code(agent, "\n\n  import sys\nprint(sys.stdin.readline())\n", "py")
    expect_started(answer)
    assert (answer["status"], answer["language"], answer["timeout"]) == ("running", "python", 300)
    assert answer["command"] == "import sys"
    assert answer["name"] is None
    kill(agent, answer["process_id"])


def test_answer_of_an_asynchronous_execution(agent):
    answer = expect_json(start_async(agent, "input()", name="later"))
    expect_json(agent.http.get(f"/execute/processes/{answer['process_id']}"))
    assert answer["status"] == "queued", "whatever it is by now"
    assert answer["callback_url"] == CALLBACK
    assert answer["success"] is True and answer["timeout"] == 3600
    assert answer["execution_id"].startswith("exec_") and answer["process_id"].startswith("proc_")
    assert "callback_url" in answer["message"]
    assert TIMESTAMP.match(answer["timestamp"]) and TIMESTAMP.match(answer["started_at"])
    assert job_of(agent, answer["execution_id"])["name"] == "later"
    kill(agent, answer["process_id"])


def test_answer_of_what_ends_at_once(agent):
    """It may have ended by the time of the answer, and is no error however it has."""
    for n in range(10):
        answer = start(agent, f"exit {n % 2}")
        expect_started(answer)
        assert answer["status"] in ("running", "completed", "failed")
        wait_for_end(agent, answer["process_id"])
        assert job_of(agent, answer["process_id"])["exit_code"] == n % 2


@pytest.mark.parametrize(
    "command, args, label",
    [
        ("bash", ["-c", "echo 1\necho 2\t3"], "bash -c echo 1 echo 2 3"),
        ("true", [], "true"),
        ("true " + "\u00e9" * 1000, None, "true " + "\u00e9" * 509),
    ],
    ids=["args", "no args", "cut"],
)
def test_commands_are_shown_in_one_line(agent, command, args, label):
    answer = start(agent, command, **({} if args is None else {"args": args}))
    assert answer["command"] == label
    wait_for_end(agent, answer["process_id"])


# What runs


@pytest.mark.smoke
def test_arguments_are_honoured(agent):
    (agent.workspace / "below").mkdir(exist_ok=True)
    answer = start(
        agent,
        "sh",
        args=["-c", 'pwd; echo "$1,$VARIABLE,$NUMBER"; cat', "sh", "a b"],
        workdir="below",
        env={"VARIABLE": "value", "NUMBER": 3000},
        stdin="input",
    )
    assert output_of(agent, answer) == f"{agent.workspace}/below\na b,value,3000\ninput"


@pytest.mark.parametrize("language", ["python", "bash"])
def test_code_runs_as_in_the_foreground(agent, language):
    code = {
        "python": "import os, sys\nprint(os.getcwd(), os.environ['A'], sys.stdin.buffer.read())",
        "bash": "echo $(pwd) $A $(od -An -tx1)",
    }[language]
    fields = {"env": {"A": "1"}, "stdin": base64.b64encode(b"\x00\xff").decode(), "stdin_encoding": "base64"}
    expected = expect_json(agent.execute(code, language, **fields))
    assert expected["success"], expected
    assert output_of(agent, start_code(agent, code, language, **fields)) == expected["stdout"]


def test_large_code_and_input(agent):
    code = f"# {'x' * 3_000_000}\nimport sys\nprint(len(sys.stdin.read()))"
    assert output_of(agent, start_code(agent, code, stdin="y" * 3_000_000)) == "3000000\n"


def test_the_source_is_removed_at_the_end(agent):
    answer = start_code(agent, "print(open(__file__).read(), __file__)")
    text = output_of(agent, answer)
    assert text.startswith("print(open(") and answer["execution_id"] in text
    path = text.split()[-1]
    assert path.startswith(str(agent.directory))
    wait_until(lambda: not os.path.exists(os.path.dirname(path)), f"removal of {path}")


def test_input_is_open_unless_it_is_given(agent):
    answer = start(agent, "cat; echo end")
    assert answer["status"] == "running"
    path = f"/execute/processes/{answer['process_id']}/input"
    expect_json(agent.http.post(path, json={"data": "later\n"}))
    wait_for_output(agent, answer["process_id"], "later\n")
    expect_json(agent.http.post(path, json={"eof": True}))
    assert output_of(agent, answer) == "later\nend\n"

    answer = start(agent, "cat; echo end", stdin="")
    assert output_of(agent, answer) == "end\n"


def test_a_terminal(agent):
    answer = start(agent, "stty size; test -t 0 && test -t 2 && echo terminal", tty=True, cols=132, rows=50)
    assert answer["tty"] is True
    assert output_of(agent, answer) == "50 132\r\nterminal\r\n"
    assert output_of(agent, start(agent, "stty size", tty=True)) == "24 80\r\n"


def test_a_job_outlives_its_client(agent):
    marker = agent.workspace / uuid.uuid4().hex
    body = {"command": f"echo done > {marker}"}
    connection = raw.RawConnection(agent.port)
    connection.send(raw.post("/commands/background", body, dict(agent.http.headers)))
    connection.close()
    wait_until(lambda: marker.exists() and marker.read_text() == "done\n", "the job of a client that has left")
    wait_until(lambda: agent.gauges()["requests_live"] == 1, "end of the request")


def test_a_repeated_request_starts_one_job(agent, gate):
    body = json.dumps({"command": gate.wait})
    headers = {"Idempotency-Key": uuid.uuid4().hex}
    first, second = (agent.http.post("/commands/background", content=body, headers=headers) for _ in range(2))
    assert second.headers["Idempotency-Replayed"] == "true"
    assert first.json() == second.json()
    gate.open()
    wait_for_end(agent, first.json()["process_id"])


def test_jobs_are_counted_once(agent):
    def counts():
        document = expect_json(agent.http.get("/metrics/snapshot"))
        return document["total_executions"]

    before = counts()
    wait_for_end(agent, start_id(agent, "true"))
    wait_for_end(agent, start_id(agent, "false"))
    expect_error(agent.http.post("/execute/background", json={}), 400, "MISSING_PARAMETER", "/code")
    assert counts() == before + 2


# Time


def test_timeouts(agent):
    for fields, timeout in (({}, 300), ({"timeout": 0}, DAY), ({"timeout": 7}, 7), ({"timeout": 10 * DAY}, DAY)):
        answer = start(agent, "read line", **fields)
        assert answer["timeout"] == timeout, fields
        kill(agent, answer["process_id"], grace=0)
    assert start_code(agent, "", timeout=1.5)["timeout"] == 1.5
    assert expect_json(start_async(agent, ""))["timeout"] == 3600


def test_timeouts_are_shortened_to_what_the_operator_allows(new_agent):
    agent = new_agent(max_timeout="40s")
    for fields in ({}, {"timeout": 0}, {"timeout": 300}):
        answer = start(agent, "true", **fields)
        assert answer["timeout"] == 40, fields
        assert output_of(agent, answer) == ""


def test_a_timeout_ends_it(agent):
    answer = start(agent, "trap '' TERM; while :; do sleep 0.1; done", timeout=0.3, kill_grace=0.2)
    job = wait_for_end(agent, answer["process_id"])
    assert (job["status"], job["exit_code"], job["reason"]) == ("timeout", 124, "timeout")


# The queue


def test_jobs_queue_in_order(new_agent):
    agent = new_agent(max_processes=1, max_queued_jobs=5)
    gate = Gate(agent)
    order = agent.workspace / "order"
    first = start(agent, gate.wait)
    assert first["status"] == "running"
    queued = [start(agent, f"echo {n} >> {order}") for n in range(5)]
    for answer in queued:
        expect_started(answer)
        assert (answer["status"], answer["pid"]) == ("queued", None)
        assert answer["started_at"] == answer["queued_at"]
        assert answer["message"].startswith("queued; ")

    response = agent.http.post("/commands/background", json={"command": "true"})
    document = expect_error(response, 429, "RATE_LIMIT_EXCEEDED")
    assert response.headers["Retry-After"] == "1"
    assert document["message"].startswith("max-queued-jobs reached: 5 jobs wait")
    expect_error(start_async(agent, ""), 429, "RATE_LIMIT_EXCEEDED")

    gate.open()
    for answer in queued:
        wait_for_end(agent, answer["process_id"])
    assert order.read_text() == "0\n1\n2\n3\n4\n"
    assert output_of(agent, start(agent, "echo room", stdin="")) == "room\n"


def test_what_cannot_be_started_later_has_failed(new_agent):
    """Whoever was told "queued" finds out why by the job's object."""
    agent = new_agent(max_processes=1)
    bodies = [
        {"command": "no-such-command", "args": []},
        {"command": "true", "workdir": "/no/such/dir"},
        {"command": "true", "stdin": "?", "stdin_encoding": "base64"},
    ]
    messages = [agent.http.post("/commands/run", json=body).json()["message"] for body in bodies]
    gate = Gate(agent)
    start(agent, gate.wait)
    queued = [start(agent, **body) for body in bodies]
    gate.open()
    for answer, message in zip(queued, messages):
        assert answer["status"] == "queued"
        job = wait_for(agent, answer["process_id"], "failed")
        assert (job["error"], job["reason"]) == (message, "spawn")


def test_damaged_programs_are_said_to_be(new_agent):
    agent = new_agent(max_processes=1)
    gate = Gate(agent)
    start(agent, gate.wait)
    damages = [b"", b"{", b"[]", b'{"kind": "dance", "arguments": {}}', b'{"kind": "code", "arguments": {}}', None]
    queued = [start(agent, "true") for _ in damages]
    for answer, damage in zip(queued, damages):
        file = agent.directory / "run" / "state" / "jobs" / answer["process_id"] / "program.json"
        file.unlink() if damage is None else file.write_bytes(damage)
    after = start(agent, "echo after", stdin="")
    gate.open()
    for answer in queued:
        job = wait_for(agent, answer["process_id"], "failed")
        assert job["error"].startswith("nothing was started: ") and "program.json" in job["error"]
    assert output_of(agent, after) == "after\n"


def test_queued_jobs_can_be_killed(new_agent):
    agent = new_agent(max_processes=1)
    gate = Gate(agent)
    marker = agent.workspace / "marker"
    start(agent, gate.wait)
    answer = start(agent, f"touch {marker}")
    kill(agent, answer["process_id"])
    assert job_of(agent, answer["process_id"])["status"] == "killed"
    gate.open()
    assert output_of(agent, start(agent, "echo after", stdin="")) == "after\n"
    assert not marker.exists()


# Stops in between


def test_the_agent_forgets_no_job_that_waits(new_agent):
    """A stop in between: what was accepted is started by the next agent, with all its arguments."""
    agent = new_agent(max_processes=1)
    gate = Gate(agent)
    start(agent, gate.wait)
    marker = agent.workspace / "marker"
    code = f"import os, sys\nopen({str(marker)!r}, 'w').write(os.environ['A'] + sys.stdin.read())"
    answer = start_code(agent, code, env={"A": "1"}, stdin="2", name="waits")
    assert answer["status"] == "queued"
    agent.process.kill()
    agent.process.wait()
    agent.is_closed = True
    agent.close_clients()
    successor = new_agent(max_processes=1, workspace=agent.workspace, runtime_dir=agent.options["runtime_dir"])
    assert job_of(successor, answer["process_id"])["name"] == "waits"
    gate.open()
    wait_until(lambda: marker.exists() and marker.read_text() == "12", "the job that waited")
    wait_for_end(successor, answer["process_id"])
    successor.close()
    shutil.rmtree(agent.directory, ignore_errors=True)


def test_a_stop_in_between_loses_nothing(new_agent):
    """Whoever was told that its job was accepted finds it again; nobody waits for ever."""
    agent = new_agent(shutdown_grace="2s")
    accepted = []

    def send():
        with httpx.Client(base_url=agent.url, headers=agent.http.headers, timeout=30) as client:
            try:
                while True:
                    response = client.post("/execute/background", json={"code": "pass", "stdin": ""})
                    if response.status_code == 200:
                        accepted.append(response.json()["process_id"])
            except httpx.TransportError:
                pass

    threads = [threading.Thread(target=send) for _ in range(4)]
    for thread in threads:
        thread.start()
    wait_until(lambda: len(accepted) > 20, "the first jobs")
    agent.signal(signal.SIGTERM)
    agent.wait_for_exit(10)
    for thread in threads:
        thread.join()
    agent.is_closed = True
    agent.close_clients()
    assert agent.process.returncode == 0
    assert not list(agent.directory.glob("sanitizer.*"))

    successor = new_agent(workspace=agent.workspace, runtime_dir=agent.options["runtime_dir"])
    for identifier in accepted:
        assert wait_for_end(successor, identifier)["status"] == "completed"
    scripts = agent.directory / "run" / "state" / "scripts"
    wait_until(lambda: not list(scripts.iterdir()), lambda: f"removal of {list(scripts.iterdir())}")
    successor.close()
    shutil.rmtree(agent.directory, ignore_errors=True)
