# SPDX-License-Identifier: Apache-2.0
"""Watching files over a WebSocket: what is told of each operation, and how a connection is used."""

import contextlib
import os
import random
import time

import pytest

from lib.file_watch import (  # noqa: F401 (fixture)
    Watcher,
    expect_error,
    remove_tree,
    replay,
    root,
    scan,
    wait_until_nothing_is_left,
    write,
)
from lib.waiting import time_factor, wait_until

# What is told


def append(path):
    with open(path, "a") as file:
        file.write("more")


def write_atomically(path):
    write(f"{path}.new", "new")
    os.rename(f"{path}.new", path)


# Name: what is there (directories end with a slash), what is done, what is told.
OPERATIONS = {
    "create a file": ([], lambda r: write(r / "a"), [("created", "a")]),
    "create an empty file": ([], lambda r: (r / "a").touch(), [("created", "a")]),
    "write a file": (["a"], lambda r: append(r / "a"), [("modified", "a")]),
    "truncate a file": (["a"], lambda r: os.truncate(r / "a", 0), [("modified", "a")]),
    "replace a file": (["a"], lambda r: write_atomically(r / "a"), [("modified", "a")]),
    "change a mode": (["a"], lambda r: os.chmod(r / "a", 0o600), [("modified", "a")]),
    "change a time": (["a"], lambda r: os.utime(r / "a", (1, 1)), [("modified", "a")]),
    "delete a file": (["a"], lambda r: os.remove(r / "a"), [("deleted", "a")]),
    "rename a file": (["a"], lambda r: os.rename(r / "a", r / "b"), [("renamed", "a", "b")]),
    "rename over a file": (["a", "b"], lambda r: os.rename(r / "a", r / "b"), [("renamed", "a", "b")]),
    "move into a directory": (["a", "d/"], lambda r: os.rename(r / "a", r / "d/a"), [("renamed", "a", "d/a")]),
    "move out": (["a"], lambda r: os.rename(r / "a", r.with_name(r.name + ".out")), [("deleted", "a")]),
    "make a directory": ([], lambda r: (r / "d").mkdir(), [("created", "d")]),
    "delete a directory": (["d/", "d/a"], lambda r: remove_tree(r / "d"), [("deleted", "d/a"), ("deleted", "d")]),
    "rename a directory": (["d/", "d/a"], lambda r: os.rename(r / "d", r / "e"), [("renamed", "d", "e")]),
    "write below": (["d/", "d/e/", "d/e/a"], lambda r: append(r / "d/e/a"), [("modified", "d/e/a")]),
    "make a tree": (
        [],
        lambda r: ((r / "d/e").mkdir(parents=True), write(r / "d/e/a")),
        [("created", "d"), ("created", "d/e"), ("created", "d/e/a")],
    ),
    "make a link": ([], lambda r: os.symlink("/etc", r / "l"), [("created", "l")]),
    "make a link to a file": (["a"], lambda r: os.link(r / "a", r / "b"), [("created", "b")]),
    "odd names": (
        [],
        lambda r: [write(r / name) for name in ["a b", "+", "%20", "#", "a\nb", "☃🙂", '"\\', "x" * 255]],
        None,
    ),
}


@pytest.mark.parametrize("name", OPERATIONS)
def test_operations(agent, root, name):  # noqa: F811
    before, operate, expected = OPERATIONS[name]
    for item in before:
        (root / item).mkdir() if item.endswith("/") else write(root / item)
    known = scan(root)
    with Watcher(agent, root) as watcher:
        operate(root)
        watcher.read_until_quiet()
    if expected is not None:
        assert watcher.events(root) == expected
    assert replay(known, watcher.changes) == scan(root)


def test_shape_of_messages(agent, root):  # noqa: F811
    with Watcher(agent, root) as watcher:
        status = watcher.messages[0]
        assert status == {
            "type": "status",
            "status": f"Watching {root}",
            "event": "status",
            "path": str(root),
            "timestamp": status["timestamp"],
        }
        write(root / "a")
        created = watcher.read_until("created", root / "a")
        assert set(created) == {"type", "path", "event", "is_directory", "timestamp"}
        assert created["is_directory"] is False
        (root / "d").mkdir()
        assert watcher.read_until("created", root / "d")["is_directory"] is True
        os.rename(root / "a", root / "b")
        renamed = watcher.read_until("renamed", root / "b")
        assert renamed["old_path"] == str(root / "a")


def test_a_change_comes_soon(agent, root):  # noqa: F811
    with Watcher(agent, root) as watcher:
        for i in range(5):
            start = time.monotonic()
            write(root / f"{i}")
            watcher.read_until("created", root / f"{i}")
            assert time.monotonic() - start < 1 * time_factor()


def test_the_workspace_is_the_default(agent):
    with Watcher(agent) as watcher:
        watcher.send(action="watch")
        watcher.wait_for(lambda m: m["type"] == "status")
        assert watcher.messages[0]["path"] == str(agent.workspace)


def test_relative_paths_start_at_the_workspace(agent, root):  # noqa: F811
    with Watcher(agent, f"{root.name}/.") as watcher:
        write(root / "a")
        watcher.read_until("created", root / "a")


def test_paths_are_told_as_the_client_writes_them(agent, root):  # noqa: F811
    (root / "real").mkdir()
    os.symlink("real", root / "link")
    with Watcher(agent, root / "link") as watcher:
        assert watcher.messages[0]["path"] == str(root / "link")
        write(root / "real/a")
        watcher.read_until("created", root / "link/a")


def test_without_what_is_below(agent, root):  # noqa: F811
    (root / "d").mkdir()
    with Watcher(agent, root, recursive=False) as watcher:
        write(root / "d/a")
        write(root / "a")
        watcher.read_until_quiet()
        assert watcher.events(root) == [("created", "a")]


def test_batches(agent, root):  # noqa: F811
    """Who asks for it gets several changes in a message."""
    with Watcher(agent, root, batch=True) as watcher:
        for i in range(2000):
            write(root / f"{i}")
        watcher.read_until_quiet()
        assert replay({}, watcher.changes) == scan(root)
        assert watcher.frames < 1000


# Single files


def test_a_file(agent, root):  # noqa: F811
    write(root / "a")
    write(root / "b")
    with Watcher(agent, root / "a") as watcher:
        assert watcher.messages[0]["path"] == str(root / "a")
        append(root / "b")
        append(root / "a")
        watcher.read_until("modified", root / "a")
        write_atomically(root / "a")
        watcher.read_until_quiet()
        os.remove(root / "a")
        watcher.read_until("deleted", root / "a")
        write(root / "a")
        watcher.read_until("created", root / "a")
        assert {change["path"] for change in watcher.changes} == {str(root / "a")}


def test_a_file_that_goes_while_its_watch_begins(agent, root):  # noqa: F811
    """It is missing, or its end is told."""
    with Watcher(agent, root) as watcher:
        for i in range(200):
            write(root / f"{i}")
            watcher.send(action="watch", path=str(root / f"{i}"))
            end = time.monotonic() + random.random() * 0.0006
            while time.monotonic() < end:
                pass
            os.remove(root / f"{i}")
            message = watcher.wait_for(
                lambda m: m["path"] == str(root / f"{i}") and (m["type"] == "error" or m["event"] == "deleted")
            )
            if message["type"] == "change":
                watcher.unwatch(root / f"{i}")


def test_a_file_whose_directory_goes(agent, root):  # noqa: F811
    (root / "d").mkdir()
    write(root / "d/a")
    with Watcher(agent, root / "d/a") as watcher:
        remove_tree(root / "d")
        assert watcher.read_to_the_end() == 1000
        assert watcher.events(root) == [("deleted", "d/a")]
        expect_error(watcher.messages[-1], "DIRECTORY_NOT_FOUND", root / "d/a")


# Several watches on one connection


def test_several_paths(agent, root):  # noqa: F811
    for name in "abc":
        (root / name).mkdir()
    with Watcher(agent) as watcher:
        for name in "abc":
            watcher.watch(root / name)
        for name in "abc":
            write(root / name / "x")
            watcher.read_until("created", root / name / "x")


def test_unwatch(agent, root):  # noqa: F811
    (root / "a").mkdir()
    (root / "b").mkdir()
    with Watcher(agent, root / "a") as watcher:
        watcher.watch(root / "b")
        watcher.unwatch(f"{root}/a/")
        write(root / "a/x")
        write(root / "b/x")
        watcher.read_until("created", root / "b/x")
        watcher.unwatch(root / "b")
        write(root / "b/y")
        watcher.read_until_quiet()
        assert watcher.events(root) == [("created", "b/x")]
        watcher.watch(root / "a")  # the connection goes on without a watch
        write(root / "a/y")
        watcher.read_until("created", root / "a/y")


def test_unwatch_before_it_has_begun(agent, root):  # noqa: F811
    with Watcher(agent) as watcher:
        for _ in range(20):
            watcher.send(action="watch", path=str(root))
            watcher.send(action="unwatch", path=str(root))
        watcher.read_until_quiet()
        assert {m["type"] for m in watcher.messages} == {"status"}
        assert sum(m["status"].startswith("Stopped") for m in watcher.messages) == 20
        write(root / "a")
        watcher.read_until_quiet()
        assert watcher.changes == []


def test_refusals_on_a_connection_that_goes_on(agent, root):  # noqa: F811
    with Watcher(agent, root) as watcher:
        watcher.send(action="watch", path=str(root))
        expect_error(watcher.receive()[0], "INVALID_REQUEST", root, "/path")
        watcher.send(action="unwatch", path="/tmp/other")
        expect_error(watcher.receive()[0], "INVALID_REQUEST", "/tmp/other", "/path")
        watcher.send(action="unwatch")
        expect_error(watcher.receive()[0], "MISSING_PARAMETER", field="/path")
        watcher.send(action="stop")
        expect_error(watcher.receive()[0], "INVALID_REQUEST", field="/action")
        watcher.send(type="watch", path=str(root))
        expect_error(watcher.receive()[0], "MISSING_PARAMETER", field="/action")
        watcher.send(action="watch", path=str(root / "a"), ignore=["["])
        expect_error(watcher.receive()[0], "INVALID_REQUEST", field="/ignore")
        watcher.send(action="watch", path=str(root / "missing"))
        expect_error(watcher.receive()[0], "FILE_NOT_FOUND", root / "missing")
        watcher.send(type="ping")
        assert watcher.receive()[0]["type"] == "pong"
        write(root / "x")
        watcher.read_until("created", root / "x")


# The end of a watch


def test_a_root_that_is_deleted(agent, root):  # noqa: F811
    (root / "d").mkdir()
    write(root / "d/a")
    with Watcher(agent, root / "d") as watcher:
        remove_tree(root / "d")
        assert watcher.read_to_the_end() == 1000
        assert watcher.events(root)[-1] == ("deleted", "d")
        expect_error(watcher.messages[-1], "DIRECTORY_NOT_FOUND", root / "d")


def test_a_root_that_is_moved_away(agent, root):  # noqa: F811
    (root / "d").mkdir()
    with Watcher(agent, root / "d") as watcher:
        os.rename(root / "d", root / "e")
        assert watcher.read_to_the_end() == 1000
        assert watcher.events(root) == [("deleted", "d")]


def test_a_root_that_goes_leaves_the_others(agent, root):  # noqa: F811
    (root / "a").mkdir()
    (root / "b").mkdir()
    with Watcher(agent, root / "a") as watcher:
        watcher.watch(root / "b")
        os.rmdir(root / "a")
        watcher.wait_for(lambda m: m["type"] == "error")
        write(root / "b/x")
        watcher.read_until("created", root / "b/x")
        (root / "a").mkdir()
        watcher.watch(root / "a")


def test_reconnecting(agent, root):  # noqa: F811
    """Nothing of the past is told, and nothing is left of connections that have ended."""
    for i in range(20):
        with Watcher(agent, root) as watcher:
            write(root / f"{i}")
            watcher.read_until("created", root / f"{i}")
            assert len(watcher.changes) <= 2
    wait_until_nothing_is_left(agent)
    wait_until(lambda: not inotify_descriptors(agent), "no inotify instance without a watch")


def inotify_descriptors(agent):
    found = []
    for name in os.listdir(f"/proc/{agent.pid}/fd"):
        with contextlib.suppress(FileNotFoundError):
            if os.readlink(f"/proc/{agent.pid}/fd/{name}") == "anon_inode:inotify":
                found.append(name)
    return found


def test_the_agent_stops(new_agent):
    agent = new_agent()
    with Watcher(agent, agent.workspace) as watcher:
        agent.signal(15)
        assert watcher.read_to_the_end() == 1001
    assert agent.wait_for_exit() == 0


# What is left out


def make_noise(root):
    for name in [".git", "node_modules", "__pycache__", "src"]:
        (root / name).mkdir()
        write(root / name / "a")
        (root / name / "b").mkdir()
        write(root / name / "b/c.log")
    write(root / "x.log")


IGNORE = {
    "default": (None, {".git", "node_modules", "__pycache__", "src", "src/a", "src/b", "src/b/c.log", "x.log"}),
    "name": (["*.log", "node_modules", "__pycache__", ".git"], {"src", "src/a", "src/b"}),
    "path": (
        ["src/b/**", "/.git", "node_modules/", "/__pycache__"],
        {"src", "src/a", "src/b", "x.log"},
    ),
    "directories only": (["a/", "b/", "/.git", "node_modules", "__pycache__"], {"src", "src/a", "x.log"}),
}


@pytest.mark.parametrize("name", IGNORE)
def test_ignore(agent, root, name):  # noqa: F811
    patterns, expected = IGNORE[name]
    options = {} if patterns is None else {"ignore": patterns}
    with Watcher(agent, root, **options) as watcher:
        make_noise(root)
        watcher.read_until_quiet()
        assert {path for _, path in watcher.events(root)} == expected


def test_ignore_nothing(agent, root):  # noqa: F811
    with Watcher(agent, root, ignore=[]) as watcher:
        make_noise(root)
        watcher.read_until_quiet()
        assert replay({}, watcher.changes) == scan(root)
        assert ("created", ".git/b/c.log") in watcher.events(root)
