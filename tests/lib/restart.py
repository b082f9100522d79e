# SPDX-License-Identifier: Apache-2.0
"""Agents that go and come back: the same options, address and directories, another process."""

import base64
import json
import signal
import threading

import httpx

from lib.waiting import time_factor, wait_until

FINAL = {"completed", "failed", "killed", "timeout"}


def kill_agent(agent):
    """SIGKILL; its clients are cut off."""
    agent.signal(signal.SIGKILL)
    agent.process.wait()


def stop_agent(agent, timeout=15):
    """SIGTERM, and until it has gone by itself."""
    agent.signal(signal.SIGTERM)
    assert agent.wait_for_exit(timeout) == 0, agent.log_tail()


def start_agent(agent):
    """The successor of one that is gone."""
    agent.options["listen"] = f"127.0.0.1:{agent.port}"
    agent.close_clients()
    agent.start_process()
    agent.wait_until_ready()
    agent.open_clients()


class Follower:
    """Follows the output of a job in a thread, and comes back with its offsets whenever it is cut off."""

    def __init__(self, agent, identifier):
        self.url = f"{agent.url}/execute/processes/{identifier}/output"
        self.headers = dict(agent.http.headers)
        self.output = {"stdout": b"", "stderr": b""}
        self.end = None
        self.n_cuts = 0
        self.failure = None
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def join(self, timeout=60):
        """What was written, both streams, when the job has ended."""
        self._thread.join(timeout * time_factor())
        self._is_over.set()
        assert self.failure is None, self.failure
        assert self.end is not None, f"no end after {self.n_cuts} cuts: {self._sizes()}"
        return self.output["stdout"], self.output["stderr"]

    def wait_for(self, size, timeout=10):
        wait_until(lambda: len(self.output["stdout"]) >= size, lambda: f"{size} bytes: {self._sizes()}", timeout)

    def _sizes(self):
        return {name: len(data) for name, data in self.output.items()}

    def _run(self):
        try:
            with httpx.Client(headers=self.headers, timeout=60) as client:
                while self.end is None and not self._is_over.is_set():
                    try:
                        self._follow(client)
                    except httpx.TransportError:
                        self.n_cuts += 1
                        self._is_over.wait(0.005)  # nobody listens for a while
        except Exception as error:  # noqa: BLE001 for the thread that waits
            self.failure = error

    def _follow(self, client):
        at = f"{len(self.output['stdout'])},{len(self.output['stderr'])}"
        query = {"follow": "true", "encoding": "base64", "offset": at}
        with client.stream("GET", self.url, params=query) as response:
            if response.status_code == 503:  # it is just going
                return
            assert response.status_code == 200, response.read()
            for line in response.iter_lines():
                if line.strip():
                    self._take(json.loads(line))

    def _take(self, event):
        if event["type"] in self.output:
            data = base64.b64decode(event["data"])
            assert event["offset"] == len(self.output[event["type"]]), event
            assert event["next_offset"] == event["offset"] + len(data)
            self.output[event["type"]] += data
        elif event["type"] == "end" and event["status"] in FINAL:
            self.end = event
