# SPDX-License-Identifier: Apache-2.0
"""A client of the streaming endpoints."""

import contextlib
import json

from websockets.sync.client import connect

from lib.expect import TIMESTAMP
from lib.waiting import time_factor

CODE = "/execute/stream"
COMMANDS = "/commands/stream"


class Stream:
    """One connection. Keeps all messages that came; the library refuses those over 1 MiB."""

    def __init__(self, agent, path, headers=None, **options):
        self.timeout = 30 * time_factor()
        connection = connect(
            f"ws://127.0.0.1:{agent.port}{path}",
            additional_headers=agent._headers if headers is None else headers,
            open_timeout=self.timeout,
            close_timeout=self.timeout,
            compression=None,
            **options,
        )
        self.exit = contextlib.ExitStack()
        self.socket = self.exit.enter_context(connection)
        self.messages = []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.exit.close()

    def send_text(self, text):
        self.socket.send(text)

    def send(self, **message):
        self.send_text(json.dumps(message))

    def execute(self, type="execute", **message):
        self.send(type=type, **message)

    def receive(self):
        message = json.loads(self.socket.recv(timeout=self.timeout))
        self.messages.append(message)
        return message

    def wait_for(self, condition):
        while not condition():
            assert self.receive()["type"] != "complete", self.messages[-5:]

    def read_until(self, end):
        """Until stdout ends with it."""
        self.wait_for(lambda: self.stdout.endswith(end))
        return self

    def finish(self):
        """Everything up to "complete"."""
        while self.receive()["type"] != "complete":
            pass

    def of(self, type):
        return [message for message in self.messages if message["type"] == type]

    @property
    def stdout(self):
        return "".join(message["data"] for message in self.of("stdout"))

    @property
    def stderr(self):
        return "".join(message["data"] for message in self.of("stderr"))


def run(agent, path, type="execute", **message):
    """One execution from its beginning to its end."""
    with Stream(agent, path) as stream:
        stream.execute(type, **message)
        stream.finish()
    return stream


def expect_end(stream, exit_code=0, reason="exit"):
    """The last two messages, in the shape that all clients understand."""
    result, complete = stream.messages[-2:]
    assert result["type"] == "result" and complete["type"] == "complete", stream.messages[-4:]
    assert [m["type"] for m in stream.messages].count("complete") == 1
    assert result["exit_code"] == result["exitCode"] == complete["exit_code"] == exit_code, result
    assert result["reason"] == reason
    assert result["success"] is complete["success"] is (exit_code == 0 and reason == "exit")
    assert result["execution_id"] == complete["execution_id"] and result["execution_id"].startswith("exec_")
    assert isinstance(result["execution_time"], float) and result["pid"] > 1
    # Known when the leader is reaped; 40 ms after a kill the answer does not wait for that any more.
    assert result["usage"]["max_rss_bytes"] > 0 or reason in ("cancelled", "timeout")
    assert TIMESTAMP.match(result["timestamp"]) and TIMESTAMP.match(complete["timestamp"])
    return result


def expect_refusal(stream, code, field=None):
    """Nothing ran: an error, and the "complete" that clients wait for."""
    error, complete = stream.messages
    assert (error["type"], error["code"]) == ("error", code), error
    assert error["error"] == error["message"] != ""
    assert (error.get("details") or {}).get("field") == field, error
    assert error["request_id"].startswith("req_") and TIMESTAMP.match(error["timestamp"])
    assert complete["type"] == "complete" and complete["success"] is False
    assert TIMESTAMP.match(complete["timestamp"])
