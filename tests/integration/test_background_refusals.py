# SPDX-License-Identifier: Apache-2.0
"""POST /execute/background, /commands/background and /execute/async: what is refused, as in the foreground, and leaves
nothing behind."""

import http.server
import json
import threading

import pytest

from lib.expect import expect_error, expect_json
from lib.jobs import job_of, page_of, start, wait_for_end
from lib.metrics import expect_changes
from lib.waiting import wait_until, wrapper

CALLBACK = "http://127.0.0.1:9/nobody"


def start_async(agent, code, language="python", callback_url=CALLBACK, **fields):
    body = {"code": code, "language": language, "callback_url": callback_url, **fields}
    return agent.http.post("/execute/async", json=body)


def refusal(response):
    assert response.status_code >= 400, response.text
    document = response.json()
    return (
        response.status_code,
        document["code"],
        document["message"],
        (document.get("details") or {}).get("field"),
        response.headers.get("Retry-After"),
    )


COMMANDS = [
    ("no command", {}),
    ("an empty command", {"command": ""}),
    ("a number", {"command": 3}),
    ("no such program", {"command": "no-such-command", "args": []}),
    ("no such path", {"command": "/no/such/program", "args": ["x"]}),
    ("a line as a program", {"command": "echo hello", "args": []}),
    ("a directory", {"command": "/etc", "args": []}),
    ("not executable", {"command": "./plain.txt", "args": []}),
    ("no such directory", {"command": "true", "workdir": "/no/such/dir"}),
    ("a file as directory", {"command": "true", "working_dir": "/etc/passwd"}),
    ("a too long directory", {"command": "true", "workdir": "/" + "x" * 300}),
    ("a bad variable", {"command": "true", "env": {"A B": "1"}}),
    ("a NUL in a variable", {"command": "true", "env": {"A": "a\0b"}}),
    ("too much environment", {"command": "true", "env": {f"V{n}": "x" * 100000 for n in range(20)}}),
    ("bad base64", {"command": "true", "stdin": "AAEC/", "stdin_encoding": "base64"}),
    ("bad grace", {"command": "true", "kill_grace": -1}),
    ("bad timeout", {"command": "true", "timeout": "soon"}),
]

CODE = [
    ("no code", {"language": "python"}),
    ("an unknown language", {"code": "1", "language": "cobol"}),
    ("no runtime", {"code": "1", "language": "python", "env": {"PATH": "/no/such/dir"}}),
    ("no such directory", {"code": "1", "workdir": "/no/such/dir"}),
    ("bad base64", {"code": "1", "stdin": "?", "stdin_encoding": "base64"}),
]


@pytest.mark.parametrize("body", [row[1] for row in COMMANDS], ids=[row[0] for row in COMMANDS])
def test_commands_are_refused_as_in_the_foreground(agent, body):
    (agent.workspace / "plain.txt").write_text("just text\n")
    known = page_of(agent, limit=1)["total"]
    expected = refusal(agent.http.post("/commands/run", json=body))
    assert refusal(agent.http.post("/commands/background", json=body)) == expected
    assert expected[0] == 400
    assert page_of(agent, limit=1)["total"] == known, "a job that could not be started is none"


@pytest.mark.parametrize("path", ["/execute/background", "/execute/async"])
@pytest.mark.parametrize("body", [row[1] for row in CODE], ids=[row[0] for row in CODE])
def test_code_is_refused_as_in_the_foreground(agent, path, body):
    known = page_of(agent, limit=1)["total"]
    expected = refusal(agent.http.post("/execute", json=body))
    assert refusal(agent.http.post(path, json={**body, "callback_url": CALLBACK})) == expected
    assert expected[0] == 400
    assert page_of(agent, limit=1)["total"] == known


@pytest.mark.skipif(wrapper() == "valgrind", reason="valgrind answers execve in the kernel's place, and dies of it")
def test_too_many_bytes_of_arguments_are_refused(agent):
    body = {"command": "true", "args": ["x" * 100000] * 40}
    assert refusal(agent.http.post("/commands/background", json=body)) == refusal(
        agent.http.post("/commands/run", json=body)
    )


CALLBACKS = [
    ("no url", {"callback_url": None}, "MISSING_PARAMETER", "/callback_url"),
    ("an empty url", {"callback_url": ""}, "INVALID_REQUEST", "/callback_url"),
    ("no url at all", {"callback_url": "tomorrow"}, "INVALID_REQUEST", "/callback_url"),
    ("another scheme", {"callback_url": "ftp://127.0.0.1/"}, "INVALID_REQUEST", "/callback_url"),
    ("a file", {"callback_url": "file:///etc/passwd"}, "INVALID_REQUEST", "/callback_url"),
    ("a metadata service", {"callback_url": "http://169.254.169.254/latest"}, "INVALID_REQUEST", "/callback_url"),
    ("the same as a number", {"callback_url": "http://2852039166/"}, "INVALID_REQUEST", "/callback_url"),
    ("a too long url", {"callback_url": "http://127.0.0.1/" + "x" * 5000}, "INVALID_REQUEST", "/callback_url"),
    ("headers as a list", {"callback_headers": ["a"]}, "INVALID_REQUEST", "/callback_headers"),
    ("a header that is ours", {"callback_headers": {"Content-Length": "3"}}, "INVALID_REQUEST",
     "/callback_headers/Content-Length"),
    ("a line break", {"callback_headers": {"X-A": "a\nb"}}, "INVALID_REQUEST", "/callback_headers/X-A"),
    ("many headers", {"callback_headers": {f"X-{n}": "a" for n in range(65)}}, "INVALID_REQUEST", "/callback_headers"),
    ("a long secret", {"callback_signature_secret": "x" * 5000}, "INVALID_REQUEST", "/callback_signature_secret"),
]  # fmt: skip


@pytest.fixture
def receiver():
    """Takes callbacks; `bodies` are those that came."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            bodies.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *args):
            pass

    bodies = []
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.bodies = bodies
    server.url = f"http://127.0.0.1:{server.server_port}/hook"
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))  # shutdown() waits for the end of a poll
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def test_what_was_refused_has_no_callback(agent, receiver):
    """Also when that is only found out at the start."""
    for fields in ({"workdir": "/no/such/dir"}, {"stdin": "?", "stdin_encoding": "base64"}, {"name": 7}):
        assert start_async(agent, "1", callback_url=receiver.url, **fields).status_code == 400
    answer = expect_json(start_async(agent, "print('sent')", callback_url=receiver.url))
    wait_until(lambda: receiver.bodies, "the callback")
    assert [body["execution_id"] for body in receiver.bodies] == [answer["execution_id"]]


@pytest.mark.parametrize("fields, code, field", [row[1:] for row in CALLBACKS], ids=[row[0] for row in CALLBACKS])
def test_callbacks_are_checked_at_once(agent, fields, code, field):
    known = page_of(agent, limit=1)["total"]
    expect_error(start_async(agent, "print(1)", **fields), 400, code, field)
    assert page_of(agent, limit=1)["total"] == known


JOB_FIELDS = [
    ("a negative timeout", {"timeout": -1}, "/timeout"),
    ("a long name", {"name": "x" * 257}, "/name"),
    ("a number as name", {"name": 7}, "/name"),
    ("no boolean", {"tty": "yes"}, "/tty"),
    ("no columns", {"cols": 0}, "/cols"),
    ("many rows", {"rows": 100000}, "/rows"),
    ("two kinds of input", {"tty": True, "stdin": "text"}, "/stdin"),
]


@pytest.mark.parametrize("fields, field", [row[1:] for row in JOB_FIELDS], ids=[row[0] for row in JOB_FIELDS])
def test_fields_of_jobs_are_checked(agent, fields, field):
    response = agent.http.post("/commands/background", json={"command": "true", **fields})
    expect_error(response, 400, "INVALID_REQUEST", field)


def test_no_place_for_jobs(new_agent):
    """Nothing is started, and the answer names the file; when the place is back, so are jobs."""
    agent = new_agent()
    jobs = agent.directory / "run" / "state" / "jobs"
    away = jobs.with_name("away")
    jobs.rename(away)
    jobs.write_text("in the way")
    with expect_changes(agent, "executions_total", {("command", "background", "refused"): 1}):
        document = expect_error(
            agent.http.post("/commands/background", json={"command": "true"}), 503, "SERVICE_UNAVAILABLE"
        )
    assert document["message"].startswith("nothing was started: ") and str(jobs) in document["message"]
    jobs.unlink()
    away.rename(jobs)
    answer = start(agent, "echo back")
    wait_for_end(agent, answer["process_id"])
    assert job_of(agent, answer["process_id"])["stdout"] == "back\n"
