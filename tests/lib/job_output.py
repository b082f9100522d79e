# SPDX-License-Identifier: Apache-2.0
"""Clients of a background job's output: raw bytes, lines of JSON, events, and the WebSocket; and programs whose output
is known."""

import base64
import contextlib
import json
import random

from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from lib.expect import TIMESTAMP
from lib.waiting import time_factor

EVENTS = {"Accept": "text/event-stream"}

# Writes the same bytes, in the same odd pieces, for each seed: text with characters of all lengths, or any bytes.
WRITER = """
import os, random, sys, time
seed, size, kind, pause = {seed}, {size}, {kind!r}, {pause}
def make(seed):
    r = random.Random(seed)
    if kind == "bytes":
        return r.randbytes(size)
    return "".join(r.choices("ab\\n\\u00e9\\u20ac\\U0001f600\\x01\\"\\\\", k=size)).encode()
streams = {{1: make(seed), 2: make(seed + 1)}}
cuts = random.Random(seed + 2)
while any(streams.values()):
    fd = cuts.choice([fd for fd in streams if streams[fd]])
    n = cuts.randint(1, {piece})
    os.write(fd, streams[fd][:n])
    streams[fd] = streams[fd][n:]
    if pause and cuts.random() < 0.2:
        time.sleep(pause)
"""


def writer(seed, size=20000, kind="text", piece=700, pause=0.0):
    """Its code, and what it writes to stdout and stderr."""

    def make(seed):
        generator = random.Random(seed)
        if kind == "bytes":
            return generator.randbytes(size)
        return "".join(generator.choices('ab\n\u00e9\u20ac\U0001f600\x01"\\', k=size)).encode()

    code = WRITER.format(seed=seed, size=size, kind=kind, piece=piece, pause=pause)
    return code, {"stdout": make(seed), "stderr": make(seed + 1)}


def path_of(identifier):
    return f"/execute/processes/{identifier}/output"


def get(agent, identifier, headers=None, **query):
    return agent.http.get(path_of(identifier), params=query, headers=headers)


def raw(agent, identifier, stream="stdout", **query):
    """The bytes and the numbers of one answer."""
    response = get(agent, identifier, stream=stream, **query)
    assert response.status_code == 200, response.text
    assert response.headers["content-type"] == "application/octet-stream"
    numbers = {
        name: int(response.headers[header])
        for name, header in (
            ("offset", "X-Output-Offset"),
            ("next", "X-Next-Offset"),
            ("total", "X-Output-Total"),
            ("lost", "X-Output-Lost"),
            ("dropped", "X-Output-Dropped"),
        )
    }
    assert numbers["next"] - numbers["offset"] == len(response.content)
    assert numbers["next"] <= numbers["total"]
    assert numbers["lost"] == numbers["offset"] - int(str(query.get("offset", 0)))
    return response.content, {**numbers, "status": response.headers["X-Process-Status"]}


class Collector:
    """Puts pieces together, and checks that each begins where the last one has ended."""

    def __init__(self, encoding="utf-8", offsets=(0, 0)):
        self.encoding = encoding
        self.offsets = dict(zip(("stdout", "stderr"), offsets))
        self.data = {"stdout": b"", "stderr": b""}
        self.lost = {"stdout": 0, "stderr": 0}
        self.last = None  # the line that says "end" or "more"
        self.n_pieces = 0

    def add(self, line):
        assert self.last is None, "something comes after the end"
        if line["type"] in ("end", "more"):
            self.last = line
            assert line["next_offset"] == self.offsets
            assert TIMESTAMP.match(line["timestamp"])
            return
        stream, lost = line["type"], line.get("lost", 0)
        data = base64.b64decode(line["data"]) if self.encoding == "base64" else line["data"].encode()
        assert line["offset"] == self.offsets[stream] + lost
        assert lost or line["next_offset"] > line["offset"]
        if "\ufffd" not in line["data"]:
            assert line["next_offset"] - line["offset"] == len(data)
        self.offsets[stream] = line["next_offset"]
        self.data[stream] += data
        self.lost[stream] += lost
        self.n_pieces += 1

    @property
    def offset(self):
        return f"{self.offsets['stdout']},{self.offsets['stderr']}"


@contextlib.contextmanager
def follow(agent, identifier, headers=None, timeout=30, **query):
    """The answer to a follower, as httpx streams it."""
    query = {"follow": "true", **query}
    with agent.http.stream(
        "GET", path_of(identifier), params=query, headers=headers, timeout=timeout * time_factor()
    ) as response:
        yield response


def read_lines(response, collector, until=None):
    """Lines up to the end, or until `until` is true, or so many bytes were seen. Heartbeats are empty lines."""
    assert response.status_code == 200, response.read()
    assert response.headers["content-type"] == "application/x-ndjson"
    for line in response.iter_lines():
        if line:
            collector.add(json.loads(line))
            if until and until():
                break
    return collector


def cut_after(response, size):
    """The complete lines among the first `size` bytes of the body."""
    body = b""
    for chunk in response.iter_raw():
        body += chunk
        if len(body) >= size:
            break
    return body[:size].decode(errors="ignore").split("\n")[:-1]


def parse_events(lines):
    """As the standard describes it: fields up to an empty line; (id, event, data, retry) of each."""
    last_id, event, data, retry = "", "", [], None
    for line in lines:
        if line == "":
            if data:
                yield last_id, event or "message", "\n".join(data), retry
            event, data = "", []
            continue
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if name == "id":
            last_id = value
        elif name == "event":
            event = value
        elif name == "data":
            data.append(value)
        elif name == "retry":
            retry = int(value)
        else:
            assert name == "", f"an unknown field: {line!r}"


def add_events(collector, events):
    """Returns the last id."""
    last = None
    for last, event, data, retry in events:
        line = json.loads(data)
        collector.add(line)
        assert event == line["type"]
        assert last == collector.offset + (",end" if event == "end" else "")
        assert retry and retry > 0
    return last


class Attached:
    """A WebSocket to a job. Keeps all messages."""

    def __init__(self, agent, identifier, **query):
        self.timeout = 30 * time_factor()
        arguments = "&".join(f"{name}={value}" for name, value in query.items())
        connection = connect(
            f"ws://127.0.0.1:{agent.port}/execute/processes/{identifier}/attach?{arguments}",
            additional_headers=agent._headers,
            open_timeout=self.timeout,
            close_timeout=self.timeout,
            compression=None,
        )
        self.messages = []
        self.data = {"stdout": "", "stderr": ""}
        with contextlib.ExitStack() as stack:
            self.socket = stack.enter_context(connection)
            self.hello = self.receive()
            assert self.hello["type"] == "attached", self.hello
            self.exit = stack.pop_all()
        self.offsets = dict(self.hello["offset"])

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.exit.close()

    def send(self, type, **fields):
        self.socket.send(json.dumps({"type": type, **fields}))

    def receive(self):
        message = json.loads(self.socket.recv(timeout=self.timeout))
        self.messages.append(message)
        assert TIMESTAMP.match(message["timestamp"]), message
        type = message["type"]
        if type in ("stdout", "stderr"):
            assert message["offset"] == self.offsets[type]
            assert message["end"] > message["offset"]
            self.offsets[type] = message["end"]
            self.data[type] += message["data"]
        elif type == "gap":
            assert message["from"] == self.offsets[message["stream"]]
            assert message["lost"] == message["to"] - message["from"] > 0
            self.offsets[message["stream"]] = message["to"]
        elif type == "exit":
            assert message["next_offset"] == self.offsets
        return message

    def of(self, type):
        return [message for message in self.messages if message["type"] == type]

    def wait_for(self, condition):
        while not condition():
            assert self.receive()["type"] != "complete", self.messages[-5:]

    def read_until(self, text, stream="stdout"):
        self.wait_for(lambda: text in self.data[stream])

    def error(self):
        """The next error."""
        while True:
            message = self.receive()
            if message["type"] == "error":
                return message

    def finish(self):
        """Everything up to the close frame; its code. The message that tells the end is the last but one."""
        with contextlib.suppress(ConnectionClosed):
            while True:
                self.receive()
        return self.socket.close_code

    def finish_well(self):
        assert self.finish() == 1000
        exit, complete = self.messages[-2:]
        assert (exit["type"], complete["type"]) == ("exit", "complete")
        assert exit["exit_code"] == exit["exitCode"] == exit["code"] == complete["exit_code"]
        return exit
