# SPDX-License-Identifier: Apache-2.0
"""POST /execute/async: the result comes by webhook, whatever the receiver does."""

import base64
import http.server
import json
import signal
import socket
import threading
import time

import pytest

from lib.expect import expect_error, expect_json
from lib.jobs import kill, wait_for, wait_for_end
from lib.metrics import expect_changes
from lib.webhooks import SECRET, Receiver, body_of, deliver, start, state_of, wait_for_state
from lib.waiting import wait_until

MAX_TRIES = 4
OPTIONS = {
    "webhook_retry_first": "20ms",
    "webhook_retry_max": "50ms",
    "webhook_timeout": "500ms",
    "webhook_max_tries": MAX_TRIES,
}


@pytest.fixture(scope="module")
def receiver():
    receiver = Receiver()
    yield receiver
    receiver.close()


@pytest.fixture(scope="module")
def agent(receiver):
    from lib.agent import Agent

    ca_file = {"webhook_ca_file": receiver.certificate} if receiver.certificate else {}
    agent = Agent(**OPTIONS, **ca_file)
    yield agent
    agent.close()


def end_of(agent, receiver, path, status, **fields):
    """The callback's state when there will be no other, and the requests that were made for it."""
    answer = start(agent, receiver.url(path), **fields)
    state = wait_for_state(agent, answer["process_id"], status)
    return state, receiver.records(answer["execution_id"])


# The request


@pytest.mark.smoke
def test_result_is_sent(agent, receiver):
    record, state = deliver(agent, receiver, "/ok", code="print('out')\nimport sys\nprint('err', file=sys.stderr)")
    assert record["method"] == "POST" and record["path"] == "/ok"
    headers = record["headers"]
    assert headers["content-type"] == "application/json"
    assert headers["x-hopx-delivery"] == state["delivery_id"]
    assert abs(int(headers["x-hopx-timestamp"]) - time.time()) < 60
    assert headers["user-agent"].startswith("vm-agent/")
    assert "x-hopx-signature" not in headers and "expect" not in headers

    body = body_of(record)
    assert (body["stdout"], body["stderr"], body["exit_code"]) == ("out\n", "err\n", 0)
    assert (body["status"], body["success"], body["reason"], body["error"]) == ("completed", True, "exit", None)
    assert (body["language"], body["name"], body["encoding"]) == ("python", None, "utf-8")
    assert (body["stdout_bytes"], body["stdout_truncated"]) == (4, False)
    assert 0 < body["execution_time"] < 60

    assert state["url"] == receiver.url("/ok") and state["last_error"] is None
    assert (state["attempts"], state["last_status"]) == (1, 200)
    job = expect_json(agent.http.get(f"/execute/processes/{body['process_id']}"))
    assert job["execution_id"] == body["execution_id"] and job["status"] == "completed"


@pytest.mark.parametrize("form", ["body", "timestamp-body"])
def test_signature(new_agent, receiver, form):
    """The guide's own example says that it is right, in this form and in no other."""
    agent = new_agent(**OPTIONS, webhook_signature=form)
    record, _ = deliver(agent, receiver, "/then-ok/500/1", callback_signature_secret=SECRET)
    assert [r["verified"] for r in receiver.records(record["delivery"])] == [[form], [form]]
    record, _ = deliver(agent, receiver, "/ok", callback_signature_secret="another")
    assert record["headers"]["x-hopx-signature"].startswith("sha256=") and record["verified"] == []
    record, _ = deliver(agent, receiver, "/ok")
    assert "x-hopx-signature" not in record["headers"]
    # An empty one is rather a mistake than a wish for no signature.
    body = {"code": "1", "callback_url": receiver.url("/ok"), "callback_signature_secret": ""}
    expect_error(agent.http.post("/execute/async", json=body), 400, "INVALID_REQUEST", "/callback_signature_secret")


def test_secret_is_told_nobody(agent, receiver):
    secrets = {"callback_signature_secret": "pssst-1", "callback_headers": {"X-Key": "pssst-2"}}
    answer = start(agent, receiver.url("/ok"), **secrets)
    wait_for_state(agent, answer["process_id"], "delivered")
    assert receiver.records(answer["execution_id"])[0]["headers"]["x-key"] == "pssst-2"
    told = agent.http.get(f"/execute/processes/{answer['process_id']}").text
    response = agent.http.get("/execute/processes")
    told += response.text + agent.log_with(response) + json.dumps(answer)
    assert "pssst" not in told


def test_callback_headers(agent, receiver):
    headers = {"Authorization": "Bearer x", "X-Empty": "", "X-Number": 1, "X-Utf8": "é"}
    headers["content-type"] = "application/json; v=1"  # is ours, and the same
    record, _ = deliver(agent, receiver, "/ok", callback_headers=headers)
    assert "Authorization: Bearer x" in record["fields"]
    assert record["headers"]["x-empty"] == "" and record["headers"]["x-number"] == "1"
    assert record["headers"]["x-utf8"] == "é".encode().decode("latin-1")
    assert [f for f in record["fields"] if f.lower().startswith("content-type")] == ["Content-Type: application/json"]


@pytest.mark.parametrize(
    "fields, blamed",
    [
        ({"callback_url": None}, "/callback_url"),
        ({"callback_url": ""}, "/callback_url"),
        ({"callback_url": "ftp://127.0.0.1/"}, "/callback_url"),
        ({"callback_url": "http:///nowhere"}, "/callback_url"),
        ({"callback_url": "http://user:password@127.0.0.1/"}, "/callback_url"),
        ({"callback_url": "file:///etc/passwd"}, "/callback_url"),
        ({"callback_headers": {"X-A": "1\r\nX-B: 2"}}, "/callback_headers/X-A"),
        ({"callback_headers": {"X-A": []}}, "/callback_headers/X-A"),
        ({"callback_headers": {"Host": "x"}}, "/callback_headers/Host"),
        ({"callback_headers": {"X-HopX-Signature": "x"}}, "/callback_headers/X-HopX-Signature"),
        ({"callback_headers": []}, "/callback_headers"),
        ({"callback_signature_secret": 1}, "/callback_signature_secret"),
        ({"callback_signature_secret": "x" * 5000}, "/callback_signature_secret"),
    ],
)
def test_what_cannot_be_called_back(agent, fields, blamed):
    before = expect_json(agent.http.get("/execute/processes"))["total"]
    request = {"code": "1", "callback_url": "http://127.0.0.1:9/", **fields}
    response = agent.http.post("/execute/async", json={k: v for k, v in request.items() if v is not None})
    assert response.status_code == 400, response.text
    assert response.json()["details"]["field"] == blamed
    assert expect_json(agent.http.get("/execute/processes"))["total"] == before


@pytest.mark.parametrize(
    "host", ["169.254.169.254", "169.254.1.1", "[fe80::1]", "2852039166", "0xa9fea9fe", "[::ffff:169.254.169.254]",
             "metadata.google.internal"]
)  # fmt: skip
def test_metadata_is_refused_at_once(agent, host):
    body = {"code": "1", "callback_url": f"http://{host}/latest/meta-data"}
    response = agent.http.post("/execute/async", json=body)
    assert response.status_code == 400, response.text
    assert response.json()["details"]["field"] == "/callback_url"


# The result


def test_failure(agent, receiver):
    record, _ = deliver(agent, receiver, "/ok", code="import sys; print('so far'); sys.exit(3)")
    body = body_of(record)
    assert (body["status"], body["exit_code"], body["reason"]) == ("failed", 3, "exit")
    assert (body["error"], body["stdout"]) == ("exit code 3", "so far\n")


def test_signal(agent, receiver):
    record, _ = deliver(agent, receiver, "/ok", code="kill -SEGV $$", language="bash")
    body = body_of(record)
    assert (body["status"], body["exit_code"], body["reason"]) == ("failed", 139, "signal")
    assert body["error"] == "ended by SIGSEGV"


def test_timeout(agent, receiver):
    record, _ = deliver(agent, receiver, "/ok", code="print('so far', flush=True)\nwhile True: pass", timeout=0.5)
    body = body_of(record)
    assert (body["status"], body["exit_code"], body["reason"]) == ("timeout", 124, "timeout")
    assert (body["error"], body["stdout"]) == ("timed out after 0.5 s", "so far\n")


def test_killed(agent, receiver):
    answer = start(agent, receiver.url("/ok"), code="import time; time.sleep(1000)")
    wait_for(agent, answer["process_id"])
    kill(agent, answer["process_id"], grace=0)
    wait_for_state(agent, answer["process_id"], "delivered")
    body = body_of(receiver.records(answer["execution_id"])[0])
    assert (body["status"], body["reason"], body["success"], body["error"]) == ("killed", "killed", False, None)


def test_killed_while_queued(new_agent, receiver):
    agent = new_agent(**OPTIONS, max_processes=1)
    first = start(agent, receiver.url("/ok"), code="import time; time.sleep(1000)")
    second = start(agent, receiver.url("/ok"))
    kill(agent, second["process_id"])
    wait_for_state(agent, second["process_id"], "delivered")
    body = body_of(receiver.records(second["execution_id"])[0])
    assert (body["status"], body["reason"], body["started_at"], body["stdout"]) == ("killed", "killed", None, "")
    kill(agent, first["process_id"], grace=0)


def test_refused_at_once_is_not_called_back(agent, receiver):
    before = len(receiver.records())
    body = {"code": "1", "callback_url": receiver.url("/ok"), "workdir": "/no/such/directory"}
    expect_error(agent.http.post("/execute/async", json=body), 400, "WORKDIR_NOT_FOUND", "/workdir")
    record, _ = deliver(agent, receiver, "/ok")  # what comes later has come
    assert [r["delivery"] for r in receiver.records()[before:]] == [record["delivery"]]


def test_queued_and_then_impossible(new_agent, receiver, tmp_path):
    """It was accepted, and its directory has gone before its turn came."""
    agent = new_agent(**OPTIONS, max_processes=1)
    tmp_path.chmod(0o755)
    directory = tmp_path / "work"
    directory.mkdir()
    first = start(agent, receiver.url("/ok"), code="import time; time.sleep(1000)")
    second = start(agent, receiver.url("/ok"), workdir=str(directory))
    directory.rmdir()
    kill(agent, first["process_id"], grace=0)
    wait_for_state(agent, second["process_id"], "delivered")
    body = body_of(receiver.records(second["execution_id"])[0])
    assert (body["status"], body["reason"], body["success"]) == ("failed", "spawn", False)
    assert "workdir" in body["error"]


def test_binary_output(agent, receiver):
    data = bytes(range(256)) * 4
    code = "import sys; sys.stdout.buffer.write(bytes(range(256)) * 4)"
    exact = body_of(deliver(agent, receiver, "/ok", code=code, encoding="base64")[0])
    assert exact["encoding"] == "base64" and base64.b64decode(exact["stdout"]) == data
    repaired = body_of(deliver(agent, receiver, "/ok", code=code)[0])
    assert repaired["encoding"] == "utf-8" and repaired["stdout"] == data.decode(errors="replace")


def test_much_output(new_agent, receiver):
    """The end of it; and a body that would be larger than any may be is cut to fit."""
    agent = new_agent()
    code = "import sys; sys.stdout.write('x' * 5000000 + 'é' * 100); sys.stderr.write('\\x01' * 5000000)"
    record, _ = deliver(agent, receiver, "/ok", code=code)
    body = body_of(record)
    assert body["stdout"].endswith("é" * 100) and len(body["stdout"].encode()) == 4 << 20
    assert set(body["stderr"]) == {"\x01"} and 3 << 20 < len(body["stderr"]) <= 4 << 20
    assert (body["stdout_bytes"], body["stderr_bytes"]) == (5000200, 5000000)
    assert body["stdout_truncated"] and body["stderr_truncated"]
    assert record["size"] <= 32 << 20


def test_input_and_name(agent, receiver):
    record, _ = deliver(agent, receiver, "/ok", code="print(input())", stdin="given\n", name="mine")
    assert (body_of(record)["stdout"], body_of(record)["name"]) == ("given\n", "mine")


# What receivers do


def test_state_over_time(agent, receiver):
    answer = start(agent, receiver.url("/then-ok/500/2"), code="import time; time.sleep(0.3)")
    states = []

    def is_final():
        state = state_of(agent, answer["process_id"])
        if not states or states[-1] != state:
            states.append(state)
        return state["status"] == "delivered"

    wait_until(is_final, lambda: f"delivered: {states}")
    order = [s["status"] for s in states]
    assert order[0] == "waiting" and set(order) <= {"waiting", "pending", "delivering", "delivered"}
    attempts = [s["attempts"] for s in states]
    assert attempts == sorted(attempts) and attempts[0] == 0 and attempts[-1] == 3
    assert states[-1]["last_error"] == "HTTP status 500" and states[-1]["last_status"] == 200


def test_repeats_are_the_same(agent, receiver):
    record, state = deliver(agent, receiver, "/then-ok/503/2", callback_signature_secret=SECRET)
    assert state["attempts"] == 3
    records = receiver.records(record["delivery"])
    assert len(records) == 3 and len({r["sha256"] for r in records}) == 1
    assert [r["verified"] for r in records] == [["body"]] * 3


def test_too_many_requests(agent, receiver):
    record, _ = deliver(agent, receiver, "/retry-after/1/1")
    first, second = receiver.records(record["delivery"])
    assert 1 <= second["time"] - first["time"] < 10


def test_retry_after_is_shown(agent, receiver):
    answer = start(agent, receiver.url("/retry-after/1000/1"))
    state = wait_for_state(agent, answer["process_id"], "pending", "delivering")
    state = wait_until(lambda: (s := state_of(agent, answer["process_id"]))["attempts"] == 1 and s, state)
    assert state["status"] == "pending" and state["last_error"] == "HTTP status 429"
    at = time.mktime(time.strptime(state["next_attempt_at"][:19], "%Y-%m-%dT%H:%M:%S")) - time.timezone
    assert 900 < at - time.time() < 1100


@pytest.mark.parametrize("path", ["/status/500", "/status/503", "/status/429", "/status/408"])
def test_tries_are_used_up(agent, receiver, path):
    state, records = end_of(agent, receiver, path, "failed")
    assert state["attempts"] == len(records) == MAX_TRIES
    assert state["last_error"] == f"HTTP status {path[-3:]}" and state["last_status"] == int(path[-3:])


@pytest.mark.parametrize("status", [400, 401, 404, 410, 422])
def test_final_answers(agent, receiver, status):
    state, records = end_of(agent, receiver, f"/status/{status}", "failed")
    assert state["attempts"] == len(records) == 1 and state["last_status"] == status


def test_redirects_are_not_followed(agent, receiver):
    state, records = end_of(agent, receiver, "/redirect", "failed")
    assert [r["path"] for r in records] == ["/redirect"]
    assert state["last_status"] == 302 and "redirects are not followed" in state["last_error"]


@pytest.mark.parametrize("path", ["/hang", "/hang-headers", "/close", "/close-early", "/garbage"])
def test_no_answer(agent, receiver, path):
    state, _ = end_of(agent, receiver, path, "failed")
    assert state["attempts"] == MAX_TRIES and state["last_status"] is None and state["last_error"]


@pytest.mark.parametrize("path", ["/close-in-answer", "/hang-body", "/huge", "/interim"])
def test_status_is_enough(agent, receiver, path):
    """What becomes of the rest of the answer does not matter."""
    _, state = deliver(agent, receiver, path)
    assert (state["attempts"], state["last_status"]) == (1, 200)


def test_headers_without_end(agent, receiver):
    state, _ = end_of(agent, receiver, "/huge-headers", "failed")
    assert state["last_error"]


class OneAnswer(http.server.BaseHTTPRequestHandler):
    def do_POST(self):  # noqa: N802
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_):
        pass


def test_receiver_comes_up_late(new_agent):
    agent = new_agent(**{**OPTIONS, "webhook_max_tries": 100})
    with socket.socket() as reserved:  # bound, and not listening: connections are refused
        reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        reserved.bind(("127.0.0.1", 0))
        port = reserved.getsockname()[1]
        answer = start(agent, f"http://127.0.0.1:{port}/")
        state = wait_until(lambda: (s := state_of(agent, answer["process_id"]))["attempts"] >= 2 and s, "two attempts")
        assert "refused" in state["last_error"].lower() or "connect" in state["last_error"].lower()
        reserved.listen()
        server = http.server.HTTPServer(("127.0.0.1", port), OneAnswer, bind_and_activate=False)
        server.socket.close()
        server.socket = reserved
        thread = threading.Thread(target=server.handle_request)
        thread.start()
        wait_for_state(agent, answer["process_id"], "delivered")
        thread.join()


def test_one_that_hangs_holds_up_nobody(new_agent, receiver):
    agent = new_agent(**{**OPTIONS, "webhook_timeout": "60s"}, webhook_max_sending=4)
    for _ in range(6):
        start(agent, receiver.url("/hang"))
    answer = start(agent, receiver.url("/ok", host="localhost"))
    wait_for_state(agent, answer["process_id"], "delivered")


# TLS, and where it may go


def test_tls(agent, receiver):
    if not receiver.tls_port:
        pytest.skip("no openssl")
    answer = start(agent, receiver.url("/ok", "https"), callback_signature_secret=SECRET)
    wait_for_state(agent, answer["process_id"], "delivered")
    assert receiver.records(answer["execution_id"])[0]["verified"] == ["body"]


def test_unknown_certificate(new_agent, receiver):
    if not receiver.tls_port:
        pytest.skip("no openssl")
    agent = new_agent(**OPTIONS)
    answer = start(agent, receiver.url("/ok", "https"))
    state = wait_for_state(agent, answer["process_id"], "failed")
    assert "certificate" in state["last_error"].lower()
    assert receiver.records(answer["execution_id"]) == []


def test_denied_by_option(new_agent, receiver):
    agent = new_agent(**OPTIONS, webhook_deny=["127.0.0.0/8", "::1"])
    response = agent.http.post("/execute/async", json={"code": "1", "callback_url": receiver.url("/ok")})
    assert response.status_code == 400 and response.json()["details"]["field"] == "/callback_url"
    # The name is not denied; what it stands for is, and that is found out when it is used.
    answer = start(agent, receiver.url("/ok", host="localhost"))
    state = wait_for_state(agent, answer["process_id"], "refused")
    assert state["attempts"] == 1 and state["last_error"]
    assert receiver.records(answer["execution_id"]) == []


def test_denied_meanwhile(new_agent, receiver, tmp_path):
    """Options may change between the request and the end of the job."""
    config = tmp_path / "agent.conf"
    config.write_text("")
    agent = new_agent(**OPTIONS, config=config)
    answer = start(agent, receiver.url("/ok"), code="import time; time.sleep(1000)")
    wait_for(agent, answer["process_id"])
    config.write_text("webhook-deny = 127.0.0.0/8\n")
    agent.signal(signal.SIGHUP)
    wait_until(lambda: "reloaded" in agent.log(), agent.log_tail)
    kill(agent, answer["process_id"], grace=0)
    state = wait_for_state(agent, answer["process_id"], "refused")
    assert state["attempts"] == 0 and "is not allowed" in state["last_error"]


# Many


@pytest.mark.parametrize("count", [100])
def test_many(new_agent, receiver, count):
    """All are delivered, each once, and the agent's memory is what it was."""
    agent = new_agent(**OPTIONS, max_processes=8, max_queued_jobs=count, webhook_max_sending=4)
    answers = [start(agent, receiver.url("/ok"), code=f"echo {i}", language="bash") for i in range(count)]
    for i, answer in enumerate(answers):
        wait_for_end(agent, answer["process_id"], timeout=60)
        wait_for_state(agent, answer["process_id"], "delivered", timeout=30)
    for i, answer in enumerate(answers):
        (record,) = receiver.records(answer["execution_id"])
        assert body_of(record)["stdout"] == f"{i}\n"


def test_too_many(new_agent, receiver):
    """A job is kept until its webhook is delivered, so only so many are taken; others are not concerned."""
    agent = new_agent(**OPTIONS, webhook_max_queued=2)
    slow = [start(agent, receiver.url("/ok"), code="read line", language="bash") for _ in range(2)]
    body = {"code": "true", "language": "bash", "callback_url": receiver.url("/ok")}
    with expect_changes(agent, "executions_total", {("bash", "background", "refused"): 1}):
        refused = agent.http.post("/execute/async", json=body)
    expect_error(refused, 429, "RATE_LIMIT_EXCEEDED")
    assert "webhook-max-queued" in refused.json()["message"] and refused.headers["Retry-After"] == "1"
    expect_json(agent.http.post("/execute/background", json={"code": "true", "language": "bash"}))
    for answer in slow:
        agent.http.post(f"/execute/processes/{answer['process_id']}/input", json={"eof": True})
        wait_for_state(agent, answer["process_id"], "delivered")
    deliver(agent, receiver, "/ok")


def peak_memory(agent):
    with open(f"/proc/{agent.pid}/status", encoding="ascii") as status:
        return next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmHWM"))


@pytest.mark.plain_build
def test_memory(new_agent, receiver):
    """Forty results of 8 MiB that are wanted at once."""
    agent = new_agent(**OPTIONS, max_processes=50, webhook_max_sending=2, job_log_size="8M")
    deliver(agent, receiver, "/ok")
    before = peak_memory(agent)
    code = "head -c 4194304 /dev/zero | tr '\\0' x; head -c 4194304 /dev/zero | tr '\\0' y >&2"
    answers = [start(agent, receiver.url("/ok"), code=code, language="bash", timeout=60) for _ in range(40)]
    for answer in answers:
        wait_for_state(agent, answer["process_id"], "delivered", timeout=60)
    assert peak_memory(agent) - before < 64 << 20, "40 bodies are 320 MiB"
