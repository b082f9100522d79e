# SPDX-License-Identifier: Apache-2.0
"""An agent with few descriptors, and files and trees that others change meanwhile: each operation is done or refused
clearly, nothing is lost, and later all is well again."""

import contextlib
import itertools
import json
import os
import resource
import shutil
import subprocess
import sys
import threading
import time
import urllib.parse

import httpx
import pytest

from lib import agent as agents
from lib.expect import expect_error, expect_json
from lib.file_faults import AUTHORIZATION, BIG, BOUNDARY, FORM, form, part, path_field, put, transfer, write_big
from lib.file_watch import Watcher
from lib.files import get, post, remove
from lib.mounts import snapshot
from lib.raw import RawConnection, head
from lib.waiting import wait_until


@pytest.fixture
def space(agent, tmp_path_factory):
    directory = agent.workspace / tmp_path_factory.mktemp("space").name
    directory.mkdir()
    return directory


# Descriptors that have run out


def query(path, **params):
    return "?" + urllib.parse.urlencode({"path": str(path), **params})


def as_raw(method, target, body=b"", content_type="application/json"):
    fields = {**AUTHORIZATION, "Content-Length": len(body), "Content-Type": content_type}
    return head(method, target, fields) + body


def as_post(verb, **fields):
    return as_raw("POST", f"/files/{verb}", json.dumps(fields).encode())


def as_form(*parts):
    return as_raw("POST", "/files/upload", b"".join(parts) + f"--{BOUNDARY}--\r\n".encode(), FORM["Content-Type"])


def looks(top):
    """Requests that change nothing, with what must be in a complete answer."""
    return {
        "read": (as_raw("GET", "/files/read" + query(top / "file")), b"old"),
        "download": (as_raw("GET", "/files/download" + query(top / "large")), BIG),
        "download a tree": (as_raw("GET", "/files/download" + query(top / "tree")), b"deepest"),
        "list": (as_raw("GET", "/files/list" + query(top, recursive="true")), b"deepest"),
        "stat": (as_raw("GET", "/files/stat" + query(top / "file")), b'"file"'),
        "exists": (as_raw("GET", "/files/exists" + query(top / "file")), b'"exists":true'),
        "search": (as_raw("GET", "/files/search" + query(top, pattern="deepest")), b'"line":1'),
    }


def changes(top):
    """Requests that change something."""
    return {
        "write": as_post("write", path=f"{top}/file", content="new"),
        "write a new file": as_post("write", path=f"{top}/new", content="new"),
        "append": as_post("write", path=f"{top}/file", content="new", append=True),
        "append to a new file": as_post("write", path=f"{top}/new", content="new", append=True),
        "form": as_form(path_field(top / "file"), part("file", b"new", "x")),
        "form, the path last": as_form(part("file", b"new", "x"), path_field(top / "file")),
        "put": as_raw("PUT", "/files/upload" + query(top / "file"), b"new"),
        "replace": as_post("replace", path=f"{top}/file", old="old", new="new"),
        "batch": as_post("batch", files=[{"path": f"{top}/{name}", "content": "new"} for name in ("a", "file", "b")]),
        "copy": as_post("copy", **{"from": f"{top}/large", "to": f"{top}/file"}, overwrite=True),
        "copy a tree": as_post("copy", **{"from": f"{top}/tree", "to": f"{top}/new"}),
        "move": as_post("move", **{"from": f"{top}/large", "to": f"{top}/file"}, overwrite=True),
        "move a tree": as_post("move", **{"from": f"{top}/tree", "to": f"{top}/new"}),
        "mkdir": as_post("mkdir", path=f"{top}/new", mode="0700"),
        "chmod": as_post("chmod", path=f"{top}/file", mode="0600"),
        "remove": as_raw("DELETE", "/files/remove" + query(top / "file")),
        "remove a tree": as_raw("DELETE", "/files/remove" + query(top / "tree")),
    }


def make_top(top):
    shutil.rmtree(top, ignore_errors=True)
    (top / "tree/a/b").mkdir(parents=True)
    (top / "tree/a/b/deepest").write_text("deepest\n")
    (top / "tree/link").symlink_to("a")
    (top / "file").write_text("old\n")
    (top / "large").write_bytes(BIG)


class Scarce:
    """The agent has @n descriptors more than it has open, and a connection for one request."""

    def __init__(self, agent, n):
        self.agent, self.n = agent, n

    def __enter__(self):
        self.limits = resource.prlimit(self.agent.pid, resource.RLIMIT_NOFILE)
        self.connection = RawConnection(self.agent.port)
        wait_until(self.is_alone, "the end of other connections")
        used = {int(name) for name in os.listdir(f"/proc/{self.agent.pid}/fd")}
        limit = 0
        while limit - len([fd for fd in used if fd < limit]) < self.n or limit in used:
            limit += 1
        resource.prlimit(self.agent.pid, resource.RLIMIT_NOFILE, (limit, self.limits[1]))
        return self.connection

    def is_alone(self):
        self.connection.send(head("GET", "/metrics/snapshot", AUTHORIZATION))
        return self.connection.read_response().json()["agent"]["connections"] == 1

    def __exit__(self, *_):
        resource.prlimit(self.agent.pid, resource.RLIMIT_NOFILE, self.limits)
        self.connection.close()


# So many that every request gets along with them.
ENOUGH = 13


def test_looking_with_few_descriptors(new_agent):
    """Either the answer is complete, or it says that there were too few."""
    agent = new_agent()
    top = agent.workspace / "top"
    make_top(top)
    for verb, (request, expected) in looks(top).items():
        statuses = []
        for n in range(ENOUGH):
            with Scarce(agent, n) as connection:
                connection.send(request)
                response = connection.read_response()
            statuses.append(response.status_code)
            if response.status_code == 200:
                assert expected in response.content, (verb, n, response.content[:500])
            else:
                document = expect_error(response, 503, "SERVICE_UNAVAILABLE")
                assert document["path"] and "Too many open files" in document["message"], (verb, n, document)
        assert statuses[0] == 503 and statuses[-1] == 200, (verb, statuses)
        assert statuses == sorted(statuses, reverse=True), (verb, statuses)


def test_changing_with_few_descriptors(new_agent):
    """It is done, or nothing is."""
    agent = new_agent()
    top = agent.workspace / "top"
    make_top(top)
    before = snapshot(top)
    for verb, request in changes(top).items():
        statuses = []
        for n in range(ENOUGH):
            with Scarce(agent, n) as connection:
                connection.send(request)
                response = connection.read_response()
            statuses.append(response.status_code)
            if response.status_code == 200:
                assert snapshot(top) != before, (verb, n)
                make_top(top)
            else:
                document = response.json()
                expect_error(response, 503, "SERVICE_UNAVAILABLE", (document.get("details") or {}).get("field"))
                assert document["path"] and "Too many open files" in document["message"], (verb, n, document)
                after = snapshot(top)
                if verb == "remove a tree":  # as far as possible
                    assert after.items() <= before.items(), (verb, n)
                    make_top(top)
                else:
                    assert after == before, (verb, n)
        assert statuses[-1] == 200, (verb, statuses)
        assert statuses == sorted(statuses, reverse=True), (verb, statuses)
    assert [name for name in os.listdir(agent.workspace) if name.startswith(".")] == []


FEW = """#!/bin/sh
ulimit -n {n} && exec {binary} "$@"
"""


def cpu_ticks(pid):
    with open(f"/proc/{pid}/stat") as file:
        fields = file.read().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


def test_idle_connections_that_take_all_descriptors(new_agent, tmp_path, monkeypatch):
    """The others are answered meanwhile, clearly, nothing spins, and when they are gone all is well again."""
    script = tmp_path / "few"
    script.write_text(FEW.format(n=48, binary=agents.BINARY))
    script.chmod(0o755)
    monkeypatch.setattr("lib.agent.BINARY", script)
    agent = new_agent()
    top = agent.workspace / "top"
    make_top(top)
    before = snapshot(top)
    fds = f"/proc/{agent.pid}/fd"
    with RawConnection(agent.port) as first, contextlib.ExitStack() as idle:
        first.send(head("GET", "/health"))
        assert first.read_response().status_code == 200
        for _ in range(60):
            idle.enter_context(RawConnection(agent.port))
        wait_until(lambda: len(os.listdir(fds)) == 48, lambda: f"all descriptors: {len(os.listdir(fds))}")
        for verb, (request, _) in looks(top).items():
            first.send(request)
            expect_error(first.read_response(), 503, "SERVICE_UNAVAILABLE")
        for verb, request in changes(top).items():
            if verb not in ("form", "form, the path last", "put"):
                first.send(request)
                assert first.read_response().status_code == 503, verb
        assert snapshot(top) == before
        ticks, end = cpu_ticks(agent.pid), time.monotonic() + 0.5
        wait_until(lambda: time.monotonic() > end, "the time to pass")
        assert cpu_ticks(agent.pid) - ticks < 0.25 * os.sysconf("SC_CLK_TCK")
    for verb, request in changes(top).items():
        make_top(top)
        with RawConnection(agent.port) as connection:
            connection.send(request)
            assert connection.read_response().status_code == 200, verb
    with Watcher(agent, top) as watcher:
        (top / "new").write_text("x")
        watcher.read_until("created", top / "new")


# Disks that fail, and things that change


def test_a_file_that_cannot_be_read(new_agent):
    """/proc/PID/mem begins with what is not mapped: EIO."""
    if os.getuid() != 0:
        pytest.skip("only root may open it")
    agent = new_agent(allowed_path=["/"])
    path, top = f"/proc/{os.getpid()}/mem", agent.workspace / "top"
    make_top(top)
    before = snapshot(top)
    if get(agent, "read", path).status_code == 403:
        pytest.skip("no right to look into processes")
    for response in (get(agent, "read", path), get(agent, "download", path),
                     transfer(agent, "copy", path, top / "file"),
                     post(agent, "replace", path=path, old="a", new="b")):  # fmt: skip
        document = expect_error(response, 500, "FILE_OPERATION_FAILED")
        assert document["path"] == path and "Input/output error" in document["message"], document
        assert snapshot(top) == before
    found = expect_json(get(agent, "search", path, pattern="a"))
    assert found["files_unreadable"] == 1


LIMITED = """#!/bin/sh
ulimit -f 64 && exec {binary} "$@"
"""


def test_a_limit_of_file_sizes(new_agent, tmp_path, monkeypatch):
    script = tmp_path / "limited"
    script.write_text(LIMITED.format(binary=agents.BINARY))
    script.chmod(0o755)
    monkeypatch.setattr("lib.agent.BINARY", script)
    agent = new_agent()
    top = agent.workspace / "top"
    make_top(top)
    before = snapshot(top)
    for request in (lambda: write_big(agent, top / "file"), lambda: write_big(agent, top / "file", append=True),
                    lambda: put(agent, top / "file", BIG), lambda: transfer(agent, "copy", top / "large", top / "new"),
                    lambda: form(agent, part("file", BIG, "x"), path_field(top / "file"))):  # fmt: skip
        expect_error(request(), 413, "PAYLOAD_TOO_LARGE")
        assert snapshot(top) == before


def churn(change, request, n=40):
    """Does @request again and again while another thread does @change; returns the responses."""
    stop = threading.Event()

    def go_on():
        while not stop.is_set():
            change()

    thread = threading.Thread(target=go_on)
    thread.start()
    try:
        return [request() for _ in range(n)]
    finally:
        stop.set()
        thread.join()


@pytest.mark.parametrize("verb", ["read", "copy", "download"])
def test_a_file_that_is_cut_while_it_is_read(agent, space, verb):
    """What was there at some time comes out, or its beginning. The kernel may have emptied pages that it was reading,
    but never what is in front of the cut."""
    path, content = space / "file", b"x" * 500_000

    def change():
        path.write_bytes(content)
        os.truncate(path, 1000)

    def request():
        if verb == "copy":
            response = transfer(agent, "copy", path, space / "new")
            expect_json(response)
            return (space / "new").read_bytes()
        try:
            response = get(agent, verb, path)
        except httpx.RemoteProtocolError:  # it was promised longer
            return b""
        assert response.status_code == 200, response.text
        return response.json()["content"].encode() if verb == "read" else response.content

    change()
    for found in churn(change, request, n=150 if verb == "copy" else 40):
        assert found[:1000].strip(b"x") == b"" and set(found) <= set(b"x\0"), found[:100]
        assert len(found) <= len(content)
    assert sorted(os.listdir(space)) == (["file", "new"] if verb == "copy" else ["file"])


# Faster than a thread of the tests could be.
EMPTIER = """
import os, sys
fd = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT)
while True:
    os.pwrite(fd, b"x" * 1000, 0)
    os.ftruncate(fd, 0)
"""


def test_a_file_that_is_emptied_while_it_is_copied(agent, space):
    """The copy is not filled up with what was never there."""
    path = space / "file"
    process = subprocess.Popen([sys.executable, "-c", EMPTIER, path])
    try:
        wait_until(path.exists, "the file")
        for _ in range(150):
            expect_json(transfer(agent, "copy", path, space / "new"))
            found = (space / "new").read_bytes()
            assert found in (b"", b"x" * 1000), found[:100]
    finally:
        process.kill()
        process.wait()


def test_a_tree_that_changes(agent, space):
    """Copies, lists, archives and removals of a tree in which names come and go."""
    tree = space / "tree"
    numbers = itertools.count()
    CONTENT = "x" * 1000

    def fill(top):
        for name in ("a/b/c", "a/d", "e/f"):
            (top / name).mkdir(parents=True, exist_ok=True)
            for number in range(5):
                (top / name / str(number)).write_text(CONTENT)

    def change():
        number = next(numbers)
        with contextlib.suppress(FileNotFoundError, FileExistsError, OSError):
            if number % 3 == 0:
                (tree / "a/b").rename(tree / "e" / f"moved{number}")
            elif number % 3 == 1:
                shutil.rmtree(tree / "e")
            else:
                fill(tree)

    def look():
        response = transfer(agent, "copy", tree, space / f"copy{next(numbers)}")
        statuses.add(("copy", response.status_code))
        statuses.add(("list", get(agent, "list", tree, recursive=True).status_code))
        with contextlib.suppress(httpx.RemoteProtocolError):
            statuses.add(("download", get(agent, "download", tree).status_code))
        statuses.add(("search", get(agent, "search", tree, pattern="y").status_code))

    statuses = set()
    fill(tree)
    churn(change, look, n=30)
    assert {name for name, status in statuses if status == 200} == {"copy", "list", "download", "search"}, statuses
    assert {status for _, status in statuses} <= {200, 404}, statuses
    assert not [name for name in os.listdir(space) if name.startswith(".")]
    for copy in space.glob("copy*"):
        assert all(file.read_text() in ("", CONTENT) for file in copy.rglob("*") if file.is_file())

    statuses.clear()
    churn(change, lambda: statuses.add(remove(agent, tree).status_code), n=30)
    assert 200 in statuses and statuses <= {200, 404, 409}, statuses
    change()
    response = remove(agent, tree)
    assert response.status_code in (200, 404), response.text
    assert not tree.exists()


def test_a_deep_tree_that_is_moved(agent, space):
    deep, other = space / "deep", space / "other"
    half, rest = "/".join("d" * 25), "/".join("e" * 25)
    (deep / half / rest).mkdir(parents=True)
    (deep / half / rest / "file").write_text("x")
    other.mkdir()

    def change():
        (deep / half / "e").rename(other / "e")
        (other / "e").rename(deep / half / "e")

    def copy():
        return transfer(agent, "copy", deep, space / f"copy{next(numbers)}")

    def look():
        for verb, params in (("search", {"pattern": "y"}), ("list", {"recursive": True}), ("stat", {})):
            statuses.add((verb, get(agent, verb, deep, **params).status_code))

    numbers, statuses = itertools.count(), set()
    churn(change, look, n=30)
    churn(change, lambda: statuses.add(("copy", copy().status_code)), n=3)
    assert {status for _, status in statuses} <= {200, 404, 409}, statuses
