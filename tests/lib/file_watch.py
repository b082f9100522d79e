# SPDX-License-Identifier: Apache-2.0
"""A client of GET /files/watch, and what it knows of the tree by what it was told."""

import contextlib
import json
import os
import time
from pathlib import Path

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from lib.expect import TIMESTAMP
from lib.waiting import time_factor, wait_until

# Longer than changes are collected for: what has not come by then does not come.
QUIET = 0.4


class Watcher:
    """One connection. Keeps all messages, and what a client knows by them of the tree."""

    def __init__(self, agent, path=None, user_agent=None, **options):
        self.timeout = 15 * time_factor()
        keywords = {} if user_agent is None else {"user_agent_header": user_agent}
        self.exit = contextlib.ExitStack()
        self.socket = self.exit.enter_context(
            connect(
                f"ws://127.0.0.1:{agent.port}/files/watch",
                additional_headers=agent._headers,
                open_timeout=self.timeout,
                close_timeout=self.timeout,
                compression=None,
                **keywords,
            )
        )
        self.messages = []
        self.frames = 0
        if path is not None:
            self.watch(path, **options)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.exit.close()

    def send(self, **message):
        self.socket.send(json.dumps(message))

    def watch(self, path, **options):
        """Returns when changes are told."""
        self.send(action="watch", path=str(path), **options)
        self.wait_for(lambda m: m["type"] == "status" and m["status"].startswith("Watching"))

    def unwatch(self, path):
        self.send(action="unwatch", path=str(path))
        self.wait_for(lambda m: m["type"] == "status" and m["status"].startswith("Stopped"))

    def receive(self, timeout=None):
        """The messages of the next frame."""
        message = json.loads(self.socket.recv(timeout=self.timeout if timeout is None else timeout))
        self.frames += 1
        assert TIMESTAMP.match(message["timestamp"]), message
        new = message["changes"] if message["type"] == "changes" else [message]
        for item in new:
            assert TIMESTAMP.match(item["timestamp"]), item
        self.messages += new
        return new

    def wait_for(self, condition):
        """The first new message that fits."""
        while True:
            for message in self.receive():
                if condition(message):
                    return message

    def read_until_quiet(self, quiet=QUIET):
        with contextlib.suppress(TimeoutError):
            while True:
                self.receive(quiet * time_factor())
        return self

    def read_to_the_end(self):
        """Returns the code with which the agent closes."""
        with pytest.raises(ConnectionClosed) as caught:
            while True:
                self.receive()
        return caught.value.rcvd.code

    def read_until(self, event, path):
        return self.wait_for(lambda m: m["type"] == "change" and (m["event"], m["path"]) == (event, str(path)))

    def forget(self):
        """The changes; everything else is kept."""
        self.messages = [message for message in self.messages if message["type"] != "change"]

    @property
    def changes(self):
        return [message for message in self.messages if message["type"] == "change"]

    def events(self, below=None):
        """(event, path) of all changes, paths relative to `below`."""
        found = []
        for change in self.changes:
            names = [change["path"]] if change["event"] != "renamed" else [change["old_path"], change["path"]]
            if below is not None:
                names = [os.path.relpath(name, below) for name in names]
            found.append((change["event"], *names))
        return found


def wait_until_nothing_is_left(agent):
    """Of watches whose connections have ended."""
    names = ("websockets", "watches", "watched_directories", "watched_entries")

    def left():
        gauges = agent.gauges()
        return {name: gauges[name] for name in names if gauges[name]}

    wait_until(lambda: not left(), lambda: f"left: {left()}")


def scan(root, leave_out=()):
    """What is below it: path -> is it a directory."""
    found = {}
    for directory, names, files in os.walk(root):
        found.update({os.path.join(directory, name): False for name in files})
        for name in list(names):
            path = os.path.join(directory, name)
            found[path] = not os.path.islink(path)
            if name in leave_out or os.path.islink(path):
                names.remove(name)
    return found


def replay(tree, changes):
    """What a client knows that knew `tree` and was told `changes`. Changes that make no sense fail."""
    tree = dict(tree)
    for change in changes:
        path, is_directory = change["path"], change["is_directory"]
        if change["event"] == "created":
            assert path not in tree, change
            tree[path] = is_directory
        elif change["event"] == "deleted":
            assert tree.pop(path) is is_directory, change
        elif change["event"] == "modified":
            assert tree[path] is is_directory, change
        else:
            old = change["old_path"]
            assert tree[old] is is_directory, change
            moved = {name: kind for name, kind in tree.items() if name == old or name.startswith(old + "/")}
            tree = {name: kind for name, kind in tree.items() if name not in moved}
            tree.update({path + name[len(old) :]: kind for name, kind in moved.items()})
    return tree


def expect_error(message, code, path=None, field=None):
    assert (message["type"], message["code"]) == ("error", code), message
    assert message["error"] == message["message"] != ""
    assert message["request_id"].startswith("req_")
    if path is not None:
        assert message["path"] == message["details"]["path"] == str(path), message
    if field is not None:
        assert message["details"]["field"] == field, message


@pytest.fixture
def root(agent):
    """A directory in the workspace, one for each test."""
    path = agent.workspace / f"root-{time.monotonic_ns()}"
    path.mkdir()
    return path


def write(path, text="x"):
    Path(path).write_text(text)


def remove_tree(path):
    for directory, names, files in os.walk(path, topdown=False):
        for name in files:
            os.remove(os.path.join(directory, name))
        for name in names:
            os.rmdir(os.path.join(directory, name))
    os.rmdir(path)
