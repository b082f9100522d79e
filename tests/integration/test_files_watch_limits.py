# SPDX-License-Identifier: Apache-2.0
"""What may not be watched, and how much at a time."""

import contextlib
import os
import pwd
import random
import resource
import subprocess
import time

import httpx
import pytest
from websockets.exceptions import InvalidStatus

from lib.agent import BINARY, Agent
from lib.file_watch import (  # noqa: F401 (fixture)
    Watcher,
    expect_error,
    remove_tree,
    root,
    wait_until_nothing_is_left,
    write,
)
from lib.waiting import time_factor

PER_CONNECTION = 32
TOTAL = 128

needs_root = pytest.mark.skipif(os.getuid() != 0, reason="only root can become somebody else")


@pytest.fixture(scope="module")
def agent():
    """Nothing but the workspace may be reached: what is beside it is outside."""
    # The workspace is always allowed, and the list is not empty.
    agent = Agent(allowed_path="/app")
    yield agent
    agent.close()


@pytest.fixture
def outside(agent):
    path = agent.directory / "outside"
    path.mkdir(exist_ok=True)
    (path / "sub").mkdir(exist_ok=True)
    return path


def refused(agent, path):
    with Watcher(agent) as watcher:
        watcher.send(action="watch", path=str(path))
        assert watcher.read_to_the_end() == 1000
    (message,) = watcher.messages
    return message


# Where it may be


PATHS = {
    "outside": ("/etc", "PATH_NOT_ALLOWED"),
    "dots": ("../outside", "PATH_NOT_ALLOWED"),
    "the top": ("/", "PATH_NOT_ALLOWED"),
    "magic links": ("/proc/self/root/etc", "PATH_NOT_ALLOWED"),
    "the agent's own": ("/proc/self", "PATH_NOT_ALLOWED"),
    "missing": ("missing", "FILE_NOT_FOUND"),
    "missing, far": ("missing/further", "FILE_NOT_FOUND"),
    "missing, outside": ("/etc/missing", "PATH_NOT_ALLOWED"),
    "too long": ("x" * 300, "INVALID_PATH"),
}


@pytest.mark.parametrize("name", PATHS)
def test_paths(agent, outside, name):
    path, code = PATHS[name]
    expect_error(refused(agent, path), code, path, "/path")


BAD = [
    {"path": ""},
    {"path": 5},
    {"path": "a\0b"},
    {"path": "x" * 5000},
    {"recursive": 1},
    {"ignore": "x"},
    {"ignore": [{}]},
    {"ignore": ["x"] * 65},
    {"ignore": ["x" * 1025]},
    {"ignore": ["["]},
    {"ignore": ["/"]},
    {"batch": "yes"},
]


@pytest.mark.parametrize("fields", BAD)
def test_bad_messages(agent, fields):
    with Watcher(agent) as watcher:
        watcher.send(action="watch", **fields)
        expect_error(watcher.receive()[0], "INVALID_REQUEST")


def test_links_that_lead_out(agent, root, outside):  # noqa: F811
    os.symlink(outside, root / "link")
    os.symlink("/etc/passwd", root / "file")
    expect_error(refused(agent, root / "link"), "PATH_NOT_ALLOWED")
    expect_error(refused(agent, root / "link/sub"), "PATH_NOT_ALLOWED")
    expect_error(refused(agent, root / "file"), "PATH_NOT_ALLOWED")
    os.mkfifo(root / "fifo")
    expect_error(refused(agent, root / "fifo"), "INVALID_PATH")
    with Watcher(agent, root) as watcher:  # links are entries, and not followed
        write(outside / "sub/secret")
        write(root / "last")
        watcher.read_until("created", root / "last")
        watcher.read_until_quiet()
        assert watcher.events(root) in ([("created", "last")], [("created", "last"), ("modified", "last")])


def test_links_that_appear_in_the_way(agent, root, outside):  # noqa: F811
    """While watches begin, a link that leads outside takes the place of a directory on the way: they end, or never
    begin, but what is outside is not told."""
    os.symlink(outside, root / "link")
    for i in range(20):
        (root / "way/sub").mkdir(parents=True)
        with contextlib.ExitStack() as stack:
            watchers = [stack.enter_context(Watcher(agent)) for _ in range(6)]
            for watcher in watchers:
                watcher.send(action="watch", path=str(root / "way/sub"))
            end = time.monotonic() + random.random() * 0.002 * time_factor()
            while time.monotonic() < end:
                pass
            os.rename(root / "way", root / "aside")
            os.rename(root / "link", root / "way")
            for watcher in watchers:
                watcher.receive()
            write(outside / f"sub/secret-{i}")
            write(root / "aside/sub/mark")  # what is really watched: they look, and see that it has gone
            for watcher in watchers:
                watcher.read_to_the_end()
                assert watcher.messages[-1]["type"] == "error", watcher.messages
                assert not any("secret" in message.get("path", "") for message in watcher.messages), watcher.messages
        os.rename(root / "way", root / "link")
        remove_tree(root / "aside")


@needs_root
def test_what_the_user_may_not_read(new_agent):
    """The rights of the user count, not those of the agent."""
    agent = new_agent(run_as="nobody")
    user = pwd.getpwnam("nobody").pw_uid
    os.chown(agent.workspace, user, -1)
    private = agent.workspace / "private"
    private.mkdir()
    private.chmod(0o700)
    (agent.workspace / "open").mkdir()
    expect_error(refused(agent, private), "PERMISSION_DENIED", private)
    expect_error(refused(agent, private / "missing"), "PERMISSION_DENIED")
    with Watcher(agent, agent.workspace) as watcher:
        write(private / "secret")
        write(agent.workspace / "open/a")
        watcher.read_until("created", agent.workspace / "open/a")
        (agent.workspace / "open/new").mkdir(0o700)
        write(agent.workspace / "open/new/secret")
        watcher.read_until_quiet()
        assert not any("secret" in message["path"] for message in watcher.messages)
        os.chown(private, user, -1)
        watcher.read_until("created", private / "secret")


# How much


def test_watches_on_one_connection(agent, root):  # noqa: F811
    for i in range(PER_CONNECTION + 1):
        (root / f"{i}").mkdir()
    with Watcher(agent) as watcher:
        for i in range(PER_CONNECTION):
            watcher.watch(root / f"{i}")
        watcher.send(action="watch", path=str(root / f"{PER_CONNECTION}"))
        expect_error(watcher.receive()[0], "RATE_LIMIT_EXCEEDED", root / f"{PER_CONNECTION}")
        watcher.unwatch(root / "0")
        watcher.watch(root / f"{PER_CONNECTION}")
        write(root / "1/x")
        watcher.read_until("created", root / "1/x")


def test_watches_of_all_connections(agent, root):  # noqa: F811
    for i in range(PER_CONNECTION):
        (root / f"{i}").mkdir()
    with contextlib.ExitStack() as stack:
        watchers = [stack.enter_context(Watcher(agent)) for _ in range(TOTAL // PER_CONNECTION)]
        for watcher in watchers:
            for i in range(PER_CONNECTION):
                watcher.watch(root / f"{i}")
        message = refused(agent, root / "0")
        expect_error(message, "RATE_LIMIT_EXCEEDED", root / "0")
        assert f"{TOTAL} watches" in message["message"]
        watchers[0].unwatch(root / "0")
        write(root / "1/x")
        for watcher in watchers:
            watcher.read_until("created", root / "1/x")
        stack.enter_context(Watcher(agent, root / "0"))


def test_descriptors_of_the_kernel(new_agent):
    """With no descriptor left to watch with, the client is told, and later it works again."""
    agent = new_agent()
    with Watcher(agent) as first, Watcher(agent) as second:
        limits = resource.prlimit(agent.pid, resource.RLIMIT_NOFILE)
        resource.prlimit(agent.pid, resource.RLIMIT_NOFILE, (0, limits[1]))
        first.send(action="watch", path=str(agent.workspace))
        message = first.receive()[0]
        resource.prlimit(agent.pid, resource.RLIMIT_NOFILE, limits)
        expect_error(message, "SERVICE_UNAVAILABLE", agent.workspace)
        second.watch(agent.workspace)


# Namespaces have limits of their own, below those of the system.
LIMITED = """#!/bin/sh
exec unshare --user --map-root-user sh -c 'echo 5 >/proc/sys/user/max_inotify_watches && exec "$0" "$@"' {binary} "$@"
"""


def may_limit(script):
    return subprocess.run([script, "--version"], capture_output=True).returncode == 0


def test_watches_of_the_kernel(new_agent, tmp_path, monkeypatch):
    script = tmp_path / "limited"
    script.write_text(LIMITED.format(binary=BINARY))
    script.chmod(0o755)
    if not may_limit(script):
        pytest.skip("no user namespaces")
    monkeypatch.setattr("lib.agent.BINARY", script)
    agent = new_agent()
    for i in range(10):
        (agent.workspace / f"{i}").mkdir()
    with Watcher(agent, agent.workspace / "0") as watcher:
        watcher.send(action="watch", path=str(agent.workspace))
        message = watcher.receive()[0]
        expect_error(message, "SERVICE_UNAVAILABLE", agent.workspace)
        assert "fs.inotify.max_user_watches" in message["message"]
        write(agent.workspace / "0/a")
        watcher.read_until("created", agent.workspace / "0/a")


def test_a_client_that_asks_and_does_not_read(agent):
    """Its answers do not pile up."""
    with Watcher(agent) as watcher:
        for i in range(2000):
            watcher.send(action="unwatch", path=f"/tmp/{i}")
        for _ in range(2000):
            expect_error(watcher.receive()[0], "INVALID_REQUEST")


def test_the_handshake(agent):
    response = agent.http.get("/files/watch")
    assert response.status_code == 426 and response.json()["code"] == "UPGRADE_REQUIRED"
    assert httpx.get(f"{agent.url}/files/watch").status_code == 401
    headers, agent._headers = agent._headers, {}
    try:
        with pytest.raises(InvalidStatus) as caught:
            Watcher(agent)
    finally:
        agent._headers = headers
    assert caught.value.response.status_code == 401


def test_nothing_is_left(agent):
    wait_until_nothing_is_left(agent)
