# SPDX-License-Identifier: Apache-2.0
"""Jobs with a callback, and the receiver (webhook_receiver.py) that gets their results."""

import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from lib.agent import ROOT
from lib.expect import TIMESTAMP, expect_json
from lib.waiting import wait_until

SECRET = "a secret"
FINAL = {"delivered", "failed", "refused"}
NONE = type(None)

BODY_TYPES = {
    "execution_id": str,
    "process_id": str,
    "status": str,
    "success": bool,
    "stdout": str,
    "stderr": str,
    "exit_code": int,
    "execution_time": (int, float),
    "reason": str,
    "error": (str, NONE),
    "language": (str, NONE),
    "name": (str, NONE),
    "encoding": str,
    "stdout_bytes": int,
    "stderr_bytes": int,
    "stdout_truncated": bool,
    "stderr_truncated": bool,
    "usage": (dict, NONE),
    "started_at": (str, NONE),
    "completed_at": str,
    "timestamp": str,
    "rich_outputs": list,
}

STATE_TYPES = {
    "url": str,
    "status": str,
    "attempts": int,
    "last_error": (str, NONE),
    "next_attempt_at": (str, NONE),
}


class Receiver:
    """Runs in a process of its own, so that it is there whatever the test does."""

    def __init__(self):
        self.directory = Path(tempfile.mkdtemp(prefix="webhook-receiver-"))
        self.file = self.directory / "records"
        self.n_read = 0
        self.known = []
        self.process = subprocess.Popen(
            [sys.executable, "-B", ROOT / "tests" / "lib" / "webhook_receiver.py", self.file,
             "--example", ROOT / "docs/guide/webhooks.md", "--secret", SECRET, "--max-body", str(64 << 20)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )  # fmt: skip
        ports = json.loads(self.process.stdout.readline())
        self.port, self.tls_port, self.certificate = ports["http"], ports["https"], ports["certificate"]

    def url(self, path, scheme="http", host="127.0.0.1"):
        return f"{scheme}://{host}:{self.tls_port if scheme == 'https' else self.port}{path}"

    def records(self, delivery=None):
        """What has arrived, in order."""
        if self.file.exists():
            with self.file.open("rb") as file:
                file.seek(self.n_read)
                for line in file:
                    if line.endswith(b"\n"):  # else it is being written
                        self.n_read += len(line)
                        self.known.append(json.loads(line))
        return [r for r in self.known if "delivery" in r and delivery in (None, r["delivery"])]

    def wait(self, delivery, count=1, timeout=15):
        def arrived():
            records = self.records(delivery)
            return records if len(records) >= count else None

        return wait_until(arrived, lambda: f"{count} requests: {self.records(delivery)}", timeout, interval=0.02)

    def close(self):
        self.process.communicate()
        shutil.rmtree(self.directory, ignore_errors=True)


def body_of(record):
    """The result that was sent, complete and of the right types."""
    body = json.loads(record["body"])
    # result: the value of the last expression, if it has one
    assert body.keys() - {"limits_not_enforced", "result"} == BODY_TYPES.keys()
    for name, types in BODY_TYPES.items():
        assert isinstance(body[name], types), f"{name}: {body[name]!r}"
    for name in ("started_at", "completed_at", "timestamp"):
        assert body[name] is None or TIMESTAMP.match(body[name])
    assert body["execution_id"] == record["delivery"]
    assert body["success"] == (body["status"] == "completed")
    return body


def start(agent, url, code="print('out')", **fields):
    """The answer to an asynchronous execution."""
    body = {"code": code, "callback_url": url, **fields}
    answer = expect_json(agent.http.post("/execute/async", json=body))
    assert answer["status"] == "queued" and answer["callback_url"] == url
    assert TIMESTAMP.match(answer["timestamp"]) and answer["message"]
    return answer


def state_of(agent, identifier):
    """The state of a job's callback."""
    state = expect_json(agent.http.get(f"/execute/processes/{identifier}"))["callback"]
    for name, types in STATE_TYPES.items():
        assert isinstance(state[name], types), f"{name}: {state}"
    for name in ("next_attempt_at", "delivered_at"):
        assert state.get(name) is None or TIMESTAMP.match(state[name]), state
    assert (state.get("delivered_at") is not None) == (state["status"] == "delivered"), state
    assert state["status"] == "pending" or state["next_attempt_at"] is None, state
    return state


def wait_for_state(agent, identifier, *statuses, timeout=15):
    """The callback's state when it is one of these; fails at once when it never will be."""

    def reached():
        state = state_of(agent, identifier)
        assert state["status"] in statuses or state["status"] not in FINAL, state
        return state if state["status"] in statuses else None

    return wait_until(reached, lambda: f"{statuses}: {state_of(agent, identifier)}", timeout, interval=0.02)


def deliver(agent, receiver, path, **fields):
    """Starts one and waits until it is delivered: the last request, and the final state."""
    answer = start(agent, receiver.url(path), **fields)
    state = wait_for_state(agent, answer["process_id"], "delivered")
    return receiver.records(answer["execution_id"])[-1], state
