# SPDX-License-Identifier: Apache-2.0
"""Executions whose results may be kept. A program that adds a line to a file proves by the number of lines how often
it ran."""

import uuid

from lib import raw
from lib.expect import expect_json, expect_result
from lib.waiting import wait_until

MARKS = {"cached", "cache_age", "timestamp"}


class Counted:
    """Code whose runs can be counted. It depends on nothing that the other tests of this file have."""

    def __init__(self, agent, then="echo done", language="bash", gate=False):
        name = uuid.uuid4().hex
        self.agent = agent
        self.counter = agent.workspace / f"{name}.runs"
        self.gate = agent.workspace / f"{name}.gate"
        wait = f"while [ ! -e {self.gate} ]; do sleep 0.01; done; " if gate else ""
        self.document = {"code": f"echo run >> {self.counter}; {wait}{then}", "language": language, "cache": True}

    def post(self, **fields):
        return self.agent.http.post("/execute", json={**self.document, **fields})

    def result(self, is_cached, **fields):
        result = expect_result(self.post(**fields))
        assert result["cached"] is is_cached, result
        assert result["cache_age"] >= 0
        return result

    def send(self):
        """Without waiting for the answer."""
        connection = raw.RawConnection(self.agent.port)
        connection.send(raw.post("/execute", self.document, dict(self.agent.http.headers)))
        return connection

    def runs(self):
        return self.counter.read_text().count("run\n") if self.counter.exists() else 0

    def wait_for_runs(self, n):
        wait_until(lambda: self.runs() == n, lambda: f"{n} runs, not {self.runs()}")

    def open_gate(self):
        self.gate.touch()


class Parallel:
    """So many requests at once, each with its own connection."""

    def __init__(self, code, n):
        self.connections = [code.send() for _ in range(n)]

    def join(self):
        responses = [connection.read_response() for connection in self.connections]
        for connection in self.connections:
            connection.close()
        return responses


def stats(agent):
    return expect_json(agent.http.get("/cache/stats"))


def clear(agent):
    return expect_json(agent.http.post("/cache/clear"))


def wait_for_hits(agent, before, n):
    wait_until(lambda: stats(agent)["hits"] == before + n, lambda: f"{n} hits after {before}: {stats(agent)}")


def without_marks(result):
    return {name: value for name, value in result.items() if name not in MARKS}
